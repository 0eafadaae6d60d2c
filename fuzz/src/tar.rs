//! Tar, plain and compressed.

use std::io::Read;

use conex_tar::Reader;
use conex_tar::compression::{Decoder, detect};

/// What a row of entries may hold in all, in bytes: sparse files claim more than they are.
const MOST: u64 = 64 << 20;

pub fn entries(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut read = 0;
    while let Ok(Some(_)) = reader.next_entry() {
        while let Ok(Some(piece)) = reader.next_piece() {
            read += match piece {
                conex_tar::Piece::Data(data) => data.len() as u64,
                conex_tar::Piece::Hole(length) => length.min(1),
            };
            if read > MOST {
                return;
            }
        }
    }
    assert!(reader.position() <= data.len() as u64);
}

pub fn compressed(data: &[u8]) {
    let Ok(decoder) = Decoder::new(detect(data), data) else { return };
    let _ = std::io::copy(&mut decoder.take(MOST), &mut std::io::sink());
}
