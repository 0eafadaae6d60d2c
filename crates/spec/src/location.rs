//! Locations: where an image is, as people type it on a command line.
//!
//! | written | means |
//! |---|---|
//! | `[docker://]REGISTRY/REPOSITORY[:TAG][@DIGEST]` | a registry; short names as in [`crate::reference`] |
//! | `oci:DIR[:TAG\|@DIGEST]` | an OCI layout directory |
//! | `oci-archive:FILE[:TAG\|@DIGEST]` | a tar of an OCI layout; `-` is stdin or stdout |
//! | `docker-archive:FILE[:REF]` | what `docker save` writes; `-` is stdin or stdout |
//! | `docker-daemon:REF` | the images of a running Docker engine or Podman |
//! | `store:REF` | the local store |
//!
//! A path ends at its first colon, so a folder with a colon in its name cannot be typed. The
//! tag after it may hold colons and slashes. What is no known form is never guessed to be a
//! path: `./image` is refused with a hint.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Kind, Result};
use crate::reference::grammar::shown;
use crate::reference::{Name, Reference, Tag, serde_as_string};

/// The digits of MD5, the shortest hash that is in use.
const LEAST_HASH: usize = 32;

/// Where an image is, or is to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// A repository in a registry.
    Registry(Reference),
    /// An OCI layout directory.
    Layout {
        /// The folder that holds `oci-layout`.
        path: PathBuf,
        /// Which root; without it the only one.
        name: Option<Name>,
    },
    /// An OCI layout in a tar file.
    OciArchive {
        /// The file; `-` is stdin or stdout.
        path: PathBuf,
        /// Which root; without it the only one.
        name: Option<Name>,
    },
    /// A tar file as `docker save` writes it.
    DockerArchive {
        /// The file; `-` is stdin or stdout.
        path: PathBuf,
        /// Which image, in the file's own words; without it the only one.
        reference: Option<Tag>,
    },
    /// An image of a Docker engine, in the engine's own words: a short name or an image ID.
    DockerDaemon(Name),
    /// An image in the local store, which calls it as its registry does.
    Store(Reference),
    /// Content that lives in this process only; nobody can type it.
    Memory,
}

impl Location {
    /// What names the root there, where it is named.
    pub fn name(&self) -> Option<Name> {
        match self {
            Self::Registry(reference) | Self::Store(reference) => reference.name(),
            Self::Layout { name, .. } | Self::OciArchive { name, .. } => name.clone(),
            Self::DockerArchive { reference, .. } => reference.clone().map(Name::Tag),
            Self::DockerDaemon(name) => Some(name.clone()),
            Self::Memory => None,
        }
    }

    /// The same place with another root. Fails where the place cannot have such a name.
    pub fn with_name(&self, name: Name) -> Result<Self> {
        Ok(match self {
            Self::Registry(reference) => Self::Registry(reference.with_name(name)?),
            Self::Store(reference) => Self::Store(reference.with_name(name)?),
            Self::Layout { path, .. } => Self::Layout { path: path.clone(), name: Some(name) },
            Self::OciArchive { path, .. } => {
                Self::OciArchive { path: path.clone(), name: Some(name) }
            }
            Self::DockerArchive { path, .. } => Self::DockerArchive {
                path: path.clone(),
                reference: match name {
                    Name::Tag(tag) => Some(tag),
                    Name::Digest(digest) => return Err(self.cannot_have(&digest)),
                },
            },
            Self::DockerDaemon(_) => Self::DockerDaemon(name),
            Self::Memory => return Err(self.cannot_have(&name)),
        })
    }

    /// The place without the image in it, for messages: `oci:DIR`, `the local store`.
    pub fn place(&self) -> String {
        match self {
            Self::Registry(reference) => reference.without_name().to_string(),
            Self::Layout { path, .. }
            | Self::OciArchive { path, .. }
            | Self::DockerArchive { path, .. } => format!("{}:{}", self.kind_str(), path.display()),
            Self::DockerDaemon(_) => "the engine".into(),
            Self::Store(_) => "the local store".into(),
            Self::Memory => "memory".into(),
        }
    }

    /// The file or folder, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Layout { path, .. }
            | Self::OciArchive { path, .. }
            | Self::DockerArchive { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether it is an archive on stdin or stdout.
    pub fn is_stream(&self) -> bool {
        !matches!(self, Self::Layout { .. }) && self.path() == Some(Path::new("-"))
    }

    /// Whether `WORD:…` names a kind of place, of this program or of another one, and no image.
    pub fn is_kind(word: &str) -> bool {
        PREFIXES.contains(&word) || FOREIGN.iter().any(|(foreign, _)| *foreign == word)
    }

    /// The word for this kind of place: what stands before the colon, or `registry`, or `memory`.
    pub fn kind_str(&self) -> &'static str {
        match self {
            Self::Registry(_) => "registry",
            Self::Layout { .. } => "oci",
            Self::OciArchive { .. } => "oci-archive",
            Self::DockerArchive { .. } => "docker-archive",
            Self::DockerDaemon(_) => "docker-daemon",
            Self::Store(_) => "store",
            Self::Memory => "memory",
        }
    }

