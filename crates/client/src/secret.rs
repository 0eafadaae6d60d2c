//! Text that must not be shown.

use std::fmt;

use conex_spec::{Error, Kind, Result};
use http::HeaderValue;

/// A password or token. Printing it prints dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether there is nothing to keep secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for a request to the origin that it belongs to.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The secret after a word, as a header that no log prints.
    pub(crate) fn header(&self, scheme: &str) -> Result<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("{scheme} {}", self.0)).map_err(|_| {
            Error::new(
                Kind::Unauthorized,
                "a credential or token holds characters that no header can",
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        let header = secret.header("Bearer").unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer hunter2");
        for shown in [format!("{secret}"), format!("{secret:?}"), format!("{header:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_secret_cannot_end_the_header() {
        let err = Secret::new("a\r\nX: hunter2").header("Bearer").unwrap_err();
        assert!(!err.to_string().contains("hunter2"));
    }
}
