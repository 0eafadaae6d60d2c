//! Every store of this crate runs the one suite.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;

use conex_spec::Location;
use conex_store::{Layout, LocalStore, Memory};
use conex_testkit::conformance;

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    conformance::run(Arc::new(Memory::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layout() {
    let dir = tempfile::tempdir().unwrap();
    conformance::run(Arc::new(Layout::create(&dir.path().join("layout"), None).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path(), Location::Memory).unwrap();
    conformance::run(Arc::new(store)).await;
}
