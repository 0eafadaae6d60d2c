//! `conex artifact attach`: an artifact that says something about another manifest, its subject.
//! image-spec, manifest.md, "`subject`"; distribution-spec, "Pushing Manifests with Subject".

use conex_spec::{Descriptor, Error, Kind, Location, MediaType, Name, Platform, Result};

use super::draft::{Draft, Stored, check_place};
use super::push::Recipe;
use crate::choose::choose;
use crate::copy::CopyOptions;
use crate::open::{Context, name_in};

/// What an artifact is attached to.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The image, index or artifact.
    pub location: Location,
    /// Of an index, the image for this platform; without it the index itself.
    pub platform: Option<Platform>,
    /// What it is where it is not there yet: clients may "push a manifest and referrers to that manifest in
    /// either order" (distribution-spec, "Push"). The location then names it by its digest.
    pub expected: Option<(MediaType, u64)>,
}

/// Packages files and attaches them.
///
/// # Errors
/// Those of [`super::push::push`]; `NotFound` where the subject is not there, and nobody said that it
/// will be.
pub async fn attach(
    context: &Context,
    recipe: &Recipe,
    to: &Subject,
    options: &CopyOptions,
) -> Result<Stored> {
    check_place(&to.location)?;
    to.check()?;
    let draft = recipe.draft().await?;
    attach_draft(context, draft, to, options).await
}

/// Attaches an artifact that is already described.
pub async fn attach_draft(
    context: &Context,
    draft: Draft,
    to: &Subject,
    options: &CopyOptions,
) -> Result<Stored> {
    // All that can be wrong here is told before the first request.
    to.check()?;
    let prepared = draft.prepare(context, &to.location).await?;
    let place = place(&to.location)?;
    // Without a subject nothing goes up: a blob would make a repository of a name that was mistyped.
    let subject = to.descriptor(context).await?;
    let sink = context.sink_beside(&place)?;
    let summary = prepared.send(context, sink.as_ref(), options).await?;
    let stored = prepared.publish(context, sink.as_ref(), Some(&subject), Vec::new(), summary);
    let stored = stored.await?;
    sink.finish().await?;
    Ok(Stored { location: place, ..stored })
}

impl Subject {
    async fn descriptor(&self, context: &Context) -> Result<Descriptor> {
        let name = name_in(&self.location)?;
        let found = async {
            let source = context.source(&self.location)?;
            let root = source.resolve(name.as_ref()).await?;
            Ok::<_, Error>((source, root))
        };
        let (source, root) = match (found.await, &name, &self.expected) {
            (Ok(found), ..) => found,
            (Err(err), Some(Name::Digest(digest)), Some((media_type, size)))
                if err.kind() == Kind::NotFound =>
            {
                return Ok(Descriptor::new(media_type.clone(), digest.clone(), *size));
            }
            (Err(err), Some(Name::Digest(_)), None) if err.kind() == Kind::NotFound => {
                return Err(
                    err.hint("`--subject-size BYTES` attaches to a manifest that is not there yet")
                );
            }
            (Err(err), ..) => return Err(self.advise(err)),
        };
        if !root.media_type.is_manifest() {
            let message = format!("nothing can be attached to {}", self.location);
            return Err(Error::new(Kind::Usage, message)
                .expected("a manifest or an index")
                .found(root.media_type));
        }
        match &self.platform {
            Some(platform) => choose(source.as_ref(), &root, platform).await,
            None => Ok(root),
        }
    }

    /// Where there is not even a place, something is to be put there first.
    fn advise(&self, err: Error) -> Error {
        let is_there = self.location.path().is_none_or(std::path::Path::exists);
        if is_there || err.kind() != Kind::NotFound {
            return err;
        }
        err.hint(format!(
            "`conex copy IMAGE {}` makes it; to a digest one can attach before",
            self.location
        ))
    }

    /// A digest of an algorithm that is not registered is carried where others wrote it, and not written:
    /// nobody could verify what it names (image-spec, descriptor.md, "Registered algorithms").
    fn check(&self) -> Result<()> {
        let fault = |err: Error| {
            err.with_kind(Kind::Usage).context(format_args!("cannot attach to {}", self.location))
        };
        if let Some(Name::Digest(digest)) = name_in(&self.location)? {
            digest.algorithm().map_err(fault)?;
        }
        match &self.expected {
            Some((_, 0)) => Err(fault(Error::new(Kind::Usage, "no manifest is empty"))
                .expected("how many bytes the manifest has")
                .found("0")),
            _ => Ok(()),
        }
    }
}

/// Where the subject is: what is attached has no name there.
fn place(location: &Location) -> Result<Location> {
    Ok(match location {
        Location::Layout { path, .. } => Location::Layout { path: path.clone(), name: None },
        Location::OciArchive { path, .. } if location.is_stream() => {
            return Err(Error::new(Kind::Usage, "nothing can be attached to a stream")
                .expected("an archive in a file")
                .found(path.display()));
        }
        Location::OciArchive { path, .. } => {
            Location::OciArchive { path: path.clone(), name: None }
        }
        other => other.clone(),
    })
}
