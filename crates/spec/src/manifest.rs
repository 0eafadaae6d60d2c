//! Image manifests and image indexes, of OCI and of Docker. image-spec, manifest.md and image-index.md.
//!
//! Docker's schema 2 manifest and manifest list have the same shape (image-spec, media-types.md,
//! "Compatibility Matrix"); one type serves both, and its `media_type` tells which it is.

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::descriptor::{Annotations, DESCRIPTOR, Descriptor};
use crate::digest::Digest;
use crate::document::{Document, Format};
use crate::draft::ArtifactManifest;
use crate::error::{Error, Result};
use crate::extra::Extra;
use crate::media_type::{MediaType, Role};
use crate::strict_json::{Shape, null_is_absent};

mod probe;

/// One image or artifact: a config and layers. image-spec, manifest.md, "Image Manifest Property
/// Descriptions", which has a paragraph for each member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// `schemaVersion`, always 2: it "MUST be `2`" so that older versions of Docker refuse the
    /// document instead of misreading it.
    pub schema_version: u64,
    /// `mediaType`: OCI's or Docker's manifest type, or that of a draft. "SHOULD be used"; documents
    /// from before image-spec 1.0.2 mostly leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// `artifactType`: what sort of artifact it is, where it is no image. "MUST be set when
    /// `config.mediaType` is set to the empty value".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// `config`: the image config, or what an artifact has in its place.
    pub config: Descriptor,
    /// `layers`: "MUST have the base layer at index 0" where it is an image; "SHOULD have at least
    /// one entry".
    pub layers: Vec<Descriptor>,
    /// `subject`: the manifest that this one says something about; "a weak association".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// `annotations`: free metadata; see [`crate::annotations`].
    #[serde(
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "IndexMap::is_empty"
    )]
    pub annotations: Annotations,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A list of manifests, mostly one for each platform. image-spec, image-index.md, "Image Index
/// Property Descriptions", which has a paragraph for each member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// `schemaVersion`, always 2.
    pub schema_version: u64,
    /// `mediaType`: OCI's index or Docker's list type, or that of a draft. "SHOULD be used";
    /// documents from before image-spec 1.0.2 mostly leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// `artifactType`: what sort of artifact it is, where it is no list of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// `manifests`: the entries in the order of preference. "If multiple manifests match […], the
    /// first matching entry SHOULD be used".
    pub manifests: Vec<Descriptor>,
    /// `subject`: the manifest that this one says something about; "a weak association".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// `annotations`: free metadata; see [`crate::annotations`].
    #[serde(
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "IndexMap::is_empty"
    )]
    pub annotations: Annotations,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a registry keeps under `manifests/`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "few are held at a time, and most are images")]
pub enum Manifest {
    /// One image or artifact.
    Image(ImageManifest),
    /// A list of them.
    Index(ImageIndex),
    /// One artifact, as a draft of image-spec 1.1 wrote it.
    Artifact(ArtifactManifest),
}

impl ImageManifest {
    /// A manifest of OCI for a config and its layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::MANIFEST),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
            extra: Extra::default(),
        }
    }

    /// Whether it is a container image: its config is an image config.
    pub fn is_image(&self) -> bool {
        self.config.media_type.role() == Role::Config
    }

    /// What sort of artifact it is: `artifactType`, or for older artifacts the config's type
    /// (image-spec, manifest.md, "Guidelines for Artifact Usage").
    pub fn artifact_type(&self) -> &MediaType {
        self.artifact_type.as_ref().unwrap_or(&self.config.media_type)
    }
}

impl ImageIndex {
    /// An index of OCI with these entries.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::INDEX),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Annotations::new(),
            extra: Extra::default(),
        }
    }
}

impl Manifest {
    /// Parses a manifest or an index. `media_type` is what a descriptor or a `Content-Type` says
    /// it is; it must agree with the document's own `mediaType` and with its shape, so that no
    /// two readers take one document for two things (CVE-2021-41190).
    pub fn parse(
        bytes: impl Into<Bytes>,
        media_type: Option<&MediaType>,
    ) -> Result<Document<Self>> {
        let bytes = bytes.into();
        let value = match probe::media_type_of(&bytes, media_type)?.role() {
            Role::Index => Self::Index(value(&bytes)?),
            Role::Artifact => Self::Artifact(value(&bytes)?),
            _ => Self::Image(value(&bytes)?),
        };
        Ok(Document::from_parts(bytes, value))
    }

