//! PAX extended headers: `length key=value\n` records that overrule the header they precede.
//! POSIX.1-2017, pax, "pax Extended Header".

use std::collections::HashSet;

use conex_spec::{Error, Kind, Result};

use super::header::{owner, size_in_range};
use super::{Time, Xattr};
use crate::show;
use crate::{Code, Warnings};

/// Linux gives no file more attributes than have 64 KiB of names, 9,362 at the very most. The
/// limit keeps the search for repeated ones cheap.
const MAX_XATTRS: usize = 4096;
/// Linux takes no longer names and values of attributes, in bytes: `XATTR_NAME_MAX`, `XATTR_SIZE_MAX`.
const MAX_NAME: usize = 255;
const MAX_VALUE: usize = 64 << 10;

/// What the local extended header of one entry says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) linkpath: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: Vec<Xattr>,
    pub(crate) sparse: Sparse,
}

/// The `GNU.sparse.*` records; see the `sparse` module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    pub(crate) blocks: Option<u64>,
    /// Version 0.1: `offset,length,offset,length…` in one record.
    pub(crate) map: Option<Vec<u8>>,
    /// Version 0.0: one record for each number, offsets and lengths in turn.
    pub(crate) numbers: Vec<(bool, u64)>,
}

/// Reads a local extended header (`x`).
pub(crate) fn parse(bytes: &[u8], warnings: &mut Warnings) -> Result<Pax> {
    let mut pax = Pax::default();
    let mut seen = HashSet::new();
    for record in Records(bytes) {
        let (key, value) = record?;
        // The numbers of sparse version 0.0 repeat their keys by design.
        let repeats = matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes");
        if !seen.insert(key) && !repeats {
            let detail = format!("PAX key {} appears twice, the last one counts", show(key));
            warnings.add(Code::RepeatedPaxKey, b"", detail);
        }
        if key.starts_with(b"SCHILY.acl.") {
            // No engine of containers reads it; where an image has lists, they are attributes.
            let detail = format!("access control list in {} left out", show(key));
            warnings.add(Code::AclDropped, b"", detail);
        }
        pax.set(key, value).map_err(|err| err.context(format!("PAX record {}", show(key))))?;
    }
    Ok(pax)
}

/// Checks a global extended header (`g`). Container engines ignore what it says, so a name or
/// size in it would mean one thing to them and another to tar(1): refused (rule T11).
pub(crate) fn check_global(bytes: &[u8]) -> Result<()> {
    for record in Records(bytes) {
        let (key, _) = record?;
        let changes_entries =
            matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.");
        if changes_entries {
            return Err(Error::invalid("global PAX header names or sizes all entries")
                .expected("at most comments and times")
                .found(show(key)));
        }
    }
    Ok(())
}

impl Pax {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.set_xattr(name.to_vec(), value.to_vec());
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            return self.set_xattr(url_decode(name)?, base64_decode(value)?);
        }
        if let Some(rest) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.set(rest, value);
        }
        // "If the <value> field is zero length, it shall delete any header block field":
        // every reader of containers then falls back to the header.
        if value.is_empty() {
            return Ok(());
        }
        match key {
            b"path" => self.path = Some(text(value)?),
            b"linkpath" => self.linkpath = Some(text(value)?),
            b"size" => self.size = Some(size_in_range(decimal(value)?)?),
            b"uid" => self.uid = Some(owner(decimal(value)?, "uid")?),
            b"gid" => self.gid = Some(owner(decimal(value)?, "gid")?),
            b"mtime" => self.mtime = Some(parse_time(value)?),
            _ => {}
        }
        Ok(())
    }

    /// The same attribute may come in both spellings (bsdtar writes both); the last one counts.
    fn set_xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<()> {
        if name.is_empty() || name.contains(&0) {
            return Err(Error::invalid("bad name of an extended attribute").found(show(&name)));
        }
        for (what, most, found) in
            [("name", MAX_NAME, name.len()), ("value", MAX_VALUE, value.len())]
        {
            if found > most {
                return Err(Error::invalid(format!("{what} of an extended attribute is too long"))
                    .expected(format!("at most {most} bytes"))
                    .found(found));
            }
        }
        if let Some(xattr) = self.xattrs.iter_mut().find(|xattr| xattr.name == name) {
            xattr.value = value;
            return Ok(());
        }
        if self.xattrs.len() == MAX_XATTRS {
            return Err(Error::new(Kind::Limit, "too many extended attributes")
                .expected(format!("at most {MAX_XATTRS}")));
        }
        self.xattrs.push(Xattr { name, value });
        Ok(())
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => self.name = Some(text(value)?),
            b"size" | b"realsize" => self.real_size = Some(size_in_range(decimal(value)?)?),
            b"numblocks" => self.blocks = Some(decimal(value)?),
            b"map" => self.map = Some(value.to_vec()),
            b"offset" => self.numbers.push((true, decimal(value)?)),
            b"numbytes" => self.numbers.push((false, decimal(value)?)),
            _ => {}
        }
        Ok(())
    }
}

