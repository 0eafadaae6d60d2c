//! The archives that `docker save` writes.

use crate::lint::rule::rules;

rules! {
    "Docker image/spec v1.2" "Combined Image JSON + Filesystem Changeset Format" {
        LIST_MISSING: Error "archive-manifest-missing",
            "an archive of `docker save` must have a file `manifest.json`",
            "Engines since Docker 1.10 find the images of an archive by nothing else.",
            "Save the image again with a later engine, or read an OCI layout as oci-archive:FILE.";
        LIST_INVALID: Error "archive-manifest-invalid",
            "`manifest.json` must be an array of images, each with its config, names and layers",
            "Engines refuse the archive, or load another image than the one that was saved.",
            "Write `[{\"Config\": \"…\", \"RepoTags\": [\"NAME:TAG\"], \"Layers\": [\"…\"]}]`.";
        LIST_EMPTY: Error "archive-manifest-empty",
            "`manifest.json` must list an image",
            "There is nothing in the archive that could be loaded.",
            "Save an image.";
        CONFIG_MISSING: Error "archive-config-missing",
            "the config of an image must be in the archive",
            "The image cannot be loaded.",
            "Save the image again, or correct `Config` in `manifest.json`.";
        LAYER_MISSING: Error "archive-layer-missing",
            "the layers of an image must be in the archive",
            "The image cannot be loaded, unless the engine happens to have that layer.",
            "Save the image again, or correct `Layers` in `manifest.json`.";
        NAME_OUTSIDE: Error "archive-name-outside",
            "a name in `manifest.json` must not lead out of the archive",
            "A careless reader would take a file of the machine for a part of the image.",
            "Name a member of the archive; do not load the archive anywhere before that.";
        MEMBER_UNREADABLE: Error "archive-member-unreadable",
            "a member that an image is made of must be one regular file, or a link to one",
            "Where there are two members of one name, some readers take the first and others the last; links can lead astray.",
            "Save the image again.";
        CONFIG_NAME: Error "archive-config-name",
            "a config that is called by a digest must have that digest",
            "It was changed after it was saved, and every reader gives the image another ID.",
            "Save the image again.";
        REPO_TAG_INVALID: Error "archive-repotag-invalid",
            "a name of an image must be NAME:TAG",
            "Engines refuse to load the archive.",
            "Correct `RepoTags` in `manifest.json`; an image without names has `null`.";
        REPO_TAG_TWICE: Warning "archive-repotag-twice",
            "two images should not have the same name",
            "Whichever is loaded last takes the name from the other.",
            "Give one of them another name in `RepoTags`.";
        REPOSITORIES: Warning "archive-repositories-differ",
            "`repositories` should list the names that `manifest.json` lists",
            "Scripts and engines before Docker 1.10 read it and would see other images.",
            "Save the images again, or remove the file: later engines do not read it.";
        LAYOUT_DIFFERS: Error "archive-layout-differs",
            "`manifest.json` and the OCI layout of one archive must give an image the same layers",
            "Two readers of the archive would see two images.",
            "Save the image again.";
    }
}
