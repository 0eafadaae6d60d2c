//! The last bytes of an upload, which are too few for a part yet.
//!
//! A store wants parts of megabytes, so many clients that send slowly would fill the memory with what
//! they have sent so far. It waits there while there is room for all; where half of that is taken, what
//! comes waits in a file without a name, and is read again once it is sent.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use conex_spec::{Error, Kind, Result};
use conex_store::commit::Folder;
use rustix::io::Errno;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::memory::{Held, Memory};
use crate::storage::blocking;

/// What waits in memory, of all uploads.
static MEMORY: Memory = Memory::new(32 << 20, 0, 0);
/// How many of all parts, or of what is less, may be on their way to the store or from it: all of such
/// a part is in memory.
static MOVING: Semaphore = Semaphore::const_new(6);

/// So few bytes are moved without waiting.
const FEW: usize = 64 << 10;

/// A place among those that are on their way, until it is dropped, for so many bytes at most. Who has one
/// must not wait for another.
pub(super) async fn moving(bytes: usize) -> Result<Option<SemaphorePermit<'static>>> {
    if bytes <= FEW {
        return Ok(None);
    }
    let place = MOVING.acquire().await;
    place.map(Some).map_err(|err| Error::new(Kind::Io, "a worker failed").source(err))
}

/// See the module.
pub(super) struct Tail {
    file: Option<Arc<File>>,
    /// How many bytes are in the file; all others follow them.
    filed: usize,
    chunks: Vec<Bytes>,
    held: Held,
}

impl Tail {
    pub(super) fn new(chunks: Vec<Bytes>) -> Self {
        let held = MEMORY.hold(length(&chunks));
        Self { file: None, filed: 0, chunks, held }
    }

    /// The same bytes once more.
    pub(super) async fn copy(&self) -> Result<Self> {
        Ok(Self::new(self.chunks().await?))
    }

    /// In bytes.
    pub(super) fn length(&self) -> usize {
        self.filed + length(&self.chunks)
    }

    pub(super) fn push(&mut self, chunks: Vec<Bytes>) {
        self.held.grow(length(&chunks));
        self.chunks.extend(chunks);
    }

    /// Makes room for others where memory is short. What cannot be written stays there until all of it
    /// is taken.
    pub(super) async fn settle(&mut self, folder: Option<&Path>) -> Result<()> {
        let Some(folder) = folder.filter(|_| !self.chunks.is_empty() && MEMORY.is_short()) else {
            return Ok(());
        };
        match self.write(folder).await {
            Err(err) if MEMORY.is_full() => Err(full(err)),
            _ => Ok(()),
        }
    }

    /// Takes so many bytes from the front.
    pub(super) async fn take(&mut self, length: usize) -> Result<Vec<Bytes>> {
        self.chunks = self.chunks().await?;
        self.filed = 0;
        let taken = take(&mut self.chunks, length);
        self.held = MEMORY.hold(self.length());
        Ok(taken)
    }

    /// All of it.
    pub(super) async fn chunks(&self) -> Result<Vec<Bytes>> {
        let (Some(file), 1..) = (&self.file, self.filed) else { return Ok(self.chunks.clone()) };
        let (file, mut bytes) = (Arc::clone(file), vec![0; self.filed]);
        let bytes = blocking(move || {
            let read = file.read_exact_at(&mut bytes, 0);
            read.map_err(|err| Error::new(Kind::Io, "cannot read an upload again").source(err))?;
            Ok(Bytes::from(bytes))
        })
        .await?;
        Ok([&[bytes], &self.chunks[..]].concat())
    }

    async fn write(&mut self, folder: &Path) -> Result<()> {
        let folder = folder.to_owned();
        let (known, chunks, mut at) = (self.file.clone(), self.chunks.clone(), self.filed as u64);
        let file = blocking(move || {
            let file = match known {
                Some(file) => file,
                None => Arc::new(Folder::open(&folder)?.temporary_file()?),
            };
            for chunk in &chunks {
                let written = file.write_all_at(chunk, at);
                written.map_err(|err| Error::from_io(err, || "cannot write an upload".into()))?;
                at += chunk.len() as u64;
            }
            Ok(file)
        })
        .await?;
        self.filed = self.length();
        self.file = Some(file);
        self.chunks.clear();
        self.held = MEMORY.hold(0);
        Ok(())
    }
}

fn length(chunks: &[Bytes]) -> usize {
    chunks.iter().map(Bytes::len).sum()
}

/// Too many come at once.
fn full(err: Error) -> Error {
    let short = std::io::Error::from(Errno::NOMEM);
    Error::new(Kind::Io, format!("too many uploads wait in memory: {err}")).source(short)
}

/// Takes so many bytes from the front.
fn take(chunks: &mut Vec<Bytes>, mut length: usize) -> Vec<Bytes> {
    let mut taken = Vec::new();
    let mut whole = 0;
    for chunk in chunks.iter_mut() {
        if chunk.len() > length {
            if length > 0 {
                taken.push(chunk.slice(..length));
                chunk.advance(length);
            }
            break;
        }
        length -= chunk.len();
        taken.push(chunk.clone());
        whole += 1;
    }
    chunks.drain(..whole);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks() -> Vec<Bytes> {
        ["ab", "", "cdef", "g"].map(Bytes::from).to_vec()
    }

    #[test]
    fn parts_are_cut_from_any_chunks() {
        for length in 0..=7 {
            let mut rest = chunks();
            let taken = take(&mut rest, length).concat();
            assert_eq!(taken, b"abcdefg"[..length]);
            assert_eq!(rest.concat(), b"abcdefg"[length..]);
        }
    }

    /// What is written comes back in its place, whatever comes before and after that.
    #[tokio::test]
    async fn bytes_wait_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        for length in 0..=14 {
            let mut tail = Tail::new(chunks());
            tail.write(dir.path()).await.unwrap();
            assert!(tail.chunks.is_empty() && tail.length() == 7);
            tail.push(chunks());
            if length % 2 == 0 {
                tail.write(dir.path()).await.unwrap();
            }
            assert_eq!(tail.copy().await.unwrap().chunks.concat(), b"abcdefgabcdefg");
            assert_eq!(tail.take(length).await.unwrap().concat(), b"abcdefgabcdefg"[..length]);
            assert_eq!(tail.length(), 14 - length);
            tail.push(vec!["h".into()]);
            tail.write(dir.path()).await.unwrap();
            let rest = [&b"abcdefgabcdefg"[length..], b"h"].concat();
            assert_eq!(tail.chunks().await.unwrap().concat(), rest);
        }
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
        let mut tail = Tail::new(chunks());
        assert!(tail.write(&dir.path().join("none")).await.is_err());
        assert_eq!(tail.chunks().await.unwrap().concat(), b"abcdefg");
    }
}
