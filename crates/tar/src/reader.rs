//! Reads a tar as a stream: one entry at a time, memory bounded whatever the archive claims.

use std::io::{self, BufRead, BufReader, Read, Seek};

use conex_spec::{Error, Kind as Fault, Result};

use super::body::Body;
use super::header::{Header, c_string};
use super::pax::{self, Pax};
use super::{BLOCK, Entry, Kind, padding};
use crate::show;
use crate::{Code, Warnings};

/// Extended headers and long names end here; honest ones are a thousand times smaller.
const MAX_EXTENSION: u64 = 1 << 20;
/// Linux makes no link with a longer target, in bytes: `PATH_MAX` with its NUL.
const MAX_TARGET: usize = 4095;

/// Entries of a tar in their order. The content of the entry last returned is read through
/// [`Reader::next_piece`] or [`Read`]; what is left of it is skipped by the next
/// [`Reader::next_entry`].
///
/// # Security
/// Nothing is allocated by a size that the archive claims. What different readers would take
/// differently is an error; after any error the reader must not be used further.
#[derive(Debug)]
pub struct Reader<R> {
    pub(crate) inner: R,
    /// Bytes of the tar handed out or skipped.
    pub(crate) position: u64,
    /// Bytes at the front of `inner` that the last piece lent out.
    pub(crate) lent: usize,
    pub(crate) body: Body,
    pub(crate) path: Vec<u8>,
    ended: bool,
    pub(crate) warnings: Warnings,
}

/// Extensions that wait for the entry they describe.
#[derive(Default)]
struct Pending {
    start: Option<u64>,
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.start.is_none()
    }
}

impl<R: Read> Reader<BufReader<R>> {
    /// Reads from any stream, through a buffer.
    pub fn new(inner: R) -> Self {
        Self::from_buffered(BufReader::with_capacity(128 << 10, inner))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads from a stream that has a buffer of its own.
    pub fn from_buffered(inner: R) -> Self {
        Self {
            inner,
            position: 0,
            lent: 0,
            body: Body::default(),
            path: Vec::new(),
            ended: false,
            warnings: Warnings::default(),
        }
    }

    /// The next entry. After the last one the rest of the stream is read to its end and
    /// searched for hidden archives; then, and only then, nothing is returned.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.skip_body()?;
        let mut pending = Pending::default();
        while let Some(header) = self.next_header(&pending)? {
            let start = self.position - BLOCK as u64;
            match header.typeflag() {
                b'x' | b'L' | b'K' => {
                    let bytes = self.read_extension(&header)?;
                    pending.start.get_or_insert(start);
                    self.extend(&mut pending, header.typeflag(), &bytes)?;
                }
                b'g' => {
                    if !pending.is_empty() {
                        return Err(orphan());
                    }
                    let bytes = self.read_extension(&header)?;
                    pax::check_global(&bytes)?;
                }
                _ => {
                    let entry = self.entry(&header, pending, start);
                    return entry.map(Some).map_err(|err| self.at(err));
                }
            }
        }
        Ok(None)
    }

    /// How many bytes of the tar have been read or skipped.
    pub fn position(&self) -> u64 {
        self.position + self.lent as u64
    }

    /// What was odd so far.
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// What was odd; the list starts anew.
    pub fn take_warnings(&mut self) -> Warnings {
        std::mem::take(&mut self.warnings)
    }

