//! One blob, from one place to another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use conex_spec::{Descriptor, Error, Kind, Result};
use conex_store::bridge::bytes_stream;
use conex_store::{ByteStream, Event, Observer, Reopen, Sink, Source};

use super::summary::Outcome;

/// How often a blob is begun anew after the source or the sink broke off.
const ATTEMPTS: usize = 3;

/// Moves one blob at a time.
pub(super) struct Copier<'a> {
    pub(super) from: &'a dyn Source,
    pub(super) to: &'a dyn Sink,
    pub(super) observer: &'a Arc<dyn Observer>,
}

impl Copier<'_> {
    /// Moves a blob, whose bytes may be at hand.
    pub(super) async fn put(&self, blob: &Descriptor, bytes: Option<Bytes>) -> Result<Outcome> {
        self.observer.event(Event::Started(blob));
        let bytes = match bytes {
            Some(bytes) => Some(bytes),
            None => blob.embedded()?,
        };
        let (told, resumed) = (Arc::default(), Mutex::default());
        let content = Content { copier: self, blob, bytes, told, resumed };
        let mut attempt = 1;
        while let Err(err) = self.to.put_from(blob, &content).await {
            if err.kind() == Kind::Mismatch && self.from.distrust(blob, &err) {
                content.anew(&err);
                continue;
            }
            if err.kind() != Kind::Network || attempt == ATTEMPTS {
                return Err(err);
            }
            self.observer.event(Event::Retry(&err, Duration::ZERO));
            attempt += 1;
        }
        let resumed = *content.there();
        // A registry may find a blob that it was about to be sent.
        if resumed.is_none() {
            self.observer.event(Event::Adopted(blob));
            return Ok(Outcome::Adopted);
        }
        self.observer.event(Event::Done(blob));
        Ok(Outcome::Moved { resumed: resumed.unwrap_or(0) })
    }
}

/// A blob to be moved.
struct Content<'a> {
    copier: &'a Copier<'a>,
    blob: &'a Descriptor,
    /// All of it, where it is at hand.
    bytes: Option<Bytes>,
    /// How many bytes the observer has heard of: each once, however often it is read.
    told: Arc<AtomicU64>,
    /// How many bytes were there before the first was read; nothing where nobody wanted any.
    resumed: Mutex<Option<u64>>,
}

impl Content<'_> {
    fn there(&self) -> MutexGuard<'_, Option<u64>> {
        self.resumed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Reopen for Content<'_> {
    async fn open(&self, start: u64) -> Result<ByteStream> {
        self.resumed(start);
        let (from, range) = (self.copier.from, start..self.blob.size);
        let content = match &self.bytes {
            Some(bytes) => bytes_stream(bytes.clone(), range),
            None => from
                .open(self.blob, range)
                .await
                .map_err(|err| err.context(format_args!("cannot read from {}", from.location())))?,
        };
        let (observer, blob) = (self.copier.observer.clone(), self.blob.bare());
        let (told, mut at) = (self.told.clone(), start);
        Ok(content
            .inspect_ok(move |chunk| {
                at += chunk.len() as u64;
                tell(observer.as_ref(), &blob, &told, at);
            })
            .boxed())
    }

    /// Only what is told first counts: who goes on begins with the first byte that is missing.
    fn resumed(&self, bytes: u64) {
        let mut there = self.there();
        if there.is_some() {
            return;
        }
        *there = Some(bytes);
        if bytes > 0 {
            self.told.store(bytes, Ordering::Relaxed);
            self.copier.observer.event(Event::Resumed(self.blob, bytes));
        }
    }

    fn anew(&self, why: &Error) {
        // What was there moves once more.
        *self.there() = Some(0);
        self.told.store(0, Ordering::Relaxed);
        self.copier.observer.event(Event::Started(self.blob));
        self.copier.observer.event(Event::Retry(why, Duration::ZERO));
    }
}

/// Tells that the move has come to a byte.
fn tell(observer: &dyn Observer, blob: &Descriptor, told: &AtomicU64, at: u64) {
    let before = told.fetch_max(at, Ordering::Relaxed);
    if at > before {
        observer.event(Event::Progress(blob, at - before));
    }
}
