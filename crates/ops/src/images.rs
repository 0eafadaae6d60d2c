//! `conex images`: what the local store holds.

use std::path::Path;

use serde::Serialize;

use conex_spec::{
    Descriptor, Digest, ImageConfig, Location, Manifest, MediaType, Platform, Result,
};
use conex_store::local::Entry;
use conex_store::{LocalStore, Source, SourceExt};

use crate::choose;
use crate::walk::walk;

/// A named image of the local store.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
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
    /// Why it cannot be used, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// All named images, in the order of their names.
pub async fn images(store: &Path) -> Result<Vec<Image>> {
    let store = LocalStore::open(store, Location::Memory)?;
    let mut images = Vec::new();
    for entry in store.entries()? {
        let looked = look(&store, &entry.root).await;
        let (platforms, size, fault) = match looked {
            Ok((platforms, size)) => (platforms, size, None),
            Err(err) => (Vec::new(), 0, Some(err.to_string())),
        };
        let Entry { name, root } = entry;
        let (digest, media_type) = (root.digest, root.media_type);
        images.push(Image { name, digest, media_type, platforms, size, fault });
    }
    Ok(images)
}

async fn look(store: &LocalStore, root: &Descriptor) -> Result<(Vec<Platform>, u64)> {
    Ok((platforms(store, root).await?, walk(store, root).await?.size()))
}

/// The platforms of an index's entries, or the one that an image's config names.
pub async fn platforms(source: &dyn Source, root: &Descriptor) -> Result<Vec<Platform>> {
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
pub async fn platform_of(source: &dyn Source, image: &Descriptor) -> Result<Option<Platform>> {
    if !image.media_type.is_manifest() {
        return Ok(None);
    }
    let Manifest::Image(manifest) = source.manifest(image).await?.into_value() else {
        return Ok(None);
    };
    if !manifest.is_image() {
        return Ok(None);
    }
    let config = source.document::<ImageConfig>(&manifest.config).await?;
    Ok(Some(config.platform()))
}
