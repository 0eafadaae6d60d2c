//! A part of a file as the body of an answer.
//!
//! A thread works only while it reads: a client that takes its time holds two chunks of memory
//! and no thread. The next chunk is read while the last one is being sent. Chunks of all answers
//! together have their bound: the nearer it is, the smaller they are, so that thousands of clients
//! that stopped to read leave memory for those that go on.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use tokio::task::JoinHandle;

/// What is read at once, in bytes.
pub(crate) const CHUNK: usize = 256 << 10;
/// What is read at once where memory is short, in bytes.
const LEAST: usize = 8 << 10;
/// What the chunks of all answers should have together, in bytes, and which part of what is free one
/// of them takes at most.
const MEMORY: usize = 32 << 20;
const SHARE: usize = 32;

/// The bytes of all chunks that were read for answers and are not sent yet.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A part of [`HELD`], until it is dropped.
struct Held(usize);

impl Held {
    fn new(length: usize) -> Self {
        HELD.fetch_add(length, Ordering::Relaxed);
        Self(length)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// A chunk that counts as long as anyone has a piece of it.
struct Chunk {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// See the module.
pub(crate) struct FileBody {
    file: Arc<File>,
    at: u64,
    end: u64,
    next: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    pub(crate) fn new(file: File, range: Range<u64>) -> Self {
        Self { file: Arc::new(file), at: range.start, end: range.end, next: None }
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
        let mut reading = self.next.take().unwrap_or_else(|| self.read(self.at));
        let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
            self.next = Some(reading);
            return Poll::Pending;
        };
        let chunk = read.map_err(io::Error::other)??;
        if chunk.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.at += chunk.len() as u64;
        // Where memory is short, nothing is read for a client that may not want it soon.
        if self.at < self.end && HELD.load(Ordering::Relaxed) < MEMORY / 2 {
            self.next = Some(self.read(self.at));
        }
        Poll::Ready(Some(Ok(chunk)))
    }

    fn read(&self, at: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = Arc::clone(&self.file);
        let length = chunk_length(self.end - at, HELD.load(Ordering::Relaxed));
        let held = Held::new(length);
        tokio::task::spawn_blocking(move || {
            let bytes = read_at(&file, at, length)?;
            let whole = Chunk { bytes, _held: held };
            Ok(Bytes::from_owner(whole))
        })
    }
}

fn chunk_length(remaining: u64, held: usize) -> usize {
    let fair = (MEMORY.saturating_sub(held) / SHARE).clamp(LEAST, CHUNK);
    usize::try_from(remaining).unwrap_or(fair).min(fair)
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

    /// 2,000 clients that each took one chunk and then stopped.
    #[test]
    fn many_chunks_have_a_bound_together() {
        let mut held = 0;
        for number in 0..2000 {
            let length = chunk_length(u64::MAX, held);
            assert!(length == CHUNK || number > 64, "few have large ones");
            held += length;
        }
        assert!(held <= MEMORY + 2000 * LEAST, "{held}");
        assert_eq!(chunk_length(5, held), 5);
    }

    #[tokio::test]
    async fn chunks_count_until_the_last_piece_is_gone() {
        let length = 100_000;
        let body = FileBody::new(file(&vec![1; length]), 0..length as u64);
        let chunk = body.read(0).await.unwrap().unwrap();
        let piece = chunk.slice(5..6);
        drop(chunk);
        // Other tests read at the same time, so only a lower bound is known.
        assert!(HELD.load(Ordering::Relaxed) >= length);
        assert_eq!(piece, [1][..]);
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error() {
        let err = all(FileBody::new(file(b"abc"), 0..4)).await.unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof);
    }
}
