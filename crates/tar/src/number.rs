//! Numbers in header fields: octal text, or base-256 where GNU tar ran out of digits.

use conex_spec::{Error, Result};

use crate::show;

/// A number that cannot be negative: a size, an owner, a mode. Empty means 0, as every reader
/// takes it.
pub(crate) fn unsigned(field: &[u8], what: &str) -> Result<u64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let value = base256(field, what)?;
            u64::try_from(value).map_err(|_| fault(field, what, "a number from 0"))
        }
        _ => octal(field, what),
    }
}

/// A number that may be negative: a time.
pub(crate) fn signed(field: &[u8], what: &str) -> Result<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field, what),
        _ => i64::try_from(octal(field, what)?).map_err(|_| fault(field, what, "63 bits")),
    }
}

/// Octal digits with blanks before them and a blank or NUL after them. A field of nothing else is 0;
/// what stands after a NUL some readers do not see.
fn octal(field: &[u8], what: &str) -> Result<u64> {
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    if start < field.len() && field[..start].contains(&0) {
        return Err(fault(field, what, "nothing after a NUL"));
    }
    let end = field.iter().rposition(|b| !blank(b)).map_or(start, |i| i + 1);
    let mut value = 0u64;
    for &digit in &field[start..end] {
        let wrong = !(b'0'..=b'7').contains(&digit) || value >> 61 != 0;
        if wrong {
            return Err(fault(field, what, "an octal number"));
        }
        value = value << 3 | u64::from(digit - b'0');
    }
    Ok(value)
}

/// Two's complement, big-endian; the first bit only marks the format, the second is the sign.
fn base256(field: &[u8], what: &str) -> Result<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (i, &byte) in field.iter().enumerate() {
        let byte = match (i, negative) {
            (0, false) => byte & 0x7f,
            _ => byte,
        };
        value = value << 8 | i128::from(byte);
        if i64::try_from(value).is_err() {
            return Err(fault(field, what, "a number of 64 bits"));
        }
    }
    i64::try_from(value).map_err(|_| fault(field, what, "a number of 64 bits"))
}

fn fault(field: &[u8], what: &str, expected: &str) -> Error {
    Error::invalid(format!("tar header has a bad {what}")).expected(expected).found(show(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_with_blanks() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"644", 0o644),
            (b"\0\0\0\0", 0),
            (b"        ", 0),
            (b"77777777777\0", 0o77777777777),
            (b"777777777777", 0o777777777777),
        ] {
            assert_eq!(unsigned(field, "x").unwrap(), value);
        }
        for field in [
            &b"\x00000644"[..],
            b" \x00644",
            b"8",
            b"-1",
            b"0x1",
            b"1 1",
            b"1\x001",
            b"7777777777777777777777",
        ] {
            assert!(unsigned(field, "x").is_err(), "{field:?}");
        }
    }

    #[test]
    fn base_256() {
        let mut field = [0u8; 12];
        field[0] = 0x80;
        field[4..].copy_from_slice(&(1u64 << 40).to_be_bytes());
        assert_eq!(unsigned(&field, "size").unwrap(), 1 << 40);
        // Rule T10: a negative size is refused, a time before 1970 is not.
        let minus = [0xff; 12];
        assert!(unsigned(&minus, "size").is_err());
        assert_eq!(signed(&minus, "mtime").unwrap(), -1);
        let mut huge = [0x7f; 12];
        huge[0] = 0xbf;
        assert!(unsigned(&huge, "size").is_err());
        assert!(signed(&[0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "mtime").is_err());
    }
}
