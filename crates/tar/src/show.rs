//! Names of entries on a terminal. A name is bytes, in no encoding, and comes from a stranger.

use conex_spec::shown::is_obeyed;

/// A name as it can be shown: control characters and bytes outside UTF-8 escaped, so that a
/// layer cannot speak to the terminal (rule T8); very long names are cut in the middle.
pub fn show(raw: &[u8]) -> String {
    const ENDS: usize = 128;
    if raw.len() > 2 * ENDS {
        let (head, tail) = (&raw[..ENDS], &raw[raw.len() - ENDS..]);
        return format!("{}[...]{}", show(head), show(tail));
    }
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_obeyed(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_names_cannot_speak_to_the_terminal() {
        assert_eq!(show(b"a\x1b[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(show(b"caf\xc3\xa9 \xff"), "caf\u{e9} \\xff");
        assert_eq!(show("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert!(show(&[b'x'; 1 << 20]).len() < 300);
    }
}