    fn cannot_have(&self, name: &dyn fmt::Display) -> Error {
        let kind = self.kind_str();
        Error::new(Kind::Unsupported, format!("{kind} has no images of such a name")).found(name)
    }
}

impl From<Reference> for Location {
    fn from(reference: Reference) -> Self {
        Self::Registry(reference)
    }
}

/// The prefixes of this table; `docker:dind` is no prefix but an image of Docker's registry.
const PREFIXES: [&str; 5] = ["oci", "oci-archive", "docker-archive", "docker-daemon", "store"];

/// The prefixes of other tools. `dir:x` would else be an image `dir` in Docker's registry.
const FOREIGN: [(&str, &str); 14] = [
    ("dir", "a folder is written oci:DIR[:TAG]"),
    ("ocidir", "a folder is written oci:DIR[:TAG]"),
    ("oci-layout", "a folder is written oci:DIR[:TAG]"),
    ("ostree", "a folder is written oci:DIR[:TAG]"),
    ("tarball", "an archive is written oci-archive:FILE or docker-archive:FILE"),
    ("containers-storage", "Podman's images are reached through its socket: docker-daemon:REF"),
    ("memory", "content in memory has no written form"),
    ("file", "a file that holds one document is read by `conex inspect` and `conex validate` only"),
    ("oci-dir", "a folder is written oci:DIR[:TAG]"),
    ("archive", "an archive is written oci-archive:FILE or docker-archive:FILE"),
    ("tar", "an archive is written oci-archive:FILE or docker-archive:FILE"),
    ("sif", "images of Singularity are not read; an archive is written oci-archive:FILE"),
    ("podman", "Podman's images are reached through its socket: docker-daemon:REF"),
    ("containerd", "`ctr image export` writes an archive, which is read as oci-archive:FILE"),
];

const FORMS: &str = "a location is one of [docker://]REGISTRY/REPOSITORY[:TAG][@DIGEST], \
    oci:DIR[:TAG|@DIGEST], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], \
    docker-daemon:REF, store:REF";

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(reference) = text.strip_prefix("docker://") {
            return reference.parse().map(Self::Registry);
        }
        let (prefix, rest) = text.split_once(':').unwrap_or(("", text));
        if let Some((_, hint)) = FOREIGN.iter().find(|(foreign, _)| *foreign == prefix) {
            return Err(Error::invalid(format!("{prefix}: is no location"))
                .found(shown(text))
                .hint(format!("{hint}; a registry of this name is written docker://{prefix}:…")));
        }
        let named = |err: Error| err.context(format!("location {}", shown(text)));
        match prefix {
            "oci" => layout(rest).map_err(named),
            "oci-archive" => archive(rest).map_err(named),
            "docker-archive" => docker_archive(rest).map_err(named),
            "docker-daemon" => engine_name(rest).map(Self::DockerDaemon).map_err(named),
            "store" => rest.parse().map(Self::Store).map_err(named),
            _ if let Some(hint) = file_hint(text) => {
                Err(Error::invalid("this names a file, and no image")
                    .expected("a location")
                    .found(shown(text))
                    .hint(format!("{hint}; an image of this name is written docker://{text}")))
            }
            _ => text.parse().map(Self::Registry).map_err(|err| hinted(err, text)),
        }
    }
}

/// What is meant by a name that ends as those of files do. Docker's registry would be asked for an
/// image `index.json` else. What has a tag, a digest, a port or a registry before it is no file.
fn file_hint(text: &str) -> Option<String> {
    if text.contains([':', '@']) || text.starts_with(['.', '/', '~']) {
        return None;
    }
    if text.split_once('/').is_some_and(|(host, _)| host.contains('.') || host == "localhost") {
        return None;
    }
    let name = text.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if ends(&[".json"]) {
        return Some(
            "no command but `conex inspect` and `conex validate` reads a bare document".into(),
        );
    }
    let archive = ends(&[".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2"]);
    archive.then(|| format!("an archive is written oci-archive:{text} or docker-archive:{text}"))
}

/// Adds what might have been meant to the error of something that is no reference.
fn hinted(err: Error, text: &str) -> Error {
    if text.ends_with(".json") {
        let hint = "a bare document is read by `conex inspect` and `conex validate` only";
        return err.hint(hint);
    }
    if text.starts_with(['.', '/', '~']) && !text.contains(char::is_control) {
        let forms = if text.contains(".tar") || text.contains(".tgz") {
            format!("did you mean oci-archive:{text} or docker-archive:{text}?")
        } else {
            format!("did you mean oci:{text}?")
        };
        return err.hint(forms);
    }
    match err.hint_text() {
        Some(_) => err,
        None => err.hint(FORMS),
    }
}

