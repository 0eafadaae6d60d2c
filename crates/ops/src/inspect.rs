//! `conex inspect`: what a root is, in one look.

use serde::Serialize;

use conex_spec::config::Execution;
use conex_spec::{
    Annotations, Descriptor, ImageConfig, ImageManifest, Location, Manifest, MediaType, Platform,
    Result,
};
use conex_store::{Source, SourceExt};

use crate::open::Context;

/// What a root is.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// The root.
    pub root: Descriptor,
    /// The manifest that it says something about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// The root's own annotations.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// What sort of root it is.
    #[serde(flatten)]
    pub content: Content,
}

/// What sort of root it is.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "one is made for each command")]
pub enum Content {
    /// A list of manifests.
    Index {
        /// Its entries, in the order of preference.
        entries: Vec<Descriptor>,
    },
    /// A container image.
    Image(Image),
    /// Something else that a registry holds.
    Artifact {
        /// What sort of artifact.
        #[serde(rename = "artifactType")]
        artifact_type: MediaType,
        /// The config; a draft of the artifact manifest has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        config: Option<Descriptor>,
        /// What it packs.
        layers: Vec<Descriptor>,
    },
}

/// A container image.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    /// What it runs on.
    pub platform: Platform,
    /// When it was made, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What a container starts with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,
    /// The config.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Layer>,
    /// The size in bytes of all layers as they are stored.
    pub size: u64,
}

/// A layer and how it came to be.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// The layer.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// The command that made it.
    #[serde(rename = "createdBy", skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// Looks at what a location names.
pub async fn inspect(context: &Context, location: &Location) -> Result<Report> {
    let (source, root) = context.resolve(location).await?;
    inspect_root(source.as_ref(), location, root).await
}

/// Looks at a root of a source.
pub async fn inspect_root(
    source: &dyn Source,
    location: &Location,
    root: Descriptor,
) -> Result<Report> {
    let manifest = source.manifest(&root).await?.into_value();
    Ok(Report {
        location: location.clone(),
        subject: manifest.subject().cloned(),
        annotations: manifest.annotations().clone(),
        content: content(source, manifest).await?,
        root,
    })
}

async fn content(source: &dyn Source, manifest: Manifest) -> Result<Content> {
    match manifest {
        Manifest::Index(index) => Ok(Content::Index { entries: index.manifests }),
        Manifest::Image(manifest) if manifest.is_image() => {
            image(source, manifest).await.map(Content::Image)
        }
        Manifest::Image(manifest) => Ok(Content::Artifact {
            artifact_type: manifest.artifact_type().clone(),
            config: Some(manifest.config),
            layers: manifest.layers,
        }),
        Manifest::Artifact(manifest) => Ok(Content::Artifact {
            artifact_type: manifest.artifact_type.unwrap_or(MediaType::DRAFT_ARTIFACT),
            config: None,
            layers: manifest.blobs,
        }),
    }
}

async fn image(source: &dyn Source, manifest: ImageManifest) -> Result<Image> {
    let config = source.document::<ImageConfig>(&manifest.config).await?.into_value();
    let platform = config.platform();
    let mut made = config.history.into_iter().filter(|entry| !entry.empty_layer);
    let layers = manifest.layers.into_iter().map(|descriptor| Layer {
        descriptor,
        created_by: made.next().and_then(|entry| entry.created_by),
    });
    let layers: Vec<_> = layers.collect();
    Ok(Image {
        platform,
        created: config.created,
        execution: config.config,
        config: manifest.config,
        size: layers.iter().map(|layer| layer.descriptor.size).fold(0, u64::saturating_add),
        layers,
    })
}
