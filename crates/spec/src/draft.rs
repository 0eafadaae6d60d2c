//! What drafts of the specification wrote, and its modern form.

mod artifact_manifest;

pub use artifact_manifest::ArtifactManifest;
