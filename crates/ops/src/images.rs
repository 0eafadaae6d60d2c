//! `conex images`: what the local store or a layout holds.

use serde::Serialize;

use conex_spec::{
    Descriptor, Digest, Document, ImageConfig, Kind, Location, Manifest, MediaType, Name, Platform,
    Result, Tag,
};
use conex_store::{Collection, Entry, Source, SourceExt};

use crate::choose;
use crate::walk::walk;

/// What an image of the local store without a name is called.
const UNNAMED: &str = "unnamed";

/// A root of the local store or of a layout.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its name.
    pub name: String,
    /// What names it to every command; nothing for a name that cannot be typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
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
    /// Whether that is since something is not there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
}

/// All images, in the order in which the collection lists them.
pub async fn images(collection: &dyn Collection) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for Entry { name, root } in collection.entries()? {
        let mut image = Image {
            location: location(collection.location(), &name, &root),
            name,
            digest: root.digest.clone(),
            media_type: root.media_type.clone(),
            platforms: Vec::new(),
            size: 0,
            created: None,
            fault: None,
            missing: false,
        };
        if let Err(err) = look(collection, &root, &mut image).await {
            image.missing = err.kind() == Kind::NotFound;
            image.fault = Some(err.to_string());
        }
        images.push(image);
    }
    Ok(images)
}

/// How people type one image of a place.
fn location(place: &Location, name: &str, root: &Descriptor) -> Option<Location> {
    let is_digest = name == root.digest.as_str();
    match place {
        Location::Layout { .. } if is_digest => {
            place.with_name(Name::Digest(root.digest.clone())).ok()
        }
        Location::Layout { .. } => place.with_name(Name::Tag(Tag::new(name).ok()?)).ok(),
        // The store takes a digest under any name.
        _ if is_digest => format!("store:{UNNAMED}@{name}").parse().ok(),
        _ => format!("store:{name}").parse().ok(),
    }
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

/// The platform that the config of an image tells, where there is one that tells it.
pub(crate) async fn told_by_config(source: &dyn Source, manifest: &Manifest) -> Option<Platform> {
    let config = config_in(source, manifest).await.ok()??;
    Some(config.platform()).filter(Platform::is_known)
}

/// The config of an image; nothing for an index or an artifact.
async fn config_of(
    source: &dyn Source,
    image: &Descriptor,
) -> Result<Option<Document<ImageConfig>>> {
    if !image.media_type.is_manifest() {
        return Ok(None);
    }
    config_in(source, &*source.manifest(image).await?).await
}

async fn config_in(
    source: &dyn Source,
    manifest: &Manifest,
) -> Result<Option<Document<ImageConfig>>> {
    match manifest {
        Manifest::Image(manifest) if manifest.is_image() => {
            source.document::<ImageConfig>(&manifest.config).await.map(Some)
        }
        _ => Ok(None),
    }
}
