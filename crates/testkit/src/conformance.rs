//! What every store must do. Each implementation runs [`run`] on an empty store of its own.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};

use conex_spec::{Algorithm, Descriptor, Kind, MediaType, Name, Result, Tag};
use conex_store::{Memory, Sink, Source, SourceExt};

use crate::images::{self, chunks, noise};

/// A store that can be read and written.
pub trait Store: Source + Sink {}
impl<T: Source + Sink> Store for T {}

/// Runs the whole suite on one store, which is empty at the start.
pub async fn run(store: Arc<dyn Store>) {
    let store = store.as_ref();
    what_is_put_comes_back(store).await;
    ranges_are_exact(store).await;
    wrong_content_is_not_kept(store).await;
    a_broken_stream_leaves_nothing(store).await;
    putting_twice_is_no_error(store).await;
    every_registered_algorithm_works(store).await;
    unknown_algorithms_are_refused(store).await;
    what_is_not_there_is_not_found(store).await;
    roots_have_names(store).await;
    referrers_are_listed(store).await;
    many_writers_lose_nothing(store).await;
}

async fn put(store: &dyn Store, blob: &Descriptor, bytes: &bytes::Bytes) -> Result<()> {
    store.put(blob, chunks(bytes, 1000)).await
}

/// Copies everything below a root, children first.
async fn put_all(store: &dyn Store, from: &Memory, root: &Descriptor) {
    for child in from.children(root).await.unwrap() {
        Box::pin(put_all(store, from, &child)).await;
    }
    put(store, root, &from.read(root).await.unwrap()).await.unwrap();
}

async fn what_is_put_comes_back(store: &dyn Store) {
    for length in [0, 1, 999, 1000, 300_000] {
        let bytes = noise(1, length);
        let blob = Descriptor::of(MediaType::LAYER, &bytes);
        assert!(!store.has(&blob).await.unwrap() || length == 0);
        put(store, &blob, &bytes).await.unwrap();
        assert!(store.has(&blob).await.unwrap());
        assert_eq!(store.read(&blob).await.unwrap(), bytes);
    }
}

async fn ranges_are_exact(store: &dyn Store) {
    let bytes = noise(2, 300_000);
    let blob = Descriptor::of(MediaType::LAYER, &bytes);
    put(store, &blob, &bytes).await.unwrap();
    for range in [0..0, 0..1, 299_999..300_000, 1000..200_000, 0..300_000] {
        let parts: Vec<_> =
            store.open(&blob, range.clone()).await.unwrap().try_collect().await.unwrap();
        assert_eq!(parts.concat(), bytes[range.start as usize..range.end as usize], "{range:?}");
    }
}

async fn wrong_content_is_not_kept(store: &dyn Store) {
    let bytes = noise(3, 5000);
    let right = Descriptor::of(MediaType::LAYER, &bytes);
    let mut flipped = bytes.to_vec();
    flipped[4000] ^= 1;
    let longer = [&bytes[..], b"x"].concat();
    for wrong in [flipped, bytes[..4999].to_vec(), longer] {
        let err = put(store, &right, &wrong.into()).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Mismatch, "{err}");
        assert!(!store.has(&right).await.unwrap());
    }
}

async fn a_broken_stream_leaves_nothing(store: &dyn Store) {
    let bytes = noise(4, 5000);
    let blob = Descriptor::of(MediaType::LAYER, &bytes);
    let broken = futures_util::stream::iter([
        Ok(bytes.slice(..3000)),
        Err(conex_spec::Error::new(Kind::Network, "connection reset")),
    ]);
    assert!(store.put(&blob, broken.boxed()).await.is_err());
    assert!(!store.has(&blob).await.unwrap());
}

async fn putting_twice_is_no_error(store: &dyn Store) {
    let bytes = noise(5, 100);
    let blob = Descriptor::of(MediaType::LAYER, &bytes);
    put(store, &blob, &bytes).await.unwrap();
    put(store, &blob, &bytes).await.unwrap();
    assert_eq!(store.read(&blob).await.unwrap(), bytes);
}

async fn every_registered_algorithm_works(store: &dyn Store) {
    let bytes = noise(6, 2000);
    for algorithm in Algorithm::ALL {
        let blob = Descriptor::new(MediaType::LAYER, algorithm.digest(&bytes), 2000);
        put(store, &blob, &bytes).await.unwrap();
        assert_eq!(store.read(&blob).await.unwrap(), bytes);
    }
}

