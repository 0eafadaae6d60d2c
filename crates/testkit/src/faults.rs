//! What a client must stand between itself and a registry: every fault at every class of byte, up and
//! down, and cuts at random bytes (rule C12).
//!
//! After each the content is right, or there is a clear error and a later try is right; and where
//! the transfer went on, few bytes went twice.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use conex_spec::{Descriptor, Kind, MediaType, Result};
use conex_store::bridge::bytes_stream;
use conex_store::{ByteStream, Reopen, Sink, Source, SourceExt};

use crate::images::noise;
use crate::proxy::{Direction, Fault, Place, Proxy, What};

/// More than what a client sends again from memory.
const SIZE: usize = 5 << 20;
/// What may be on its way when a connection ends, in bytes.
const SLACK: u64 = 64 << 10;
/// What is asked for of a blob where not all is.
const START: u64 = 1000;

/// A client and a registry.
#[derive(Debug)]
pub struct Pair<F> {
    /// `host:port`
    pub registry: String,
    /// A client's repository, by its reference.
    pub repository: F,
    /// The method that content is uploaded with.
    pub method: &'static str,
    /// How many bytes of a request that broke off the registry may have lost; nothing for all.
    pub slack: Option<u64>,
}

/// A blob that is at hand.
struct Content(Bytes);

#[async_trait]
impl Reopen for Content {
    async fn open(&self, from: u64) -> Result<ByteStream> {
        // In pieces of an ordinary size, so that a stall shows.
        let all = bytes_stream(self.0.clone(), from..self.0.len() as u64);
        Ok(all
            .flat_map(|chunk| {
                let pieces = chunk.map(|chunk| {
                    chunk.chunks(64 << 10).map(Bytes::copy_from_slice).map(Ok).collect::<Vec<_>>()
                });
                futures_util::stream::iter(pieces.unwrap_or_else(|err| vec![Err(err)]))
            })
            .boxed())
    }
}

fn blob(seed: u64, size: usize) -> (Descriptor, Bytes) {
    let bytes = noise(seed, size);
    (Descriptor::of(MediaType::LAYER, &bytes), bytes)
}

async fn all(mut content: ByteStream) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(chunk) = content.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all.freeze())
}

