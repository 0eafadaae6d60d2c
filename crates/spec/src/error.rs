//! One error for the whole toolkit: what went wrong, where, what was expected and what was found.
//!
//! Every crate returns this type, so that a fault keeps its parts on the way from a
//! registry's answer or a tar header up to the program, which prints them on lines of their own.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;

/// The result of everything in this toolkit that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of fault it is; decides the program's exit code and whether a retry can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// What the caller asked for makes no sense.
    Usage,
    /// A blob, manifest, tag, repository or file is not there.
    NotFound,
    /// Content breaks a rule of its format.
    Invalid,
    /// Content is not what its descriptor says: digest, size or media type differ.
    Mismatch,
    /// Content passes a limit that guards this machine.
    Limit,
    /// Who asks is not known to the other side.
    Unauthorized,
    /// Who asks is known and may not.
    Denied,
    /// The other side cannot do it.
    Unsupported,
    /// Someone else changed the same thing, or it exists already.
    Conflict,
    /// The network or the other side failed; a later try may succeed.
    Network,
    /// The disk or the quota is full.
    NoSpace,
    /// The operating system refused.
    Io,
}

/// A fault with its parts. One pointer wide, so that results stay small.
pub struct Error(Box<Parts>);

struct Parts {
    kind: Kind,
    message: String,
    expected: Option<String>,
    found: Option<String>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A fault of the given kind; `message` says what and where, in one line.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            expected: None,
            found: None,
            hint: None,
            source: None,
        }))
    }

    /// Content that breaks a rule of its format.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// A call of the operating system on `path` that failed, for example
    /// `Error::io("cannot open", path, err)`. A toolkit error that travelled
    /// inside the I/O error comes out whole.
    pub fn io(action: &str, path: &Path, err: io::Error) -> Self {
        Self::from_io(err, || format!("{action} {}", path.display()))
    }

    /// As [`Error::io`], where something was to be made or written: a place that cannot hold it, as
    /// `/proc`, is no content that is missing.
    pub fn making(action: &str, path: &Path, err: io::Error) -> Self {
        let err = Self::io(action, path, err);
        if err.kind() == Kind::NotFound { err.with_kind(Kind::Io) } else { err }
    }

    /// As [`Error::io`], for streams that have no path.
    pub fn from_io(err: io::Error, message: impl FnOnce() -> String) -> Self {
        let err = match err.downcast::<Self>() {
            Ok(inner) => return inner,
            Err(err) => err,
        };
        let kind = match err.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            _ => Kind::Io,
        };
        Self::new(kind, message()).source(err)
    }

    /// The same fault, taken for another sort: a location that cannot be parsed is a mistake of
    /// the caller where the caller typed it.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What the content should have been.
    #[must_use]
    pub fn expected(mut self, value: impl fmt::Display) -> Self {
        self.0.expected = Some(value.to_string());
        self
    }

    /// What the content was.
    #[must_use]
    pub fn found(mut self, value: impl fmt::Display) -> Self {
        self.0.found = Some(value.to_string());
        self
    }

    /// What to do about it, naming the next command where there is one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The fault below this one.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts what was being done before the message: `cannot copy A to B: blob … `.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// The same fault, to be told a second time; its cause becomes a text.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(Box::new(Parts {
            kind: self.0.kind,
            message: self.0.message.clone(),
            expected: self.0.expected.clone(),
            found: self.0.found.clone(),
            hint: self.0.hint.clone(),
            source: self.0.source.as_ref().map(|source| source.to_string().into()),
        }))
    }

    /// The sort of fault.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What and where, without the parts that have lines of their own.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// See [`Error::expected`].
    pub fn expected_value(&self) -> Option<&str> {
        self.0.expected.as_deref()
    }

    /// See [`Error::found`].
    pub fn found_value(&self) -> Option<&str> {
        self.0.found.as_deref()
    }

    /// See [`Error::hint`].
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// The message and the chain of causes on one line.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(expected) = &self.0.expected {
            write!(f, " (expected {expected}")?;
            f.write_str(if self.0.found.is_some() { "" } else { ")" })?;
        }
        if let Some(found) = &self.0.found {
            f.write_str(if self.0.expected.is_some() { ", " } else { " (" })?;
            write!(f, "found {found})")?;
        }
        let mut cause = std::error::Error::source(self);
        while let Some(err) = cause {
            write!(f, ": {err}")?;
            cause = err.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|err| err as _)
    }
}

/// Carries a fault through [`io::Read`] and [`io::Write`]; [`Error::from_io`] takes it out again.
impl From<Error> for io::Error {
    fn from(err: Error) -> Self {
        Self::other(err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_way_through_io() {
        let err: io::Error = Error::invalid("bad tar").found("Z").into();
        let back = Error::from_io(err, || "never used".into());
        assert_eq!(back.kind(), Kind::Invalid);
        assert_eq!(back.found_value(), Some("Z"));
    }

    #[test]
    fn one_line_holds_all_parts() {
        let err =
            Error::new(Kind::Mismatch, "blob a").expected("x").found("y").context("cannot copy");
        assert_eq!(err.to_string(), "cannot copy: blob a (expected x, found y)");
    }

    #[test]
    fn a_place_that_holds_nothing_is_nothing_that_is_missing() {
        let err = || io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Error::io("cannot open", Path::new("/x"), err()).kind(), Kind::NotFound);
        assert_eq!(Error::making("cannot write", Path::new("/x"), err()).kind(), Kind::Io);
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Error::io("cannot write", Path::new("/x"), full).kind(), Kind::NoSpace);
    }
}
