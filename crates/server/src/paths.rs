//! The tree of a registry. No other module makes a path of it.
//!
//! In a folder:
//!
//! ```text
//! ROOT/
//!   .conex/
//!     registry                     the format's version
//!     lock                         held by the one server of this folder
//!     control                      a socket where the server takes orders of its operator
//!     clock                        empty; its time is that of the file system's clock
//!     damaged/ALGORITHM-ENCODED    content that was found to be something else, for people to look at
//!     collected                    empty; its time is that of the last collection
//!     stage/UUID                   a small file being written
//!   blobs/ALGORITHM/ENCODED        content, once for all repositories; manifests too
//!   repositories/NAME/             NAME may hold slashes; no part of it begins with `_`
//!     _blobs/ALGORITHM/ENCODED     empty: the repository has this blob
//!     _manifests/ALGORITHM/ENCODED the media type: the repository has this manifest
//!     _tags/TAG                    a digest
//!     _referrers/SUBJECT/MANIFEST  the descriptor of a manifest with this subject
//!     _notes/SUBJECT               its entries together, where there are many; nothing relies on it
//!     _uploads/UUID                a blob being received, for this repository alone
//! ```
//! In a bucket, below the prefix that its operator chose:
//!
//! ```text
//! .conex/registry                the format's version
//! .conex/key                     a secret of this registry
//! .conex/clock                   its time is that of the store's clock
//! .conex/collected               its time is that of the last collection
//! .conex/lease                   held by the one server of a bucket that knows no conditions
//! .conex/probe/UUID              while a server finds out what the bucket can do
//! blobs/ALGORITHM/ENCODED        content: itself where it is small, else the name of its data
//! data/UUID                      the bytes of large content, or what may become some
//! catalog/NAME!                  there is this repository
//! repositories/NAME/_…           as in a folder; an upload is how far it is, and its last bytes
//! ```
//! There, each record ends with a line of its own that no other write of it has (`storage/s3`). The
//! `!` comes before all that a name can have, so that a list of the catalog is in the order of names.
//!
//! A layout is one repository, whose tree is worked out from its `index.json`; beside what layouts have:
//!
//! ```text
//! .conex/serve/_blobs/ALGORITHM/ENCODED  empty: a blob that was pushed; no manifest may name it yet
//! .conex/serve/_uploads/UUID             a blob being received
//! ```
//! SUBJECT and MANIFEST are digests with `-` for the colon; a SUBJECT of an algorithm that is not
//! registered, which may be long, is the SHA-256 of its text after `other-`.
//!
//! Whether a repository has something is answered by its own links and by nothing else: that the
//! content lies in `blobs/` says only that some repository had it (CVE-2024-39897).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use conex_spec::{Digest, Error, Kind, Reference, Result, Tag};
use uuid::Uuid;

/// The version of this tree.
pub(crate) const VERSION: &str = ".conex/registry";
/// What the version file holds.
pub(crate) const FORMAT: &[u8] = b"conex registry 1\n";
/// A bucket's secret, and the lease of one that knows no conditions.
pub(crate) const KEY: &str = ".conex/key";
pub(crate) const LEASE: &str = ".conex/lease";
/// Where a folder's server takes orders.
pub(crate) const CONTROL: &str = ".conex/control";
/// Bears the time of now.
pub(crate) const CLOCK: &str = ".conex/clock";
/// Bears the time of the last collection.
pub(crate) const COLLECTED: &str = ".conex/collected";
/// A bucket's list of repositories, and the end of each name in it.
pub(crate) const CATALOG: &str = "catalog";
pub(crate) const CATALOG_END: char = '!';
/// All repositories.
pub(crate) const REPOSITORIES: &str = "repositories";

/// The name of a repository, which fits the grammar: each of its parts is the safe name of a
/// folder. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Repository(Arc<str>);

impl Repository {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn blobs(&self) -> String {
        format!("{REPOSITORIES}/{self}/_blobs")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Result<String> {
        Ok(format!("{}/{}", self.blobs(), parts(digest)?))
    }

