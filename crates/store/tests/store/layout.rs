//! What a layout directory does with what others left there.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use conex_spec::{Descriptor, Kind, MediaType, Name, Platform, Tag};
use conex_store::seal::{Key, is_sealed};
use conex_store::{Layout, Memory, Sink, Source, SourceExt};
use conex_testkit::images::{self, chunks, noise};

/// One person's key.
fn key() -> Option<Key> {
    Key::from_bytes(&[7; 32])
}

fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

/// A layout with one blob in it.
async fn with_blob(dir: &Path) -> (Layout, Descriptor) {
    let layout = Layout::create(dir, key()).unwrap();
    let bytes = noise(7, 5000);
    let blob = Descriptor::of(MediaType::LAYER, &bytes);
    layout.put(&blob, chunks(&bytes, 1000)).await.unwrap();
    (layout, blob)
}

fn file_of(dir: &Path, blob: &Descriptor) -> std::path::PathBuf {
    dir.join(conex_store::blobs::path(&blob.digest).unwrap())
}

fn stage(dir: &Path) -> usize {
    fs::read_dir(dir.join(".conex/stage")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn only_a_layout_of_the_known_version_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Layout::open(dir.path(), key()).unwrap_err().kind(), Kind::NotFound);
    Layout::create(dir.path(), key()).unwrap().make().unwrap();
    for (marker, kind) in [
        (r#"{"imageLayoutVersion":"2.0.0"}"#, Kind::Unsupported),
        ("{}", Kind::Invalid),
        ("not json", Kind::Invalid),
    ] {
        fs::write(dir.path().join("oci-layout"), marker).unwrap();
        assert_eq!(Layout::open(dir.path(), key()).unwrap_err().kind(), kind, "{marker}");
        assert!(Layout::create(dir.path(), key()).is_err());
    }
}

#[tokio::test]
async fn a_damaged_blob_is_not_there_and_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (layout, blob) = with_blob(dir.path()).await;
    let file = file_of(dir.path(), &blob);
    let sound = fs::read(&file).unwrap();
    let mut flipped = sound.clone();
    flipped[77] ^= 1;
    for damaged in [flipped, sound[..4999].to_vec(), Vec::new()] {
        fs::write(&file, damaged).unwrap();
        assert!(!layout.has(&blob).await.unwrap());
        assert_eq!(layout.read(&blob).await.unwrap_err().kind(), Kind::Mismatch);
        layout.put(&blob, chunks(&sound.clone().into(), 1000)).await.unwrap();
        assert!(layout.has(&blob).await.unwrap());
        assert_eq!(layout.read(&blob).await.unwrap(), sound);
    }
}

#[tokio::test]
async fn a_blob_of_another_tool_is_hashed_once_and_then_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (layout, blob) = with_blob(dir.path()).await;
    let file = file_of(dir.path(), &blob);
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, bytes).unwrap();
    let sealed =
        || is_sealed(key().as_ref(), &fs::File::open(&file).unwrap(), &blob.digest).unwrap();
    assert!(!sealed());
    assert!(layout.has(&blob).await.unwrap());
    assert!(sealed());
}

/// Rule D6.
#[tokio::test]
async fn a_blob_that_is_no_regular_file_is_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let (layout, blob) = with_blob(dir.path()).await;
    let file = file_of(dir.path(), &blob);
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(layout.read(&blob).await.is_err());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(layout.read(&blob).await.is_err());
    fs::remove_dir(&file).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(layout.read(&blob).await.is_err());
}

#[tokio::test]
async fn two_entries_of_one_name_are_read_as_the_first_and_written_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (from, layout) = (Memory::new(), Layout::create(dir.path(), key()).unwrap());
    layout.make().unwrap();
    let platform = Platform::new("linux", "amd64");
    let [a, b, c] = [1, 2, 3].map(|layers| images::image(&from, &platform, layers, 10));
    let entry = |image: &Descriptor, name: &str| {
        let mut entry = image.clone();
        entry.annotations.insert("org.opencontainers.image.ref.name".into(), name.into());
        entry
    };
    let index = images::index(&from, vec![entry(&a, "v"), entry(&b, "v"), entry(&b, "w")]);
    fs::write(dir.path().join("index.json"), from.read(&index).await.unwrap()).unwrap();
    let resolve = async || layout.resolve(Some(&Name::Tag(tag("v")))).await.unwrap().digest;
    assert_eq!(resolve().await, a.digest);
    layout.tag(&c, Some(&tag("v"))).await.unwrap();
    assert_eq!(resolve().await, c.digest);
    let names: Vec<_> =
        layout.roots().unwrap().iter().map(|root| root.ref_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["v", "w"]);
}

