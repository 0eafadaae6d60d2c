//! `conex manifest`: the exact bytes of a manifest or an index, out of a place and into it.

use bytes::Bytes;
use serde::Serialize;

use conex_spec::{Descriptor, Error, Kind, Location, Manifest, MediaType, Name, Platform, Result};
use conex_store::{Sink, SourceExt};

use crate::choose::choose;
use crate::copy::tag_for;
use crate::delete::{Deleted, drop_root};
use crate::open::{Context, name_in};

/// What was put, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// What it is called there.
    pub root: Descriptor,
}

/// The bytes that a location names, or those of its image for a platform, verified.
///
/// # Errors
/// `Usage` for what is no manifest.
pub async fn get(
    context: &Context,
    location: &Location,
    platform: Option<&Platform>,
) -> Result<(Descriptor, Bytes)> {
    let (source, mut root) = context.resolve(location).await?;
    if !root.media_type.is_manifest() {
        return Err(Error::new(
            Kind::Usage,
            format!("{} at {location} is no manifest", root.digest),
        )
        .found(&root.media_type)
        .hint("`conex blob get` gets any blob"));
    }
    if let Some(platform) = platform {
        root = choose(source.as_ref(), &root, platform).await?;
    }
    let bytes = source.read(&root).await?;
    Ok((root, bytes))
}

/// Puts a manifest under the name that a location gives it, byte for byte. Its media type is what
/// the document says and is, or `media_type`, which must not contradict it.
///
/// # Errors
/// `Invalid` for what is no sound manifest; `NotFound` where the place lacks what it lists;
/// `Usage` where the location names another digest.
pub async fn put(
    context: &Context,
    location: &Location,
    bytes: Bytes,
    media_type: Option<&MediaType>,
) -> Result<Report> {
    let manifest = Manifest::parse(bytes.clone(), media_type)?;
    let media_type = media_type.cloned().unwrap_or_else(|| manifest.media_type());
    let root = described(location, media_type, &bytes)?;
    let tag = tag_for(&root, location)?;
    if matches!(location, Location::OciArchive { .. } | Location::DockerArchive { .. }) {
        return Err(whole_archive(location));
    }
    let sink = context.sink(location)?;
    if !matches!(location, Location::Registry(_)) {
        // A registry looks for itself.
        check_children(sink.as_ref(), &manifest).await?;
    }
    sink.publish(&root, bytes, tag.as_slice()).await?;
    sink.finish().await?;
    Ok(Report { location: location.clone(), root })
}

/// By the algorithm of the digest that the location names, where it names one.
fn described(location: &Location, media_type: MediaType, bytes: &Bytes) -> Result<Descriptor> {
    let digest = match name_in(location)? {
        Some(Name::Digest(named)) => named.algorithm()?.digest(bytes),
        _ => conex_spec::Digest::sha256(bytes),
    };
    Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
}

async fn check_children(sink: &dyn Sink, manifest: &Manifest) -> Result<()> {
    for child in manifest.children() {
        if child.media_type.is_distributable() && !sink.has(child).await? {
            return Err(Error::not_found(format!(
                "the manifest lists what is not in {}",
                sink.location()
            ))
            .expected(format!("{} ({})", child.digest, child.media_type))
            .hint("put what it lists first: `conex blob put`, `conex manifest put`"));
        }
    }
    Ok(())
}

pub(crate) fn whole_archive(location: &Location) -> Error {
    Error::new(Kind::Unsupported, format!("{location} is written as a whole or not at all"))
        .hint("`conex copy` it to a layout, change that, and copy it back")
}

/// Deletes a manifest by its digest, with all its tags and nothing else.
///
/// # Errors
/// `Usage` for a tag: `conex untag` and `conex delete` say which of the two is meant.
pub async fn delete(context: &Context, location: &Location) -> Result<Deleted> {
    let Some(Name::Digest(_)) = name_in(location)? else {
        return Err(Error::new(Kind::Usage, format!("{location} names no digest"))
            .expected("LOCATION@DIGEST")
            .hint(
                "`conex untag` removes the tag alone, `conex delete` the manifest and what goes \
                with it",
            ));
    };
    let (_, root) = context.resolve(location).await?;
    drop_root(context, location, &root).await?;
    Ok(Deleted { location: location.clone(), digest: root.digest })
}
