//! Annotations of documents and descriptors, and the labels of a config.

use crate::lint::rule::rules;

rules! {
    "image-spec annotations.md" "Rules" {
        NOT_A_MAP: Error "annotations-not-map",
            "annotations and labels must be an object",
            "Where there are none, the property is absent or an empty object; typed readers refuse anything else.",
            "Write an object of strings, or leave the property out.";
        VALUE_INVALID: Error "annotation-value-invalid",
            "the value of an annotation must be a string",
            "Typed readers refuse the whole document.",
            "Write the value as a string, an empty one if need be.";
        KEY_DOMAIN: Warning "annotation-key-domain",
            "keys of annotations should be in reverse domain notation",
            "A key without a domain may mean something else to the next tool.",
            "Name it after a domain of yours: `com.example.myKey`.";
        KEY_RESERVED: Warning "annotation-key-reserved",
            "keys that begin with `org.opencontainers` should be those that OCI's specifications define",
            "The prefix is reserved; a later specification may give the key another meaning.",
            "Name it after a domain of yours.";
    }
    "image-spec annotations.md" "Pre-Defined Annotation Keys" {
        CREATED_INVALID: Warning "annotation-created-invalid",
            "`org.opencontainers.image.created` should be a time as RFC 3339 writes it",
            "Readers cannot parse it.",
            "Write it as `2006-01-02T15:04:05Z`.";
        URL_INVALID: Warning "annotation-url-invalid",
            "`url`, `documentation` and `source` of an image should be URLs",
            "Nobody can follow it.",
            "Write a whole URL, as `https://example.com/project`.";
        LICENSES_INVALID: Warning "annotation-licenses-invalid",
            "`org.opencontainers.image.licenses` should be an SPDX license expression",
            "Scanners of licences cannot parse it.",
            "Join licence ids with AND and OR, as `Apache-2.0 OR MIT`.";
        REF_NAME_GRAMMAR: Warning "annotation-ref-name-grammar",
            "`org.opencontainers.image.ref.name` should follow the grammar of a reference",
            "Tools that take it for a tag or a reference cannot name the image.",
            "Use letters, digits and single separators of -._:@/+ between them.";
        REF_NAME_PLACE: Warning "annotation-ref-name-place",
            "`org.opencontainers.image.ref.name` should stand only on descriptors in a layout's index.json",
            "Elsewhere readers are told to ignore it; it may name another image than the one it travels with.",
            "Remove it; the place where the image lies gives it its name.";
        BASE_DIGEST_INVALID: Warning "annotation-base-digest-invalid",
            "`org.opencontainers.image.base.digest` should be a digest",
            "The base image cannot be found by it.",
            "Write the digest of the base image's manifest.";
        BASE_DIGEST_MISSING: Warning "annotation-base-digest-missing",
            "`org.opencontainers.image.base.digest` should stand beside `base.name`",
            "The name alone may be another image tomorrow.",
            "Add the digest of the base image's manifest.";
        BASE_NAME_INVALID: Warning "annotation-base-name-invalid",
            "`org.opencontainers.image.base.name` should be a whole reference, with its registry",
            "Without the registry each reader assumes another one.",
            "Write it as `registry.example.com/my-org/my-image:tag`.";
    }
}
