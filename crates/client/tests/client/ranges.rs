//! A large blob over several connections, from where the registry leads to.
//! Over real wires: `crates/ops/tests/ops/ranges.rs`; what such a place may see: `leaks.rs`.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use common::fake::{Fake, Reply, Request, Step, head, reply};
use common::{all, blob, noise, quick, repository};
use conex_store::SourceExt;

static BYTES: LazyLock<Bytes> = LazyLock::new(|| noise(8 << 20));

/// All of it slowly, a part of it at once.
fn serve(request: &Request) -> Reply {
    let Some((first, last)) = request.range() else {
        let length = format!("Content-Length: {}", BYTES.len());
        let mut steps = vec![Step::Send(head(200, &[&length]))];
        for piece in BYTES.chunks(64 << 10) {
            steps.extend([Step::Send(piece.to_vec()), Step::Wait(Duration::from_millis(5))]);
        }
        return steps;
    };
    let range = format!("Content-Range: bytes {first}-{last}/{}", BYTES.len());
    reply(206, &[&range], &BYTES[first..=last])
}

async fn read(registry: &Fake) -> usize {
    let (mut options, _) = quick();
    options.parallel.patience = Duration::from_millis(40);
    let source = repository(options, &registry.reference("a"));
    let read = all(source.fetch(&blob(&BYTES)).await.unwrap()).await.unwrap();
    assert!(read == *BYTES);
    registry.seen().len()
}

/// A registry that leads to another place, each time with another signature.
async fn leading_to(storage: &Fake) -> Fake {
    let there = storage.url("/blob");
    Fake::start(move |request| match request.target.as_str() {
        "/v2/" => Vec::new(),
        _ => reply(307, &[&format!("Location: {there}?signature={}", request.count)], ""),
    })
    .await
}

#[tokio::test]
async fn pieces_come_from_where_the_registry_led_to_without_asking_it_again() {
    let storage = Fake::start(serve).await;
    let registry = leading_to(&storage).await;
    assert_eq!(read(&registry).await, 1);
    assert!(storage.seen().len() > 2, "{:?}", storage.lines());
    assert!(storage.seen().iter().all(|request| request.target == "/blob?signature=0"));
}

/// The registry gives another one.
#[tokio::test]
async fn a_signature_that_is_over() {
    let storage = Fake::start(|request| match request.range() {
        Some(_) if request.target.ends_with("=0") => reply(403, &[], "Request has expired"),
        _ => serve(request),
    })
    .await;
    let registry = leading_to(&storage).await;
    let requests = read(&registry).await;
    assert!(requests > 2, "{requests}");
    let once = storage.seen().iter().filter(|request| request.range().is_none()).count();
    assert_eq!(once, 1, "the head comes to the cut");
}

/// Who knows no ranges goes on with what it had begun.
#[tokio::test]
async fn a_server_without_ranges_sends_no_byte_twice() {
    let storage = Fake::start(|request| match request.range() {
        Some(_) => reply(416, &[], ""),
        None => serve(request),
    })
    .await;
    let registry = leading_to(&storage).await;
    read(&registry).await;
    let once = storage.seen().iter().filter(|request| request.range().is_none()).count();
    assert_eq!(once, 1);
}
