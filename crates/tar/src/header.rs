//! One header block: where the fields are in each dialect.
//!
//! ```text
//!   0 name 100 │ 100 mode 8 │ 108 uid 8 │ 116 gid 8 │ 124 size 12 │ 136 mtime 12 │ 148 checksum 8
//! 156 type 1   │ 157 link name 100 │ 257 magic and version 8 │ 265 uname 32 │ 297 gname 32
//! 329 major 8  │ 337 minor 8 │ 345 ustar: prefix 155 │ GNU: atime 12, ctime 12, sparse map 386…
//! ```

use conex_spec::{Error, Result};

use super::number::{signed, unsigned};
use super::{BLOCK, Time};

/// A header block whose checksum is right.
pub(crate) struct Header(Box<[u8; BLOCK]>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Of 1979: no magic.
    V7,
    Ustar,
    /// Ustar with a shorter prefix and two times.
    Star,
    Gnu,
}

impl Header {
    /// Checks the sum; tells expected and found.
    pub(crate) fn parse(block: Box<[u8; BLOCK]>, offset: u64) -> Result<Self> {
        let stored = unsigned(&block[148..156], "checksum").ok();
        let (plain, signed) = sums(&block);
        // Some old systems summed signed bytes; every reader takes both.
        if stored == Some(plain) || stored.and_then(|s| i64::try_from(s).ok()) == Some(signed) {
            return Ok(Self(block));
        }
        let fault = Error::invalid(format!("bad checksum of the tar header at byte {offset}"));
        let fault = if offset == 0 { fault.hint("is it a tar at all?") } else { fault };
        Err(fault.expected(format!("{plain:o}")).found(crate::show(&block[148..156])))
    }

    /// Whether a block could be a header; for hunting hidden archives.
    pub(crate) fn looks_valid(block: &[u8]) -> bool {
        let Ok(block) = <&[u8; BLOCK]>::try_from(block) else {
            return false;
        };
        let (plain, signed) = sums(block);
        let stored = unsigned(&block[148..156], "checksum").ok();
        stored == Some(plain) || stored.and_then(|s| i64::try_from(s).ok()) == Some(signed)
    }

    pub(crate) fn typeflag(&self) -> u8 {
        self.0[156]
    }

    /// The name, with its prefix where the dialect has one.
    pub(crate) fn name(&self) -> Vec<u8> {
        let prefix = match self.dialect() {
            Dialect::V7 => &[],
            Dialect::Ustar => c_string(&self.0[345..500]),
            Dialect::Star => c_string(&self.0[345..476]),
            Dialect::Gnu => self.mistaken_prefix(),
        };
        let name = c_string(&self.0[..100]);
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(crate) fn link_name(&self) -> &[u8] {
        c_string(&self.0[157..257])
    }

    pub(crate) fn mode(&self) -> Result<u32> {
        let mode = unsigned(&self.0[100..108], "mode")?;
        // Old writers of Go left the bits of the file type here; more than that nobody means.
        if mode > 0o177_777 {
            return Err(Error::invalid("tar header has a bad mode")
                .expected("at most 177777, in octal")
                .found(format!("{mode:o}")));
        }
        Ok((mode & 0o7777) as u32)
    }

    pub(crate) fn uid(&self) -> Result<u32> {
        unsigned(&self.0[108..116], "uid").and_then(|id| owner(id, "uid"))
    }

    pub(crate) fn gid(&self) -> Result<u32> {
        unsigned(&self.0[116..124], "gid").and_then(|id| owner(id, "gid"))
    }

    pub(crate) fn size(&self) -> Result<u64> {
        let size = unsigned(&self.0[124..136], "size")?;
        size_in_range(size)
    }

    pub(crate) fn mtime(&self) -> Result<Time> {
        let secs = signed(&self.0[136..148], "mtime")?;
        Ok(Time { secs, nanos: 0 })
    }

    /// Major and minor number of a device.
    pub(crate) fn device(&self) -> Result<(u32, u32)> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        let part = |range, what| {
            let value = unsigned(&self.0[range], what)?;
            u32::try_from(value)
                .map_err(|_| Error::invalid(format!("tar header has a bad {what}")).found(value))
        };
        Ok((part(329..337, "device number")?, part(337..345, "device number")?))
    }

