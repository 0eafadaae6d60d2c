//! The artifact manifest of image-spec 1.1.0-rc1 and rc2.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::descriptor::{Annotations, DESCRIPTOR, Descriptor};
use crate::document::Format;
use crate::error::{Error, Result};
use crate::extra::Extra;
use crate::media_type::MediaType;
use crate::strict_json::{Shape, null_is_absent};

/// An artifact without config and layers: what image-spec 1.1 planned to have beside the image
/// manifest, and gave up before it came out. It has no `schemaVersion`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactManifest {
    /// `mediaType`, always [`MediaType::DRAFT_ARTIFACT`]; missing only where a descriptor tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// `artifactType`: what sort of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// `blobs`: what it packs; may be none.
    #[serde(default, deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Descriptor>,
    /// `subject`: the manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// `annotations`: free metadata.
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

impl Format for ArtifactManifest {
    const NAME: &'static str = "artifact manifest";
    const SHAPE: Shape = Shape::Object(&[
        ("mediaType", Shape::Free),
        ("artifactType", Shape::Free),
        ("blobs", Shape::Array(&DESCRIPTOR)),
        ("subject", DESCRIPTOR),
        ("annotations", Shape::Free),
    ]);

    fn check(&self) -> Result<()> {
        match &self.media_type {
            Some(other) if *other != MediaType::DRAFT_ARTIFACT => {
                return Err(Error::invalid("not an artifact manifest")
                    .expected(MediaType::DRAFT_ARTIFACT)
                    .found(other));
            }
            _ => {}
        }
        self.blobs.iter().chain(&self.subject).try_for_each(|child| child.embedded().map(drop))
    }
}