fn layout(rest: &str) -> Result<Location> {
    let (path, name) = path_and_name(rest)?;
    if path == Path::new("-") {
        return Err(Error::invalid("a layout directory is no stream")
            .hint("an archive can be: oci-archive:-"));
    }
    Ok(Location::Layout { path, name })
}

fn archive(rest: &str) -> Result<Location> {
    let (path, name) = path_and_name(rest)?;
    Ok(Location::OciArchive { path, name })
}

fn docker_archive(rest: &str) -> Result<Location> {
    let (path, reference) = match rest.split_once(':') {
        // The colon may be a digest's own: one chooses an image as any name does.
        Some((path, reference)) => match split_digest(rest, path.len()) {
            Some((path, digest)) => (path, Some(Tag::new(digest?.as_str())?)),
            None => (path, Some(Tag::new(reference)?)),
        },
        None => (rest, None),
    };
    let path = checked_path(path)?;
    Ok(Location::DockerArchive { path, reference })
}

/// An image ID is a digest of an algorithm that is known: `busybox:1` has that form too.
fn engine_name(text: &str) -> Result<Name> {
    match text.parse()? {
        Name::Digest(digest) if digest.algorithm().is_err() => Tag::new(text).map(Name::Tag),
        name => Ok(name),
    }
}

/// Splits `PATH`, `PATH:TAG` and `PATH@DIGEST`.
fn path_and_name(text: &str) -> Result<(PathBuf, Option<Name>)> {
    let Some((path, tag)) = text.split_once(':') else {
        return Ok((checked_path(text)?, None));
    };
    // The first colon may be a digest's own.
    if let Some((path, digest)) = split_digest(text, path.len()) {
        return Ok((checked_path(path)?, Some(Name::Digest(digest?))));
    }
    // `oci:DIR:TAG@DIGEST` has a plain reading in a registry, but here a tag may hold anything.
    if let Some(at) = tag.rfind('@')
        && tag[at + 1..].parse::<Digest>().is_ok_and(|digest| digest.algorithm().is_ok())
    {
        return Err(Error::invalid("a tag and a digest are both given")
            .expected("PATH:TAG or PATH@DIGEST")
            .found(shown(text)));
    }
    Ok((checked_path(path)?, Some(Name::Tag(Tag::new(tag)?))))
}

/// Splits at an `@` where a registered algorithm stands between it and the colon: then a digest
/// is meant, and a wrong one is a fault, not a tag. So is one of another algorithm, which nobody can
/// verify, where as many digits follow as no tag has.
fn split_digest(text: &str, colon: usize) -> Option<(&str, Result<Digest>)> {
    let (path, algorithm) = text[..colon].rsplit_once('@')?;
    let digest = text[path.len() + 1..].parse::<Digest>();
    let is_hash = |digest: &Digest| {
        let encoded = digest.encoded();
        encoded.len() >= LEAST_HASH && encoded.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let meant = algorithm.parse::<Algorithm>().is_ok() || digest.as_ref().is_ok_and(is_hash);
    meant.then_some((path, digest))
}

fn checked_path(text: &str) -> Result<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        return Err(Error::invalid("not a path")
            .expected("a file or folder before the colon")
            .found(shown(text)));
    }
    Ok(text.into())
}

/// What can be typed again, but for [`Location::Memory`] and for paths that are not UTF-8 or hold
/// a colon.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind_str();
        match self {
            Self::Registry(reference) => {
                let host = reference.host();
                // A registry `store:5000` would read as the local store.
                if reference.port().is_some() && Self::is_kind(host) {
                    f.write_str("docker://")?;
                }
                write!(f, "{reference}")
            }
            Self::Layout { path, name } | Self::OciArchive { path, name } => {
                write!(f, "{kind}:{}", path.display())?;
                match name {
                    None => Ok(()),
                    Some(Name::Tag(tag)) => write!(f, ":{tag}"),
                    Some(Name::Digest(digest)) => write!(f, "@{digest}"),
                }
            }
            Self::DockerArchive { path, reference } => {
                write!(f, "{kind}:{}", path.display())?;
                match reference {
                    None => Ok(()),
                    Some(reference) => write!(f, ":{reference}"),
                }
            }
            Self::DockerDaemon(name) => write!(f, "{kind}:{name}"),
            Self::Store(reference) => write!(f, "{kind}:{reference}"),
            Self::Memory => write!(f, "{kind}:"),
        }
    }
}

serde_as_string!(Location);

#[cfg(test)]
mod tests;