    /// The stream below.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn at(&self, err: Error) -> Error {
        match self.path.is_empty() {
            true => err,
            false => err.context(format!("tar entry {}", show(&self.path))),
        }
    }

    fn skip_body(&mut self) -> Result<()> {
        self.give_back();
        let (stored, padding) = (self.body.stored, self.body.padding);
        self.body = Body::default();
        self.skip(stored)?;
        // Some writers leave the padding of the last body away; then the stream is at its end
        // and the missing end marker is what gets reported.
        let mut left = padding;
        while left > 0 {
            let available = fill_or_end(&mut self.inner)?.len() as u64;
            if available == 0 {
                break;
            }
            let n = available.min(left);
            self.consume(n);
            left -= n;
        }
        Ok(())
    }

    fn skip(&mut self, mut left: u64) -> Result<()> {
        while left > 0 {
            let n = (fill(&mut self.inner, &self.path)?.len() as u64).min(left);
            self.consume(n);
            left -= n;
        }
        Ok(())
    }

    fn consume(&mut self, n: u64) {
        // `n` is at most the length of a buffer.
        self.inner.consume(n as usize);
        self.position += n;
    }

    /// A whole block; nothing where the stream ends before it.
    pub(crate) fn read_block(&mut self) -> Result<Option<Box<[u8; BLOCK]>>> {
        let (block, have) = self.read_partial_block()?;
        match have {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(truncated(&self.path).found(format!("{have} of 512 bytes of a block"))),
        }
    }

    /// The next header; nothing at the end of the archive, which is then read out.
    fn next_header(&mut self, pending: &Pending) -> Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        let block = self.read_block()?;
        let at = self.position - BLOCK as u64 * u64::from(block.is_some());
        match block {
            Some(block) if !is_zero(&block[..]) => Header::parse(block, at).map(Some),
            _ if !pending.is_empty() => Err(orphan()),
            Some(_) => self.end().map(|()| None),
            None => {
                self.ended = true;
                self.warnings.add(Code::NoEndMarker, b"", "tar has no end marker");
                Ok(None)
            }
        }
    }

    /// After the first block of zeros.
    fn end(&mut self) -> Result<()> {
        self.ended = true;
        match self.read_block()? {
            None => self.warnings.add(Code::NoEndMarker, b"", "tar has half an end marker"),
            Some(block) if is_zero(&block[..]) => self.read_trailer()?,
            Some(_) => {
                let message = "a block of zeros stands between two tar entries";
                return Err(Error::invalid(message).expected("two blocks of zeros and the end"));
            }
        }
        Ok(())
    }

    /// Everything after the end marker: zeros, or something else that is worth a warning, or a
    /// second archive, which some readers see and others do not (rule T5).
    fn read_trailer(&mut self) -> Result<()> {
        let mut junk = 0;
        loop {
            let buffer = fill_or_end(&mut self.inner)?;
            if buffer.is_empty() {
                break;
            }
            // Whole blocks straight from the buffer while they are zeros.
            let whole = buffer.len() / BLOCK * BLOCK;
            if whole > 0 && is_zero(&buffer[..whole]) {
                self.consume(whole as u64);
                continue;
            }
            let (block, length) = self.read_partial_block()?;
            if length == BLOCK && !is_zero(&block[..]) && Header::looks_valid(&block[..]) {
                let at = self.position - BLOCK as u64;
                return Err(Error::invalid("second tar archive after the end of the first")
                    .expected("zeros to the end of the layer")
                    .found(format!("a tar header at byte {at}")));
            }
            junk += block[..length].iter().filter(|&&b| b != 0).count();
        }
        if junk > 0 {
            let detail = format!("{junk} bytes after the end of the tar");
            self.warnings.add(Code::TrailingData, b"", detail);
        }
        Ok(())
    }

    fn read_partial_block(&mut self) -> Result<(Box<[u8; BLOCK]>, usize)> {
        let mut block = Box::new([0; BLOCK]);
        let mut have = 0;
        while have < BLOCK {
            let buffer = fill_or_end(&mut self.inner)?;
            if buffer.is_empty() {
                break;
            }
            let n = buffer.len().min(BLOCK - have);
            block[have..have + n].copy_from_slice(&buffer[..n]);
            have += n;
            self.consume(n as u64);
        }
        Ok((block, have))
    }

    fn read_extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.size()?;
        if size > MAX_EXTENSION {
            return Err(Error::new(Fault::Limit, "extended tar header is too long")
                .expected(format!("at most {MAX_EXTENSION} bytes"))
                .found(size));
        }
        let mut bytes = Vec::new();
        let mut left = (size + padding(size)) as usize;
        while left > 0 {
            let buffer = fill(&mut self.inner, b"")?;
            let n = buffer.len().min(left);
            bytes.extend_from_slice(&buffer[..n]);
            left -= n;
            self.consume(n as u64);
        }
        let behind = bytes.split_off(size as usize);
        // GNU tar takes whole blocks and ends the name at a NUL, others end it where its size says.
        let long_name = matches!(header.typeflag(), b'L' | b'K');
        if long_name && !bytes.contains(&0) && behind.first().is_some_and(|&byte| byte != 0) {
            return Err(Error::invalid("GNU long name goes on behind its end")
                .expected(format!("a NUL after {size} bytes"))
                .found(show(&behind[..behind.len().min(64)])));
        }
        Ok(bytes)
    }

    fn extend(&mut self, pending: &mut Pending, flag: u8, bytes: &[u8]) -> Result<()> {
        let repeated = match flag {
            b'x' => pending.pax.replace(pax::parse(bytes, &mut self.warnings)?).is_some(),
            b'L' => pending.long_name.replace(long_name(bytes)?).is_some(),
            _ => pending.long_link.replace(long_name(bytes)?).is_some(),
        };
        if repeated {
            let message = "two extended headers of one kind before one tar entry";
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, pending: Pending, start: u64) -> Result<Entry> {
        let offset = pending.start.unwrap_or(start);
        let mut pax = pending.pax.unwrap_or_default();
        // The name of a sparse file overrules the one in PAX, but not every reader takes it before GNU's.
        if pending.long_name.is_some() {
            one_of("name", pax.sparse.name.clone(), pending.long_name.clone())?;
        }
        let path = one_of("name", pax.path.take(), pending.long_name)?;
        self.path = path.unwrap_or_else(|| header.name());
        if let Some(name) = pax.sparse.name.take() {
            self.path = name;
        }
        if self.path.is_empty() {
            return Err(Error::invalid("tar entry has an empty name"));
        }
        let link = one_of("link name", pax.linkpath.take(), pending.long_link)?;
        // Some readers take the entry for a link then, whatever its type.
        if link.is_some() && !matches!(header.typeflag(), b'1' | b'2') {
            return Err(Error::invalid("extended header gives a link name to what is no link"));
        }
        let kind = self.kind(header, link)?;
        let size = self.size(header, &pax, &kind)?;
        self.set_body(header, &pax, size, &kind)?;
        Ok(Entry {
            path: self.path.clone(),
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
            xattrs: pax.xattrs,
            size: self.body.map.size,
            sparse: self.body.map.size != self.body.stored,
            offset,
            body_offset: self.position,
            kind,
        })
    }

    fn kind(&self, header: &Header, link: Option<Vec<u8>>) -> Result<Kind> {
        let target = || {
            let target = link.clone().unwrap_or_else(|| header.link_name().to_vec());
            if target.is_empty() {
                return Err(Error::invalid("link without a target"));
            }
            if target.len() > MAX_TARGET {
                return Err(Error::invalid("target of a link is too long")
                    .expected(format!("at most {MAX_TARGET} bytes"))
                    .found(target.len()));
            }
            Ok(target)
        };
        Ok(match header.typeflag() {
            // Before ustar, a slash at the end was the only mark of a directory.
            b'\0' if self.path.ends_with(b"/") => Kind::Dir,
            b'0' | b'\0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(target()?),
            b'2' => Kind::Symlink(target()?),
            b'3' | b'4' => {
                let (major, minor) = header.device()?;
                match header.typeflag() {
                    b'3' => Kind::CharDevice { major, minor },
                    _ => Kind::BlockDevice { major, minor },
                }
            }
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            // POSIX takes an unknown type for a file, others skip it (rule T10).
            flag => {
                return Err(Error::invalid("unknown type of tar entry")
                    .expected("0 to 7, S, x, g, L or K")
                    .found(show(&[flag])));
            }
        })
    }

    /// The bytes stored in the tar. The PAX size wins over the header's, always (rule T1);
    /// anything but a file has no body, as in Go's reader, which all engines use.
    fn size(&mut self, header: &Header, pax: &Pax, kind: &Kind) -> Result<u64> {
        let in_header = header.size()?;
        let size = pax.size.unwrap_or(in_header);
        if size != in_header && in_header != 0 {
            let detail = format!("PAX size {size} differs from size {in_header} in the header");
            self.warnings.add(Code::SizesDiffer, &self.path, detail);
        }
        if *kind == Kind::File || size == 0 {
            return Ok(size);
        }
        let detail = format!("{} claims {size} bytes of content", kind.noun());
        self.warnings.add(Code::SizeIgnored, &self.path, detail);
        Ok(0)
    }
}

