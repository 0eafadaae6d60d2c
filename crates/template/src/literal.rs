//! Numbers and strings as Go writes them. <https://go.dev/ref/spec#Lexical_elements>

use crate::lex::Token;

/// An integer or a decimal number; nothing where it is none or does not fit.
pub(crate) fn number(text: &str) -> Option<Token> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !separators_are_sound(digits) {
        return None;
    }
    let plain = digits.replace('_', "").to_ascii_lowercase();
    let (base, plain) = match plain.get(..2) {
        Some("0x") => (16, &plain[2..]),
        Some("0b") => (2, &plain[2..]),
        Some("0o") => (8, &plain[2..]),
        _ if plain.len() > 1
            && plain.starts_with('0')
            && plain.bytes().all(|b| b.is_ascii_digit()) =>
        {
            (8, &plain[1..])
        }
        _ => (10, plain.as_str()),
    };
    if base == 10 && plain.contains(['.', 'e']) {
        let decimal = plain.bytes().all(|byte| byte.is_ascii_digit() || b".e+-".contains(&byte));
        let value: f64 = plain.parse().ok().filter(|value: &f64| decimal && value.is_finite())?;
        return Some(Token::Float(if negative { -value } else { value }));
    }
    if plain.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(plain, base).ok()?);
    i64::try_from(if negative { -value } else { value }).ok().map(Token::Int)
}

/// `_` stands only between digits, or behind the base.
fn separators_are_sound(text: &str) -> bool {
    !text.ends_with('_') && !text.starts_with('_') && !text.contains("__")
}

/// The length of a quoted string from its first quote to behind its last one.
pub(crate) fn end(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => {
                chars.next()?;
            }
            '\n' if quote != '`' => return None,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The text that a quoted string stands for; the error is the escape that makes no sense.
pub(crate) fn unquote(inner: &str, quote: char) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\\' {
            rest = escape(rest, quote, &mut bytes)
                .ok_or_else(|| format!("\\{}", rest.chars().take(9).collect::<String>()))?;
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    String::from_utf8(bytes).map_err(|_| inner.to_owned())
}

/// One escape, without its backslash; what stands after it.
fn escape<'t>(text: &'t str, quote: char, bytes: &mut Vec<u8>) -> Option<&'t str> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' | '\'' if kind == quote => kind as u8,
        'x' => {
            bytes.push(u8::from_str_radix(digits(rest, 2)?, 16).ok()?);
            return Some(&rest[2..]);
        }
        '0'..='7' => {
            bytes.push(u8::from_str_radix(digits(text, 3)?, 8).ok()?);
            return Some(&text[3..]);
        }
        'u' | 'U' => {
            let length = if kind == 'u' { 4 } else { 8 };
            let c = char::from_u32(u32::from_str_radix(digits(rest, length)?, 16).ok()?)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(&rest[length..]);
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(rest)
}

fn digits(text: &str, length: usize) -> Option<&str> {
    text.get(..length).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("0", Some(Token::Int(0))),
            ("-9223372036854775808", Some(Token::Int(i64::MIN))),
            ("9223372036854775808", None),
            ("1_000", Some(Token::Int(1000))),
            ("0x1F", Some(Token::Int(31))),
            ("0b101", Some(Token::Int(5))),
            ("0o17", Some(Token::Int(15))),
            ("017", Some(Token::Int(15))),
            ("1.5", Some(Token::Float(1.5))),
            (".5", Some(Token::Float(0.5))),
            ("-1e3", Some(Token::Float(-1000.0))),
            ("1e999", None),
            ("1__0", None),
            ("12abc", None),
            ("1.2.3", None),
            ("--1", None),
            ("0xzz", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn strings() {
        for (inner, expected) in [
            (r"a\n\t\\", Some("a\n\t\\")),
            (r#"\""#, Some("\"")),
            (r"\x41\101\u00e9\U0001F600", Some("AA\u{e9}\u{1f600}")),
            (r"\xc3\xa9", Some("\u{e9}")),
            (r"\xff", None),
            (r"\'", None),
            (r"\q", None),
            (r"\u12", None),
            (r"\ud800", None),
            (r"\", None),
        ] {
            assert_eq!(unquote(inner, '"').ok().as_deref(), expected, "{inner}");
        }
        assert_eq!(end(r#""a\"b" x"#, '"'), Some(6));
        assert_eq!(end("\"a\nb\"", '"'), None);
        assert_eq!(end("`a\nb`", '`'), Some(5));
    }
}
