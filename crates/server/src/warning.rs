//! `Warning` headers. distribution-spec, "Warnings".

use conex_spec::{Error, Kind, Result};
use http::HeaderValue;

/// "A registry MUST NOT send more than 4096 bytes of warning data from all headers combined."
const LIMIT: usize = 4096;

/// The values of the headers that tell these texts: of warn-code 299, of the warn-agent `-`, without
/// a date.
///
/// # Errors
/// `Invalid` for a text that is empty or not of printable ASCII; `Limit` where they are too long.
pub(crate) fn headers(texts: &[String]) -> Result<Vec<HeaderValue>> {
    let values = texts.iter().map(|text| header(text)).collect::<Result<Vec<_>>>()?;
    let length: usize = values.iter().map(HeaderValue::len).sum();
    if length > LIMIT {
        return Err(Error::new(Kind::Limit, "the warnings are too long")
            .expected(format!("at most {LIMIT} bytes as headers"))
            .found(length.to_string()));
    }
    Ok(values)
}

/// The text is a quoted string. RFC 7234, 5.5; RFC 9110, 5.6.4.
fn header(text: &str) -> Result<HeaderValue> {
    let bad = || {
        Error::invalid("a warning cannot be sent")
            .expected("printable ASCII")
            .found(text.escape_debug())
    };
    if text.is_empty() || !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(bad());
    }
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::try_from(format!("299 - \"{quoted}\"")).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(texts: &[&str]) -> Result<Vec<HeaderValue>> {
        headers(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_text_is_quoted() {
        let values = told(&["moves on Monday", r#"see "C:\x""#]).unwrap();
        assert_eq!(values[0], "299 - \"moves on Monday\"");
        assert_eq!(values[1], r#"299 - "see \"C:\\x\"""#);
        assert!(told(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        for bad in ["", "a\nb", "a\rb", "a\0", "\u{e9}", "a\tb"] {
            assert_eq!(told(&[bad]).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        }
        let half = "x".repeat(2040);
        assert!(told(&[&half, &half]).is_ok());
        assert_eq!(told(&[&half, &half, "x"]).unwrap_err().kind(), Kind::Limit);
    }
}
