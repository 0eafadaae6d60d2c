//! One blob: read once, hashed, and inflated where a config tells what must come out.
//!
//! Three threads share the work, so that none waits for another longer than it must; the buffers
//! go round, so that memory is the same for every blob:
//!
//! ```text
//! read, hash ─packed─► inflate ─plain─► hash
//!     ▲                   │ ▲             │
//!     └──────spent────────┘ └───spent─────┘
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use conex_spec::{Algorithm, Compression, Digest, Error, Kind, Result};
use conex_tar::compression::Decoder;

/// Large enough that the channels cost nothing, small enough to stay in the cache.
const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 8;

/// What must come out of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inflation {
    pub(super) compression: Compression,
    /// The algorithm of the diff ID.
    pub(super) algorithm: Algorithm,
}

/// What a blob turned out to be.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) size: u64,
    pub(super) digest: Digest,
    /// The diff ID, where it was asked for.
    pub(super) diff_id: Option<Result<Digest>>,
}

/// Reads a blob to its end, or as far as `limit` bytes and a buffer.
///
/// # Errors
/// Only what keeps the blob from being read; what is wrong with it is in what was seen.
pub(super) fn look(
    content: impl Read,
    algorithm: Algorithm,
    limit: u64,
    inflation: Option<Inflation>,
) -> Result<Seen> {
    let mut source = Packed { content, algorithm, limit };
    let Some(inflation) = inflation else {
        let (size, digest, _) = source.run(None)?;
        return Ok(Seen { size, digest, diff_id: None });
    };
    if inflation.compression == Compression::None && inflation.algorithm == algorithm {
        // A plain tar is its own diff ID; what is no plain tar after all shows in its first bytes.
        let (size, digest, head) = source.run(None)?;
        let plain = Decoder::new(Compression::None, head.as_slice()).map(|_| digest.clone());
        return Ok(Seen { size, digest, diff_id: Some(plain) });
    }
    inflated(source, inflation)
}

fn inflated<R: Read>(mut source: Packed<R>, inflation: Inflation) -> Result<Seen> {
    let (packed, to_inflate) = ring();
    let (plain, to_hash) = ring();
    thread::scope(|scope| {
        let spawn_failed = |err| Error::from_io(err, || "cannot start a thread".into());
        let inflate = move || inflate(inflation.compression, to_inflate, plain);
        let inflate = thread::Builder::new().spawn_scoped(scope, inflate).map_err(spawn_failed)?;
        let hash = move || hash(inflation.algorithm, &to_hash);
        let hash = thread::Builder::new().spawn_scoped(scope, hash).map_err(spawn_failed)?;
        let read = source.run(Some(packed));
        let stopped = |_| Error::new(Kind::Io, "a thread that checks a layer stopped");
        let inflated = inflate.join().map_err(stopped)?;
        let diff_id = hash.join().map_err(stopped)?;
        let (size, digest, _) = read?;
        Ok(Seen { size, digest, diff_id: Some(inflated.map(|()| diff_id)) })
    })
}

/// The end of a ring that fills buffers.
struct Filler {
    full: SyncSender<Vec<u8>>,
    spent: Receiver<Vec<u8>>,
}

/// The end that empties them.
struct Emptier {
    full: Receiver<Vec<u8>>,
    spent: SyncSender<Vec<u8>>,
}

fn ring() -> (Filler, Emptier) {
    let (full_in, full_out) = sync_channel(BUFFERS);
    let (spent_in, spent_out) = sync_channel(BUFFERS);
    for _ in 0..BUFFERS {
        // There is room for all of them.
        let _ = spent_in.send(Vec::new());
    }
    (Filler { full: full_in, spent: spent_out }, Emptier { full: full_out, spent: spent_in })
}

impl Filler {
    /// An empty buffer of full length; nothing where nobody empties them any more.
    fn take(&self) -> Option<Vec<u8>> {
        let mut buffer = self.spent.recv().ok()?;
        buffer.resize(BUFFER, 0);
        Some(buffer)
    }
}

/// The blob as it lies there.
struct Packed<R> {
    content: R,
    algorithm: Algorithm,
    limit: u64,
}

impl<R: Read> Packed<R> {
    /// Hashes everything and hands it on. Returns size, digest and the first bytes.
    fn run(&mut self, mut next: Option<Filler>) -> Result<(u64, Digest, Vec<u8>)> {
        let mut hasher = self.algorithm.hasher();
        let mut size = 0;
        let mut head = Vec::new();
        let mut own = vec![0; if next.is_some() { 0 } else { BUFFER }];
        loop {
            let lent = next.as_ref().and_then(Filler::take);
            if lent.is_none() && next.take().is_some() {
                // Who inflates has given up and knows why; the digest is still to be told.
                own.resize(BUFFER, 0);
            }
            let mut lent = lent;
            let buffer = lent.as_mut().unwrap_or(&mut own);
            let length = read_full(&mut self.content, buffer)?;
            if size == 0 {
                head = buffer[..length.min(4)].to_vec();
            }
            hasher.update(&buffer[..length]);
            size += length as u64;
            if let (Some(next), Some(mut buffer)) = (&next, lent) {
                buffer.truncate(length);
                let _ = next.full.send(buffer);
            }
            if length == 0 || size > self.limit {
                return Ok((size, hasher.finish(), head));
            }
        }
    }
}

/// As much as there is, up to a full buffer.
fn read_full(content: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match content.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(Error::from_io(err, || "cannot read the content".into())),
        }
    }
    Ok(length)
}

/// The packed buffers as one stream.
struct Stream {
    from: Emptier,
    current: Vec<u8>,
    at: usize,
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            let spent = std::mem::take(&mut self.current);
            if spent.capacity() > 0 {
                let _ = self.from.spent.send(spent);
            }
            // Who reads hangs up after the empty buffer that marks the end.
            self.current = self.from.full.recv().unwrap_or_default();
            self.at = 0;
        }
        let length = out.len().min(self.current.len() - self.at);
        out[..length].copy_from_slice(&self.current[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn inflate(compression: Compression, from: Emptier, to: Filler) -> Result<()> {
    let stream = Stream { from, current: Vec::new(), at: 0 };
    let mut decoder = Decoder::new(compression, stream)?;
    while let Some(mut buffer) = to.take() {
        let length = read_full(&mut decoder, &mut buffer)?;
        buffer.truncate(length);
        if to.full.send(buffer).is_err() || length == 0 {
            break;
        }
    }
    Ok(())
}

fn hash(algorithm: Algorithm, from: &Emptier) -> Digest {
    let mut hasher = algorithm.hasher();
    while let Ok(buffer) = from.full.recv() {
        hasher.update(&buffer);
        let _ = from.spent.send(buffer);
    }
    hasher.finish()
}

/// A file from its beginning, wherever others read it.
#[derive(Debug)]
pub(super) struct FileReader {
    file: Arc<File>,
    at: u64,
}

impl FileReader {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Whether the first bytes are those of another compression, which is all that a stream that
/// cannot be inflated may be.
pub(super) fn is_other_compression(err: &Error) -> bool {
    err.kind() == Kind::Mismatch
}

#[cfg(test)]
mod tests;