    pub(crate) fn is_gnu(&self) -> bool {
        self.dialect() == Dialect::Gnu
    }

    pub(crate) fn bytes(&self) -> &[u8; BLOCK] {
        &self.0
    }

    fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar\0") && &self.0[508..512] == b"tar\0" => {
                Dialect::Star
            }
            magic if magic.starts_with(b"ustar\0") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// Go's writer before 1.8 put a prefix into GNU headers, over the two times. Images of that
    /// age exist, so do as Go's reader: where the times are no numbers and the field is ASCII,
    /// it is a prefix.
    fn mistaken_prefix(&self) -> &[u8] {
        let time = |field: &[u8]| signed(field, "time").is_ok();
        if time(&self.0[345..357]) && time(&self.0[357..369]) {
            return &[];
        }
        let prefix = c_string(&self.0[345..500]);
        if prefix.is_ascii() { prefix } else { &[] }
    }
}

/// An owner that the system can store; all ones means "nobody asked" to chown(2).
pub(crate) fn owner(id: u64, what: &str) -> Result<u32> {
    match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Error::invalid(format!("tar entry has a bad {what}"))
            .expected("at most 4294967294")
            .found(id)),
    }
}

/// A size whose end can be told in 63 bits, as file offsets are.
pub(crate) fn size_in_range(size: u64) -> Result<u64> {
    if size >> 62 == 0 {
        return Ok(size);
    }
    Err(Error::invalid("tar entry has a bad size").expected("less than 2^62 bytes").found(size))
}

/// Up to the first NUL, or the whole field.
pub(crate) fn c_string(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..end]
}

/// The sum of all bytes, those of the checksum taken as blanks; of plain and of signed bytes.
fn sums(block: &[u8; BLOCK]) -> (u64, i64) {
    let mut plain = 0u64;
    let mut high = 0u64;
    for &byte in block {
        plain += u64::from(byte);
        high += u64::from(byte >> 7);
    }
    for &byte in &block[148..156] {
        plain = plain + u64::from(b' ') - u64::from(byte);
        high -= u64::from(byte >> 7);
    }
    // A block sums to less than 2^18.
    (plain, plain as i64 - 256 * high as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fill: impl FnOnce(&mut [u8; BLOCK])) -> Header {
        let mut block = Box::new([0; BLOCK]);
        fill(&mut block);
        let sum = sums(&block).0;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        Header::parse(block, 0).unwrap()
    }

    fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
        block[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn checksums_plain_and_signed() {
        let mut block = Box::new([0; BLOCK]);
        put(&mut block, 0, b"caf\xc3\xa9");
        let (plain, signed) = sums(&block);
        assert_eq!(plain - 512, signed as u64);
        for sum in [plain, signed as u64] {
            put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
            assert!(Header::parse(block.clone(), 0).is_ok());
            assert!(Header::looks_valid(&block[..]));
        }
        put(&mut block, 148, b"000001\0 ");
        let err = Header::parse(block, 1024).err().unwrap();
        assert!(err.to_string().contains("1024"), "{err}");
    }

    #[test]
    fn prefixes_by_dialect() {
        let name = |magic: &[u8], prefix: &[u8]| {
            let header = header(|block| {
                put(block, 0, b"name");
                put(block, 257, magic);
                put(block, 345, prefix);
            });
            header.name()
        };
        assert_eq!(name(b"ustar\x0000", b"a/b"), b"a/b/name");
        assert_eq!(name(b"ustar  \0", b"00000000000\x0000000000000\0"), b"name");
        assert_eq!(name(b"", b"a/b"), b"name");
        // Go before 1.8.
        assert_eq!(name(b"ustar  \0", b"a/b"), b"a/b/name");
    }

    #[test]
    fn names_fill_their_field() {
        let header = header(|block| put(block, 0, &[b'n'; 100]));
        assert_eq!(header.name(), [b'n'; 100]);
    }

    #[test]
    fn owners_and_sizes_have_limits() {
        assert!(owner(u64::from(u32::MAX), "uid").is_err());
        assert_eq!(owner(4_294_967_294, "uid").unwrap(), 4_294_967_294);
        assert!(size_in_range(1 << 62).is_err());
    }
}