#[tokio::test]
async fn what_others_wrote_into_the_index_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (from, layout) = (Memory::new(), Layout::create(dir.path(), key()).unwrap());
    let root = images::two_platforms(&from);
    let index = r#"{"x-tool":{"a":1},"manifests":[],"schemaVersion":2,"annotations":{"k":"v"}}"#;
    fs::write(dir.path().join("index.json"), index).unwrap();
    layout.tag(&root, None).await.unwrap();
    let written = fs::read_to_string(dir.path().join("index.json")).unwrap();
    assert!(written.starts_with(r#"{"x-tool":{"a":1},"manifests":[{"mediaType""#), "{written}");
    assert!(written.ends_with(r#""schemaVersion":2,"annotations":{"k":"v"}}"#), "{written}");
    layout.tag(&root, Some(&tag("named"))).await.unwrap();
    assert_eq!(layout.roots().unwrap().len(), 1);
    assert_eq!(layout.resolve(None).await.unwrap(), root);
}

#[tokio::test]
async fn what_a_killed_writer_left_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let (layout, blob) = with_blob(dir.path()).await;
    fs::write(dir.path().join(".conex/stage/left-behind"), "half").unwrap();
    assert_eq!(stage(dir.path()), 1);
    Layout::create(dir.path(), key()).unwrap().make().unwrap();
    assert_eq!(stage(dir.path()), 0);
    assert!(layout.has(&blob).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_with_handles_of_their_own_lose_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let from = Arc::new(Memory::new());
    let root = images::two_platforms(&from);
    let writers = (0..16).map(|n| {
        let (path, root) = (dir.path().to_owned(), root.clone());
        tokio::spawn(async move {
            let layout = Layout::create(&path, key()).unwrap();
            for round in 0..4 {
                layout.tag(&root, Some(&tag(&format!("w{n}-{round}")))).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(Layout::open(dir.path(), key()).unwrap().roots().unwrap().len(), 64);
    assert_eq!(stage(dir.path()), 0);
}

#[tokio::test]
async fn blobs_of_one_file_system_are_linked_not_copied() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let (from, blob) = with_blob(&dir.path().join("a")).await;
    let to = Layout::create(&dir.path().join("b"), key()).unwrap();
    assert!(to.adopt(&blob, &from).await.unwrap());
    let inode = |name: &str| fs::metadata(file_of(&dir.path().join(name), &blob)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
    // Without its seal a file's content is not known, so it is not taken over unread.
    fs::write(file_of(&dir.path().join("a"), &blob), noise(8, 5000)).unwrap();
    let third = Layout::create(&dir.path().join("c"), key()).unwrap();
    assert!(!third.adopt(&blob, &from).await.unwrap());
}

/// A stranger can set any time on a file, and restore it, but does not know the key.
#[tokio::test]
async fn the_seals_of_a_stranger_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, blob) = with_blob(&dir.path().join("theirs")).await;
    assert!(theirs.has(&blob).await.unwrap());
    let mine = Key::from_bytes(&[8; 32]);
    let file = file_of(&dir.path().join("theirs"), &blob);
    let sealed = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, noise(9, 5000)).unwrap();
    fs::File::open(&file).unwrap().set_modified(sealed).unwrap();
    let layout = Layout::open(&dir.path().join("theirs"), mine.clone()).unwrap();
    assert!(!layout.has(&blob).await.unwrap());
    let store = Layout::create(&dir.path().join("mine"), mine).unwrap();
    assert!(!store.adopt(&blob, &layout).await.unwrap());
    let content = layout.open(&blob, 0..blob.size).await.unwrap();
    assert_eq!(store.put(&blob, content).await.unwrap_err().kind(), Kind::Mismatch);
}

/// A manifest is read to tell its type; a blob of any size is not.
#[tokio::test]
async fn a_large_blob_is_found_by_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path(), key()).unwrap();
    let bytes = noise(8, 9 << 20);
    let blob = Descriptor::of(MediaType::new("application/octet-stream"), &bytes);
    layout.put(&blob, chunks(&bytes, 1 << 20)).await.unwrap();
    let found = layout.resolve(Some(&Name::Digest(blob.digest.clone()))).await.unwrap();
    assert_eq!(found, blob);
}
