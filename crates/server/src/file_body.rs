//! A part of a file as the body of an answer.
//!
//! A thread works only while it reads: a client that takes its time holds two chunks of memory
//! and no thread. The next chunk is read while the last one is being sent. Where the memory of all
//! answers together is short ([`crate::memory`]), chunks are smaller, and the next one comes when the
//! last one is on its way: whoever sends would queue several of them otherwise.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use tokio::task::JoinHandle;

use crate::memory::{Held, Memory};

/// What is read at once, in bytes.
pub(crate) const CHUNK: usize = 256 << 10;

/// All chunks that were read for answers and are not sent yet.
static MEMORY: Memory = Memory::new(24 << 20, 8 << 10, CHUNK);

/// How many chunks of an answer are not sent yet, and who waits for that.
#[derive(Default)]
struct Unsent {
    count: AtomicUsize,
    waiting: AtomicWaker,
}

/// A chunk that counts as long as anyone has a piece of it.
struct Chunk {
    bytes: Bytes,
    unsent: Arc<Unsent>,
    _held: Held,
}

impl Chunk {
    fn new(bytes: Bytes, held: Held, unsent: &Arc<Unsent>) -> Self {
        unsent.count.fetch_add(1, Ordering::AcqRel);
        Self { bytes, unsent: Arc::clone(unsent), _held: held }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.unsent.count.fetch_sub(1, Ordering::AcqRel);
        self.unsent.waiting.wake();
    }
}

impl Unsent {
    /// Whether there is any; then the task is woken when one of them is gone.
    fn is_any(&self, cx: &Context<'_>) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        self.waiting.register(cx.waker());
        self.count.load(Ordering::Acquire) > 0
    }
}

/// See the module.
pub(crate) struct FileBody {
    file: Arc<File>,
    at: u64,
    end: u64,
    next: Option<JoinHandle<io::Result<(Bytes, Held)>>>,
    unsent: Arc<Unsent>,
}

impl FileBody {
    pub(crate) fn new(file: File, range: Range<u64>) -> Self {
        let (at, end) = (range.start, range.end);
        Self { file: Arc::new(file), at, end, next: None, unsent: Arc::default() }
    }

    /// The bytes that are still to come.
    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// The next chunk. A file that became shorter ends in an error, and so the connection breaks
    /// off where the client can see it.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.at == self.end {
            return Poll::Ready(None);
        }
        if MEMORY.is_short() && self.unsent.is_any(cx) {
            return Poll::Pending;
        }
        let mut reading = self.next.take().unwrap_or_else(|| self.read(self.at));
        let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
            self.next = Some(reading);
            return Poll::Pending;
        };
        let (chunk, held) = read.map_err(io::Error::other)??;
        if chunk.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.at += chunk.len() as u64;
        // Where memory is short, nothing is read for a client that may not want it soon.
        if self.at < self.end && !MEMORY.is_short() {
            self.next = Some(self.read(self.at));
        }
        let chunk = Chunk::new(chunk, held, &self.unsent);
        Poll::Ready(Some(Ok(Bytes::from_owner(chunk))))
    }

    fn read(&self, at: u64) -> JoinHandle<io::Result<(Bytes, Held)>> {
        let file = Arc::clone(&self.file);
        let fair = MEMORY.fair();
        let length = usize::try_from(self.end - at).unwrap_or(fair).min(fair);
        let held = MEMORY.hold(length);
        tokio::task::spawn_blocking(move || Ok((read_at(&file, at, length)?, held)))
    }
}

/// At most `length` bytes; fewer only at the end of the file.
pub(crate) fn read_at(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(length);
    while chunk.len() < length {
        let at = at + chunk.len() as u64;
        match pread(file, spare_capacity(&mut chunk), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
    chunk.truncate(length);
    Ok(chunk.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn all(mut body: FileBody) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = poll_fn(|cx| body.poll_next(cx)).await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, content).unwrap();
        file
    }

    #[tokio::test]
    async fn ranges_come_whole_and_in_order() {
        let content: Vec<u8> = (0..3 * CHUNK + 5).map(|i| (i / 7) as u8).collect();
        let length = content.len();
        for range in
            [0..length, 0..0, 1..2, CHUNK - 1..CHUNK + 1, CHUNK..2 * CHUNK, length - 1..length]
        {
            let body = FileBody::new(file(&content), range.start as u64..range.end as u64);
            assert_eq!(body.remaining(), range.len() as u64);
            assert!(all(body).await.unwrap() == content[range.clone()], "{range:?}");
        }
    }

    /// Whoever sends takes what it can get, and queues it.
    #[tokio::test]
    async fn where_memory_is_short_one_chunk_is_unsent() {
        let length = 10 * CHUNK;
        let mut body = FileBody::new(file(&vec![1; length]), 0..length as u64);
        let short = MEMORY.hold(23 << 20);
        let first = poll_fn(|cx| body.poll_next(cx)).await.unwrap().unwrap();
        let piece = first.slice(5..6);
        drop(first);
        let waits = poll_fn(|cx| Poll::Ready(body.poll_next(cx).is_pending())).await;
        assert!(waits && piece == [1][..]);
        let next = tokio::spawn(async move { poll_fn(|cx| body.poll_next(cx)).await });
        tokio::task::yield_now().await;
        drop(piece);
        assert!(next.await.unwrap().unwrap().unwrap().len() < CHUNK);
        drop(short);
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error() {
        let err = all(FileBody::new(file(b"abc"), 0..4)).await.unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof);
    }
}
