//! Descriptors, and the digests and media types that stand in them.

use crate::lint::rule::rules;

rules! {
    "image-spec descriptor.md" "Properties" {
        NOT_AN_OBJECT: Error "descriptor-not-object",
            "a descriptor must be a JSON object",
            "Content is referred to by descriptors only; nothing else can be followed.",
            "Write an object with `mediaType`, `digest` and `size`.";
        MEDIA_TYPE_MISSING: Error "descriptor-media-type-missing",
            "a descriptor must have a `mediaType`",
            "Without it no reader knows how to treat the content.",
            "Add the media type of the content.";
        MEDIA_TYPE_INVALID: Error "descriptor-media-type-invalid",
            "a descriptor's `mediaType` must be a media type as RFC 6838, section 4.2, writes it",
            "Registries and tools refuse or misread other text.",
            "Write TYPE/SUBTYPE of letters, digits and !#$&-^_.+, each beginning with a letter or digit and at most 127 characters long.";
        DIGEST_MISSING: Error "descriptor-digest-missing",
            "a descriptor must have a `digest`",
            "Without it the content can neither be found nor verified.",
            "Add the digest of the content's bytes.";
        SIZE_MISSING: Error "descriptor-size-missing",
            "a descriptor must have a `size`",
            "A reader must know what to expect before it processes the content.",
            "Add the length of the content in bytes.";
        SIZE_INVALID: Error "descriptor-size-invalid",
            "a descriptor's `size` must be a whole number of at most 2^63 - 1",
            "It is an int64; `1.0`, `1e3` and larger numbers are refused by strict readers.",
            "Write the length of the content in bytes, in digits only.";
        SIZE_NEGATIVE: Error "descriptor-size-negative",
            "a descriptor's `size` must not be negative",
            "No content has such a length; readers that compute with it fail.",
            "Write the length of the content in bytes.";
        URLS_INVALID: Error "descriptor-urls-invalid",
            "a descriptor's `urls` must be an array of strings",
            "Typed readers refuse the whole document.",
            "Write an array of strings, or leave it out.";
        URL_INVALID: Error "descriptor-url-invalid",
            "each of a descriptor's `urls` must be a URI as RFC 3986 writes it",
            "Nothing can be fetched from it.",
            "Write SCHEME:REST, with %XX for every character that a URI may not hold.";
        URL_SCHEME: Warning "descriptor-url-scheme",
            "each of a descriptor's `urls` should be of the scheme `http` or `https`",
            "Few readers fetch from anything else, and some may open local files.",
            "Offer the content over HTTPS.";
        DATA_INVALID: Error "descriptor-data-invalid",
            "a descriptor's `data` must be Base64 as RFC 4648, section 4, writes it",
            "The content cannot be decoded.",
            "Encode with the alphabet of `+` and `/`, padded with `=`, without line breaks.";
        DATA_MISMATCH: Error "descriptor-data-mismatch",
            "a descriptor's `data` must be the content that `digest` and `size` name",
            "A reader that trusts `data` and one that fetches the blob would see different content.",
            "Embed the very bytes of the blob, or leave `data` out.";
        ARTIFACT_TYPE_INVALID: Error "descriptor-artifact-type-invalid",
            "a descriptor's `artifactType` must be a media type as RFC 6838, section 4.2, writes it",
            "Registries and tools that filter by it refuse or misread other text.",
            "Write TYPE/SUBTYPE, or leave it out.";
        PLATFORM_MISSING: Warning "descriptor-platform-missing",
            "a descriptor of an image manifest in an index should have a `platform`",
            "A reader that chooses by platform cannot choose this image without fetching its config.",
            "Add the `platform` of the image's config.";
    }
    "image-spec descriptor.md" "Digests" {
        DIGEST_INVALID: Error "digest-invalid",
            "a digest must be ALGORITHM:ENCODED",
            "The content can neither be found nor verified, and such text is unsafe in a path.",
            "Write the digest of the content, as `sha256:` and 64 lower-case hexadecimal digits.";
    }
    "image-spec descriptor.md" "Registered algorithms" {
        DIGEST_ENCODING: Error "digest-encoding",
            "a digest of a registered algorithm must have exactly its lower-case hexadecimal digits",
            "Upper-case or missing digits name nothing: content is found by comparing text.",
            "Write 64 lower-case hexadecimal digits after `sha256:` and `blake3:`, 128 after `sha512:`.";
        DIGEST_NOT_SHA256: Warning "digest-not-sha256",
            "digests should be SHA-256",
            "Every implementation verifies SHA-256; sha512 and blake3 are optional.",
            "Use sha256 unless all readers are known.";
        DIGEST_UNREGISTERED: Warning "digest-unregistered",
            "the algorithm of a digest should be registered in the specification",
            "Nobody can verify it without prior arrangement; conex carries such content and never trusts it.",
            "Use sha256, sha512 or blake3.";
    }
    "image-spec manifest.md" "Guidance for an Empty Descriptor" {
        EMPTY_CONTENT: Warning "descriptor-empty-content",
            "content of the empty media type should be `{}`",
            "The type says that there is nothing to read; other content will be overlooked.",
            "Refer to the two bytes `{}`, or use another media type.";
    }
    "image-spec media-types.md" "Compatibility Matrix" {
        DOCKER_MEDIA_TYPE: Warning "docker-media-type",
            "media types should be OCI's, not Docker's",
            "Docker's types are understood almost everywhere, but lack annotations, subjects and artifacts.",
            "Convert the image to OCI; its layers stay as they are.";
        DOCKER_PROPERTY: Warning "docker-oci-property",
            "documents of Docker's types should have no properties that only OCI has",
            "Docker's formats have no annotations; readers drop or overlook them.",
            "Convert the image to OCI, or leave the property out.";
    }
    "image-spec layer.md" "Non-Distributable Layers" {
        NON_DISTRIBUTABLE: Warning "layer-nondistributable",
            "no new layers should be non-distributable",
            "Such layers are deprecated; registries may lack them, and each reader needs their `urls`.",
            "Build the image with an ordinary layer where its licence allows that.";
    }
    "image-spec 1.1" "Media types that drafts used" {
        DRAFT_MEDIA_TYPE: Warning "draft-media-type",
            "media types should be those that were standardised",
            "Only the tools of that time know the type of the draft.",
            "Rewrite the document to the modern type.";
        DRAFT_ARTIFACT_TYPE: Warning "draft-artifact-type",
            "`artifactType` should not repeat the media type, as an early draft had it",
            "Today it tells what sort of artifact a manifest is, so that readers take this image for an artifact.",
            "Remove it; `mediaType` says it all.";
    }
}
