//! Sparse files: which regions of a file have bytes in the tar; the rest are holes.
//!
//! | form | where the map is |
//! |---|---|
//! | GNU `S` | in the header from byte 386, then in blocks of their own |
//! | PAX 0.0 | repeated records `GNU.sparse.offset`, `GNU.sparse.numbytes` |
//! | PAX 0.1 | one record `GNU.sparse.map` |
//! | PAX 1.0 | decimal lines at the start of the body, padded to a block |
//!
//! Every map must account for the stored bytes exactly (rule T3).

use conex_spec::{Error, Kind, Result};

use super::BLOCK;
use super::header::size_in_range;
use super::number::unsigned;
use super::pax::{Sparse, decimal};

/// More regions than any honest file has; what lies above is refused.
pub(crate) const MAX_REGIONS: usize = 100_000;

/// Bytes that are stored: from `offset` in the file, `length` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A file's regions and its length with the holes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) regions: Vec<Region>,
    pub(crate) size: u64,
}

impl Map {
    /// Checks that the regions are in order, lie in the file and sum to `stored` bytes.
    pub(crate) fn new(regions: Vec<Region>, size: u64, stored: u64) -> Result<Self> {
        let mut end = 0;
        let mut sum = 0u64;
        for region in &regions {
            let next = region.offset.checked_add(region.length);
            let next = next.filter(|&next| region.offset >= end && next <= size);
            end = next.ok_or_else(|| fault("regions in order and inside the file"))?;
            sum += region.length;
        }
        if sum != stored {
            return Err(fault("as many bytes as are stored")
                .found(format!("{sum} bytes in the map, {stored} in the tar")));
        }
        Ok(Self { regions, size })
    }
}

/// The regions of PAX 0.0 or 0.1; nothing where the file is not sparse in one of these forms.
pub(crate) fn from_pax(sparse: &Sparse) -> Result<Option<Vec<Region>>> {
    let numbers: Vec<u64> = if let Some(map) = &sparse.map {
        if map.is_empty() {
            Vec::new()
        } else {
            let numbers = map.split(|&b| b == b',').take(2 * MAX_REGIONS + 1);
            numbers.map(decimal).collect::<Result<_>>()?
        }
    } else if sparse.numbers.is_empty() {
        // Some readers take the size of a file without a map, others pass over it.
        if sparse.blocks != Some(0) && (sparse.blocks.is_some() || sparse.real_size.is_some()) {
            return Err(fault("a map"));
        }
        if sparse.blocks.is_none() {
            return Ok(None);
        }
        Vec::new()
    } else {
        let in_turn = |(i, &(is_offset, _)): (usize, &(bool, u64))| is_offset == (i % 2 == 0);
        if !sparse.numbers.iter().enumerate().all(in_turn) {
            return Err(fault("offsets and lengths in turn"));
        }
        sparse.numbers.iter().map(|&(_, number)| number).collect()
    };
    let regions = pair(&numbers)?;
    match sparse.blocks {
        Some(blocks) if blocks != regions.len() as u64 => {
            Err(fault(&format!("{blocks} regions")).found(regions.len()))
        }
        _ => Ok(Some(regions)),
    }
}

fn pair(numbers: &[u64]) -> Result<Vec<Region>> {
    if !numbers.len().is_multiple_of(2) {
        return Err(fault("pairs of offset and length"));
    }
    check_count(numbers.len() / 2)?;
    let region = |pair: &[u64]| Region { offset: pair[0], length: pair[1] };
    Ok(numbers.chunks(2).map(region).collect())
}

/// The map of an old GNU header; `next` gives the blocks that follow it.
pub(crate) fn from_gnu(
    header: &[u8; BLOCK],
    mut next: impl FnMut() -> Result<Box<[u8; BLOCK]>>,
) -> Result<(Vec<Region>, u64)> {
    let size = size_in_range(unsigned(&header[483..495], "sparse size")?)?;
    let mut regions = Vec::new();
    push_gnu(&mut regions, &header[386..482])?;
    let mut more = header[482] != 0;
    while more {
        let block = next()?;
        push_gnu(&mut regions, &block[..504])?;
        more = block[504] != 0;
    }
    Ok((regions, size))
}

/// Pairs of 12-byte numbers up to the first empty one.
fn push_gnu(regions: &mut Vec<Region>, table: &[u8]) -> Result<()> {
    for pair in table.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        regions.push(Region {
            offset: unsigned(&pair[..12], "sparse map")?,
            length: unsigned(&pair[12..], "sparse map")?,
        });
    }
    check_count(regions.len())
}

