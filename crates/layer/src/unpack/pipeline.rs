//! One layer's bytes on their way: thread one reads and inflates, thread two hashes for the
//! diff ID, and the caller's thread parses and writes. The buffers travel in a ring, so that
//! memory is the same for every layer:
//!
//! ```text
//! reader ─► inflate ─full─► hash ─hashed─► Stream (the caller)
//!              ▲                              │
//!              └────────────empty─────────────┘
//! ```

use std::io::{self, BufRead, Read};
use std::thread;

use conex_spec::{Algorithm, Compression, Digest, Error, Kind, Result};
use conex_tar::compression::Decoder;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::room::Room;

/// Large enough that the channels cost nothing, small enough to stay in the cache.
const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 12;

/// The uncompressed bytes of a layer, already hashed.
pub(crate) struct Stream {
    hashed: Receiver<Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    /// How many more bytes the layer may have.
    room: Room,
}

/// Runs `consume` on the uncompressed bytes of `reader` and returns its result with the digest
/// and the number of all bytes of the stream. `consume` must read the stream to its end.
pub(crate) fn run<T>(
    reader: Box<dyn Read + Send>,
    compression: Compression,
    algorithm: Algorithm,
    room: Room,
    consume: impl FnOnce(Stream) -> Result<T>,
) -> Result<(T, Digest, u64)> {
    let (full_in, full_out) = bounded(BUFFERS);
    let (hashed_in, hashed_out) = bounded(BUFFERS);
    let (empty_in, empty_out) = bounded(BUFFERS);
    for _ in 0..BUFFERS {
        // There is room for all of them.
        let _ = empty_in.send(Vec::new());
    }
    let stream = Stream { hashed: hashed_out, empty: empty_in, current: Vec::new(), at: 0, room };
    thread::scope(|scope| {
        let inflate = move || inflate(reader, compression, &empty_out, &full_in);
        let hash = move || hash(algorithm, &full_out, &hashed_in);
        let spawn_failed = |err| Error::from_io(err, || "cannot start a thread".into());
        thread::Builder::new().spawn_scoped(scope, inflate).map_err(spawn_failed)?;
        let hash = thread::Builder::new().spawn_scoped(scope, hash).map_err(spawn_failed)?;
        // The stream is dropped at the end of `consume`, which ends the threads too.
        let value = consume(stream)?;
        let stopped = |_| Error::new(Kind::Io, "the hashing thread stopped");
        let (digest, length) = hash.join().map_err(stopped)?;
        Ok((value, digest, length))
    })
}

/// Ends when the input does, or when nobody takes the buffers any more.
fn inflate(
    reader: Box<dyn Read + Send>,
    compression: Compression,
    empty: &Receiver<Vec<u8>>,
    full: &Sender<Result<Vec<u8>>>,
) {
    let mut decoder = match Decoder::new(compression, reader) {
        Ok(decoder) => decoder,
        Err(err) => {
            let _ = full.send(Err(err));
            return;
        }
    };
    while let Ok(mut buffer) = empty.recv() {
        buffer.resize(BUFFER, 0);
        let message = read_full(&mut decoder, &mut buffer).map(|length| {
            buffer.truncate(length);
            buffer
        });
        let last = message.as_ref().map_or(true, Vec::is_empty);
        if full.send(message).is_err() || last {
            return;
        }
    }
}

/// As much as there is, up to a full buffer.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(Error::from_io(err, || "cannot read the layer".into())),
        }
    }
    Ok(length)
}

fn hash(
    algorithm: Algorithm,
    full: &Receiver<Result<Vec<u8>>>,
    hashed: &Sender<Result<Vec<u8>>>,
) -> (Digest, u64) {
    let mut hasher = algorithm.hasher();
    let mut length = 0;
    while let Ok(message) = full.recv() {
        if let Ok(buffer) = &message {
            hasher.update(buffer);
            length += buffer.len() as u64;
        }
        if hashed.send(message).is_err() {
            break;
        }
    }
    (hasher.finish(), length)
}

impl Stream {
    fn next(&mut self) -> Result<()> {
        let spent = std::mem::take(&mut self.current);
        self.at = 0;
        if spent.capacity() > 0 {
            let _ = self.empty.send(spent);
        }
        // The senders hang up after the empty buffer that marks the end.
        if let Ok(message) = self.hashed.recv() {
            self.current = message?;
        }
        self.room.take(self.current.len() as u64)
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() {
            self.next()?;
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(mut stream: Stream) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let read = stream.read_to_end(&mut out);
        read.map_err(|err| Error::from_io(err, || "read".into()))?;
        // The end stays the end.
        assert!(stream.fill_buf().unwrap().is_empty());
        Ok(out)
    }

    fn through(bytes: Vec<u8>, allowance: u64) -> Result<(Vec<u8>, Digest, u64)> {
        let reader = Box::new(io::Cursor::new(bytes));
        run(reader, Compression::None, Algorithm::Sha256, Room::new(Some(allowance), None), copy)
    }

    #[test]
    fn all_bytes_arrive_hashed() {
        for length in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 40 * BUFFER] {
            let bytes: Vec<u8> = (0..length).map(|i| (i / 7) as u8).collect();
            let (out, digest, found) = through(bytes.clone(), u64::MAX).unwrap();
            assert_eq!(out, bytes);
            assert_eq!(digest, Digest::sha256(&bytes));
            assert_eq!(found, length as u64);
        }
    }

    #[test]
    fn the_allowance_is_exact_to_a_buffer() {
        assert!(through(vec![0; 1000], 1000).is_ok());
        assert_eq!(through(vec![0; 1001], 1000).unwrap_err().kind(), Kind::Limit);
    }

    #[test]
    fn a_consumer_that_gives_up_ends_the_threads() {
        let endless = Box::new(io::repeat(b'x'));
        let result =
            run(endless, Compression::None, Algorithm::Sha256, Room::new(None, None), |stream| {
                drop(stream);
                Err::<(), _>(Error::invalid("enough"))
            });
        assert!(result.is_err());
    }

    #[test]
    fn faults_of_the_reader_arrive() {
        let err = run(
            Box::new(io::Cursor::new(b"\x1f\x8bxx")),
            Compression::Gzip,
            Algorithm::Sha256,
            Room::new(None, None),
            copy,
        );
        assert_eq!(err.unwrap_err().kind(), Kind::Invalid);
    }
}
