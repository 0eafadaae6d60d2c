//! What names a root in a store: a tag or a digest.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::grammar;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};

/// Longer names of roots are no real ones.
const MAX_TAG: usize = 1024;

/// A name that a store gives to a root; it may be moved to another root. Cheap to clone.
///
/// Registries take few characters, an OCI layout takes nearly all: image-spec, image-layout.md,
/// "index.json file", has no semantic restriction for `org.opencontainers.image.ref.name`. This type
/// holds both; [`Tag::check_registry`] tells whether a registry would take it.
///
/// # Security
/// A tag holds no control character, no white space and no backslash, but it may hold `/` and `..`.
/// It is never a path: a store that keeps tags as files encodes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// A name for a root in any store that has no rules of its own.
    pub fn new(text: &str) -> Result<Self> {
        let refused = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
        if text.is_empty() || text.len() > MAX_TAG || text.contains(refused) {
            return Err(Error::invalid("not a tag")
                .expected("1 to 1024 bytes without white space, control characters and backslashes")
                .found(grammar::shown(text)));
        }
        Ok(Self(text.into()))
    }

    /// A name for a root in a registry. distribution-spec, "Pulling manifests".
    pub fn registry(text: &str) -> Result<Self> {
        grammar::registry_tag(text)?;
        Ok(Self(text.into()))
    }

    /// The tag of a semantic version, with `_` for the `+` that no registry's tag can have.
    pub fn of_version(version: &str) -> Result<Self> {
        Self::new(&grammar::version_tag(version))
    }

    /// The tag that is meant where a person gives none.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The tag's text, or an error where no registry would take it.
    pub fn check_registry(&self) -> Result<&str> {
        grammar::registry_tag(&self.0)?;
        Ok(&self.0)
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What names a root in a store: a tag, which may move, or a digest, which cannot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// Whatever the store has under this tag now.
    Tag(Tag),
    /// Exactly this content.
    Digest(Digest),
}

impl Name {
    /// The tag where it is one.
    pub fn as_tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }

    /// The digest where it is one.
    pub fn as_digest(&self) -> Option<&Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(digest),
        }
    }

    /// The text as it stands in a registry's URL, `<tag-or-digest>`; fails for a tag that no
    /// registry takes. distribution-spec, "Pulling manifests".
    pub fn check_registry(&self) -> Result<&str> {
        match self {
            Self::Tag(tag) => tag.check_registry(),
            Self::Digest(digest) => Ok(digest.as_str()),
        }
    }

    /// The tag's or the digest's text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag.as_str(),
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

/// A digest where the text is one, else a tag. What begins as a digest of a registered
/// algorithm must be one: a digit too few never makes a tag of it.
impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = |algorithm: &str| algorithm.parse::<Algorithm>().is_ok();
        match text.parse() {
            Ok(digest) => Ok(Self::Digest(digest)),
            Err(err) if text.split_once(':').is_some_and(|(name, _)| known(name)) => Err(err),
            Err(_) => Tag::new(text).map(Self::Tag),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Tag> for Name {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Name {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}
