//! Where a registry keeps its things: what [`Storage`](super::Storage) needs of any place.
//!
//! Three sorts of things, each as its place does it best:
//!
//! - **Records**: links, tags, entries of referrers, small enough to be read whole. They have names,
//!   which are paths of [`crate::paths`], and versions, so that a write can be bound to what was read.
//!   Reading takes many at once: a folder does that on one thread, a bucket with many requests.
//! - **Content**: blobs and manifests under their digests, written once and only after they were
//!   found to be what the digest says. [`Home::look`] asks for content and for the records that
//!   allow it in one go, since every request of a registry needs both.
//! - **Sessions**: blobs on their way in. [`Session`] has what all homes must do alike: whatever was
//!   there when a request ended is there for the next one, also in another process.
//!
//! Records and content have stamps: when they came or were last renewed, by the clock of the place.
//! Who collects removes only what was not renewed since it was listed (see [`crate::gc`]).
//!
//! What a record means, and in which order they are written, is not the home's business.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Algorithm, Digest, Error, Hasher, Result};
use conex_store::commit::Identity;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use uuid::Uuid;

use crate::file_body::{CHUNK, FileBody, read_at};
use crate::paths::Repository;
use crate::reply::Body;

/// The longest record, in bytes: the entry of a referrer carries a manifest's annotations.
pub(crate) const MAX_RECORD: usize = 16 << 20;

/// See the module. What is written is durable when the call returns.
#[async_trait]
pub(crate) trait Home: Debug + Send + Sync {
    /// Whether other processes may change anything at any moment, so that what is remembered must
    /// be looked at again.
    fn is_shared(&self) -> bool;

    /// Whether manifests of a repository can be put side by side.
    fn takes_many(&self) -> bool {
        true
    }

    /// Whether a repository of this name can be pushed to.
    fn takes(&self, _: &Repository) -> bool {
        true
    }

    /// Whether records can be kept that nothing relies on.
    fn takes_notes(&self) -> bool {
        true
    }

    /// What a chunk of an upload should at least have, in bytes.
    fn least_chunk(&self) -> Option<u64> {
        None
    }

    /// A secret of this registry, the same after every start and in every process.
    async fn key(&self) -> Result<Vec<u8>>;

    /// Reads records; nothing for each that is not there. In the order asked.
    async fn read(&self, names: Vec<String>) -> Result<Vec<Option<Record>>>;

    /// Whether records are there, in the order asked.
    async fn present(&self, names: Vec<String>) -> Result<Vec<bool>> {
        Ok(self.read(names).await?.iter().map(Option::is_some).collect())
    }

    /// Whether records are just what they were, where that is known without waiting for anything.
    fn unchanged(&self, _: &[(String, Version)]) -> Option<bool> {
        None
    }

    /// Writes a record, all at once. Returns its version; nothing, and changes nothing, where the
    /// condition does not hold.
    async fn write(&self, name: &str, bytes: Bytes, when: When) -> Result<Option<Version>>;

    /// Removes a record, if it still has the version. Returns whether it did.
    async fn remove(&self, name: &str, version: Option<&Version>) -> Result<bool>;

    /// The names of the records in a folder after one, at most `count`, in the order of their bytes.
    async fn list(&self, folder: &str, after: &str, count: usize) -> Result<Page<String>>;

    /// Makes it known that a repository has something, before it has.
    async fn enrol(&self, repository: &Repository) -> Result<()>;

    /// Whether anything was ever pushed to a repository.
    async fn has_repository(&self, repository: &Repository) -> Result<bool>;

    /// The repositories after one, at most `count`, in the order of the bytes of their names.
    async fn repositories(&self, after: &str, count: usize) -> Result<Page<String>>;

    /// Looks for content; nothing for each that is not there, whole, or not allowed by a record.
    /// In the order asked.
    async fn look(&self, wanted: Vec<Wanted>) -> Result<Vec<Option<Content>>>;

    /// Puts small content, whose bytes were found to be what the digest says.
    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<()>;

    /// All content after a digest, at most `count`: for who collects what nobody refers to.
    async fn survey(&self, after: Option<&Digest>, count: usize) -> Result<Page<Surveyed>>;

    /// This moment, by the clock that stamps what is written here: nothing that is written or
    /// renewed from now on has an earlier stamp.
    async fn now(&self) -> Result<Stamp> {
        Err(uncollectable())
    }

    /// When the last collection began, in any process.
    async fn last(&self) -> Result<Option<Stamp>> {
        Ok(None)
    }

    /// Notes that a collection begins.
    async fn begin_collection(&self) -> Result<()> {
        Err(uncollectable())
    }

    /// All records below a folder after one, at most `count`, in the order of the bytes of their
    /// names, which may hold slashes.
    async fn aged(&self, _folder: &str, _after: &str, _count: usize) -> Result<Page<Aged>> {
        Err(uncollectable())
    }