impl<R, F> Pair<F>
where
    R: Source + Sink,
    F: Fn(&str) -> R,
{
    fn direct(&self) -> R {
        (self.repository)(&format!("{}/wire", self.registry))
    }

    fn through(&self, proxy: &Proxy) -> R {
        (self.repository)(&proxy.image("wire"))
    }

    /// Every fault, at every class of byte of an answer that brings a blob.
    pub async fn downloads(&self) {
        let (blob, bytes) = blob(1, SIZE);
        self.direct().put_from(&blob, &Content(bytes.clone())).await.unwrap();
        let proxy = Proxy::start(&self.registry);
        for place in Place::all(blob.size) {
            for what in [What::Cut, What::Stall, What::Delay(std::time::Duration::from_millis(20))]
            {
                let name = format!("{place:?} {what:?}");
                proxy.add(Fault::down(place, what));
                let (before, happened) = (proxy.down(), proxy.happened());
                let found = all(self.through(&proxy).fetch(&blob).await.unwrap()).await;
                assert!(found.unwrap() == bytes, "{name}");
                proxy.wait(happened + 1);
                let twice = proxy.down() - before - blob.size;
                assert!(twice <= SLACK, "{name}: {twice} bytes came twice");
            }
        }
        for place in [Place::FirstByte, Place::Byte(blob.size / 2), Place::LastByte] {
            proxy.add(Fault::down(place, What::Flip));
            let found = all(self.through(&proxy).fetch(&blob).await.unwrap()).await;
            assert_eq!(found.unwrap_err().kind(), Kind::Mismatch, "{place:?}");
        }
        self.lies(&proxy, &blob, &bytes).await;
    }

    async fn lies(&self, proxy: &Proxy, blob: &Descriptor, bytes: &Bytes) {
        for (what, start, right) in [
            (What::WrongLength(1), 0, false),
            (What::WrongLength(-1), 0, false),
            (What::WrongLength(-1), START, false),
            (What::WrongRange(1), START, false),
            (What::WrongRange(-1), START, false),
            (What::NoRange, START, true),
            (What::Answer("HTTP/1.1 503 Busy\r\nRetry-After: 0".into()), START, true),
            (What::Answer("HTTP/1.1 429 Slow down".into()), 0, true),
            (What::Answer("HTTP/1.1 206 Part\r\nContent-Range: bytes 0-0/1".into()), 0, false),
        ] {
            let name = format!("{what:?}");
            proxy.add(Fault::down(Place::Before, what));
            let found = match self.through(proxy).open(blob, start..blob.size).await {
                Ok(content) => all(content).await,
                Err(err) => Err(err),
            };
            match found {
                Ok(found) => assert!(right && found == bytes.slice(start as usize..), "{name}"),
                Err(err) => assert!(!right && err.kind() == Kind::Mismatch, "{name}: {err}"),
            }
        }
    }

    /// Every fault, at every class of byte of a request that brings a blob, and of its answer.
    pub async fn uploads(&self) {
        let proxy = Proxy::start(&self.registry);
        let mut seed = 100;
        for direction in [Direction::Up, Direction::Down] {
            for place in Place::all(SIZE as u64 / 2) {
                for what in [What::Cut, What::Stall] {
                    let name = format!("{direction:?} {place:?} {what:?}");
                    seed += 1;
                    let (blob, bytes) = blob(seed, SIZE);
                    // What stalls, the registry believes to be alive for a long time.
                    let slack = self.slack.filter(|_| matches!(what, What::Cut));
                    // A server that finds the connection gone may not have read what was sent last.
                    let sent = matches!((direction, place), (Direction::Up, Place::After));
                    let slack = slack.filter(|_| !sent);
                    proxy.add(Fault::up(self.method, place, what).towards(direction));
                    let (before, happened) = (proxy.up(), proxy.happened());
                    let put = self.through(&proxy).put_from(&blob, &Content(bytes.clone())).await;
                    put.unwrap_or_else(|err| panic!("{name}: {err}"));
                    proxy.wait(happened + 1);
                    self.is_there(&blob, &bytes).await;
                    let twice = proxy.up() - before - blob.size;
                    let most = slack.unwrap_or(u64::MAX);
                    assert!(twice <= most, "{name}: {twice} bytes went twice");
                }
            }
        }
        for place in [Place::FirstByte, Place::Byte(SIZE as u64 / 8)] {
            seed += 1;
            let (blob, bytes) = blob(seed, SIZE);
            proxy.add(Fault::up(self.method, place, What::Flip));
            let put = self.through(&proxy).put_from(&blob, &Content(bytes.clone())).await;
            let there = self.direct().has(&blob).await.unwrap();
            assert_eq!(put.is_ok(), there, "{place:?}");
            self.direct().put_from(&blob, &Content(bytes.clone())).await.unwrap();
            self.is_there(&blob, &bytes).await;
        }
    }

    /// Transfers that are cut one to three times each, at random bytes.
    pub async fn random_cuts(&self, seed: u64, runs: u64) {
        let proxy = Proxy::start(&self.registry);
        for run in 0..runs {
            let random = noise(seed + run, 64);
            let number = |at: usize| {
                let bytes: [u8; 8] = random[at * 8..at * 8 + 8].try_into().unwrap();
                u64::from_le_bytes(bytes)
            };
            let size = SIZE + (number(0) % (1 << 20)) as usize;
            let (blob, bytes) = blob(seed + run + 1_000_000, size);
            let cuts = 1 + number(1) % 3;
            let down = number(2) % 2 == 0;
            for cut in 0..cuts as usize {
                let place = Place::Byte(number(3 + cut) % size as u64);
                proxy.add(if down {
                    Fault::down(place, What::Cut)
                } else {
                    Fault::up(self.method, place, What::Cut)
                });
            }
            let name = format!("run {run} of {seed}, {cuts} cuts, down: {down}");
            let content = Content(bytes.clone());
            let passed = if down {
                self.direct().put_from(&blob, &content).await.unwrap();
                let before = proxy.down();
                let found = all(self.through(&proxy).fetch(&blob).await.unwrap()).await;
                assert!(found.unwrap_or_else(|err| panic!("{name}: {err}")) == bytes, "{name}");
                proxy.down() - before
            } else {
                let before = proxy.up();
                let put = self.through(&proxy).put_from(&blob, &content).await;
                put.unwrap_or_else(|err| panic!("{name}: {err}"));
                proxy.up() - before
            };
            self.is_there(&blob, &bytes).await;
            let twice = passed - blob.size;
            let most = if down { SLACK } else { self.slack.unwrap_or(u64::MAX / 4) };
            assert!(twice <= most * cuts, "{name}: {twice} bytes went twice");
            proxy.clear();
        }
    }

    async fn is_there(&self, blob: &Descriptor, bytes: &Bytes) {
        let direct = self.direct();
        assert!(direct.has(blob).await.unwrap());
        assert!(all(direct.fetch(blob).await.unwrap()).await.unwrap() == *bytes);
    }
}