async fn unknown_algorithms_are_refused(store: &dyn Store) {
    let digest = "md5:d41d8cd98f00b204e9800998ecf8427e".parse().unwrap();
    let blob = Descriptor::new(MediaType::LAYER, digest, 0);
    assert!(put(store, &blob, &bytes::Bytes::new()).await.is_err());
    assert!(store.read(&blob).await.is_err());
}

async fn what_is_not_there_is_not_found(store: &dyn Store) {
    let blob = Descriptor::new(MediaType::LAYER, images::nowhere(), 5);
    assert!(!store.has(&blob).await.unwrap());
    assert_eq!(store.read(&blob).await.unwrap_err().kind(), Kind::NotFound);
    for name in [Name::Digest(images::nowhere()), Name::Tag(Tag::new("nowhere").unwrap())] {
        let err = store.resolve(Some(&name)).await.unwrap_err();
        assert_eq!(err.kind(), Kind::NotFound, "{name}: {err}");
    }
}

async fn roots_have_names(store: &dyn Store) {
    let memory = Memory::new();
    let first = images::two_platforms(&memory);
    let second = memory.children(&first).await.unwrap()[0].bare();
    put_all(store, &memory, &first).await;
    let tags = ["v1", "v1.0", "latest", "V1"].map(|tag| Tag::new(tag).unwrap());
    for tag in &tags {
        store.tag(&first, Some(tag)).await.unwrap();
    }
    let resolve = async |tag: &Tag| store.resolve(Some(&Name::Tag(tag.clone()))).await.unwrap();
    assert_eq!(resolve(&tags[1]).await, first);
    store.tag(&second, Some(&tags[0])).await.unwrap();
    assert_eq!(resolve(&tags[0]).await, second);
    assert_eq!(resolve(&tags[3]).await, first);
    let listed: Vec<String> =
        store.tags().map_ok(|tag| tag.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, ["V1", "latest", "v1", "v1.0"]);
    let by_digest = store.resolve(Some(&Name::Digest(first.digest.clone()))).await.unwrap();
    assert_eq!(by_digest, first);
    let manifest = store.manifest(&by_digest).await.unwrap();
    assert_eq!(manifest.bytes(), memory.manifest(&first).await.unwrap().bytes());
}

async fn referrers_are_listed(store: &dyn Store) {
    let memory = Memory::new();
    let subject = images::two_platforms(&memory);
    put_all(store, &memory, &subject).await;
    assert_eq!(store.referrers(&subject.digest).await.unwrap(), []);
    let empty = memory.add(MediaType::EMPTY, "{}");
    let mut manifest = conex_spec::ImageManifest::new(empty.clone(), vec![empty]);
    manifest.artifact_type = Some(MediaType::new("application/vnd.example.sbom"));
    manifest.subject = Some(subject.bare());
    manifest.annotations.insert("a".into(), "b".into());
    let manifest = conex_spec::Document::new(manifest).unwrap();
    let referrer = memory.add(MediaType::MANIFEST, manifest.bytes().clone());
    put_all(store, &memory, &referrer).await;
    store.tag(&referrer, Some(&Tag::new("sbom").unwrap())).await.unwrap();
    let listed = store.referrers(&subject.digest).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].digest, referrer.digest);
    assert_eq!(listed[0].artifact_type.as_ref(), manifest.artifact_type.as_ref());
    assert_eq!(listed[0].annotations["a"], "b");
}

async fn many_writers_lose_nothing(store: &dyn Store) {
    let memory = Memory::new();
    let root = images::two_platforms(&memory);
    let tags: Vec<_> = (0..16).map(|n| Tag::new(&format!("writer{n:02}")).unwrap()).collect();
    let writers = tags.iter().map(|tag| async {
        put_all(store, &memory, &root).await;
        store.tag(&root, Some(tag)).await.unwrap();
    });
    futures_util::future::join_all(writers).await;
    let listed: Vec<Tag> = store.tags().try_collect().await.unwrap();
    assert!(tags.iter().all(|tag| listed.contains(tag)), "{listed:?}");
}
