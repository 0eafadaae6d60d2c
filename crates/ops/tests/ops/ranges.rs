//! A large blob over a wire that is slow for each connection, and over one that is not.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use conex_client::{Client, Options, Parallel, Repository};
use conex_server::{Config, Server};
use conex_spec::{Descriptor, Kind, MediaType, Result};
use conex_store::bridge::bytes_stream;
use conex_store::rate::{Limiter, Rate};
use conex_store::{ByteStream, Sink, SourceExt};
use conex_testkit::images::noise;
use conex_testkit::proxy::{Fault, Line, Place, Proxy, What};
use futures_util::{StreamExt, TryStreamExt};

/// What each connection brings in a second, in bytes.
const RATE: u64 = 20_000_000;
const SIZE: usize = 20 << 20;
/// What may be on its way where a connection is left, in bytes.
const SLACK: u64 = 1 << 20;

fn repository(reference: &str, change: impl FnOnce(&mut Options)) -> Repository {
    let patience = Duration::from_millis(100);
    let parallel = Parallel { patience, ..Parallel::default() };
    let mut options = Options { parallel, ..Options::default() };
    options.retry.pause = Duration::from_millis(5);
    change(&mut options);
    Client::new(options).repository(&reference.parse().unwrap())
}

async fn all(mut content: ByteStream) -> Bytes {
    let mut all = BytesMut::new();
    while let Some(chunk) = content.next().await {
        all.extend_from_slice(&chunk.unwrap());
    }
    all.freeze()
}

struct World {
    address: String,
    blob: Descriptor,
    bytes: Bytes,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().join("registry"), ([127, 0, 0, 1], 0).into());
        let server = Server::bind(config).await.unwrap();
        let address = server.local_addr().to_string();
        tokio::spawn(server.run(std::future::pending::<()>()));
        let bytes = noise(7, SIZE);
        let blob = Descriptor::of(MediaType::LAYER, &bytes);
        let content = bytes_stream(bytes.clone(), 0..SIZE as u64);
        repository(&format!("{address}/wide"), |_| {}).put(&blob, content).await.unwrap();
        Self { address, blob, bytes, _dir: dir }
    }

    fn wire(&self, rate: u64) -> Proxy {
        Proxy::start_with(&self.address, Line { rate, ..Line::default() })
    }

    /// Reads the blob. Returns how many requests that took.
    async fn read(&self, wire: &Proxy, change: impl FnOnce(&mut Options)) -> usize {
        let before = wire.requests().len();
        let source = repository(&wire.image("wide"), change);
        let found = all(source.fetch(&self.blob).await.unwrap()).await;
        assert!(found == self.bytes);
        let requests = wire.requests().split_off(before);
        requests.iter().filter(|line| line.contains("/blobs/sha256:")).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_wire_brings_it_over_several_connections_and_no_byte_twice() {
    let world = World::new().await;
    let wire = world.wire(RATE);
    let requests = world.read(&wire, |_| {}).await;
    assert!(requests > 5, "{requests} requests");
    let twice = wire.down() - world.blob.size;
    assert!(twice < SLACK, "{twice} bytes came twice");
    let alone = |options: &mut Options| options.parallel.connections = 1;
    assert_eq!(world.read(&wire, alone).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_is_not_slow_brings_it_with_one_request() {
    let world = World::new().await;
    let wire = world.wire(0);
    assert_eq!(world.read(&wire, |_| {}).await, 1);
    // Where the reader is the slow one, more connections are of no use.
    let rate = Rate::new(RATE).unwrap();
    let limited = |options: &mut Options| options.limiter = Some(Limiter::new(rate));
    assert_eq!(world.read(&wire, limited).await, 1);
    // One request at a time leaves no room for another.
    let wire = world.wire(RATE);
    assert_eq!(world.read(&wire, |options| options.per_host = 1).await, 1);
}

/// What happens to the pieces, the one connection makes good.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_stand_what_happens_to_them() {
    let world = World::new().await;
    for (what, place) in [
        (What::Cut, Place::Byte(1 << 20)),
        (What::NoRange, Place::Before),
        (What::WrongRange(1), Place::Before),
        (What::Answer("HTTP/1.1 503 Busy\r\nRetry-After: 0".into()), Place::Before),
        (What::Answer("HTTP/1.1 403 Forbidden".into()), Place::Before),
        (What::Answer("HTTP/1.1 416 Range Not Satisfiable".into()), Place::Before),
    ] {
        let name = format!("{what:?}");
        let wire = world.wire(RATE);
        let source = repository(&wire.image("wide"), |_| {});
        let content = source.fetch(&world.blob).await.unwrap();
        // The first request is under way, and nothing happens to it.
        wire.add(Fault::down(place, what).times(3));
        assert!(all(content).await == world.bytes, "{name}");
        assert!(wire.happened() > 0, "{name}");
    }
    let wire = world.wire(RATE);
    let source = repository(&wire.image("wide"), |_| {});
    let content = source.fetch(&world.blob).await.unwrap();
    wire.add(Fault::down(Place::Byte(5), What::Flip));
    let read: Result<Vec<Bytes>> = content.try_collect().await;
    assert_eq!(read.unwrap_err().kind(), Kind::Mismatch);
}
