//! What the tests of this crate share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may stop at the first surprise, and each uses a part of this"
)]

pub mod docker;
pub mod fake;
pub mod forward;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use conex_client::{Client, Options, Repository, Retry};
use conex_spec::{Descriptor, MediaType, Result};
use conex_store::{ByteStream, Event, Observer};
use futures_util::TryStreamExt;

/// Notes what a client tells.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Retry(err, pause) => format!("retry after {pause:?}: {err}"),
            Event::Warning(text) => format!("warning: {text}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Notes {
    /// Without the requests.
    pub fn all(&self) -> Vec<String> {
        self.everything().into_iter().filter(|note| !note.starts_with("Answered")).collect()
    }

    pub fn everything(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn retries(&self) -> usize {
        self.all().iter().filter(|note| note.starts_with("retry")).count()
    }

    pub fn warnings(&self) -> Vec<String> {
        self.all().into_iter().filter(|note| note.starts_with("warning")).collect()
    }
}

/// Options under which a test does not wait long.
pub fn quick() -> (Options, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let mut options = Options { observer: notes.clone(), ..Options::default() };
    options.retry = Retry { attempts: 4, pause: Duration::from_millis(2), ..options.retry };
    options.timeouts.answer = Duration::from_secs(5);
    options.timeouts.stall = Duration::from_millis(400);
    (options, notes)
}

pub fn repository(options: Options, reference: &str) -> Repository {
    Client::new(options).repository(&reference.parse().unwrap())
}

pub fn blob(bytes: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::LAYER_GZIP, bytes)
}

/// Bytes that do not repeat.
pub fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub fn stream(bytes: &Bytes, piece: usize) -> ByteStream {
    let pieces: Vec<Result<Bytes>> =
        bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(futures_util::stream::iter(pieces))
}

pub async fn all(content: ByteStream) -> Result<Vec<u8>> {
    content
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}