    pub(crate) fn manifests(&self) -> String {
        format!("{REPOSITORIES}/{self}/_manifests")
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> Result<String> {
        Ok(format!("{}/{}", self.manifests(), parts(digest)?))
    }

    pub(crate) fn tags(&self) -> String {
        format!("{REPOSITORIES}/{self}/_tags")
    }

    /// Fails for a tag that no registry takes, and so for any that is no plain file name.
    pub(crate) fn tag(&self, tag: &Tag) -> Result<String> {
        Ok(format!("{}/{}", self.tags(), tag.check_registry()?))
    }

    pub(crate) fn referrers(&self, subject: &Digest) -> String {
        self.referrers_named(&subject_name(subject))
    }

    /// The entries of the subject that a note is called after.
    pub(crate) fn referrers_named(&self, name: &str) -> String {
        format!("{REPOSITORIES}/{self}/_referrers/{name}")
    }

    /// All notes.
    pub(crate) fn notes(&self) -> String {
        format!("{REPOSITORIES}/{self}/_notes")
    }

    /// What was noted of a subject's referrers.
    pub(crate) fn note(&self, subject: &Digest) -> String {
        format!("{}/{}", self.notes(), subject_name(subject))
    }

    pub(crate) fn referrer(&self, subject: &Digest, manifest: &Digest) -> Result<String> {
        Ok(format!("{}/{}", self.referrers(subject), flat(manifest)?))
    }

    pub(crate) fn upload(&self, id: Uuid) -> String {
        format!("{REPOSITORIES}/{self}/_uploads/{id}")
    }

    /// Its entry in a bucket's list of repositories.
    pub(crate) fn entry(&self) -> String {
        format!("{CATALOG}/{self}{CATALOG_END}")
    }
}

/// What a layout keeps of a repository beside what layouts have: the file of a record or an upload.
pub(crate) fn beside(repository: &Repository, name: &str) -> Option<String> {
    let rest = name.strip_prefix(REPOSITORIES)?.strip_prefix('/')?;
    let rest = rest.strip_prefix(repository.as_str())?.strip_prefix('/')?;
    Some(format!(".conex/serve/{rest}"))
}

/// What a record of a repository is about.
pub(crate) enum About {
    Blob(Digest),
    Manifest(Digest),
    Tag(Tag),
    Referrer,
}

impl About {
    /// Reads the name of a record; nothing where it is none of this repository.
    pub(crate) fn parse(repository: &Repository, name: &str) -> Option<Self> {
        let below = |folder: String| name.strip_prefix(&folder)?.strip_prefix('/');
        let digest = |rest: &str| rest.replacen('/', ":", 1).parse::<Digest>().ok();
        if let Some(rest) = below(repository.blobs()) {
            return digest(rest).map(Self::Blob);
        }
        if let Some(rest) = below(repository.manifests()) {
            return digest(rest).map(Self::Manifest);
        }
        if let Some(rest) = below(repository.tags()) {
            return Tag::registry(rest).ok().map(Self::Tag);
        }
        below(format!("{REPOSITORIES}/{repository}/_referrers")).map(|_| Self::Referrer)
    }
}

impl FromStr for Repository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Reference::check_repository(text).map(|name| Self(name.into()))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses a tree of another version. `place` is what people call it.
pub(crate) fn check_format(place: &dyn fmt::Display, found: &[u8]) -> Result<()> {
    if found == FORMAT {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, format!("{place} has another format"))
        .expected(String::from_utf8_lossy(FORMAT).trim())
        .found(String::from_utf8_lossy(found).trim().escape_debug())
        .hint("it belongs to another version of conex"))
}

/// The folder of the objects that hold a bucket's large content.
pub(crate) const DATA: &str = "data";

/// The object that holds a bucket's large content.
pub(crate) fn data(id: Uuid) -> String {
    format!("{DATA}/{id}")
}

/// A name for a bucket's probe.
pub(crate) fn probe(id: Uuid) -> String {
    format!(".conex/probe/{id}")
}

/// Only a registered algorithm has an encoded part that is known to be safe in a path.
fn parts(digest: &Digest) -> Result<String> {
    Ok(format!("{}/{}", digest.algorithm()?, digest.encoded()))
}

/// Where damaged content of a folder is set aside.
pub(crate) fn damaged(digest: &Digest) -> Result<String> {
    Ok(format!(".conex/damaged/{}", flat(digest)?))
}

/// The digest that the end of a link's or of content's path names: `ALGORITHM/ENCODED`.
pub(crate) fn linked(path: &str) -> Option<Digest> {
    let (above, encoded) = path.rsplit_once('/')?;
    let algorithm = above.rsplit('/').next().unwrap_or_default();
    let digest = format!("{algorithm}:{encoded}").parse::<Digest>().ok()?;
    digest.algorithm().is_ok().then_some(digest)
}

/// The identifier of a bucket's large content that a path names.
pub(crate) fn data_of(path: &str) -> Option<Uuid> {
    path.strip_prefix(DATA)?.strip_prefix('/')?.parse().ok()
}

/// The upload that a path names.
pub(crate) fn upload_of(path: &str) -> Option<(Repository, Uuid)> {
    let (above, id) = path.strip_prefix(REPOSITORIES)?.strip_prefix('/')?.rsplit_once('/')?;
    Some((above.strip_suffix("/_uploads")?.parse().ok()?, id.parse().ok()?))
}

fn subject_name(subject: &Digest) -> String {
    flat(subject).unwrap_or_else(|_| {
        format!("other-{}", Digest::sha256(subject.as_str().as_bytes()).encoded())
    })
}

/// The digest that a file name stands for.
pub(crate) fn unflat(name: &str) -> Option<Digest> {
    let digest = name.replacen('-', ":", 1).parse::<Digest>().ok()?;
    digest.algorithm().is_ok().then_some(digest)
}

/// A digest as one file name.
pub(crate) fn flat(digest: &Digest) -> Result<String> {
    Ok(format!("{}-{}", digest.algorithm()?, digest.encoded()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        let repository: Repository = "a/b-c/d__e".parse().unwrap();
        let digest = Digest::sha256(b"");
        let start = "repositories/a/b-c/d__e/_";
        for path in [
            repository.blob(&digest).unwrap(),
            repository.manifest(&digest).unwrap(),
            repository.tag(&Tag::latest()).unwrap(),
            repository.referrer(&digest, &digest).unwrap(),
            repository.upload(Uuid::nil()),
        ] {
            assert!(path.starts_with(start) && !path.contains(".."), "{path}");
        }
        for bad in
            ["", "..", "a/../b", "a//b", "/a", "a/", "_blobs", "a/_tags", "A", "a\\b", "a\0", "."]
        {
            assert!(bad.parse::<Repository>().is_err(), "{bad:?}");
        }
        for bad in ["../x", "a/b", "..", ".hidden", "-x"] {
            let tag = Tag::new(bad).unwrap();
            assert!(repository.tag(&tag).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_are_read_as_they_are_made() {
        let (repository, id): (Repository, _) = ("a/b".parse().unwrap(), Uuid::new_v4());
        let digest = Digest::sha256(b"");
        assert_eq!(linked(&repository.manifest(&digest).unwrap()), Some(digest.clone()));
        assert_eq!(linked(&parts(&digest).unwrap()), Some(digest));
        assert_eq!(upload_of(&repository.upload(id)), Some((repository, id)));
        assert_eq!(
            (data_of(&data(id)), data_of("data/x"), data_of("data")),
            (Some(id), None, None)
        );
        for other in ["", "/", "sha256/x", "a", "md5/00", "repositories/a/_tags/x", "_uploads/x"] {
            assert!(linked(other).is_none() && upload_of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn unregistered_algorithms_have_no_path_but_as_subjects() {
        let repository: Repository = "a".parse().unwrap();
        let long: Digest = format!("x+y:{}", "=".repeat(500)).parse().unwrap();
        assert!(repository.blob(&long).is_err() && repository.manifest(&long).is_err());
        let folder = repository.referrers(&long);
        assert!(folder.starts_with("repositories/a/_referrers/other-") && folder.len() < 128);
    }
}