    /// Gives records new stamps and versions, if they are there. In the order asked.
    async fn renew(&self, names: Vec<String>) -> Result<Vec<Option<Version>>>;

    /// Removes records that were not written or renewed since they were listed, which `name` with
    /// their whole names. Returns whether each was removed. Durable after [`Home::settle`].
    async fn sweep(&self, _doomed: Vec<Aged>) -> Result<Vec<bool>> {
        Err(uncollectable())
    }

    /// Makes durable what was swept.
    async fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Gives content a new stamp. Returns whether it is there, whole.
    async fn hold(&self, digest: &Digest) -> Result<bool>;

    /// Removes content that did not come and was not held since it was listed. Returns whether it
    /// did.
    async fn forget(&self, _content: &Surveyed) -> Result<bool> {
        Err(uncollectable())
    }

    /// Hashes content, whatever is known of it: whether it is what it should be, and its size in
    /// bytes. Nothing if there is none.
    async fn check(&self, _digest: &Digest) -> Result<Option<(bool, u64)>> {
        Err(uncollectable())
    }

    /// Takes damaged content from under its digest. Returns whether it did.
    async fn set_aside(&self, _digest: &Digest) -> Result<bool> {
        Err(uncollectable())
    }

    /// All open sessions, with when each last received something.
    async fn sessions(&self) -> Result<Vec<(Repository, Uuid, Stamp)>> {
        Err(uncollectable())
    }

    /// Removes what writers that died left behind before a moment. Returns how many things.
    async fn tidy(&self, _before: Stamp) -> Result<u64> {
        Ok(0)
    }

    /// Begins a session. One that is `single` belongs to one request and is never resumed.
    async fn begin(
        &self,
        repository: &Repository,
        id: Uuid,
        single: bool,
    ) -> Result<Box<dyn Session>>;

    /// Goes on with a session; nothing where there is none.
    async fn resume(&self, repository: &Repository, id: Uuid) -> Result<Option<Box<dyn Session>>>;

    /// How many bytes a session has; nothing where there is none. Disturbs nobody.
    async fn uploaded(&self, repository: &Repository, id: Uuid) -> Result<Option<u64>>;

    /// Gives up what others wait for. Nothing else is called afterwards.
    async fn close(&self) {}
}

/// A blob on its way in, in the hands of one request.
#[async_trait]
pub(crate) trait Session: Send {
    /// The bytes received.
    fn length(&self) -> u64;

    /// What tells whether another process had it since this one did; nothing where none can have.
    fn version(&self) -> Option<&Version>;

    /// Adds bytes at the end, and to the hash.
    async fn write(&mut self, batch: Vec<Bytes>, hashing: &mut Option<Hashing>) -> Result<()>;

    /// Takes back what was written since the session was begun or resumed.
    async fn undo(&mut self) -> Result<()>;

    /// Keeps everything for the next request.
    async fn pause(&mut self) -> Result<()>;

    /// Hashes all bytes again.
    async fn hash(&mut self, algorithm: Algorithm) -> Result<Digest>;

    /// Makes the bytes, which were found to be what the digest says, a blob of the session's
    /// repository, and ends the session.
    async fn publish(&mut self, digest: &Digest) -> Result<()>;

    /// Ends the session; what cannot be removed now is left to who collects.
    async fn discard(&mut self);
}

/// A record that was read.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) bytes: Bytes,
    pub(crate) version: Version,
}

/// Which of all the writes of a record it was: another one with the same bytes is another version.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    /// That of a file.
    File(Identity),
    /// The mark that the object bears, and what the store calls it.
    Object { mark: Bytes, tag: String },
}

/// The mark alone tells objects apart: a store may not always tell the right tag.
impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Object { mark, .. }, Self::Object { mark: other, .. }) => mark == other,
            _ => false,
        }
    }
}

/// What must hold for a write.
#[derive(Clone, Debug)]
pub(crate) enum When {
    Always,
    /// There is no such record.
    Absent,
    /// It is still the one that was read.
    Unchanged(Version),
}

/// Content that someone asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) digest: Digest,
    /// Records one of which must be there. None is asked for only where all content may be seen:
    /// that it is there says just that some repository had it.
    pub(crate) links: Vec<String>,
    /// Whether small content should come with its bytes.
    pub(crate) bytes: bool,
}

/// Content that is there, whole.
#[derive(Debug)]
pub(crate) struct Content {
    /// In bytes.
    pub(crate) size: u64,
    /// The first record that was there: what it says, and which it was, where that tells later
    /// whether it is there still.
    pub(crate) link: Bytes,
    pub(crate) linked: Option<Version>,
    pub(crate) source: Source,
}

