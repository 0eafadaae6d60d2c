//! Platforms, in an index and in a config.

use crate::lint::rule::rules;

rules! {
    "image-spec image-index.md" "Image Index Property Descriptions" {
        NOT_AN_OBJECT: Error "platform-not-object",
            "`platform` must be a JSON object",
            "Typed readers refuse the whole index.",
            "Write an object with `architecture` and `os`.";
        ARCHITECTURE_MISSING: Error "platform-architecture-missing",
            "a platform must have an `architecture`",
            "Nobody can tell which machines run it.",
            "Add the CPU in Go's words, as `amd64`.";
        OS_MISSING: Error "platform-os-missing",
            "a platform must have an `os`",
            "Nobody can tell which machines run it.",
            "Add the operating system in Go's words, as `linux`.";
        MEMBER_INVALID: Error "platform-member-invalid",
            "`architecture`, `os`, `os.version` and `variant` of a platform must be strings",
            "Typed readers refuse the whole document.",
            "Write a string, or leave the member out where it is optional.";
        ARCHITECTURE_UNKNOWN: Warning "platform-architecture-unknown",
            "`architecture` should be one of Go's words (GOARCH)",
            "Readers compare it with Go's words and will not choose this image.",
            "Write it as Go does: `amd64`, not `x86_64`; `arm64`, not `aarch64`.";
        OS_UNKNOWN: Warning "platform-os-unknown",
            "`os` should be one of Go's words (GOOS)",
            "Readers compare it with Go's words and will not choose this image.",
            "Write it as Go does: `linux`, `windows`, `freebsd`.";
        OS_FEATURES_INVALID: Error "platform-os-features-invalid",
            "`os.features` must be an array of strings",
            "Typed readers refuse the whole document.",
            "Write an array of strings, or leave it out.";
        OS_FEATURES_UNKNOWN: Warning "platform-os-features-unknown",
            "`os.features` of Windows should hold only `win32k`",
            "Nobody knows what another value asks of the host.",
            "Remove the value.";
        FEATURES_RESERVED: Warning "platform-features-reserved",
            "`features` of a platform should not be used",
            "It is reserved for later versions of the specification; no reader obeys it.",
            "Remove it.";
    }
    "image-spec image-index.md" "Platform Variants" {
        VARIANT_UNKNOWN: Warning "platform-variant-unknown",
            "`variant` should be one that the specification lists for the architecture",
            "Readers that choose by variant do not know this one.",
            "Write it as the table does: `v7` for `arm`, `v8` for `arm64`, `v3` for `amd64`.";
    }
}
