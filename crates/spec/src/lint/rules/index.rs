//! Image indexes, and the files of a layout.

use crate::lint::rule::rules;

rules! {
    "image-spec image-index.md" "Image Index Property Descriptions" {
        SCHEMA_VERSION_MISSING: Error "index-schema-version-missing",
            "an index must have a `schemaVersion`",
            "Readers tell manifests of Docker's first format apart by it.",
            "Add `\"schemaVersion\": 2`.";
        SCHEMA_VERSION_INVALID: Error "index-schema-version-invalid",
            "an index's `schemaVersion` must be 2",
            "Its value never changes; readers refuse any other.",
            "Write `\"schemaVersion\": 2`, a number.";
        MEDIA_TYPE_MISSING: Warning "index-media-type-missing",
            "an index should state its `mediaType`",
            "Without it the document can be taken for something else (CVE-2021-41190).",
            "Add `\"mediaType\": \"application/vnd.oci.image.index.v1+json\"`.";
        MEDIA_TYPE_INVALID: Error "index-media-type-invalid",
            "an index's `mediaType` must be `application/vnd.oci.image.index.v1+json`",
            "Readers refuse a document that says it is something else.",
            "Write that media type; what sort of artifact it is belongs into `artifactType`.";
        ARTIFACT_TYPE_INVALID: Error "index-artifact-type-invalid",
            "an index's `artifactType` must be a media type as RFC 6838, section 4.2, writes it",
            "Registries and tools that filter by it refuse or misread other text.",
            "Write TYPE/SUBTYPE, or leave it out.";
        MANIFESTS_MISSING: Error "index-manifests-missing",
            "an index must have `manifests`",
            "Typed readers refuse the document, or take it for another.",
            "Add the array; it may be empty.";
        MANIFESTS_INVALID: Error "index-manifests-invalid",
            "an index's `manifests` must be an array",
            "Readers refuse the document.",
            "Write an array of descriptors; it may be empty.";
        ENTRY_MEDIA_TYPE: Warning "index-entry-media-type",
            "the entries of an index should be image manifests and indexes",
            "Most readers pass over entries of other types.",
            "Pack other content as an artifact, in an image manifest.";
        PLATFORM_MISMATCH: Error "index-platform-mismatch",
            "`os` and `architecture` of an index's entry must be those of the image's config",
            "A machine is given an image that it cannot run.",
            "Correct the index, or rebuild the image for the right platform.";
        PLATFORM_DETAIL: Warning "index-platform-detail",
            "`variant` and `os.version` of an index's entry should be those of the image's config",
            "Readers that choose by them choose another image than the builder meant.",
            "Correct the index or the config.";
    }
    "image-spec image-layout.md" "Content" {
        MARKER_MISSING: Error "layout-marker-missing",
            "a layout must have a file `oci-layout`",
            "Without the marker no tool takes the folder for a layout.",
            "Write `{\"imageLayoutVersion\":\"1.0.0\"}` to `oci-layout`.";
        INDEX_MISSING: Error "layout-index-missing",
            "a layout must have a file `index.json`",
            "Without it nothing in the layout has a name.",
            "Write an index of the layout's images to `index.json`.";
        BLOBS_MISSING: Error "layout-blobs-missing",
            "a layout must have a folder `blobs`",
            "Tools that list or add content fail.",
            "Make the folder; it may be empty.";
        VERSION_MISSING: Error "layout-version-missing",
            "`oci-layout` must state its `imageLayoutVersion`",
            "Readers refuse a layout of unknown version.",
            "Write `\"imageLayoutVersion\": \"1.0.0\"`.";
    }
    "image-spec image-layout.md" "oci-layout file" {
        VERSION_UNKNOWN: Error "layout-version-unknown",
            "the version of a layout must be 1.0.0",
            "Readers refuse a layout of unknown version.",
            "Write `\"imageLayoutVersion\": \"1.0.0\"`.";
    }
    "image-spec image-layout.md" "Blobs" {
        BLOB_NAME: Error "layout-blob-name",
            "what lies in `blobs` must be named as ALGORITHM/ENCODED of a digest",
            "Nothing can refer to such a file, and some tools fail when they list it.",
            "Remove the file, or move it out of `blobs`.";
    }
    "image-spec image-layout.md" "index.json file" {
        REF_NAME_DUPLICATE: Warning "layout-ref-name-duplicate",
            "no two different entries of index.json should have the same name",
            "Readers take the first, the last or none: the name is ambiguous.",
            "Remove the name from one of them.";
    }
}
