//! `conex images`: what the local store or a layout holds.

use serde::Serialize;

use conex_spec::{
    Descriptor, Digest, Document, ImageConfig, Manifest, MediaType, Platform, Result,
};
use conex_store::{Collection, Entry, Source, SourceExt};

use crate::choose;
use crate::walk::walk;

/// A root of the local store or of a layout.
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
    /// When it was made, as its config says; nothing for an index or an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Why it cannot be used, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// All images, in the order in which the collection lists them.
pub async fn images(collection: &dyn Collection) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for Entry { name, root } in collection.entries()? {
        let mut image = Image {
            name,
            digest: root.digest.clone(),
            media_type: root.media_type.clone(),
            platforms: Vec::new(),
            size: 0,
            created: None,
            fault: None,
        };
        if let Err(err) = look(collection, &root, &mut image).await {
            image.fault = Some(err.to_string());
        }
        images.push(image);
    }
    Ok(images)
}

async fn look(source: &dyn Collection, root: &Descriptor, image: &mut Image) -> Result<()> {
    image.size = walk(source, root).await?.size();
    if let Some(config) = config_of(source, root).await? {
        image.created.clone_from(&config.created);
    }
    image.platforms = platforms(source, root).await?;
    Ok(())
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
    Ok(config_of(source, image).await?.map(|config| config.platform()))
}

/// The config of an image; nothing for an index or an artifact.
async fn config_of(
    source: &dyn Source,
    image: &Descriptor,
) -> Result<Option<Document<ImageConfig>>> {
    if !image.media_type.is_manifest() {
        return Ok(None);
    }
    match source.manifest(image).await?.into_value() {
        Manifest::Image(manifest) if manifest.is_image() => {
            source.document::<ImageConfig>(&manifest.config).await.map(Some)
        }
        _ => Ok(None),
    }
}
