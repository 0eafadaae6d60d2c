//! The way of a tar that is being made: through a bounded channel to a thread that hashes it for
//! the diff ID, compresses it, hashes it again for the descriptor and writes it.

use std::io::{self, Write};
use std::thread;

use conex_spec::{Algorithm, Digest, Error, Hasher, Kind, Result};
use conex_tar::compression::{Encoder, Settings};
use crossbeam_channel::{Receiver, Sender, bounded};

const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 8;

/// What was written.
pub(super) struct Written {
    pub(super) diff_id: Digest,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) uncompressed: u64,
}

/// Lets `produce` write a tar, which arrives compressed at `out`. Once it returns without an
/// error, all is written and flushed.
pub(super) fn run<T>(
    out: impl Write + Send,
    settings: Settings,
    produce: impl FnOnce(&mut Pipe) -> Result<T>,
) -> Result<(T, Written)> {
    let encoder = Encoder::new(settings, Counted::new(out))?;
    let (sender, receiver) = bounded(BUFFERS);
    thread::scope(|scope| {
        let compress = thread::Builder::new()
            .spawn_scoped(scope, move || compress(encoder, &receiver))
            .map_err(|err| Error::from_io(err, || "cannot start a thread".into()))?;
        let mut pipe = Pipe { sender, buffer: Vec::with_capacity(BUFFER) };
        let produced = produce(&mut pipe).and_then(|value| {
            pipe.send().map_err(|err| Error::from_io(err, || "cannot write the layer".into()))?;
            // An empty buffer marks the end; without it the stream is not finished.
            pipe.send().map_err(|err| Error::from_io(err, || "cannot write the layer".into()))?;
            Ok(value)
        });
        drop(pipe);
        let stopped = |_| Err(Error::new(Kind::Io, "the compressing thread stopped"));
        let written = compress.join().unwrap_or_else(stopped);
        match (produced, written) {
            (Ok(value), Ok(Some(written))) => Ok((value, written)),
            // The failure of the other thread is the cause of the failure to send.
            (_, Err(err)) | (Err(err), _) => Err(err),
            (Ok(_), Ok(None)) => Err(Error::new(Kind::Io, "the tar was not finished")),
        }
    })
}

/// Nothing where the producer gave up.
fn compress<W: Write>(
    mut encoder: Encoder<Counted<W>>,
    buffers: &Receiver<Vec<u8>>,
) -> Result<Option<Written>> {
    let fail = |err| Error::from_io(err, || "cannot write the layer".into());
    let mut hasher = Algorithm::Sha256.hasher();
    let mut uncompressed = 0;
    while let Ok(buffer) = buffers.recv() {
        if buffer.is_empty() {
            let mut out = encoder.finish().map_err(fail)?;
            out.inner.flush().map_err(fail)?;
            let (digest, size) = (out.hasher.finish(), out.size);
            let diff_id = hasher.finish();
            return Ok(Some(Written { diff_id, digest, size, uncompressed }));
        }
        hasher.update(&buffer);
        uncompressed += buffer.len() as u64;
        encoder.write_all(&buffer).map_err(fail)?;
    }
    Ok(None)
}

/// The producer's end.
pub(super) struct Pipe {
    sender: Sender<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Pipe {
    fn send(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(BUFFER));
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.send(full).map_err(closed)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == BUFFER {
            self.send()?;
        }
        let n = bytes.len().min(BUFFER - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes and counts what passes.
struct Counted<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

impl<W> Counted<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Algorithm::Sha256.hasher(), size: 0 }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_and_sizes_are_told() {
        let bytes: Vec<u8> = (0..BUFFER * 3 + 5).map(|i| (i / 9) as u8).collect();
        let mut out = Vec::new();
        let (_, written) = run(&mut out, Settings::default(), |pipe| {
            pipe.write_all(&bytes).map_err(|err| Error::from_io(err, || "write".into()))
        })
        .unwrap();
        assert_eq!(written.diff_id, Digest::sha256(&bytes));
        assert_eq!(written.uncompressed, bytes.len() as u64);
        assert_eq!(written.digest, Digest::sha256(&out));
        assert_eq!(written.size, out.len() as u64);
    }

    /// Writes some bytes, then fails.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_what_is_told() {
        let settings =
            Settings { compression: conex_spec::Compression::None, ..Settings::default() };
        let err = run(Full(1 << 20), settings, |pipe| {
            let zeros = vec![0; 64 << 20];
            pipe.write_all(&zeros).map_err(|err| Error::from_io(err, || "write".into()))
        });
        assert_eq!(err.err().unwrap().kind(), Kind::NoSpace);
    }

    #[test]
    fn a_producer_that_gives_up_finishes_nothing() {
        let mut out = Vec::new();
        let result = run(&mut out, Settings::default(), |_| Err::<(), _>(Error::invalid("no")));
        assert!(result.is_err());
    }
}
