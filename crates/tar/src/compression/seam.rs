//! Joins deflate streams: each but the last is opened at its end, so that the next one goes on there.
//!
//! A compressor of whole buffers marks its last block as the final one (RFC 1951, 3.2.3). Where that block
//! begins can only be learned by reading the codes, which is done here without making anything of them:
//! several times faster than to inflate.

use std::io;

/// Symbols whose code is longer are decoded bit by bit; they are rare.
const FAST: u32 = 11;
const SLOTS: usize = 1 << FAST;

/// What a code stands for, in so far as it matters here.
const LITERAL: u16 = 0;
const LENGTH: u16 = 1 << 8;
const END: u16 = 2 << 8;
const SLOW: u16 = 3 << 8;
const INVALID: u16 = 4 << 8;

/// Bits after a length or distance code (RFC 1951, 3.2.5).
const LENGTH_BITS: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BITS: [u8; 30] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
    13,
];
/// The order of the lengths of the codes for code lengths (RFC 1951, 3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Makes a whole deflate stream one that another can follow: its last block is no longer the final
/// one, and an empty stored block ends it on a byte.
pub(super) fn leave_open(stream: &mut Vec<u8>) -> io::Result<()> {
    let (header, end) = last_block(stream).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the compressor wrote no deflate stream")
    })?;
    stream[header / 8] &= !(1 << (header % 8));
    // The header of the stored block: three zeros, then zeros to the next byte.
    if stream.len() * 8 - end < 3 {
        stream.push(0);
    }
    stream.extend_from_slice(&[0, 0, 0xff, 0xff]);
    Ok(())
}

/// The bits at which the final block begins and at which it ends.
fn last_block(stream: &[u8]) -> Option<(usize, usize)> {
    let mut bits = Bits { bytes: stream, at: 0, buffer: 0, count: 0 };
    let (mut lengths, mut distances) = (Codes::new(), Codes::new());
    loop {
        let header = bits.position();
        let (last, kind) = (bits.take(1)? == 1, bits.take(2)?);
        match kind {
            0 => bits.skip_stored()?,
            1 => {
                lengths.build(&fixed_lengths(), length_meaning)?;
                distances.build(&[5; 30], distance_meaning)?;
                skip_codes(&mut bits, &lengths, &distances)?;
            }
            2 => {
                read_codes(&mut bits, &mut lengths, &mut distances)?;
                skip_codes(&mut bits, &lengths, &distances)?;
            }
            _ => return None,
        }
        if last {
            let end = bits.position();
            return (end <= stream.len() * 8 && stream.len() * 8 - end < 8)
                .then_some((header, end));
        }
    }
}

/// The hot loop: one literal, or a length and a distance.
fn skip_codes(bits: &mut Bits<'_>, lengths: &Codes, distances: &Codes) -> Option<()> {
    loop {
        bits.fill();
        let mut code = lengths.next(bits);
        // Two literals more fit into what was filled in.
        for _ in 0..2 {
            if code & !0xff == LITERAL {
                code = lengths.next(bits);
            }
        }
        match code & !0xff {
            LITERAL => {}
            LENGTH => {
                bits.fill();
                if distances.next(bits) & !0xff != LITERAL {
                    return None;
                }
            }
            END => return Some(()),
            _ => return None,
        }
        if bits.position() > bits.bytes.len() * 8 {
            return None;
        }
    }
}

/// The codes of a block of its own codes (RFC 1951, 3.2.7).
fn read_codes(bits: &mut Bits<'_>, lengths: &mut Codes, distances: &mut Codes) -> Option<()> {
    let (literals, others) = (bits.take(5)? as usize + 257, bits.take(5)? as usize + 1);
    let mut short = [0; 19];
    for &at in ORDER.iter().take(bits.take(4)? as usize + 4) {
        short[at] = bits.take(3)? as u8;
    }
    lengths.build(&short, |symbol| Some((LITERAL, symbol as u8)))?;
    let mut all = [0_u8; 320];
    let mut at = 0;
    while at < literals + others {
        bits.fill();
        let symbol = lengths.symbol(bits)?;
        let (value, times) = match symbol {
            0..=15 => (symbol as u8, 1),
            16 => (*all.get(at.checked_sub(1)?)?, 3 + bits.take(2)? as usize),
            17 => (0, 3 + bits.take(3)? as usize),
            _ => (0, 11 + bits.take(7)? as usize),
        };
        all.get_mut(at..at + times)?.fill(value);
        at += times;
    }
    if at != literals + others {
        return None;
    }
    lengths.build(&all[..literals], length_meaning)?;
    distances.build(&all[literals..at], distance_meaning)
}

/// What a symbol is, and how many bits follow its code.
fn length_meaning(symbol: usize) -> Option<(u16, u8)> {
    match symbol {
        0..=255 => Some((LITERAL, 0)),
        256 => Some((END, 0)),
        _ => Some((LENGTH, *LENGTH_BITS.get(symbol - 257)?)),
    }
}

fn distance_meaning(symbol: usize) -> Option<(u16, u8)> {
    Some((LITERAL, *DISTANCE_BITS.get(symbol)?))
}

fn fixed_lengths() -> [u8; 288] {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    lengths
}

/// A Huffman code. An entry is a meaning and the bits of the code and of what follows it.
struct Codes {
    fast: Box<[u16; SLOTS]>,
    /// How many codes there are of each length.
    counts: [u16; 16],
    /// Symbols in the order of their codes.
    symbols: [u16; 320],
    /// What each symbol is.
    meanings: [u16; 320],
}

