//! Media types that drafts used and documents still state, with what became of them.

/// A media type of a draft.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) media_type: &'static str,
    pub(super) modern: &'static str,
    /// Which draft it was.
    pub(super) name: &'static str,
}

const EARLY: &str = "the early proposal for artifacts in registries";
const MISSPELT: &str = "early tools that left the tree of `application` out";

const DRAFTS: [Draft; 6] = [
    Draft {
        media_type: "application/vnd.oci.index.v1+json",
        modern: "application/vnd.oci.image.index.v1+json",
        name: EARLY,
    },
    Draft {
        media_type: "application/vnd.oci.manifest.v1+json",
        modern: "application/vnd.oci.image.manifest.v1+json",
        name: EARLY,
    },
    Draft {
        media_type: "application/vnd.oci.config.v1+json",
        modern: "application/vnd.oci.image.config.v1+json",
        name: EARLY,
    },
    Draft {
        media_type: "application/vnd.oci.layer.v1.tar+gzip",
        modern: "application/vnd.oci.image.layer.v1.tar+gzip",
        name: EARLY,
    },
    Draft {
        media_type: "vnd.oci.image.layer.v1.tar+gzip",
        modern: "application/vnd.oci.image.layer.v1.tar+gzip",
        name: MISSPELT,
    },
    Draft {
        media_type: ARTIFACT_MANIFEST,
        modern: "application/vnd.oci.image.manifest.v1+json",
        name: "the artifact manifest of the drafts of version 1.1",
    },
];

/// The artifact manifest, which was taken out before version 1.1.
pub(super) const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// The draft that a media type is of.
pub(super) fn find(media_type: &str) -> Option<&'static Draft> {
    DRAFTS.iter().find(|draft| draft.media_type == media_type)
}

/// What the early proposal wrote as `artifactType` beside a media type:
/// `application/vnd.oci.image.layer.v1` and the like.
pub(super) fn is_repeated_type(artifact_type: &str) -> bool {
    let parts = ["index", "manifest", "config", "layer"];
    let rest = artifact_type.strip_prefix("application/vnd.oci.image.");
    rest.and_then(|rest| rest.strip_suffix(".v1")).is_some_and(|part| parts.contains(&part))
}
