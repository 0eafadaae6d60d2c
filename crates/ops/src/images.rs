//! `conex images`: what the local store holds.

use std::path::Path;

use serde::Serialize;

use conex_spec::{Digest, ImageConfig, Location, Manifest, MediaType, Platform, Result};
use conex_store::{LocalStore, Source, SourceExt};

use crate::choose;
use crate::walk::walk;

/// A named image of the local store.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// What the name stands for.
    pub digest: Digest,
    /// A manifest or an index.
    pub media_type: MediaType,
    /// What it runs on.
    pub platforms: Vec<Platform>,
    /// The size in bytes of all its content, compressed as it is stored.
    pub size: u64,
}

/// All named images, in the order of their names.
pub async fn images(store: &Path) -> Result<Vec<Image>> {
    let store = LocalStore::open(store, Location::Memory)?;
    let mut images = Vec::new();
    for entry in store.entries()? {
        let graph = walk(&store, &entry.root).await?;
        images.push(Image {
            name: entry.name,
            platforms: platforms(&store, &entry.root).await?,
            size: graph.size(),
            digest: entry.root.digest,
            media_type: entry.root.media_type,
        });
    }
    Ok(images)
}

/// The platforms of an index's entries, or the one that an image's config names.
pub async fn platforms(
    source: &dyn Source,
    root: &conex_spec::Descriptor,
) -> Result<Vec<Platform>> {
    let mut platforms = Vec::new();
    for image in choose::images(source, root).await? {
        match image.platform {
            Some(platform) => platforms.push(platform),
            None => platforms.extend(platform_of(source, &image).await?),
        }
    }
    Ok(platforms)
}

/// The platform that an image's config names; nothing for an artifact.
pub async fn platform_of(
    source: &dyn Source,
    image: &conex_spec::Descriptor,
) -> Result<Option<Platform>> {
    let Manifest::Image(manifest) = source.manifest(image).await?.into_value() else {
        return Ok(None);
    };
    if !manifest.is_image() {
        return Ok(None);
    }
    let config = source.document::<ImageConfig>(&manifest.config).await?;
    Ok(Some(config.platform()))
}