/// Takes an extended header apart; ends after the first fault.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = split_record(self.0);
        self.0 = record.as_ref().map_or(&[], |&(_, _, rest)| rest);
        Some(record.map(|(key, value, _)| (key, value)))
    }
}

/// Key, value and what follows. Any deviation is refused: a reader that skips a record it does
/// not understand sees other files than one that does not (rule T2).
fn split_record(bytes: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let fault = |expected: &str| {
        let found = show(&bytes[..bytes.len().min(64)]);
        Error::invalid("malformed PAX header").expected(expected).found(found)
    };
    let head = &bytes[..bytes.len().min(21)];
    let space =
        head.iter().position(|&b| b == b' ').ok_or_else(|| fault("a length and a blank"))?;
    let length = decimal(&bytes[..space]).map_err(|_| fault("a decimal length"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length <= space + 1 || length > bytes.len() {
        return Err(fault("a length inside the header"));
    }
    let (record, rest) = bytes.split_at(length);
    let body = record[space + 1..]
        .strip_suffix(b"\n")
        .ok_or_else(|| fault("a newline at the end of the record"))?;
    let equals = body
        .iter()
        .position(|&b| b == b'=')
        .filter(|&at| at > 0)
        .ok_or_else(|| fault("key=value"))?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    if key.contains(&0) {
        return Err(fault("a key without NUL"));
    }
    Ok((key, value, rest))
}

/// Decimal digits only: no sign, no blank, no leading plus.
pub(crate) fn decimal(text: &[u8]) -> Result<u64> {
    let fault = || {
        Error::invalid("bad number").expected("decimal digits of at most 64 bits").found(show(text))
    };
    if text.is_empty() {
        return Err(fault());
    }
    text.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'));
        digit.and_then(|digit| value.checked_mul(10)?.checked_add(digit)).ok_or_else(fault)
    })
}

fn text(value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        return Err(Error::invalid("name holds a NUL byte").found(show(value)));
    }
    Ok(value.to_vec())
}

/// Seconds with a fraction: `1350244992.023960108`, perhaps negative. Digits after the ninth
/// are dropped, as in Go.
fn parse_time(text: &[u8]) -> Result<Time> {
    let fault = || Error::invalid("bad time").expected("seconds.fraction").found(show(text));
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let dot = digits.iter().position(|&b| b == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (&digits[..dot], &digits[dot + 1..]),
        None => (digits, &[][..]),
    };
    let whole = decimal(whole).ok().and_then(|secs| i64::try_from(secs).ok());
    let secs = whole.ok_or_else(fault)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(fault());
    }
    let digit = |i: usize| fraction.get(i).map_or(0, |digit| u32::from(digit - b'0'));
    let nanos = (0..9).fold(0, |nanos, i| nanos * 10 + digit(i));
    Ok(match (negative, nanos) {
        (false, _) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        (true, _) => Time { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

/// libarchive encodes the names of attributes as in URLs.
fn url_decode(text: &[u8]) -> Result<Vec<u8>> {
    let fault = || Error::invalid("bad escape in the name of an attribute").found(show(text));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|&b| (b as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(fault());
        };
        bytes.push((high << 4 | low) as u8);
    }
    Ok(bytes)
}

/// libarchive encodes the values in base64, with or without padding.
fn base64_decode(text: &[u8]) -> Result<Vec<u8>> {
    let fault = || Error::invalid("bad base64 in an attribute").found(show(text));
    let text = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        if group.len() == 1 {
            return Err(fault());
        }
        let mut bits = 0u32;
        for &c in group {
            bits = bits << 6 | base64_digit(c).ok_or_else(fault)?;
        }
        bits <<= 6 * (4 - group.len());
        let decoded = bits.to_be_bytes();
        bytes.extend_from_slice(&decoded[1..group.len()]);
    }
    Ok(bytes)
}

fn base64_digit(c: u8) -> Option<u32> {
    Some(match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// Adds one record to an extended header that is being written.
pub(crate) fn push_record(header: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    header.extend_from_slice(length.to_string().as_bytes());
    header.push(b' ');
    header.extend_from_slice(key);
    header.push(b'=');
    header.extend_from_slice(value);
    header.push(b'\n');
}

/// A time as a PAX value, without zeros at the end of the fraction.
pub(crate) fn format_time(time: Time) -> String {
    let (sign, secs, nanos) = match (time.secs < 0, time.nanos) {
        (true, 0) => ("-", time.secs.unsigned_abs(), 0),
        (true, nanos) => ("-", time.secs.unsigned_abs() - 1, 1_000_000_000 - nanos),
        (false, nanos) => ("", time.secs.unsigned_abs(), nanos),
    };
    if nanos == 0 {
        return format!("{sign}{secs}");
    }
    let fraction = format!("{nanos:09}");
    format!("{sign}{secs}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
#[path = "pax_tests.rs"]
mod tests;
