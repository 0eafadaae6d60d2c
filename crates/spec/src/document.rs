//! A document and its bytes, kept together.
//!
//! A document is called by the digest of its bytes, so an unedited one is never printed anew:
//! "Implementations storing or copying content MUST NOT modify or alter the content in a way
//! that would change the digest" (image-spec, considerations.md, "Extensibility").

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::media_type::MediaType;
use crate::strict_json::{self, Shape};
use crate::written::Written;

/// The longest document that is read, in bytes. Registries take manifests of 4 MiB.
pub const LIMIT: usize = 8 << 20;

/// A sort of document.
pub trait Format: Serialize + DeserializeOwned {
    /// What a person calls it.
    const NAME: &'static str;
    /// The member names that its specification knows.
    const SHAPE: Shape;
    /// The rules that no single member shows.
    fn check(&self) -> Result<()>;
}

/// A value and the bytes it came from or was printed to.
#[derive(Clone)]
pub struct Document<T> {
    bytes: Bytes,
    value: T,
}

impl<T: Format> Document<T> {
    /// Parses strictly; see [`strict_json`].
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        let value: T = strict_json::parse(&bytes, LIMIT, T::SHAPE, T::NAME)?;
        value.check()?;
        Ok(Self { bytes, value })
    }

    /// Prints a new document: compact, members in the order of the specification.
    pub fn new(value: T) -> Result<Self> {
        value.check()?;
        let bytes = print(&value)?.into();
        Ok(Self { bytes, value })
    }

    /// The document after a change. All that did not change stays as it was written, unknown
    /// members, empty ones, the spelling of numbers and the order included; only white space
    /// goes. Without a change the bytes stay as they are. Equal input gives equal bytes.
    pub fn edit(&self, change: impl FnOnce(&mut T)) -> Result<Self>
    where
        T: Clone + PartialEq,
    {
        let mut value = self.value.clone();
        change(&mut value);
        if value == self.value {
            return Ok(self.clone());
        }
        value.check()?;
        let before = serde_json::to_value(&self.value).map_err(unprintable)?;
        let after = serde_json::to_value(&value).map_err(unprintable)?;
        let bytes = if before == after {
            self.bytes.clone()
        } else {
            let mut text = Written::parse(&self.bytes)?;
            text.change(&before, &after);
            let mut printed = String::with_capacity(self.bytes.len());
            text.print(&mut printed);
            printed.into()
        };
        Ok(Self { bytes, value })
    }
}

impl<T> Document<T> {
    /// A value that was parsed from just these bytes.
    pub(crate) fn from_parts(bytes: Bytes, value: T) -> Self {
        Self { bytes, value }
    }

    /// The same bytes, with another form of their value.
    pub(crate) fn map<U>(self, form: impl FnOnce(T) -> U) -> Document<U> {
        Document { bytes: self.bytes, value: form(self.value) }
    }

    /// The bytes, exactly as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, without its bytes.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The SHA-256 digest of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.bytes)
    }

    /// The descriptor of the bytes.
    pub fn descriptor(&self, media_type: MediaType) -> Descriptor {
        Descriptor::of(media_type, &self.bytes)
    }
}

impl<T> Deref for Document<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Document<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

fn print(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(unprintable)
}

fn unprintable(err: serde_json::Error) -> Error {
    Error::invalid("document cannot be printed").source(err)
}
