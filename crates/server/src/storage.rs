//! What a registry has, and what each change of it takes, over any [`home`].
//!
//! ```text
//! handlers ─ Storage ─┬─ storage/manifests, storage/lists    what records mean, and their order
//!                     ├─ storage/leases                      what a client was told of stays
//!                     ├─ cache, storage/entries              what was asked for lately
//!                     └─ dyn Home ─┬─ storage/folder         one process, files, the commit protocol
//!                                  ├─ storage/layout         an OCI layout, as one repository
//!                                  └─ storage/s3             many processes, objects, conditions
//! ```
//! A change is a few writes of single records in an order that any reader, and any crash, can meet:
//! content, then what refers to it. Within a process manifests of a repository are put side by side, so
//! that a disk makes many of them durable at once, and whoever deletes is alone. Between processes nothing
//! is locked; whoever changed something looks afterwards whether
//! another one undid a part of it, and does it again (`storage/manifests`).

pub(crate) mod entries;
pub(crate) mod folder;
pub(crate) mod home;
pub(crate) mod layout;
pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod manifests;
pub(crate) mod notes;
mod reach;
pub(crate) mod s3;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use conex_spec::{Digest, Error, Kind, Result};
use ring::hmac;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::entries::Entries;
use self::folder::FolderHome;
use self::home::{Content, Home, Stamp, Wanted};
use self::layout::LayoutHome;
use self::leases::Leases;
use self::s3::S3Home;
use crate::cache::{Cache, Change};
use crate::config::{Config, Place};
use crate::gc::Gc;
use crate::paths::{self, Repository};

/// Changes of as many repositories can go on at a time.
const LOCKS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Storage {
    home: Arc<dyn Home>,
    locks: [RwLock<()>; LOCKS],
    hash: RandomState,
    pub(crate) cache: Cache,
    pub(crate) entries: Entries,
    leases: Leases,
    /// When this process first looked at the clock of the storage, and its own clock then.
    pub(crate) began: OnceLock<(Stamp, Instant)>,
}

/// The right to change a repository's manifests and tags, among the requests of this process.
pub(crate) struct Changing<'a> {
    // Dropped in this order: the cache must know before the next one may change.
    _change: Change<'a>,
    _guard: Guard<'a>,
}

enum Guard<'a> {
    Side { _by_side: RwLockReadGuard<'a, ()> },
    Alone { _alone: RwLockWriteGuard<'a, ()> },
}

impl Storage {
    /// Opens the home that a configuration names.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let home: Arc<dyn Home> = match &config.storage {
            Place::Folder(root) => Arc::new(FolderHome::open(root.clone()).await?),
            Place::Layout { path, repository } => {
                Arc::new(LayoutHome::open(path, repository, config.read_only).await?)
            }
            Place::S3(bucket) => Arc::new(S3Home::open(bucket).await?),
        };
        Ok(Self::new(home, config.limits.cache).with_grace(config.gc.grace))
    }

    /// `cache` is in bytes.
    pub(crate) fn new(home: Arc<dyn Home>, cache: usize) -> Self {
        let locks = std::array::from_fn(|_| RwLock::default());
        let (cache, entries) = (Cache::new(cache), Entries::new(cache / 2));
        let (leases, began) = (Leases::new(Gc::default().grace), OnceLock::new());
        Self { home, locks, hash: RandomState::new(), cache, entries, leases, began }
    }

    /// The same storage, of which nothing is collected that was used within another time.
    #[must_use]
    pub(crate) fn with_grace(self, grace: Duration) -> Self {
        Self { leases: Leases::new(grace), ..self }
    }

    pub(crate) fn home(&self) -> &dyn Home {
        &*self.home
    }

    /// A secret of this registry for one purpose, the same after every start.
    pub(crate) async fn secret(&self, purpose: &str) -> Result<Vec<u8>> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.home.key().await?);
        Ok(hmac::sign(&key, purpose.as_bytes()).as_ref().to_vec())
    }

    /// Whether the home is still there and can be read.
    pub(crate) async fn check(&self) -> Result<()> {
        match self.home.read(vec![paths::VERSION.into()]).await?.pop().flatten() {
            Some(_) => Ok(()),
            None => Err(Error::not_found("the storage is gone")),
        }
    }

    /// A blob of a repository. Small ones come with their `bytes` where these are wanted.
    pub(crate) async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        bytes: bool,
    ) -> Result<Option<Content>> {
        if digest.algorithm().is_err() {
            return Ok(None);
        }
        let links = vec![repository.blob(digest)?];
        self.look(Wanted { digest: digest.clone(), links, bytes }).await
    }

    /// Content of any repository.
    ///
    /// # Security
    /// Whether someone may see it must be known before.
    pub(crate) async fn content(&self, digest: &Digest) -> Result<Option<Content>> {
        self.look(Wanted { digest: digest.clone(), links: Vec::new(), bytes: false }).await
    }

    /// Takes a blob from a repository. Returns whether it had it.
    pub(crate) async fn unlink_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool> {
        self.home.remove(&repository.blob(digest)?, None).await
    }

    /// Waits until no other request of this process changes the repository.
    pub(crate) async fn change<'a>(&'a self, repository: &'a Repository) -> Changing<'a> {
        let _guard = Guard::Alone { _alone: self.lock_of(repository).write().await };
        Changing { _change: self.cache.change(repository), _guard }
    }

    /// Waits until no other request of this process changes the repository in another way than by putting
    /// manifests. Conditions of its writes tell whether one of these was quicker.
    pub(crate) async fn add<'a>(&'a self, repository: &'a Repository) -> Changing<'a> {
        if !self.home.takes_many() {
            return self.change(repository).await;
        }
        let _guard = Guard::Side { _by_side: self.lock_of(repository).read().await };
        Changing { _change: self.cache.change(repository), _guard }
    }

    fn lock_of(&self, repository: &Repository) -> &RwLock<()> {
        let slot = self.hash.hash_one(repository.as_str()) % LOCKS as u64;
        &self.locks[usize::try_from(slot).unwrap_or_default()]
    }

    async fn look(&self, wanted: Wanted) -> Result<Option<Content>> {
        Ok(self.home.look(vec![wanted]).await?.pop().flatten())
    }
}

#[cfg(test)]
mod conformance;

/// What a home says of a file that it cannot read.
fn fault(name: &str, err: std::io::Error) -> Error {
    Error::from_io(err, || format!("cannot read {name}"))
}

/// Runs blocking work on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(err) => Err(Error::new(Kind::Io, "a worker thread failed").source(err)),
    }
}
