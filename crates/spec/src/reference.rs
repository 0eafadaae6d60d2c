//! References: which image in which registry, as people type it.
//!
//! ```
//! use conex_spec::reference::Reference;
//!
//! let image: Reference = "ubuntu:24.04".parse()?;
//! assert_eq!(image.registry(), "docker.io");
//! assert_eq!(image.repository(), "library/ubuntu");
//! assert_eq!(image.to_string(), "docker.io/library/ubuntu:24.04");
//! assert_eq!(image.familiar(), "ubuntu:24.04");
//! # Ok::<(), conex_spec::Error>(())
//! ```
//!
//! Short names mean what Docker makes of them; no list of search registries exists, since
//! the same words must name the same image on every machine. `:latest` is never put into the
//! value: only [`Reference::name_or_latest`] says it, where an image is about to be fetched.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::{Error, Result};

pub(crate) mod grammar;
mod name;

pub use name::{Name, Tag};

/// The registry of a reference that names none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Another name of the same registry, from the days before the second version of its API.
const LEGACY_REGISTRY: &str = "index.docker.io";
/// Where Docker's registry keeps the repositories that are written without a slash.
const OFFICIAL: &str = "library/";
/// Longer than a name of 255, a tag of 128 and a digest of 512 with their separators.
const MAX_REFERENCE: usize = 1024;

/// A repository in a registry, with the tag or digest of an image in it where one is given.
///
/// # Security
/// The parts hold only what their grammars allow: no `..`, no `%`, no control character, no
/// letter outside ASCII. They are safe in a URL and, component by component, in a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Reference {
    /// A repository by its parts, without the shortcuts that [`Reference::from_str`] knows.
    pub fn new(registry: &str, repository: &str) -> Result<Self> {
        let mut registry = grammar::registry(registry)?;
        if registry == LEGACY_REGISTRY {
            DEFAULT_REGISTRY.clone_into(&mut registry);
        }
        grammar::repository(repository)?;
        // distribution-spec, "Pulling manifests": many clients limit the concatenation.
        if registry.len() + 1 + repository.len() > grammar::MAX_NAME {
            return Err(Error::invalid("the registry and the repository together")
                .expected(format!("at most {} characters", grammar::MAX_NAME))
                .found(registry.len() + 1 + repository.len()));
        }
        Ok(Self { registry, repository: repository.to_owned(), tag: None, digest: None })
    }

    /// Fails unless `text` can name a repository in a registry, as `library/ubuntu` does.
    pub fn check_repository(text: &str) -> Result<&str> {
        grammar::repository(text).map(|()| text)
    }

    /// The registry: `host` or `host:port` in its canonical case, an IPv6 address in brackets.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The registry's host name or address, without port and without brackets.
    pub fn host(&self) -> &str {
        grammar::host_and_port(&self.registry).0
    }

    /// The registry's port where one is given.
    pub fn port(&self) -> Option<u16> {
        grammar::host_and_port(&self.registry).1?.parse().ok()
    }

    /// The repository, for Docker's registry with its `library/`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag where one is given. Beside a digest it is only a note for people.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest where one is given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What names the root in the repository: the digest, else the tag.
    pub fn name(&self) -> Option<Name> {
        let digest = self.digest.clone().map(Name::Digest);
        digest.or_else(|| self.tag.clone().map(Name::Tag))
    }

    /// As [`Reference::name`], or the tag `latest` where neither is given.
    pub fn name_or_latest(&self) -> Name {
        self.name().unwrap_or_else(|| Name::Tag(Tag::latest()))
    }

    /// The same repository with this tag and no digest. Fails for a tag that no registry takes.
    pub fn with_tag(&self, tag: Tag) -> Result<Self> {
        tag.check_registry()?;
        Ok(Self { tag: Some(tag), ..self.without_name() })
    }

    /// The same repository and tag, pinned to this digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same repository with this tag or this digest alone.
    pub fn with_name(&self, name: Name) -> Result<Self> {
        match name {
            Name::Tag(tag) => self.with_tag(tag),
            Name::Digest(digest) => Ok(self.without_name().with_digest(digest)),
        }
    }

    /// The repository alone.
    #[must_use]
    pub fn without_name(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: None,
            digest: None,
        }
    }

    /// Whether the registry is this machine by its written name: `localhost` or a name below it
    /// (RFC 6761, 6.3), `127.0.0.0/8` or `::1`. What another name resolves to is not asked.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse().is_ok_and(|v4: Ipv4Addr| v4.is_loopback())
            || host.parse().is_ok_and(|v6: Ipv6Addr| v6.is_loopback())
    }

    /// The shortest form that parses to the same reference: `ubuntu:24.04`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) =
            full.strip_prefix(DEFAULT_REGISTRY).and_then(|rest| rest.strip_prefix('/'))
        else {
            return full;
        };
        [short.strip_prefix(OFFICIAL).unwrap_or(short), short]
            .into_iter()
            // `docker.io/a.b/c` must not become `a.b/c`, which names another registry.
            .find(|form| form.parse().is_ok_and(|same: Self| same == *self))
            .unwrap_or(&full)
            .to_owned()
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        check_shape(text)?;
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        let tag = tag.map(Tag::registry).transpose()?;
        let repository = parse_name(name)
            .map_err(|err| err.context(format!("reference {}", grammar::shown(text))))?;
        Ok(Self { tag, digest, ..repository })
    }
}

/// Refuses at once what is no reference at all but often meant as one.
fn check_shape(text: &str) -> Result<()> {
    const EXPECTED: &str = "[REGISTRY/]REPOSITORY[:TAG][@DIGEST]";
    let fault = || Error::invalid("not an image reference").expected(EXPECTED);
    if text.is_empty() {
        return Err(fault().found("nothing"));
    }
    if text.len() > MAX_REFERENCE {
        return Err(fault().found(format!("{} characters", text.len())));
    }
    // Nothing of the text is repeated below: it may hold a password.
    if text.contains("://") {
        return Err(fault()
            .found("a URL")
            .hint("write the registry without a scheme such as https://"));
    }
    if text.split_once('@').is_some_and(|(_, end)| end.contains('/')) {
        return Err(fault()
            .found("a user name or password before the registry")
            .hint("log in to the registry instead; a reference holds no credentials"));
    }
    Ok(())
}

fn parse_digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|err: Error| err.context("image reference, after @"))
}

/// Splits at the colon of the tag, which is not the colon of a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !tag.ends_with(']') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// Applies Docker's rules for the parts that people leave out.
fn parse_name(name: &str) -> Result<Reference> {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        None if name.starts_with('[') => (name, ""),
        None if is_image_id(name) => {
            return Err(Error::invalid("an image ID is no repository")
                .found(name)
                .hint("a digest is written REPOSITORY@sha256:HEX"));
        }
        _ => (DEFAULT_REGISTRY, name),
    };
    let reference = Reference::new(registry, repository)?;
    if reference.registry == DEFAULT_REGISTRY && !repository.contains('/') {
        return Reference::new(DEFAULT_REGISTRY, &format!("{OFFICIAL}{repository}"));
    }
    Ok(reference)
}

/// Whether the first component can only be a registry: no repository looks like that, or
/// people would not expect one.
fn is_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// The 64 digits that Docker shows for a local image; it refuses them as a name too.
fn is_image_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The canonical form: registry, repository and what else was given.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lets a type that is typed and printed as text stand as a string in JSON.
macro_rules! serde_as_string {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_string;

serde_as_string!(Reference);
serde_as_string!(Tag);
serde_as_string!(Name);

#[cfg(test)]
mod tests;
