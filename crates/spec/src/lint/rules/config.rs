//! Image configs.

use crate::lint::rule::rules;

rules! {
    "image-spec config.md" "Properties" {
        ARCHITECTURE_MISSING: Error "config-architecture-missing",
            "a config must have an `architecture`",
            "Nobody can tell which machines run the image.",
            "Add the CPU in Go's words, as `amd64`.";
        OS_MISSING: Error "config-os-missing",
            "a config must have an `os`",
            "Nobody can tell which machines run the image.",
            "Add the operating system in Go's words, as `linux`.";
        ROOTFS_MISSING: Error "config-rootfs-missing",
            "a config must have a `rootfs`",
            "Without diff IDs the layers cannot be verified, and images share one image ID.",
            "Add `rootfs` with `type` and `diff_ids`.";
        ROOTFS_TYPE_MISSING: Error "config-rootfs-type-missing",
            "a config's `rootfs` must have a `type`",
            "Readers refuse to unpack an image of unknown type.",
            "Write `\"type\": \"layers\"`.";
        ROOTFS_TYPE_UNKNOWN: Error "config-rootfs-type-unknown",
            "the `type` of a config's `rootfs` must be `layers`",
            "Implementations must refuse any other value.",
            "Write `\"type\": \"layers\"`.";
        DIFF_IDS_MISSING: Error "config-diff-ids-missing",
            "a config's `rootfs` must have `diff_ids`",
            "Without diff IDs the layers cannot be verified.",
            "Add the digest of each uncompressed layer, base first.";
        DIFF_IDS_INVALID: Error "config-diff-ids-invalid",
            "a config's `diff_ids` must be an array of strings",
            "Typed readers refuse the config.",
            "Write an array with the digest of each uncompressed layer, base first.";
        MEMBER_INVALID: Error "config-member-invalid",
            "each property of a config must be of the JSON type that the specification gives it",
            "Typed readers refuse the whole config, and with it the image.",
            "Write the property as the specification shows it, or leave it out.";
        CREATED_INVALID: Error "config-created-invalid",
            "`created` of a config and of its history must be a time as RFC 3339, section 5.6, writes it",
            "Typed readers refuse the whole config.",
            "Write it as `2006-01-02T15:04:05Z`.";
        EXPOSED_PORT_INVALID: Warning "config-exposed-port-invalid",
            "an exposed port should be PORT, PORT/tcp or PORT/udp",
            "Engines refuse or overlook it.",
            "Write a number of 1 to 65535, and `/tcp` or `/udp` where need be.";
        ENV_INVALID: Error "config-env-invalid",
            "an entry of `Env` must be NAME=VALUE",
            "An entry without `=` takes the value of the host's variable in some engines, which then leaks (CVE-2026-57231).",
            "Write `NAME=VALUE`, and `NAME=` for an empty value.";
        USER_RANGE: Error "config-user-range",
            "a numeric `User` must be at most 4294967295",
            "A larger number wraps around to another user, to root at worst (CVE-2024-40635).",
            "Use a number of the system, or a name.";
        USER_PARTS: Warning "config-user-parts",
            "`User` should be a user, or a user and a group with a colon between them",
            "What is meant by an empty part is decided by each engine: some take root.",
            "Write `user`, `uid`, `user:group` or `uid:gid`.";
        STOP_SIGNAL_INVALID: Warning "config-stop-signal-invalid",
            "`StopSignal` should be the name of a signal, as `SIGTERM` or `SIGRTMIN+3`",
            "Engines that do not know it kill the container at once.",
            "Write the name with `SIG` before it.";
        ARGS_ESCAPED: Warning "config-args-escaped",
            "`ArgsEscaped` should not be set",
            "It is deprecated, and only some engines on Windows know what it means.",
            "Leave it out.";
        HISTORY_LONGER: Error "config-history-longer",
            "a config's history must have no more entries that made a layer than there are layers",
            "Tools that show or squash layers by their history take the wrong one or fail.",
            "Set `empty_layer` on entries that made no layer.";
        HISTORY_SHORTER: Warning "config-history-shorter",
            "a config's history, where there is one, should have an entry for each layer",
            "Tools that show layers beside their history show the wrong command.",
            "Add an entry for each layer, or leave the history out.";
        DIFF_IDS_COUNT: Error "config-diff-ids-count",
            "a config must have one diff ID for each layer of the manifest",
            "The image cannot be unpacked and verified.",
            "Rebuild the config from the layers.";
    }
    "image-spec config.md" "Layer DiffID" {
        DIFF_ID_MISMATCH: Error "layer-diff-id-mismatch",
            "a layer's diff ID must be the digest of its uncompressed tar",
            "The file system is not the one that the config names; engines refuse the layer.",
            "Rebuild the config from the layers.";
    }
}
