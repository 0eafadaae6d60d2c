//! What drafts and older versions of the specification wrote, and its modern form.
//!
//! Such documents still lie in registries and layouts. They are read, inspected and copied byte
//! for byte; [`traces`] names what in one of them is of a draft, and [`rewrite`] makes it a
//! document of image-spec 1.1.
//!
//! | draft | what shows it |
//! |---|---|
//! | [`Draft::Artifact`] | `application/vnd.oci.artifact.manifest.v1+json`: `blobs`, no config |
//! | [`Draft::Proposal`] | types without the word `image`; an `artifactType` beside each `mediaType` |
//! | [`Draft::Early`] | manifest lists, `serialization` types, layers without a version |
//! | [`Draft::Untyped`] | no `mediaType` in the document |
//!
//! `application/vnd.oci.layer.v1.tar+gzip`, or `vnd.oci.image.layer.v1.tar+gzip` without a tree, is
//! what the specification spells `application/vnd.oci.image.layer.v1.tar+gzip`; nothing else differs.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::descriptor::Descriptor;
use crate::manifest::Manifest;
use crate::media_type::MediaType;

mod artifact_manifest;
mod rewrite;

pub use artifact_manifest::ArtifactManifest;
pub use rewrite::{Rewritten, rewrite};

/// Where an old form comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Draft {
    /// The release candidates rc1 and rc2 of image-spec 1.1, with an artifact manifest.
    Artifact,
    /// The first proposal of artifacts in registries.
    Proposal,
    /// image-spec before 1.0.
    Early,
    /// image-spec 1.0, where `mediaType` was only reserved.
    Untyped,
}

impl Draft {
    /// What a person calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Artifact => "the artifact manifest of image-spec 1.1.0-rc1",
            Self::Proposal => "the first proposal of artifacts in registries",
            Self::Early => "image-spec before 1.0",
            Self::Untyped => "image-spec 1.0",
        }
    }

    /// The draft that a media type is of, and the type that took its place; nothing for types of
    /// today, of Docker and of others.
    pub fn of(media_type: &MediaType) -> Option<(Self, MediaType)> {
        let known = TYPES.iter().find(|(_, old, _)| old == media_type);
        known.map(|(draft, _, modern)| (*draft, modern.clone()))
    }
}

/// All media types of drafts, each with the one that took its place.
pub const TYPES: [(Draft, MediaType, MediaType); 14] = [
    (Draft::Artifact, MediaType::DRAFT_ARTIFACT, MediaType::MANIFEST),
    (Draft::Proposal, MediaType::DRAFT_INDEX, MediaType::INDEX),
    (Draft::Proposal, MediaType::DRAFT_MANIFEST, MediaType::MANIFEST),
    (Draft::Proposal, MediaType::DRAFT_CONFIG, MediaType::CONFIG),
    (Draft::Proposal, MediaType::DRAFT_LAYER, MediaType::LAYER),
    (Draft::Proposal, MediaType::DRAFT_LAYER_GZIP, MediaType::LAYER_GZIP),
    (Draft::Proposal, MediaType::DRAFT_LAYER_ZSTD, MediaType::LAYER_ZSTD),
    (Draft::Proposal, MediaType::BARE_LAYER_GZIP, MediaType::LAYER_GZIP),
    (Draft::Early, MediaType::EARLY_LIST, MediaType::INDEX),
    (Draft::Early, MediaType::EARLY_CONFIG, MediaType::CONFIG),
    (Draft::Early, MediaType::EARLY_ROOTFS_GZIP, MediaType::LAYER_GZIP),
    (Draft::Early, MediaType::EARLY_SHORT_ROOTFS_GZIP, MediaType::LAYER_GZIP),
    (Draft::Early, MediaType::EARLY_LAYER, MediaType::LAYER),
    (Draft::Early, MediaType::EARLY_LAYER_GZIP, MediaType::LAYER_GZIP),
];