impl Codes {
    fn new() -> Self {
        Self {
            fast: Box::new([INVALID; SLOTS]),
            counts: [0; 16],
            symbols: [0; 320],
            meanings: [0; 320],
        }
    }

    /// From the length of each symbol's code (RFC 1951, 3.2.2).
    fn build(
        &mut self,
        lengths: &[u8],
        meaning: impl Fn(usize) -> Option<(u16, u8)>,
    ) -> Option<()> {
        self.counts = [0; 16];
        for &length in lengths {
            self.counts[usize::from(length)] += 1;
        }
        self.counts[0] = 0;
        let (mut first, mut place) = ([0_u32; 16], [0_usize; 16]);
        for length in 1..16 {
            first[length] = (first[length - 1] + u32::from(self.counts[length - 1])) << 1;
            place[length] = place[length - 1] + usize::from(self.counts[length - 1]);
        }
        self.fast.fill(INVALID);
        for (symbol, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let (kind, extra) = meaning(symbol).unwrap_or((INVALID, 0));
            let length = usize::from(length);
            self.meanings[symbol] = kind | u16::from(extra);
            self.symbols[place[length]] = symbol as u16;
            place[length] += 1;
            let code = first[length];
            first[length] += 1;
            // Codes come with their first bit lowest.
            let reversed = (code.reverse_bits() >> (32 - length)) as usize;
            if length as u32 <= FAST {
                let entry = kind | (u16::from(extra) + length as u16);
                (reversed..SLOTS).step_by(1 << length).for_each(|slot| self.fast[slot] = entry);
            } else {
                self.fast[reversed & (SLOTS - 1)] = SLOW;
            }
        }
        Some(())
    }

    /// Passes over the next code and what follows it. At least 48 bits must be there.
    #[inline(always)]
    fn next(&self, bits: &mut Bits<'_>) -> u16 {
        let entry = self.fast[bits.buffer as usize & (SLOTS - 1)];
        if entry & !0xff == SLOW {
            let meaning = self.symbol(bits).map_or(INVALID, |symbol| self.meanings[symbol]);
            bits.drop(u32::from(meaning & 0xff));
            return meaning;
        }
        bits.drop(u32::from(entry & 0xff));
        entry
    }

    /// The next symbol, bit by bit.
    fn symbol(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0_i32, 0_i32, 0_i32);
        for length in 1..16 {
            code |= (bits.buffer & 1) as i32;
            bits.drop(1);
            let count = i32::from(self.counts[length]);
            if code - count < first {
                return Some(usize::from(*self.symbols.get((index + code - first) as usize)?));
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// Bits in the order of deflate: the lowest of each byte first. Behind the end there are zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    /// How many bytes are in the buffer or were.
    at: usize,
    buffer: u64,
    count: u32,
}

impl Bits<'_> {
    fn position(&self) -> usize {
        self.at * 8 - self.count as usize
    }

    /// Makes at least 56 bits available.
    #[inline(always)]
    fn fill(&mut self) {
        if let Some(word) = self.bytes.get(self.at..self.at + 8).and_then(|word| word.first_chunk())
        {
            self.buffer |= u64::from_le_bytes(*word) << self.count;
            self.at += (63 - self.count as usize) >> 3;
            self.count |= 56;
            return;
        }
        while self.count < 56 {
            let byte = self.bytes.get(self.at).copied().unwrap_or_default();
            self.buffer |= u64::from(byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.buffer >>= count;
        self.count -= count;
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        self.fill();
        let value = self.buffer & ((1 << count) - 1);
        self.drop(count);
        (self.position() <= self.bytes.len() * 8).then_some(value as u32)
    }

    fn skip_stored(&mut self) -> Option<()> {
        let start = self.position().div_ceil(8);
        let length = self.bytes.get(start..start + 2)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let end = start + 4 + length;
        (self.at, self.buffer, self.count) = (end, 0, 0);
        (end <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use std::io::{Read, Write};

    use flate2::Compression;
    use flate2::read::DeflateDecoder;
    use flate2::write::DeflateEncoder;

    use super::*;

    fn deflate(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Stored, fixed and own codes; blocks that end at every bit of a byte.
    #[test]
    fn streams_of_every_kind_are_joined() {
        let noise: Vec<u8> =
            (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let text: Vec<u8> = (0..70_000_u32)
            .map(|i| b"etaoinshrdlu"[(i.wrapping_mul(i) / 7 % 12) as usize])
            .collect();
        let (mut joined, mut expected) = (Vec::new(), Vec::new());
        for level in [0, 1, 6, 9] {
            for length in (0..40).chain([1000, 5003, 70_000]) {
                for bytes in [&noise[..length], &text[..length]] {
                    let mut piece = deflate(bytes, level);
                    leave_open(&mut piece).unwrap();
                    joined.extend(piece);
                    expected.extend_from_slice(bytes);
                }
            }
        }
        joined.extend(deflate(b"end", 6));
        let mut out = Vec::new();
        DeflateDecoder::new(&joined[..]).read_to_end(&mut out).unwrap();
        assert!(out == expected.iter().chain(b"end").copied().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let whole = deflate(&b"some text, some text and more of it".repeat(50), 6);
        for cut in 0..whole.len() - 1 {
            assert!(leave_open(&mut whole[..cut].to_vec()).is_err(), "{cut}");
        }
        for bad in [&[7_u8][..], &[0xff; 40], &[5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert!(leave_open(&mut bad.to_vec()).is_err());
        }
        assert!(leave_open(&mut [whole, vec![0; 9]].concat()).is_err());
    }
}
