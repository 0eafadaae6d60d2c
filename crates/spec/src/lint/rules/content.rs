//! Content that documents refer to.

use crate::lint::rule::rules;

rules! {
    "image-spec image-layout.md" "Blobs" {
        MISSING: Error "blob-missing",
            "content that is referred to must be there",
            "The image cannot be used without it.",
            "Copy the image again from a place that has it.";
    }
    "image-spec descriptor.md" "Properties" {
        SIZE_MISMATCH: Error "blob-size-mismatch",
            "content must have the size that its descriptor says",
            "It is not the content that was meant, or it is cut; nobody may trust it.",
            "Copy the image again from a sound place, or correct the descriptor.";
    }
    "image-spec descriptor.md" "Verification" {
        DIGEST_MISMATCH: Error "blob-digest-mismatch",
            "content must have the digest that its descriptor says",
            "It was damaged or replaced; nobody may trust it.",
            "Copy the image again from a sound place.";
        UNVERIFIABLE: Warning "blob-unverifiable",
            "content should be of a digest that can be verified",
            "conex knows sha256, sha512 and blake3; content under other digests is not looked at.",
            "Use sha256.";
        UNREADABLE: Error "blob-unreadable",
            "a blob must be a regular file that can be read",
            "Links and special files in a layout can point out of it, so they are not followed.",
            "Replace it with a regular file of the content.";
    }
    "image-spec layer.md" "`+gzip` Media Types" {
        COMPRESSION_MISMATCH: Error "layer-compression-mismatch",
            "a layer must be compressed as its media type says",
            "Strict readers refuse it; others guess.",
            "Correct the media type, or compress the layer as it says.";
        OPAQUE: Warning "layer-opaque",
            "a layer should be of a compression that can be undone",
            "conex knows gzip and zstd; whether other layers have their diff IDs is not looked at.",
            "Compress the layer with gzip or zstd.";
        CORRUPT: Error "layer-corrupt",
            "a layer must decompress to its end",
            "The layer cannot be unpacked, or different readers see different content after its end.",
            "Rebuild the layer.";
    }
    "conex" "Limits" {
        TOO_DEEP: Error "graph-too-deep",
            "indexes must be nested at most 32 levels deep",
            "Deeper nesting has no use and exhausts readers.",
            "Flatten the index.";
        TOO_LARGE: Error "graph-too-large",
            "a root must refer to at most 100,000 descriptors",
            "Readers hold them in memory.",
            "Split the index.";
    }
}
