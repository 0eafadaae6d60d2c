//! Lines of a manifest, and how bytes are spelled in them.

use std::fmt::Write as _;

use super::Words;

/// Keywords in the order in which people expect them; others follow.
const ORDER: [&str; 10] =
    ["type", "mode", "uid", "gid", "size", "time", "nlink", "link", "device", "sha256digest"];

/// A whole line.
pub(super) fn line(path: &[u8], words: &Words) -> String {
    let mut line = if path.is_empty() { ".".to_owned() } else { format!("./{}", spell(path)) };
    let known = ORDER.iter().filter_map(|&key| words.get_key_value(key));
    let others = words.iter().filter(|(key, _)| !ORDER.contains(&key.as_str()));
    for (key, value) in known.chain(others) {
        // Writing to a string cannot fail.
        let _ = write!(line, " {key}={}", spell(value));
    }
    line + "\n"
}

/// As vis(3) with octal numbers: what is no plain character, and what means something here.
pub(super) fn spell(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        if byte.is_ascii_graphic() && !b"\\#*?[".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:03o}");
        }
    }
    text
}

/// The bytes of a word; nothing where an escape makes no sense.
pub(super) fn unspell(word: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, after)) = rest.split_first() {
        if first != b'\\' {
            bytes.push(first);
            rest = after;
            continue;
        }
        if let Some((octal, after)) = after.split_at_checked(3)
            && octal.iter().all(|b| (b'0'..b'8').contains(b))
        {
            let number = octal.iter().fold(0_u32, |sum, b| sum * 8 + u32::from(b - b'0'));
            bytes.push(u8::try_from(number).ok()?);
            rest = after;
            continue;
        }
        let (&letter, after) = after.split_first()?;
        bytes.push(match letter {
            b's' => b' ',
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            b'0' => 0,
            b'\\' | b'#' | b'*' | b'?' | b'[' => letter,
            _ => return None,
        });
        rest = after;
    }
    Some(bytes)
}

/// The seconds of a time.
pub(super) fn seconds(time: &[u8]) -> Vec<u8> {
    time.split(|&b| b == b'.').next().unwrap_or_default().to_vec()
}

/// RFC 4648, section 4.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
