//! Image manifests.

use crate::lint::rule::rules;

rules! {
    "image-spec manifest.md" "Image Manifest Property Descriptions" {
        SCHEMA_VERSION_MISSING: Error "manifest-schema-version-missing",
            "a manifest must have a `schemaVersion`",
            "Readers tell manifests of Docker's first format apart by it.",
            "Add `\"schemaVersion\": 2`.";
        SCHEMA_VERSION_INVALID: Error "manifest-schema-version-invalid",
            "a manifest's `schemaVersion` must be 2",
            "Its value never changes; readers refuse any other.",
            "Write `\"schemaVersion\": 2`, a number.";
        MEDIA_TYPE_MISSING: Warning "manifest-media-type-missing",
            "a manifest should state its `mediaType`",
            "Without it the document can be taken for something else (CVE-2021-41190).",
            "Add `\"mediaType\": \"application/vnd.oci.image.manifest.v1+json\"`.";
        MEDIA_TYPE_INVALID: Error "manifest-media-type-invalid",
            "a manifest's `mediaType` must be `application/vnd.oci.image.manifest.v1+json`",
            "Readers refuse a document that says it is something else.",
            "Write that media type; what sort of artifact it is belongs into `artifactType`.";
        ARTIFACT_TYPE_INVALID: Error "manifest-artifact-type-invalid",
            "a manifest's `artifactType` must be a media type as RFC 6838, section 4.2, writes it",
            "Registries and tools that filter by it refuse or misread other text.",
            "Write TYPE/SUBTYPE, or leave it out.";
        ARTIFACT_TYPE_MISSING: Error "manifest-artifact-type-missing",
            "a manifest whose config is empty must have an `artifactType`",
            "Nothing else tells what the artifact is.",
            "Add the `artifactType`.";
        CONFIG_MISSING: Error "manifest-config-missing",
            "a manifest must have a `config`",
            "Readers need it even where there is nothing in it.",
            "Add the descriptor of the config, or the empty descriptor.";
        CONFIG_MEDIA_TYPE: Warning "manifest-config-media-type",
            "the config of a container image should be of the type `application/vnd.oci.image.config.v1+json`",
            "The layers are those of an image, but no runtime knows this config.",
            "Use that type for an image; give an artifact an `artifactType`.";
        LAYERS_MISSING: Error "manifest-layers-missing",
            "a manifest must have `layers`",
            "Typed readers refuse the document, or take it for another.",
            "Add the layers, or one empty descriptor for an artifact without content.";
        LAYERS_INVALID: Error "manifest-layers-invalid",
            "a manifest's `layers` must be an array",
            "Readers refuse the document.",
            "Write an array of descriptors.";
        LAYERS_EMPTY: Warning "manifest-layers-empty",
            "a manifest's `layers` should have at least one entry",
            "Some registries refuse a manifest without layers.",
            "Add one empty descriptor (`application/vnd.oci.empty.v1+json`).";
        LAYER_MEDIA_TYPE: Warning "manifest-layer-media-type",
            "the layers of a container image should be of a layer type of the specification",
            "Runtimes cannot unpack a layer of a type that they do not know.",
            "Use `application/vnd.oci.image.layer.v1.tar`, with `+gzip` or `+zstd`.";
    }
    "image-spec manifest.md" "Guidelines for Artifact Usage" {
        ARTIFACT_CONFIG: Warning "manifest-artifact-config",
            "an artifact's `config.mediaType` should be its own or the empty type, not that of an image",
            "Runtimes take it for a container image.",
            "Give the config a type of its own, or use the empty descriptor.";
        ARTIFACT_LAYER_EMPTY: Warning "manifest-artifact-layer-size",
            "a single layer that an artifact does not need should not be of size zero",
            "Some registries refuse empty blobs.",
            "Use the empty descriptor, whose content is `{}`.";
    }
    "image-spec media-types.md" "Media Type Conflicts" {
        MEDIA_TYPE_MISMATCH: Error "media-type-mismatch",
            "a document must be of the media type that its descriptor says",
            "Two readers take it for two things; a scanner may check an index where a runtime starts an image (CVE-2021-41190).",
            "Correct the descriptor, or the document's `mediaType`.";
        SHAPE_CONFLICT: Error "document-shape-conflict",
            "a document must be either an index or a manifest, and have the members of what it says it is",
            "Readers that look at other members see another document (CVE-2021-41190).",
            "Keep either `manifests`, or `config` and `layers`.";
    }
    "image-spec media-types.md" "Compatibility Matrix" {
        DOCKER_SCHEMA1: Error "docker-schema1",
            "a manifest must not be of Docker's schema 1",
            "Its signature and history no longer protect the image, and registries no longer take it.",
            "Pull the image with an old tool and push it again as schema 2 or OCI.";
    }
    "image-spec 1.1" "Media types that drafts used" {
        DRAFT_ARTIFACT_MANIFEST: Warning "draft-artifact-manifest",
            "an artifact should be an image manifest, not the artifact manifest of a draft of version 1.1",
            "The artifact manifest was taken out again before version 1.1; registries refuse it.",
            "Rewrite it as an image manifest: `blobs` become `layers`, the config becomes the empty descriptor.";
    }
}
