//! What OCI and Docker have in common. image-spec, media-types.md, "Compatibility Matrix".
//!
//! [`MATRIX`] is that matrix; [`to_oci`] and [`to_docker`] read it for one media type, and
//! [`convert`] for a whole document. A config and a layer are the same bytes in both worlds, so
//! only manifests and indexes are ever written anew.

use crate::document::Document;
use crate::draft::Draft;
use crate::error::{Error, Kind, Result};
use crate::manifest::Manifest;
use crate::media_type::MediaType;
use crate::renewed::Renewed;

mod convert;

pub use convert::{Converted, convert};

/// How near two media types are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// "Interchangeable and fully compatible".
    Same,
    /// "Similar/related schema": one has members that the other has not.
    Related,
    /// Not in the matrix of the specification; what clients take for the same all the same.
    Practice,
}

/// One row of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// OCI's type.
    pub oci: MediaTypeRef,
    /// Docker's type.
    pub docker: MediaTypeRef,
    /// How near they are.
    pub fit: Fit,
    /// Members that only OCI's document has: names joined by dots, `[]` behind an array.
    pub only_oci: &'static [&'static str],
    /// Members that only Docker's document has, or that OCI reserves for Docker.
    pub only_docker: &'static [&'static str],
}

/// The text of a media type, as a table can hold it.
pub type MediaTypeRef = &'static str;

/// All pairs, the first of each type being the one that a conversion takes.
///
/// Beyond what the specification lists: `subject`, `artifactType` and `data` came to OCI later than
/// the matrix, and Docker's schema 2 has none of them.
pub const MATRIX: [Row; 8] = [
    Row {
        oci: "application/vnd.oci.image.index.v1+json",
        docker: "application/vnd.docker.distribution.manifest.list.v2+json",
        fit: Fit::Related,
        only_oci: &[
            "annotations",
            "subject",
            "artifactType",
            "manifests[].annotations",
            "manifests[].urls",
            "manifests[].data",
            "manifests[].artifactType",
        ],
        only_docker: &[],
    },
    Row {
        oci: "application/vnd.oci.image.manifest.v1+json",
        docker: "application/vnd.docker.distribution.manifest.v2+json",
        fit: Fit::Related,
        only_oci: &[
            "annotations",
            "subject",
            "artifactType",
            "config.annotations",
            "config.urls",
            "config.data",
            "config.artifactType",
            "layers[].annotations",
            "layers[].data",
            "layers[].artifactType",
        ],
        only_docker: &[],
    },
    Row {
        oci: "application/vnd.oci.image.config.v1+json",
        docker: "application/vnd.docker.container.image.v1+json",
        fit: Fit::Related,
        only_oci: &[],
        only_docker: &[
            "config.Memory",
            "config.MemorySwap",
            "config.CpuShares",
            "config.Healthcheck",
            "config.ArgsEscaped",
        ],
    },
    layer(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        Fit::Same,
    ),
    layer(
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        Fit::Practice,
    ),
    layer(
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        Fit::Practice,
    ),
    layer(
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        Fit::Practice,
    ),
    layer(
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        Fit::Practice,
    ),
];

const fn layer(oci: MediaTypeRef, docker: MediaTypeRef, fit: Fit) -> Row {
    Row { oci, docker, fit, only_oci: &[], only_docker: &[] }
}

/// Whose media types a document has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// image-spec.
    Oci,
    /// Docker's schema 2 and manifest list.
    Docker,
}

/// OCI's type for one of Docker's or of a draft; OCI's own and unknown ones stay.
pub fn to_oci(media_type: &MediaType) -> MediaType {
    let found = MATRIX.iter().find(|row| row.docker == media_type.as_str());
    match (found, Draft::of(media_type)) {
        (Some(row), _) => MediaType::from_static(row.oci),
        (None, Some((_, modern))) => modern,
        (None, None) => media_type.clone(),
    }
}

/// Docker's type for one of OCI's or of a draft; Docker's own stay.
///
/// # Errors
/// `Unsupported` for a type that Docker has none for, such as those of artifacts.
pub fn to_docker(media_type: &MediaType) -> Result<MediaType> {
    let oci = to_oci(media_type);
    let found = MATRIX.iter().find(|row| row.oci == oci.as_str());
    found.map(|row| MediaType::from_static(row.docker)).ok_or_else(|| {
        Error::new(Kind::Unsupported, "Docker has no such media type")
            .expected("a type of a container image or of its parts")
            .found(media_type)
    })
}

/// The row of a document's type, whichever side it is on.
pub fn row_of(media_type: &MediaType) -> Option<&'static Row> {
    let text = to_oci(media_type);
    MATRIX.iter().find(|row| row.oci == text.as_str())
}

/// Whether a document is wholly of one dialect already.
pub fn is_of(document: &Document<Manifest>, dialect: Dialect) -> bool {
    convert(document, dialect, &Renewed::new())
        .is_ok_and(|converted| converted.document.bytes() == document.bytes())
}

#[cfg(test)]
mod tests;
