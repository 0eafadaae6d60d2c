//! Small images to move around. The same arguments give the same bytes on every run.

use bytes::Bytes;
use futures_util::StreamExt;

use conex_spec::{
    Descriptor, Digest, Document, ImageConfig, ImageIndex, ImageManifest, MediaType, Platform,
};
use conex_store::{ByteStream, Memory};

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// Bytes as a stream in chunks of the given length.
pub fn chunks(bytes: &Bytes, length: usize) -> ByteStream {
    let chunks: Vec<_> = bytes.chunks(length).map(|chunk| Ok(bytes.slice_ref(chunk))).collect();
    futures_util::stream::iter(chunks).boxed()
}

/// An image of `layers` opaque layers of `length` bytes each, for one platform.
pub fn image(store: &Memory, platform: &Platform, layers: u64, length: usize) -> Descriptor {
    let layers: Vec<_> =
        (0..layers).map(|seed| store.add(MediaType::LAYER, noise(seed, length))).collect();
    image_of(store, platform, layers)
}

/// An image of uncompressed layers that are in the store.
pub fn image_of(store: &Memory, platform: &Platform, layers: Vec<Descriptor>) -> Descriptor {
    let mut config = ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        ..ImageConfig::default()
    };
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
    let config = Document::new(config).unwrap();
    let config = store.add(MediaType::CONFIG, config.bytes().clone());
    let manifest = Document::new(ImageManifest::new(config, layers)).unwrap();
    let mut root = store.add(MediaType::MANIFEST, manifest.bytes().clone());
    root.platform = Some(platform.clone());
    root
}

/// An index of images that are in the store.
pub fn index(store: &Memory, images: Vec<Descriptor>) -> Descriptor {
    let index = Document::new(ImageIndex::new(images)).unwrap();
    store.add(MediaType::INDEX, index.bytes().clone())
}

/// An image for two platforms that share one of their layers.
pub fn two_platforms(store: &Memory) -> Descriptor {
    let amd64 = image(store, &Platform::new("linux", "amd64"), 2, 5000);
    let arm64 = image(store, &Platform::new("linux", "arm64"), 3, 5000);
    index(store, vec![amd64, arm64])
}

/// A digest that names nothing.
pub fn nowhere() -> Digest {
    Digest::sha256(b"nothing has this content")
}