impl<R: BufRead + Seek> Reader<R> {
    /// Passes over the content of the entry last returned without reading it. That the tar does
    /// hold it all is checked; [`Reader::next_piece`] gives nothing more of it.
    pub fn seek_past_content(&mut self) -> Result<()> {
        self.give_back();
        let Body { stored, padding, .. } = std::mem::take(&mut self.body);
        let Some(far) = stored.checked_sub(1) else { return Ok(()) };
        // One byte is left to be read: a file can be sought past its end.
        self.body = Body { stored: 1, padding, ..Body::default() };
        let step = i64::try_from(far).map_err(|_| truncated(&self.path))?;
        self.inner.seek_relative(step).map_err(|err| truncated(&self.path).source(err))?;
        self.position = self.position.saturating_add(far);
        fill(&mut self.inner, &self.path).map(|_| ())
    }
}

/// One of two ways to say the same thing; both only where they agree.
fn one_of(what: &str, pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match (&pax, &gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => {
            Err(Error::invalid(format!("PAX and GNU headers give one entry two {what}s"))
                .expected(show(pax))
                .found(show(gnu)))
        }
        _ => Ok(pax.or(gnu)),
    }
}

fn long_name(bytes: &[u8]) -> Result<Vec<u8>> {
    let name = c_string(bytes);
    if name.is_empty() {
        return Err(Error::invalid("GNU long name is empty"));
    }
    // Some readers end it at the first NUL, others at the last.
    if bytes[name.len()..].iter().any(|&byte| byte != 0) {
        return Err(Error::invalid("GNU long name holds a NUL byte").found(show(bytes)));
    }
    Ok(name.to_vec())
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|&b| b == 0)
}

fn fill_or_end<R: BufRead>(inner: &mut R) -> Result<&[u8]> {
    // A first call settles interruptions; the second lends what is there without reading.
    loop {
        match inner.fill_buf() {
            Ok([]) => return Ok(&[]),
            Ok(_) => break,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(Error::from_io(err, || "cannot read the layer".into())),
        }
    }
    inner.fill_buf().map_err(|err| Error::from_io(err, || "cannot read the layer".into()))
}

pub(crate) fn fill<'a, R: BufRead>(inner: &'a mut R, path: &[u8]) -> Result<&'a [u8]> {
    let buffer = fill_or_end(inner)?;
    if buffer.is_empty() {
        return Err(truncated(path));
    }
    Ok(buffer)
}

pub(crate) fn truncated(path: &[u8]) -> Error {
    let at = match path {
        b"" => String::new(),
        path => format!(" in or after entry {}", show(path)),
    };
    Error::invalid(format!("tar ends too early{at}"))
}

fn orphan() -> Error {
    Error::invalid("extended tar header without an entry that it describes")
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