/// Collects the map of PAX 1.0 from the start of the body, block by block.
#[derive(Default)]
pub(crate) struct BodyMap {
    numbers: Vec<u64>,
    line: Vec<u8>,
    expected: Option<usize>,
}

impl BodyMap {
    /// Takes the next block; true once the map is whole.
    pub(crate) fn push(&mut self, block: &[u8; BLOCK]) -> Result<bool> {
        for &byte in block {
            if self.is_whole() {
                break; // Padding.
            }
            if byte != b'\n' {
                // Twenty digits suffice for any number.
                if self.line.len() == 20 {
                    return Err(fault("short decimal lines"));
                }
                self.line.push(byte);
                continue;
            }
            let number = decimal(&self.line)?;
            self.line.clear();
            match self.expected {
                None => self.expected = Some(check_count_u64(number)?),
                Some(_) => self.numbers.push(number),
            }
        }
        Ok(self.is_whole())
    }

    pub(crate) fn finish(self) -> Result<Vec<Region>> {
        pair(&self.numbers)
    }

    fn is_whole(&self) -> bool {
        self.expected.is_some_and(|count| self.numbers.len() == 2 * count)
    }
}

fn check_count_u64(count: u64) -> Result<usize> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    check_count(count).map(|()| count)
}

fn check_count(count: usize) -> Result<()> {
    if count <= MAX_REGIONS {
        return Ok(());
    }
    Err(Error::new(Kind::Limit, "sparse file has too many regions")
        .expected(format!("at most {MAX_REGIONS}"))
        .found(count))
}

fn fault(expected: &str) -> Error {
    Error::invalid("bad map of a sparse file").expected(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(pairs: &[(u64, u64)]) -> Vec<Region> {
        let region = |&(offset, length)| Region { offset, length };
        pairs.iter().map(region).collect()
    }

    #[test]
    fn maps_account_for_every_byte() {
        assert!(Map::new(regions(&[(0, 5), (10, 5)]), 20, 10).is_ok());
        assert!(Map::new(regions(&[]), 20, 0).is_ok());
        for (pairs, size, stored) in [
            (&[(0, 5), (4, 5)][..], 20, 10),
            (&[(10, 5), (0, 5)], 20, 10),
            (&[(0, 5)], 4, 5),
            (&[(0, 5)], 20, 6),
            (&[(u64::MAX, 2)], 20, 2),
        ] {
            assert!(Map::new(regions(pairs), size, stored).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn pax_maps() {
        let mut sparse = Sparse { map: Some(b"0,5,10,5".to_vec()), ..Sparse::default() };
        assert_eq!(from_pax(&sparse).unwrap().unwrap(), regions(&[(0, 5), (10, 5)]));
        sparse.blocks = Some(3);
        assert!(from_pax(&sparse).is_err());
        sparse.blocks = None;
        sparse.map = Some(b"0,5,10".to_vec());
        assert!(from_pax(&sparse).is_err());
        let numbers = vec![(true, 1), (false, 2)];
        let old = Sparse { numbers, ..Sparse::default() };
        assert_eq!(from_pax(&old).unwrap().unwrap(), regions(&[(1, 2)]));
        let numbers = vec![(true, 1), (true, 2)];
        assert!(from_pax(&Sparse { numbers, ..Sparse::default() }).is_err());
        assert_eq!(from_pax(&Sparse::default()).unwrap(), None);
        let none = Sparse { blocks: Some(0), real_size: Some(9), ..Sparse::default() };
        assert_eq!(from_pax(&none).unwrap(), Some(vec![]));
        for (blocks, real_size) in [(None, Some(10)), (Some(3), None), (Some(3), Some(10))] {
            assert!(from_pax(&Sparse { blocks, real_size, ..Sparse::default() }).is_err());
        }
    }

    #[test]
    fn a_map_in_the_body() {
        let mut block = [0; BLOCK];
        block[..11].copy_from_slice(b"2\n0\n5\n10\n5\n");
        let mut map = BodyMap::default();
        assert!(map.push(&block).unwrap());
        assert_eq!(map.finish().unwrap(), regions(&[(0, 5), (10, 5)]));
    }

    /// Rule T3: a count is believed only up to the limit, and nothing is reserved for it.
    #[test]
    fn too_many_regions_are_refused() {
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(b"1000000\n");
        assert_eq!(BodyMap::default().push(&block).unwrap_err().kind(), Kind::Limit);
        let full = [b'1'; BLOCK];
        assert!(BodyMap::default().push(&full).is_err());
    }
}
