//! gzip on all cores, as one member (RFC 1952) that any program reads.
//!
//! The input is cut into blocks of one size. libdeflate, which takes whole buffers only and is twice as fast
//! as zlib for that, deflates each on its own; its end is opened and put on a byte (see `seam`), so that
//! the blocks are one stream when they follow one another:
//!
//! ```text
//! header | block | block | … | last block | CRC-32 of all | length of all
//! ```
//!
//! Where the blocks end depends on the input alone, and so does the output: neither the number of
//! threads nor the pieces in which the input came can be told from it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use flate2::Crc;
use libdeflater::{CompressionLvl, Compressor};

use super::seam::leave_open;

/// What one thread deflates at a time, in bytes. Part of what the output depends on. No block sees the one
/// before it: at this size that costs half a percent.
const BLOCK: usize = 512 << 10;

/// Compresses what is written to it.
pub(super) struct Gzip<W: Write> {
    inner: W,
    level: CompressionLvl,
    threads: usize,
    /// What is not deflated yet.
    input: Vec<u8>,
    pool: Option<Pool>,
    /// Blocks that are being deflated, in their order.
    waiting: VecDeque<Receiver<io::Result<Deflated>>>,
    /// Of what was written to `inner`.
    crc: Crc,
}

/// A block to be deflated.
struct Block {
    input: Vec<u8>,
    last: bool,
}

struct Deflated {
    output: Vec<u8>,
    crc: Crc,
}

impl<W: Write> Gzip<W> {
    /// Writes the header. Levels are 0 to 12.
    pub(super) fn new(mut inner: W, level: u32, threads: usize) -> io::Result<Self> {
        let extra = match level {
            9.. => 2,
            0 | 1 => 4,
            _ => 0,
        };
        // No name, no time and an unknown system: nothing of this machine (RFC 1952, 2.3).
        inner.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra, 255])?;
        let level = CompressionLvl::new(i32::try_from(level).unwrap_or(i32::MAX));
        let level = level.map_err(|_| io::Error::other("gzip has no such level"))?;
        let (waiting, crc) = (VecDeque::new(), Crc::new());
        Ok(Self { inner, level, threads, input: Vec::new(), pool: None, waiting, crc })
    }

    /// Writes what is left, and returns the stream below.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let last = Block { input: std::mem::take(&mut self.input), last: true };
        let last = deflate(&last, &mut Compressor::new(self.level))?;
        self.write_waiting(0)?;
        self.write(&last)?;
        self.inner.write_all(&self.crc.sum().to_le_bytes())?;
        self.inner.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.inner)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write_waiting(0)?;
        self.inner.flush()
    }

    /// Takes all of it, and deflates what has become a whole block.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = BLOCK - self.input.len();
            // The last block is never deflated here, so a whole one waits for the next byte.
            if room == 0 {
                self.submit()?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.input.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn submit(&mut self) -> io::Result<()> {
        let input = std::mem::replace(&mut self.input, Vec::with_capacity(BLOCK));
        let block = Block { input, last: false };
        let pool = match &mut self.pool {
            Some(pool) => pool,
            none => none.insert(Pool::start(self.threads, self.level)?),
        };
        self.waiting.push_back(pool.deflate(block));
        self.write_waiting(2 * self.threads)
    }

    /// Writes the oldest blocks until so many are left.
    fn write_waiting(&mut self, left: usize) -> io::Result<()> {
        while self.waiting.len() > left {
            let Some(oldest) = self.waiting.pop_front() else { break };
            let deflated = oldest.recv().map_err(|_| io::Error::other("a thread stopped"))??;
            self.write(&deflated)?;
        }
        Ok(())
    }

    fn write(&mut self, block: &Deflated) -> io::Result<()> {
        self.crc.combine(&block.crc);
        self.inner.write_all(&block.output)
    }
}

type Job = (Block, SyncSender<io::Result<Deflated>>);