/// What the proposal wrote as `artifactType` beside each `mediaType` of a container image. It says
/// no more than the media type does, and image-spec 1.1 gives `artifactType` another meaning.
pub const IMAGE_PARTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1",
    "application/vnd.oci.image.manifest.v1",
    "application/vnd.oci.image.config.v1",
    "application/vnd.oci.image.layer.v1",
];

fn is_image_part(artifact_type: &MediaType) -> bool {
    IMAGE_PARTS.contains(&artifact_type.as_str())
}

/// One place where a document is of a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// Where, as a JSON pointer (RFC 6901): `/layers/0/mediaType`.
    pub place: String,
    /// Of which draft it is.
    pub draft: Draft,
    /// What stands there; nothing where a member is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What image-spec 1.1 writes there; nothing where it writes no such member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modern: Option<String>,
}

/// Every place where a manifest or an index is of a draft; none for one of today or of Docker.
pub fn traces(manifest: &Manifest) -> Vec<Trace> {
    let mut traces = Traces(Vec::new());
    match manifest {
        Manifest::Image(image) => {
            traces.own_type(image.media_type.as_ref(), &MediaType::MANIFEST);
            traces.artifact_type("", image.artifact_type.as_ref());
            traces.descriptor("/config", &image.config);
            traces.descriptors("/layers", &image.layers);
        }
        Manifest::Index(index) => {
            traces.own_type(index.media_type.as_ref(), &MediaType::INDEX);
            traces.artifact_type("", index.artifact_type.as_ref());
            traces.descriptors("/manifests", &index.manifests);
        }
        Manifest::Artifact(artifact) => {
            traces.media_type("/mediaType", &MediaType::DRAFT_ARTIFACT);
            traces.descriptors("/blobs", &artifact.blobs);
        }
    }
    if let Some(subject) = manifest.subject() {
        traces.descriptor("/subject", subject);
    }
    traces.0
}

struct Traces(Vec<Trace>);

impl Traces {
    fn add(&mut self, place: String, draft: Draft, found: Option<&str>, modern: Option<&str>) {
        let [found, modern] = [found, modern].map(|text| text.map(str::to_owned));
        self.0.push(Trace { place, draft, found, modern });
    }

    fn own_type(&mut self, own: Option<&MediaType>, modern: &MediaType) {
        match own {
            Some(own) => self.media_type("/mediaType", own),
            None => self.add("/mediaType".into(), Draft::Untyped, None, Some(modern.as_str())),
        }
    }

    fn media_type(&mut self, place: &str, found: &MediaType) {
        if let Some((draft, modern)) = Draft::of(found) {
            self.add(place.into(), draft, Some(found.as_str()), Some(modern.as_str()));
        }
    }

    fn artifact_type(&mut self, parent: &str, found: Option<&MediaType>) {
        if let Some(found) = found.filter(|found| is_image_part(found)) {
            let place = format!("{parent}/artifactType");
            self.add(place, Draft::Proposal, Some(found.as_str()), None);
        }
    }

    fn descriptor(&mut self, place: &str, descriptor: &Descriptor) {
        self.media_type(&format!("{place}/mediaType"), &descriptor.media_type);
        self.artifact_type(place, descriptor.artifact_type.as_ref());
    }

    fn descriptors(&mut self, place: &str, descriptors: &[Descriptor]) {
        for (index, descriptor) in descriptors.iter().enumerate() {
            self.descriptor(&format!("{place}/{index}"), descriptor);
        }
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Draft {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// `/layers/0/mediaType is of …: found, now modern`.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, draft, found, modern } = self;
        match (found, modern) {
            (Some(found), Some(modern)) => write!(f, "{place} is {found} of {draft}, now {modern}"),
            (Some(found), None) => write!(f, "{place} is {found} of {draft}, now left out"),
            (None, Some(modern)) => write!(f, "{place} is missing, as in {draft}, now {modern}"),
            (None, None) => write!(f, "{place} is of {draft}"),
        }
    }
}

#[cfg(test)]
mod tests;
