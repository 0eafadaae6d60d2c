//! `conex index create`: one name for images of several platforms.

use std::sync::Arc;

use serde::Serialize;

use conex_spec::{Descriptor, Document, Error, ImageIndex, Kind, Location, MediaType, Result};
use conex_store::Source;
use conex_store::bridge::bytes_stream;

use crate::choose;
use crate::copy::{CopyOptions, Summary, copy_content, tag_for};
use crate::images::platform_of;
use crate::open::Context;

/// The index that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// The index.
    pub root: Descriptor,
    /// Its entries.
    pub entries: Vec<Descriptor>,
    /// What moved with it, and what was there already.
    pub summary: Summary,
}

/// Makes an index of images, wherever they are, and puts all of it into one place.
/// An index among them lends its entries.
pub async fn create(
    context: &Context,
    to: &Location,
    images: &[Location],
    options: &CopyOptions,
) -> Result<Report> {
    // An image that is not there is told before anything moves.
    let mut found = Vec::new();
    for location in images {
        let (source, root) = context.resolve(location).await?;
        for image in choose::images(source.as_ref(), &root).await? {
            found.push((Arc::clone(&source), image));
        }
    }
    let sink = context.sink(to)?;
    let mut entries = Vec::new();
    let mut summary = Summary::default();
    for (source, image) in found {
        // A child is no root: only the index gets a name.
        let (from, to) = (source.as_ref(), sink.as_ref());
        summary.merge(copy_content(from, &image, to, options, &context.observer).await?);
        add_entry(&mut entries, entry(source.as_ref(), image).await?)?;
    }
    let index = Document::new(ImageIndex::new(entries.clone()))?;
    let root = index.descriptor(MediaType::INDEX);
    let tag = tag_for(&root, to)?;
    sink.put(&root, bytes_stream(index.bytes().clone(), 0..root.size)).await?;
    sink.tag(&root, tag.as_ref()).await?;
    sink.finish().await?;
    Ok(Report { location: to.clone(), root, entries, summary })
}

/// "Descriptors pointing to `application/vnd.oci.image.manifest.v1+json` SHOULD include the
/// extended field `platform`" (image-spec, descriptor.md, "Properties").
async fn entry(source: &dyn Source, mut image: Descriptor) -> Result<Descriptor> {
    if image.platform.is_none() {
        image.platform = platform_of(source, &image).await?;
    }
    Ok(image)
}

fn add_entry(entries: &mut Vec<Descriptor>, entry: Descriptor) -> Result<()> {
    if entries.iter().any(|known| known.digest == entry.digest) {
        return Ok(());
    }
    let rival =
        entries.iter().find(|known| known.platform.is_some() && known.platform == entry.platform);
    if let (Some(rival), Some(platform)) = (rival, &entry.platform) {
        return Err(Error::new(Kind::Usage, format!("two images are for {platform}"))
            .expected("one image for each platform")
            .found(format!("{} and {}", rival.digest.short(), entry.digest.short())));
    }
    entries.push(entry);
    Ok(())
}