/// Threads that deflate blocks.
struct Pool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn start(threads: usize, level: CompressionLvl) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let start = |_| {
            let queue = queue.clone();
            thread::Builder::new().name("gzip".into()).spawn(move || work(&queue, level))
        };
        let threads = (0..threads.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    fn deflate(&self, block: Block) -> Receiver<io::Result<Deflated>> {
        let (done, wait) = sync_channel(1);
        if let Some(jobs) = &self.jobs {
            // That nobody takes it shows in the answer that does not come.
            let _ = jobs.send((block, done));
        }
        wait
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn work(queue: &Mutex<Receiver<Job>>, level: CompressionLvl) {
    let mut compressor = Compressor::new(level);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, done)) = job else { return };
        let _ = done.send(deflate(&block, &mut compressor));
    }
}

/// The compressor keeps nothing of what it served for.
fn deflate(block: &Block, compressor: &mut Compressor) -> io::Result<Deflated> {
    let mut output = vec![0; compressor.deflate_compress_bound(block.input.len())];
    let length = compressor.deflate_compress(&block.input, &mut output);
    let length = length.map_err(|err| io::Error::other(err.to_string()))?;
    output.truncate(length);
    if !block.last {
        leave_open(&mut output)?;
    }
    let mut crc = Crc::new();
    crc.update(&block.input);
    Ok(Deflated { output, crc })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Numbers below `below` that do not repeat.
    fn numbers(below: u32) -> impl FnMut() -> usize {
        let mut state = 1_u32;
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) % below) as usize
        }
    }

    /// This program: real content, unlike all that could be made up here, showed of another deflater
    /// that after one stream it finds other matches than a new one.
    #[allow(clippy::disallowed_methods, reason = "the program looks at itself")]
    fn text(length: usize) -> Vec<u8> {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        program.into_iter().cycle().take(length).collect()
    }

    fn random(length: usize) -> Vec<u8> {
        let mut number = numbers(256);
        (0..length).map(|_| number() as u8).collect()
    }

    fn packed(bytes: &[u8], level: u32, threads: usize, piece: usize) -> Vec<u8> {
        let mut gzip = Gzip::new(Vec::new(), level, threads).unwrap();
        bytes.chunks(piece).for_each(|piece| gzip.take(piece).unwrap());
        gzip.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let (mut out, mut input) = (Vec::new(), bytes);
        // One member: what is left after it would be another one, or junk.
        flate2::bufread::GzDecoder::new(&mut input).read_to_end(&mut out).unwrap();
        assert!(input.is_empty(), "{} bytes after the member", input.len());
        out
    }

    #[test]
    fn any_length_comes_back_from_one_member() {
        for length in [0, 1, 32 << 10, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 7] {
            let bytes = text(length);
            assert!(unpacked(&packed(&bytes, 6, 2, 100_000)) == bytes, "{length}");
        }
    }

    #[test]
    fn threads_and_pieces_leave_no_trace() {
        let bytes = text(20 * BLOCK + 99);
        for level in [0, 1, 5, 9] {
            let one = packed(&bytes, level, 1, 1 << 20);
            assert!(unpacked(&one) == bytes, "{level}");
            for (threads, piece) in [(1, 777), (2, 65_536), (8, 1 << 22)] {
                assert!(packed(&bytes, level, threads, piece) == one, "{level} {threads} {piece}");
            }
        }
    }

    #[test]
    fn it_is_no_longer_than_what_zlib_makes_in_one_piece() {
        let bytes = text(20 * BLOCK);
        let mut whole = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        whole.write_all(&bytes).unwrap();
        let whole = whole.finish().unwrap().len();
        let ours = packed(&bytes, 5, 2, 1 << 20).len();
        assert!(ours * 1000 < whole * 1010, "{ours} {whole}");
    }

    #[test]
    fn bytes_that_do_not_shrink_and_bytes_that_vanish() {
        let zeros = vec![0; 3 * BLOCK];
        assert_eq!(unpacked(&packed(&zeros, 6, 2, 4096)), zeros);
        let random = random(3 * BLOCK);
        for level in [0, 1, 9, 12] {
            assert!(unpacked(&packed(&random, level, 2, 4096)) == random);
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
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
        let mut gzip = Gzip::new(Full(BLOCK), 1, 2).unwrap();
        let bytes = text(10 * BLOCK);
        let written = bytes.chunks(BLOCK).try_for_each(|piece| gzip.take(piece));
        let err = written.and_then(|()| gzip.finish().map(drop)).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::StorageFull);
    }
}
