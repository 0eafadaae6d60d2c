//! JSON as Go prints it: compact, with `<`, `>`, `&` and two separators of lines escaped, so that the
//! documents of other tools come out byte for byte.

use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use conex_spec::{Error, Result};

/// Prints a value.
pub(crate) fn print(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Go);
    let printed = value.serialize(&mut serializer);
    printed.map_err(|err| Error::invalid("a value cannot be printed as JSON").source(err))?;
    Ok(bytes)
}

struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let special = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(special) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = after.chars();
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_escapes_what_html_would_read() {
        let value = serde_json::json!({"a<b": "x && y > z\u{2028}", "é": "\"\n", "n": [1, true]});
        let printed = String::from_utf8(print(&value).unwrap()).unwrap();
        assert_eq!(
            printed,
            r#"{"a\u003cb":"x \u0026\u0026 y \u003e z\u2028","é":"\"\n","n":[1,true]}"#
        );
    }
}
