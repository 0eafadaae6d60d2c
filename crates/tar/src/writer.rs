//! Writes a tar so that the same entries always give the same bytes: ustar where it suffices,
//! and a PAX header with exactly the records that do not fit.

use std::io::{self, Read, Write};

use conex_spec::{Error, Result};

use super::pax::{format_time, push_record};
use super::{BLOCK, Entry, Kind, padding};
use crate::show;

/// How much of a file is read at once, in bytes.
const BUFFER: usize = 128 << 10;

/// A tar in the making.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
    written: u64,
    /// For content on its way; it serves again for each file.
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes to any stream, one large write per header; give it a buffer where that matters.
    pub fn new(inner: W) -> Self {
        Self { inner, written: 0, buffer: Vec::new() }
    }

    /// Adds an entry with its content, of which exactly `entry.size` bytes must come.
    ///
    /// Names and link targets are written as they are: clean them before, and end the name of a
    /// directory with `/`.
    pub fn append(&mut self, entry: &Entry, content: impl Read) -> Result<()> {
        self.append_head(entry)?;
        if entry.kind != Kind::File {
            return Ok(());
        }
        self.copy(entry, content)?;
        self.pad(padding(entry.size))
    }

    /// Adds a file whose content `fill` hands over piece by piece, and answers for: as in
    /// [`Writer::append`] it must be exactly `entry.size` bytes.
    pub fn append_pieces(
        &mut self,
        entry: &Entry,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        self.append_head(entry)?;
        let start = self.written;
        fill(&mut |piece| {
            let total = self.written - start + piece.len() as u64;
            if total > entry.size { Err(changed(entry, total)) } else { self.write(piece) }
        })?;
        let total = self.written - start;
        if total < entry.size { Err(changed(entry, total)) } else { self.pad(padding(total)) }
    }

    /// Ends the archive with its two blocks of zeros and returns the stream.
    pub fn finish(mut self) -> Result<W> {
        self.pad(2 * BLOCK as u64)?;
        Ok(self.inner)
    }

    /// The bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn append_head(&mut self, entry: &Entry) -> Result<()> {
        let mut head = Vec::with_capacity(2 * BLOCK);
        push_headers(&mut head, entry)
            .map_err(|err| err.context(format!("cannot write tar entry {}", show(&entry.path))))?;
        self.write(&head)
    }

    fn copy(&mut self, entry: &Entry, content: impl Read) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER, 0);
        let copied = self.copy_by(entry, content, &mut buffer);
        self.buffer = buffer;
        copied
    }

    fn copy_by(&mut self, entry: &Entry, content: impl Read, buffer: &mut [u8]) -> Result<()> {
        // One byte more than promised is asked for, so that growth shows.
        let mut content = content.take(entry.size.saturating_add(1));
        let mut total = 0;
        loop {
            let n = match content.read(buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => {
                    return Err(Error::from_io(err, || {
                        format!("cannot read {}", show(&entry.path))
                    }));
                }
            };
            total += n as u64;
            if total > entry.size {
                return Err(changed(entry, total));
            }
            self.write(&buffer[..n])?;
        }
        if total < entry.size { Err(changed(entry, total)) } else { Ok(()) }
    }

    fn pad(&mut self, n: u64) -> Result<()> {
        let zeros = [0; 2 * BLOCK];
        self.write(&zeros[..n as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        let failed = |err| Error::from_io(err, || "cannot write the layer".into());
        self.inner.write_all(bytes).map_err(failed)
    }
}

fn changed(entry: &Entry, found: u64) -> Error {
    Error::invalid(format!("{} changed while it was read", show(&entry.path)))
        .expected(format!("{} bytes", entry.size))
        .found(format!("{found} bytes"))
}

/// The PAX header, if one is needed, and the header itself.
fn push_headers(head: &mut Vec<u8>, entry: &Entry) -> Result<()> {
    let link: &[u8] = match &entry.kind {
        Kind::Symlink(target) | Kind::HardLink(target) => target,
        _ => b"",
    };
    if entry.path.contains(&0) || link.contains(&0) || entry.path.is_empty() {
        return Err(Error::invalid("name is empty or holds a NUL byte"));
    }
    let mut records = Vec::new();
    let split = split_path(&entry.path);
    let secs = octal(u64::try_from(entry.mtime.secs).unwrap_or(u64::MAX), 12);
    let size = octal(entry.size, 12);
    // In the order of the keys; the attributes sort before the lower-case ones.
    push_xattrs(&mut records, entry)?;
    let mut record = |needed: bool, key: &str, value: &[u8]| {
        if needed {
            push_record(&mut records, key.as_bytes(), value);
        }
    };
    let id = |id: u32| octal(u64::from(id), 8);
    record(id(entry.gid).is_none(), "gid", entry.gid.to_string().as_bytes());
    let long_link = link.len() > 100 || !link.is_ascii();
    record(long_link, "linkpath", link);
    let odd_time = secs.is_none() || entry.mtime.nanos != 0;
    record(odd_time, "mtime", format_time(entry.mtime).as_bytes());
    record(split.is_none(), "path", &entry.path);
    record(size.is_none(), "size", entry.size.to_string().as_bytes());
    record(id(entry.uid).is_none(), "uid", entry.uid.to_string().as_bytes());

    if !records.is_empty() {
        push_pax(head, &records);
    }
    let mut block = [0; BLOCK];
    let (prefix, name) = split.unwrap_or((b"", &entry.path));
    put(&mut block, 0, 100, name);
    put_number(&mut block, 100, 8, u64::from(entry.mode & 0o7777));
    put_number(&mut block, 108, 8, u64::from(entry.uid));
    put_number(&mut block, 116, 8, u64::from(entry.gid));
    put_number(&mut block, 124, 12, entry.size);
    put_number(&mut block, 136, 12, u64::try_from(entry.mtime.secs).unwrap_or(0));
    block[156] = typeflag(&entry.kind);
    put(&mut block, 157, 100, link);
    put(&mut block, 345, 155, prefix);
    if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = entry.kind {
        for (at, number) in [(329, major), (337, minor)] {
            let field = octal(u64::from(number), 8);
            let fault = || Error::invalid("device number does not fit").found(number);
            put(&mut block, at, 8, &field.ok_or_else(fault)?);
        }
    }
    push_block(head, block);
    Ok(())
}

fn push_xattrs(records: &mut Vec<u8>, entry: &Entry) -> Result<()> {
    let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
    xattrs.sort();
    for xattr in xattrs {
        if xattr.name.contains(&b'=') || xattr.name.contains(&0) || xattr.name.is_empty() {
            return Err(Error::invalid("attribute cannot be named in a PAX record")
                .found(show(&xattr.name)));
        }
        push_record(records, &[b"SCHILY.xattr.", &xattr.name[..]].concat(), &xattr.value);
    }
    Ok(())
}

/// A PAX entry of a fixed name, so that nothing but the records is in its bytes.
fn push_pax(head: &mut Vec<u8>, records: &[u8]) {
    let mut block = [0; BLOCK];
    put(&mut block, 0, 100, b"PaxHeaders.0/entry");
    put_number(&mut block, 100, 8, 0o644);
    put_number(&mut block, 108, 8, 0);
    put_number(&mut block, 116, 8, 0);
    put_number(&mut block, 124, 12, records.len() as u64);
    put_number(&mut block, 136, 12, 0);
    block[156] = b'x';
    push_block(head, block);
    head.extend_from_slice(records);
    let padded = head.len() + padding(records.len() as u64) as usize;
    head.resize(padded, 0);
}

fn push_block(head: &mut Vec<u8>, mut block: [u8; BLOCK]) {
    put(&mut block, 257, 8, b"ustar\x0000");
    put(&mut block, 148, 8, b"        ");
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    put(&mut block, 148, 8, format!("{sum:06o}\0 ").as_bytes());
    head.extend_from_slice(&block);
}

fn typeflag(kind: &Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink(_) => b'1',
        Kind::Symlink(_) => b'2',
        Kind::CharDevice { .. } => b'3',
        Kind::BlockDevice { .. } => b'4',
        Kind::Dir => b'5',
        Kind::Fifo => b'6',
    }
}

/// Prefix and name as ustar has room for them; nothing where they do not fit, or where the
/// name is not ASCII, whose bytes only PAX promises to keep.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // The last slash that leaves a name; a slash at the very end belongs to the name.
    let head = &path[..path.len().min(156)];
    let slash = head.iter().take(path.len() - 1).rposition(|&b| b == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && name.len() <= 100).then_some((prefix, name))
}

/// Digits and a NUL, filling the field; nothing where it is too small.
fn octal(value: u64, width: usize) -> Option<Vec<u8>> {
    let digits = width - 1;
    let text = format!("{value:0digits$o}\0");
    (text.len() == width).then(|| text.into_bytes())
}

/// A number, or zero where it does not fit and a PAX record holds it.
fn put_number(block: &mut [u8; BLOCK], at: usize, width: usize, value: u64) {
    let field = octal(value, width).or_else(|| octal(0, width));
    put(block, at, width, &field.unwrap_or_default());
}

/// As much of the text as fits.
fn put(block: &mut [u8; BLOCK], at: usize, width: usize, text: &[u8]) {
    let n = text.len().min(width);
    block[at..at + n].copy_from_slice(&text[..n]);
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
