//! The one border between async and blocking code.
//!
//! Content crosses it in chunks through bounded queues, so that receiving overlaps with hashing
//! and writing, and memory stays the same whatever the size of a blob.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use conex_spec::{Error, Kind, Result};

use crate::source::ByteStream;

/// What is read from a file at once, in bytes.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait on either side of the border.
const QUEUE: usize = 2;
/// How many may wait for a worker where only one blob moves. Where two do it is half of that for
/// each, and one where there are more: then they fill each other's gaps, in the same memory.
const DEEP: u32 = 4;

/// Runs blocking work on a thread of its own.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(err) => Err(Error::new(Kind::Io, "a worker thread failed").source(err)),
    }
}

/// Feeds a stream to blocking work, which runs while the next chunks arrive.
/// The work sees an error of the stream as an item of the [`Feed`].
pub async fn feed<T: Send + 'static>(
    mut content: ByteStream,
    work: impl FnOnce(Feed) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::channel(DEEP as usize);
    let worker = blocking(move || work(Feed(receiver)));
    let pump = async move {
        let (busy, mut pool) = (Busy::new(), Pool::default());
        let room = Arc::new(Semaphore::new(DEEP as usize));
        while let Some(chunk) = content.next().await {
            let chunk = chunk.map(|chunk| pool.copy(&chunk));
            let Ok(place) = room.clone().acquire_many_owned(busy.share()).await else { break };
            if sender.send((chunk, place)).await.is_err() {
                break;
            }
        }
    };
    let (result, ()) = futures_util::future::join(worker, pump).await;
    result
}

/// How many streams are fed to workers in this process.
static FEEDS: AtomicUsize = AtomicUsize::new(0);

/// Counts one of them as long as it lasts.
struct Busy;

impl Busy {
    fn new() -> Self {
        FEEDS.fetch_add(1, Ordering::Relaxed);
        Self
    }

    /// How much of the room of a stream each of its chunks takes now.
    fn share(&self) -> u32 {
        match FEEDS.load(Ordering::Relaxed) {
            0 | 1 => 1,
            2 => DEEP / 2,
            _ => DEEP,
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        FEEDS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Chunks in buffers that serve again. A copy costs less than what it saves: the network library
/// keeps its one buffer, and none is given back to the system by a thread that did not ask for it.
#[derive(Default)]
struct Pool(VecDeque<Bytes>);

impl Pool {
    fn copy(&mut self, chunk: &Bytes) -> Bytes {
        if chunk.len() == CHUNK {
            // It comes from a file, in a buffer that serves again already.
            return chunk.clone();
        }
        let mut buffer =
            self.take().unwrap_or_else(|| BytesMut::with_capacity(chunk.len().max(2 * CHUNK)));
        buffer.clear();
        buffer.extend_from_slice(chunk);
        self.keep(buffer.freeze())
    }

    /// A buffer that nobody reads any more, with what was in it.
    fn take(&mut self) -> Option<BytesMut> {
        match self.0.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(free)) => return Some(free),
            // Chunks are dropped in their order, so that none of the others is free either.
            Some(Err(used)) => self.0.push_front(used),
            None => {}
        }
        None
    }

    /// Remembers a buffer until it is free.
    fn keep(&mut self, chunk: Bytes) -> Bytes {
        self.0.push_back(chunk.clone());
        chunk
    }
}

/// The blocking end of [`feed`].
#[derive(Debug)]
pub struct Feed(mpsc::Receiver<(Result<Bytes>, OwnedSemaphorePermit)>);

impl Iterator for Feed {
    type Item = Result<Bytes>;

    /// Waits for the next chunk; nothing at the end.
    fn next(&mut self) -> Option<Result<Bytes>> {
        self.0.blocking_recv().map(|(chunk, _)| chunk)
    }
}

/// A stream as a blocking reader. Must be called inside a runtime; the reader itself must be
/// used outside of its worker threads.
pub fn reader(mut content: ByteStream) -> StreamReader {
    let (sender, receiver) = mpsc::channel(QUEUE);
    Handle::current().spawn(async move {
        while let Some(chunk) = content.next().await {
            if sender.send(chunk).await.is_err() {
                break;
            }
        }
    });
    StreamReader { receiver, chunk: Bytes::new() }
}

/// See [`reader`].
#[derive(Debug)]
pub struct StreamReader {
    receiver: mpsc::Receiver<Result<Bytes>>,
    chunk: Bytes,
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// A part of a file as a stream. A file that is too short ends the stream early, which the
/// verifier then tells.
pub fn file_stream(file: Arc<File>, range: Range<u64>, what: String) -> ByteStream {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let mut at = range.start;
        let mut pool = Pool::default();
        while at < range.end {
            let length = CHUNK.min(usize::try_from(range.end - at).unwrap_or(CHUNK));
            let chunk = read_at(&file, at, length, &mut pool);
            let count = chunk.as_ref().map_or(0, Bytes::len);
            let chunk = chunk.map_err(|err| Error::from_io(err, || what.clone()));
            at += count as u64;
            if sender.blocking_send(chunk).is_err() || count == 0 {
                break;
            }
        }
    });
    receive(receiver)
}

fn read_at(file: &File, at: u64, length: usize, pool: &mut Pool) -> io::Result<Bytes> {
    let mut chunk = pool.take().unwrap_or_default();
    chunk.resize(length, 0);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut chunk[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    chunk.truncate(filled);
    Ok(pool.keep(chunk.freeze()))
}

fn receive(receiver: mpsc::Receiver<Result<Bytes>>) -> ByteStream {
    stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    })
    .boxed()
}

/// Bytes that are all at hand, as a stream.
pub fn bytes_stream(bytes: Bytes, range: Range<u64>) -> ByteStream {
    let end = bytes.len().min(usize::try_from(range.end).unwrap_or(usize::MAX));
    let start = end.min(usize::try_from(range.start).unwrap_or(usize::MAX));
    let chunks: VecDeque<_> = [Ok(bytes.slice(start..end))].into();
    stream::iter(chunks).boxed()
}
