//! What only the local store does.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;

use conex_spec::{Kind, Location, Name, Tag};
use conex_store::{Collection, LocalStore, Memory, Sink, Source};
use conex_testkit::images;

#[tokio::test]
async fn names_are_listed_replaced_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path(), Location::Memory).unwrap();
    let from = Memory::new();
    let root = images::two_platforms(&from);
    let names =
        ["docker.io/library/b:1", "docker.io/library/a:1"].map(|name| Tag::new(name).unwrap());
    for name in &names {
        store.tag(&root, Some(name)).await.unwrap();
        store.tag(&root, Some(name)).await.unwrap();
    }
    store.tag(&root, None).await.unwrap();
    let listed: Vec<_> = store.entries().unwrap().into_iter().map(|entry| entry.name).collect();
    let digest = root.digest.as_str();
    assert_eq!(listed, ["docker.io/library/a:1", "docker.io/library/b:1", digest]);
    let name = Name::Tag(names[0].clone());
    assert_eq!(store.remove(&name).unwrap(), ["docker.io/library/b:1"]);
    assert!(store.remove(&name).unwrap().is_empty());
    let err = store.resolve(Some(&name)).await.unwrap_err();
    assert_eq!(err.kind(), Kind::NotFound);
    assert_eq!(err.found_value(), Some("docker.io/library/a:1"));
    let digest = Name::Digest(root.digest.clone());
    assert_eq!(store.resolve(Some(&digest)).await.unwrap(), root);
}

#[tokio::test]
async fn a_store_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    LocalStore::open(dir.path(), Location::Memory).unwrap().make().unwrap();
    fs::write(dir.path().join("version"), "conex store 2\n").unwrap();
    let err = LocalStore::open(dir.path(), Location::Memory).unwrap_err();
    assert_eq!(err.kind(), Kind::Unsupported);
    assert_eq!(err.found_value(), Some("conex store 2"));
}

#[tokio::test]
async fn a_damaged_name_is_told_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path(), Location::Memory).unwrap();
    let root = images::two_platforms(&Memory::new());
    store.tag(&root, Some(&Tag::new("x").unwrap())).await.unwrap();
    let file = fs::read_dir(dir.path().join("refs")).unwrap().next().unwrap().unwrap().path();
    fs::write(file, "{").unwrap();
    assert_eq!(store.entries().unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn what_is_only_asked_makes_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = LocalStore::open(&path, Location::Memory).unwrap();
    let name = Name::Tag(Tag::new("x").unwrap());
    assert!(store.entries().unwrap().is_empty() && store.remove(&name).unwrap().is_empty());
    assert_eq!(store.resolve(Some(&name)).await.unwrap_err().kind(), Kind::NotFound);
    assert!(store.key().is_none() && !path.exists());
    store.make().unwrap();
    assert!(store.key().is_some() && path.exists());
}

#[test]
fn a_folder_of_something_else_is_not_made_a_store() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("oci-layout"), "{}").unwrap();
    let store = LocalStore::open(dir.path(), Location::Memory).unwrap();
    let err = store.make().unwrap_err();
    assert_eq!((err.kind(), err.found_value()), (Kind::Usage, Some("oci-layout")));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
