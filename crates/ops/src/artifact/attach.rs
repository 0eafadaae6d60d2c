//! `conex artifact attach`: an artifact that says something about another manifest, its subject.
//! image-spec, manifest.md, "`subject`"; distribution-spec, "Pushing Manifests with Subject".

use futures_util::future;

use conex_spec::layout::INDEX_FILE;
use conex_spec::{
    Descriptor, Document, Error, ImageIndex, Kind, Location, MediaType, Name, Platform, Result, Tag,
};

use super::draft::{Draft, Stored, check_place};
use super::push::Recipe;
use crate::choose::choose;
use crate::copy::{CopyOptions, Summary, copy_all};
use crate::open::{Context, name_in};

/// What an artifact is attached to.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The image, index or artifact.
    pub location: Location,
    /// Of an index, the image for this platform; without it the index itself.
    pub platform: Option<Platform>,
    /// What it is where it is not there yet: "a manifest with a subject may be pushed before" it. The
    /// location then names it by its digest.
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
    let prepared = draft.prepare(context, &to.location).await?;
    let place = place(&to.location)?;
    let (subject, sink, summary) = match &place {
        // Blobs go up while the subject is looked for: without it they are nobody's, and are collected.
        Location::Registry(_) => {
            let sink = context.sink(&place)?;
            let send = prepared.send(context, sink.as_ref(), options);
            let (subject, summary) = future::try_join(to.descriptor(context), send).await?;
            (subject, sink, summary)
        }
        _ => {
            let subject = to.descriptor(context).await?;
            let sink = context.sink(&place)?;
            let mut summary = match &place {
                Location::OciArchive { .. } => {
                    rewrite(context, &place, sink.as_ref(), options).await?
                }
                _ => Summary::default(),
            };
            summary.merge(prepared.send(context, sink.as_ref(), options).await?);
            (subject, sink, summary)
        }
    };
    let stored = prepared.publish(context, sink.as_ref(), Some(&subject), Vec::new(), summary);
    let stored = stored.await?;
    sink.finish().await?;
    Ok(Stored { location: place, ..stored })
}

impl Subject {
    async fn descriptor(&self, context: &Context) -> Result<Descriptor> {
        let source = context.source(&self.location)?;
        let name = name_in(&self.location)?;
        let root = match (source.resolve(name.as_ref()).await, &name, &self.expected) {
            (Ok(root), ..) => root,
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
            (Err(err), ..) => return Err(err),
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

/// An archive is written once: all that it holds goes to the new one.
async fn rewrite(
    context: &Context,
    place: &Location,
    sink: &dyn conex_store::Sink,
    options: &CopyOptions,
) -> Result<Summary> {
    let archive = context.oci_archive(place)?;
    let missing = || Error::not_found(format!("{place} has no `{INDEX_FILE}`"));
    let index = archive.index_file().await?.ok_or_else(missing)?;
    let index = Document::<ImageIndex>::parse(index)?.into_value();
    let mut roots: Vec<(Descriptor, Vec<Tag>)> = Vec::new();
    for mut root in index.manifests {
        let name = root.annotations.shift_remove(conex_spec::descriptor::REF_NAME);
        let name = name.map(|name| Tag::new(&name)).transpose()?;
        match roots.iter_mut().find(|(known, _)| known.digest == root.digest) {
            Some((_, names)) => names.extend(name),
            None => roots.push((root, name.into_iter().collect())),
        }
    }
    copy_all(&archive, roots, sink, options, &context.observer).await
}