/// Where the bytes of content come from.
#[derive(Debug)]
pub(crate) enum Source {
    Bytes(Bytes),
    File(File),
    Remote(Arc<dyn Remote>),
}

/// Content that is not on this machine.
#[async_trait]
pub(crate) trait Remote: Debug + Send + Sync {
    /// A part of it. All of it at once ends in an error before its last bytes where it is not what
    /// its digest says.
    async fn stream(&self, part: Range<u64>) -> Result<BoxStream<'static, io::Result<Bytes>>>;

    /// An address from which a client gets it itself.
    async fn address(&self) -> Result<Option<String>>;
}

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Whether the list goes on.
    pub(crate) more: bool,
}

/// A moment by the clock of the storage, in nanoseconds since 1970.
pub(crate) type Stamp = i64;

/// A record of a listing.
#[derive(Clone, Debug)]
pub(crate) struct Aged {
    /// Below the folder that was listed.
    pub(crate) name: String,
    pub(crate) stamp: Stamp,
    pub(crate) version: Version,
}

/// What a collector must know of content.
#[derive(Clone, Debug)]
pub(crate) struct Surveyed {
    pub(crate) digest: Digest,
    /// In bytes; nothing where the listing does not tell.
    pub(crate) size: Option<u64>,
    pub(crate) stamp: Stamp,
    /// What the store calls this version of its name, where it does.
    pub(crate) tag: String,
}

fn uncollectable() -> Error {
    Error::new(conex_spec::Kind::Unsupported, "nothing is collected here")
        .hint("a layout has `conex gc oci:DIR`")
}

/// The hash of a session so far.
#[derive(Clone, Debug)]
pub(crate) struct Hashing {
    pub(crate) algorithm: Algorithm,
    pub(crate) length: u64,
    hasher: Hasher,
}

impl Hashing {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, length: 0, hasher: algorithm.hasher() }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl Content {
    /// Content of a file that is open, with its bytes where they are wanted and few: they are read by
    /// the thread that opened it.
    pub(super) fn of_file(file: File, size: u64, link: Bytes, wanted: &Wanted) -> Result<Self> {
        let few = usize::try_from(size).ok().filter(|size| wanted.bytes && *size <= CHUNK);
        let source = match few {
            Some(length) => {
                let read = read_at(&file, 0, length);
                Source::Bytes(read.map_err(|err| super::fault(wanted.digest.as_str(), err))?)
            }
            None => Source::File(file),
        };
        Ok(Self { size, link, linked: None, source })
    }

    /// A part as the body of an answer.
    pub(crate) async fn body(self, part: Range<u64>) -> Result<Body> {
        Ok(match self.source {
            Source::Bytes(bytes) => slice(&bytes, &part)?.into(),
            Source::File(file) => Body::file(FileBody::new(file, part)),
            Source::Remote(remote) => {
                Body::stream(remote.stream(part.clone()).await?, part.end - part.start)
            }
        })
    }

    /// All bytes of content that is at most `limit` long.
    pub(crate) async fn whole(self, limit: usize) -> Result<Bytes> {
        let size = usize::try_from(self.size).ok().filter(|size| *size <= limit);
        let size = size.ok_or_else(|| {
            Error::new(conex_spec::Kind::Limit, "content is too large to be read whole")
                .expected(format!("at most {limit} bytes"))
                .found(self.size.to_string())
        })?;
        let fault = |err| Error::from_io(err, || "cannot read content".into());
        match self.source {
            Source::Bytes(bytes) => Ok(bytes),
            Source::File(file) => {
                super::blocking(move || read_at(&file, 0, size).map_err(fault)).await
            }
            Source::Remote(remote) => {
                let mut stream = remote.stream(0..self.size).await?;
                let mut whole = Vec::with_capacity(size.min(CHUNK));
                while let Some(chunk) = stream.next().await.transpose().map_err(fault)? {
                    whole.extend_from_slice(&chunk);
                }
                Ok(whole.into())
            }
        }
    }
}

impl Page<String> {
    /// A page of names that are all at hand, in their order.
    pub(crate) fn of(mut names: Vec<String>, after: &str, count: usize) -> Self {
        let start = names.partition_point(|name| name.as_str() <= after);
        names.drain(..start);
        let more = names.len() > count;
        names.truncate(count);
        Self { items: names, more }
    }
}

fn slice(bytes: &Bytes, part: &Range<u64>) -> Result<Bytes> {
    let at = |at: u64| usize::try_from(at).ok().filter(|at| *at <= bytes.len());
    match (at(part.start), at(part.end)) {
        (Some(start), Some(end)) if start <= end => Ok(bytes.slice(start..end)),
        _ => Err(Error::new(conex_spec::Kind::Io, "content is shorter than it was")),
    }
}
