//! The content of entries: where it is in the tar, and its holes.

use std::io::{self, BufRead, Read};

use conex_spec::{Error, Result};

use super::header::Header;
use super::pax::Pax;
use super::reader::{fill, truncated};
use super::sparse::{self, BodyMap, Map, Region};
use super::{BLOCK, Kind, Reader, padding};
use crate::Code;

/// Some content of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes.
    Data(&'a [u8]),
    /// This many zeros that are not stored in the tar.
    Hole(u64),
}

/// Where the content of the current entry stands.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) map: Map,
    /// The region being read.
    pub(crate) region: usize,
    /// How far the file was given out, holes included.
    pub(crate) at: u64,
    /// Bytes of the file that are still in the tar.
    pub(crate) stored: u64,
    /// Zeros after them.
    pub(crate) padding: u64,
}

impl<R: BufRead> Reader<R> {
    /// More content of the entry last returned; nothing at its end. Empty pieces do not occur.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>> {
        self.give_back();
        let body = &mut self.body;
        while body.map.regions.get(body.region).is_some_and(|r| body.at == r.offset + r.length) {
            body.region += 1;
        }
        let (start, end) = match body.map.regions.get(body.region) {
            Some(region) => (region.offset, region.offset + region.length),
            None => (body.map.size, body.map.size),
        };
        if body.at < start {
            let hole = start - body.at;
            body.at = start;
            return Ok(Some(Piece::Hole(hole)));
        }
        if body.at == end {
            return Ok(None);
        }
        let wanted = usize::try_from(end - body.at).unwrap_or(usize::MAX);
        let data = fill(&mut self.inner, &self.path)?;
        let data = &data[..data.len().min(wanted)];
        self.lent = data.len();
        body.at += data.len() as u64;
        body.stored -= data.len() as u64;
        Ok(Some(Piece::Data(data)))
    }

    pub(crate) fn give_back(&mut self) {
        self.inner.consume(self.lent);
        self.position += self.lent as u64;
        self.lent = 0;
    }

    /// Prepares to read the content of an entry of which `size` bytes are stored.
    pub(crate) fn set_body(
        &mut self,
        header: &Header,
        pax: &Pax,
        size: u64,
        kind: &Kind,
    ) -> Result<()> {
        let map = match kind {
            Kind::File => self.sparse_map(header, pax, size)?,
            _ => None,
        };
        let padding = padding(size);
        if let Some((map, stored)) = map {
            let detail = "sparse file, which not every tool can read";
            self.warnings.add(Code::Sparse, &self.path, detail);
            self.body = Body { map, stored, padding, ..Body::default() };
            return Ok(());
        }
        let region = Region { offset: 0, length: size };
        let map = Map { regions: vec![region], size };
        self.body = Body { map, stored: size, padding, ..Body::default() };
        Ok(())
    }

    /// The map and how many bytes of content are stored, where the file is sparse.
    fn sparse_map(&mut self, header: &Header, pax: &Pax, size: u64) -> Result<Option<(Map, u64)>> {
        if header.typeflag() == b'S' {
            // Star's files of this type have another map, and Go refuses them.
            if !header.is_gnu() {
                return Err(Error::invalid("sparse file in a header that is not GNU's"));
            }
            let (regions, real) = sparse::from_gnu(header.bytes(), || {
                self.read_block()?.ok_or_else(|| truncated(&self.path))
            })?;
            return Ok(Some((Map::new(regions, real, size)?, size)));
        }
        let sparse = &pax.sparse;
        let real_size = || {
            let missing = || Error::invalid("sparse file without its real size");
            sparse.real_size.ok_or_else(missing)
        };
        match (sparse.major, sparse.minor) {
            (Some(1), Some(0)) => {
                let (regions, used) = self.map_in_body(size)?;
                let map = Map::new(regions, real_size()?, size - used)?;
                Ok(Some((map, size - used)))
            }
            (None, None) | (Some(0), Some(0 | 1)) => {
                let Some(regions) = sparse::from_pax(sparse)? else {
                    return Ok(None);
                };
                Ok(Some((Map::new(regions, real_size()?, size)?, size)))
            }
            (major, minor) => Err(Error::invalid("unknown version of sparse file")
                .expected("0.0, 0.1 or 1.0")
                .found(format!("{}.{}", major.unwrap_or(0), minor.unwrap_or(0)))),
        }
    }

    fn map_in_body(&mut self, size: u64) -> Result<(Vec<Region>, u64)> {
        let mut map = BodyMap::default();
        let mut used = 0;
        loop {
            used += BLOCK as u64;
            if used > size {
                return Err(Error::invalid("map of a sparse file is longer than its body"));
            }
            let block = self.read_block()?.ok_or_else(|| truncated(&self.path))?;
            if map.push(&block)? {
                return Ok((map.finish()?, used));
            }
        }
    }
}

/// The content of the entry last returned, holes as zeros.
impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (n, hole) = match self.next_piece()? {
            None => return Ok(0),
            Some(Piece::Data(data)) => {
                let n = data.len().min(buf.len());
                buf[..n].copy_from_slice(&data[..n]);
                (n, 0)
            }
            Some(Piece::Hole(length)) => {
                let n = usize::try_from(length).unwrap_or(usize::MAX).min(buf.len());
                buf[..n].fill(0);
                (n, length)
            }
        };
        self.unread(n, hole);
        Ok(n)
    }
}

impl<R> Reader<R> {
    /// Takes back what of the last piece was not used: all but `n` bytes.
    fn unread(&mut self, n: usize, hole: u64) {
        if hole > 0 {
            self.body.at -= hole - n as u64;
            return;
        }
        let unused = (self.lent - n) as u64;
        self.lent = n;
        self.body.at -= unused;
        self.body.stored += unused;
    }
}
