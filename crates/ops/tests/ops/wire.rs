//! Client and server with a bad wire between them.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::{Duration, Instant};

use conex_client::{Client, Options, Repository, Retry, Timeouts};
use conex_server::{Config, Server};
use conex_spec::{Descriptor, MediaType};
use conex_store::Sink;
use conex_store::bridge::bytes_stream;
use conex_testkit::faults::Pair;
use conex_testkit::images::noise;
use conex_testkit::proxy::{Fault, Place, Proxy, What};

/// How many transfers are cut at random bytes; more with `CONEX_CUTS=1000`.
const CUTS: u64 = 24;

fn pair(registry: &str, chunk_size: Option<u64>) -> Pair<impl Fn(&str) -> Repository + use<>> {
    let repository = move |reference: &str| {
        let retry = Retry { pause: Duration::from_millis(5), ..Retry::default() };
        let stall = Duration::from_millis(300);
        let answer = Duration::from_millis(800);
        let timeouts = Timeouts { stall, answer, commit: answer, ..Timeouts::default() };
        let options = Options { retry, timeouts, chunk_size, ..Options::default() };
        Client::new(options).repository(&reference.parse().unwrap())
    };
    let method = if chunk_size.is_some() { "PATCH" } else { "PUT" };
    Pair { registry: registry.to_owned(), repository, method, slack: Some(64 << 10) }
}

async fn registry() -> (String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path().join("registry"), ([127, 0, 0, 1], 0).into());
    config.limits.body_time = Duration::from_secs(2);
    let server = Server::bind(config).await.unwrap();
    let address = server.local_addr().to_string();
    tokio::spawn(server.run(std::future::pending::<()>()));
    (address, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_stand_every_fault() {
    let (address, _dir) = registry().await;
    pair(&address, None).downloads().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_one_piece_stand_every_fault() {
    let (address, _dir) = registry().await;
    pair(&address, None).uploads().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_chunks_stand_every_fault() {
    let (address, _dir) = registry().await;
    pair(&address, Some(2 << 20)).uploads().await;
}

/// Rule C12.
#[tokio::test(flavor = "multi_thread")]
async fn random_cuts() {
    #[allow(clippy::disallowed_methods, reason = "whoever runs the test may want more")]
    let runs = std::env::var("CONEX_CUTS").map_or(CUTS, |runs| runs.parse().unwrap());
    let (address, _dir) = registry().await;
    pair(&address, None).random_cuts(1, runs).await;
    pair(&address, Some(1 << 20)).random_cuts(1_000_000, runs.div_ceil(4)).await;
}

/// A line that only trickles on the way up is given up like one that stalls: a new connection brings
/// the rest. Waiting until all has trickled would take hours here.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_trickles_is_given_up() {
    let (address, _dir) = registry().await;
    for chunk_size in [None, Some(24 << 20)] {
        let pair = pair(&address, chunk_size);
        let proxy = Proxy::start(&address);
        proxy.add(Fault::up(pair.method, Place::Byte(1 << 20), What::Throttle(1 << 10)));
        let bytes = noise(chunk_size.unwrap_or(1), 32 << 20);
        let blob = Descriptor::of(MediaType::LAYER, &bytes);
        let begun = Instant::now();
        let content = bytes_stream(bytes.clone(), 0..blob.size);
        let repository = (pair.repository)(&proxy.image("slow"));
        let put = repository.put(&blob, content).await;
        // A stream that was read cannot be read again; chunks are still at hand.
        match chunk_size {
            None => assert!(put.unwrap_err().to_string().contains("takes an upload too slowly")),
            Some(_) => assert!(put.is_ok() && repository.has(&blob).await.unwrap(), "{put:?}"),
        }
        assert_eq!(proxy.happened(), 1);
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}

/// Where everyone may read everything, the registry is told only the digest of what it has elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_has_goes_up_once() {
    let (address, _dir) = registry().await;
    let pair = pair(&address, None);
    let proxy = Proxy::start(&address);
    for size in [70_000, 5 << 20] {
        let bytes = noise(size as u64, size);
        let blob = Descriptor::of(MediaType::LAYER, &bytes);
        let before = proxy.up();
        for name in ["a", "b/c"] {
            let repository = (pair.repository)(&proxy.image(name));
            repository.put(&blob, bytes_stream(bytes.clone(), 0..blob.size)).await.unwrap();
            assert!(repository.has(&blob).await.unwrap(), "{name}");
        }
        assert_eq!(proxy.up() - before, blob.size);
    }
}
