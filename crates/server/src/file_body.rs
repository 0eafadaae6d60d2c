//! A part of a file as the body of an answer.
//!
//! A thread works only while it reads: a client that takes its time holds two chunks of memory
//! and no thread. The next chunk is read while the last one is being sent.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use tokio::task::JoinHandle;

/// What is read at once, in bytes.
pub(crate) const CHUNK: usize = 256 << 10;

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
        if self.at < self.end {
            self.next = Some(self.read(self.at));
        }
        Poll::Ready(Some(Ok(chunk)))
    }

    fn read(&self, at: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = Arc::clone(&self.file);
        let length = chunk_length(self.end - at);
        tokio::task::spawn_blocking(move || read_at(&file, at, length))
    }
}

fn chunk_length(remaining: u64) -> usize {
    usize::try_from(remaining).unwrap_or(CHUNK).min(CHUNK)
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

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error() {
        let err = all(FileBody::new(file(b"abc"), 0..4)).await.unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof);
    }
}