    /// The media type: what the document says, else OCI's for its shape.
    pub fn media_type(&self) -> MediaType {
        let (own, default) = match self {
            Self::Image(image) => (&image.media_type, MediaType::MANIFEST),
            Self::Index(index) => (&index.media_type, MediaType::INDEX),
            Self::Artifact(_) => return MediaType::DRAFT_ARTIFACT,
        };
        own.clone().unwrap_or(default)
    }

    /// What it cannot be without: config and layers, or the entries. A subject is a weak link
    /// and no child.
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(image) => std::iter::once(&image.config).chain(&image.layers).collect(),
            Self::Index(index) => index.manifests.iter().collect(),
            Self::Artifact(artifact) => artifact.blobs.iter().collect(),
        }
    }

    /// The manifest that this one says something about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
            Self::Artifact(artifact) => artifact.subject.as_ref(),
        }
    }

    /// Free metadata.
    pub fn annotations(&self) -> &Annotations {
        match self {
            Self::Image(image) => &image.annotations,
            Self::Index(index) => &index.annotations,
            Self::Artifact(artifact) => &artifact.annotations,
        }
    }

    /// The `artifactType` that a list of referrers gives to this manifest: an image manifest
    /// falls back to its config's type, an index to nothing. distribution-spec, "Listing Referrers".
    pub fn referrer_type(&self) -> Option<&MediaType> {
        match self {
            Self::Image(image) => Some(image.artifact_type()),
            Self::Index(index) => index.artifact_type.as_ref(),
            Self::Artifact(artifact) => artifact.artifact_type.as_ref(),
        }
    }

    /// The entry of this manifest, whose bytes have that digest and size, in the list of the
    /// referrers of `subject`; nothing if it is none. distribution-spec, "Listing Referrers".
    pub fn as_referrer(&self, digest: &Digest, size: u64, subject: &Digest) -> Option<Descriptor> {
        if self.subject()?.digest != *subject {
            return None;
        }
        let mut entry = Descriptor::new(self.media_type(), digest.clone(), size);
        entry.artifact_type = self.referrer_type().cloned();
        entry.annotations = self.annotations().clone();
        Some(entry)
    }

    /// The image manifest; an error for an index.
    pub fn into_image(self) -> Result<ImageManifest> {
        match self {
            Self::Image(image) => Ok(image),
            other => Err(Error::invalid("not an image manifest")
                .expected("a config and layers")
                .found(other.name())),
        }
    }

    /// What a person calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Image(_) => ImageManifest::NAME,
            Self::Index(_) => ImageIndex::NAME,
            Self::Artifact(_) => ArtifactManifest::NAME,
        }
    }
}

fn value<T: Format>(bytes: &Bytes) -> Result<T> {
    Document::parse(bytes.clone()).map(Document::into_value)
}

impl Document<Manifest> {
    /// The descriptor of the bytes under the document's media type.
    pub fn as_descriptor(&self) -> Descriptor {
        self.descriptor(self.media_type())
    }
}

impl Format for ImageManifest {
    const NAME: &'static str = "image manifest";
    const SHAPE: Shape = Shape::Object(&[
        ("schemaVersion", Shape::Free),
        ("mediaType", Shape::Free),
        ("artifactType", Shape::Free),
        ("config", DESCRIPTOR),
        ("layers", Shape::Array(&DESCRIPTOR)),
        ("subject", DESCRIPTOR),
        ("annotations", Shape::Free),
    ]);

    fn check(&self) -> Result<()> {
        check_version(Self::NAME, self.schema_version)?;
        std::iter::once(&self.config)
            .chain(&self.layers)
            .chain(&self.subject)
            .try_for_each(|child| child.embedded().map(drop))
    }
}

impl Format for ImageIndex {
    const NAME: &'static str = "image index";
    const SHAPE: Shape = Shape::Object(&[
        ("schemaVersion", Shape::Free),
        ("mediaType", Shape::Free),
        ("artifactType", Shape::Free),
        ("manifests", Shape::Array(&DESCRIPTOR)),
        ("subject", DESCRIPTOR),
        ("annotations", Shape::Free),
    ]);

    fn check(&self) -> Result<()> {
        check_version(Self::NAME, self.schema_version)?;
        self.manifests.iter().chain(&self.subject).try_for_each(|child| child.embedded().map(drop))
    }
}

/// "For this version of the specification, this MUST be `2`" (image-spec, manifest.md and
/// image-index.md, "`schemaVersion`").
fn check_version(what: &str, version: u64) -> Result<()> {
    if version == 2 {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} has another schemaVersion")).expected(2).found(version))
}

#[cfg(test)]
mod tests;
