//! Texts in quotes, as Go's strconv writes them.

/// A text between quotes; `ascii` escapes what is not.
pub(super) fn quote(text: &str, quote: char, ascii: bool) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for c in text.chars() {
        match c {
            '\\' => quoted += "\\\\",
            '\x07' => quoted += "\\a",
            '\x08' => quoted += "\\b",
            '\x0c' => quoted += "\\f",
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            '\x0b' => quoted += "\\v",
            c if c == quote => {
                quoted.push('\\');
                quoted.push(c);
            }
            ' '..='~' => quoted.push(c),
            c if !ascii && is_printable(c) => quoted.push(c),
            c if u32::from(c) < 0x20 || c == '\x7f' => {
                quoted += &format!("\\x{:02x}", u32::from(c));
            }
            c if u32::from(c) < 0x1_0000 => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted += &format!("\\U{:08x}", u32::from(c)),
        }
    }
    quoted.push(quote);
    quoted
}

/// Whether a text can stand between backquotes.
pub(super) fn can_backquote(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || !(c.is_control() || c == '`' || c == '\u{feff}'))
}

/// What Rust's debug form leaves as it is; space but the plain one is escaped.
pub(crate) fn is_printable(c: char) -> bool {
    c == ' ' || (!c.is_control() && !c.is_whitespace() && c.escape_debug().count() == 1)
}
