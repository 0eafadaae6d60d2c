//! Image manifests and image indexes, of OCI and of Docker. image-spec, manifest.md and image-index.md.
//!
//! Docker's schema 2 manifest and manifest list have the same shape (image-spec, media-types.md,
//! "Compatibility Matrix"); one type serves both, and its `media_type` tells which it is.

use bytes::Bytes;
use indexmap::IndexMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::descriptor::{Annotations, DESCRIPTOR, Descriptor};
use crate::digest::Digest;
use crate::document::{Document, Format, LIMIT};
use crate::error::{Error, Kind, Result};
use crate::media_type::{MediaType, Role};
use crate::strict_json::{self, Shape, null_is_absent};

/// One image or artifact: a config and layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u64,
    /// OCI's or Docker's manifest type; OCI documents may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What sort of artifact it is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The image config, or what an artifact has in its place.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free metadata.
    #[serde(
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "IndexMap::is_empty"
    )]
    pub annotations: Annotations,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A list of manifests, mostly one for each platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u64,
    /// OCI's index or Docker's list type; OCI documents may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What sort of artifact it is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The entries, in order of preference.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free metadata.
    #[serde(
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "IndexMap::is_empty"
    )]
    pub annotations: Annotations,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a registry keeps under `manifests/`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "few are held at a time, and most are images")]
pub enum Manifest {
    /// One image or artifact.
    Image(ImageManifest),
    /// A list of them.
    Index(ImageIndex),
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
            extra: Map::new(),
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
            extra: Map::new(),
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
        let probe: Probe = strict_json::parse(&bytes, LIMIT, Probe::SHAPE, "manifest")?;
        let media_type = probe.agree(media_type)?;
        let value = if media_type.is_index() {
            Self::Index(Document::<ImageIndex>::parse(bytes.clone())?.into_value())
        } else {
            Self::Image(Document::<ImageManifest>::parse(bytes.clone())?.into_value())
        };
        Ok(Document::from_parts(bytes, value))
    }

    /// The media type: what the document says, else OCI's for its shape.
    pub fn media_type(&self) -> MediaType {
        let (own, default) = match self {
            Self::Image(image) => (&image.media_type, MediaType::MANIFEST),
            Self::Index(index) => (&index.media_type, MediaType::INDEX),
        };
        own.clone().unwrap_or(default)
    }

    /// What it cannot be without: config and layers, or the entries. A subject is a weak link
    /// and no child.
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(image) => std::iter::once(&image.config).chain(&image.layers).collect(),
            Self::Index(index) => index.manifests.iter().collect(),
        }
    }

    /// The manifest that this one says something about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }

    /// Free metadata.
    pub fn annotations(&self) -> &Annotations {
        match self {
            Self::Image(image) => &image.annotations,
            Self::Index(index) => &index.annotations,
        }
    }

    /// The `artifactType` that a list of referrers gives to this manifest: an image manifest
    /// falls back to its config's type, an index to nothing.
    pub fn referrer_type(&self) -> Option<&MediaType> {
        match self {
            Self::Image(image) => Some(image.artifact_type()),
            Self::Index(index) => index.artifact_type.as_ref(),
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
            Self::Index(_) => Err(Error::invalid("not an image manifest")
                .expected("a config and layers")
                .found("an image index")),
        }
    }
}

impl Document<Manifest> {
    /// The descriptor of the bytes under the document's media type.
    pub fn as_descriptor(&self) -> Descriptor {
        self.descriptor(self.media_type())
    }
}

/// What tells the sorts of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: Value,
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    manifests: Present,
    #[serde(default)]
    config: Present,
    #[serde(default)]
    layers: Present,
    #[serde(default)]
    fs_layers: Present,
    #[serde(default)]
    blobs: Present,
}

/// Whether a member is there at all, even as `null` or empty.
#[derive(Clone, Copy, Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

impl Probe {
    const SHAPE: Shape = Shape::Object(&[
        ("schemaVersion", Shape::Free),
        ("mediaType", Shape::Free),
        ("manifests", Shape::Free),
        ("config", Shape::Free),
        ("layers", Shape::Free),
        ("fsLayers", Shape::Free),
    ]);

    /// The one media type that the outside, the document and its shape agree on.
    fn agree(&self, outside: Option<&MediaType>) -> Result<MediaType> {
        self.refuse_schema1(outside)?;
        let shape = self.shape()?;
        if let (Some(outside), Some(own)) = (outside, &self.media_type)
            && outside != own
        {
            return Err(Error::invalid(
                "manifest says another media type than its descriptor or Content-Type",
            )
            .expected(outside)
            .found(own));
        }
        let Some(stated) = outside.or(self.media_type.as_ref()) else {
            return Ok(shape);
        };
        match (stated.role(), shape.is_index()) {
            (Role::Index, true) | (Role::Manifest, false) => Ok(stated.clone()),
            (Role::Index, false) => Err(contradiction(stated, "`config` and `layers`")),
            (Role::Manifest, true) => Err(contradiction(stated, "`manifests`")),
            _ => Err(Error::new(Kind::Unsupported, "not a media type of a manifest")
                .expected(MediaType::MANIFESTS.map(|known| known.to_string()).join(", "))
                .found(stated)),
        }
    }

    fn refuse_schema1(&self, outside: Option<&MediaType>) -> Result<()> {
        let is_schema1 = |media_type: Option<&MediaType>| {
            media_type.is_some_and(|media_type| media_type.role() == Role::Schema1)
        };
        let named = is_schema1(outside) || is_schema1(self.media_type.as_ref());
        if self.fs_layers.0 || self.schema_version == 1 || named {
            return Err(Error::new(Kind::Unsupported, "manifest is of Docker schema 1")
                .expected("schemaVersion 2")
                .found("schemaVersion 1, whose signature and history no longer protect the image")
                .hint("push the image again with a tool of 2017 or later"));
        }
        Ok(())
    }

    /// What the members show the document to be.
    fn shape(&self) -> Result<MediaType> {
        let image = self.config.0 || self.layers.0;
        match (self.manifests.0, image) {
            (true, true) => Err(Error::invalid("manifest is both an index and an image")
                .expected("either `manifests`, or `config` and `layers`")
                .found("both")),
            (true, false) => Ok(MediaType::INDEX),
            (false, true) => Ok(MediaType::MANIFEST),
            (false, false) => Err(Error::invalid("document is no manifest")
                .expected("`manifests`, or `config` and `layers`")
                .found(if self.blobs.0 {
                    "`blobs`, as in a draft of the artifact manifest"
                } else {
                    "neither"
                })),
        }
    }
}

fn contradiction(stated: &MediaType, members: &str) -> Error {
    Error::invalid("manifest is not of the media type it states")
        .expected(stated)
        .found(format!("the members {members}"))
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

/// "For this version of the specification, this MUST be `2`".
fn check_version(what: &str, version: u64) -> Result<()> {
    if version == 2 {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} has another schemaVersion")).expected(2).found(version))
}

#[cfg(test)]
mod tests;
