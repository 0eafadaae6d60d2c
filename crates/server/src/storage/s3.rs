//! A bucket of an S3-compatible store as the home of a registry. Any number of processes may serve
//! it, with nothing between them but the bucket.
//!
//! | looking for | module |
//! |---|---|
//! | requests, and what their errors mean | `bucket` |
//! | records, versions, conditions | `records` |
//! | where content lies, and when it is visible | `content` |
//! | uploads that go on in another process | `session` |
//! | the last bytes of each, in memory or in a file | `tail` |
//! | stamps, and what is removed only if nobody wants it | `aging` |
//! | what the bucket can do, and who may write | `claim` |
//!
//! # What is relied on
//! Reading after writing, listing after writing, and writes that hold to `If-Match` and
//! `If-None-Match`. The last is tried at every start: a bucket that ignores conditions is served by
//! one process at a time, which holds a lease. Clocks are not relied on.
//!
//! # What is retried
//! Every request, until it is answered or 20 seconds are over. A write that was taken although its
//! answer was lost is known again by a mark that it alone bears, so a retry never takes it for
//! someone else's.

mod aging;
mod bucket;
mod claim;
mod content;
mod records;
mod session;
mod tail;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Digest, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use self::bucket::Bucket;
use self::claim::Lease;
use super::home::{
    Aged, Content, Home, Page, Record, Session, Stamp, Surveyed, Version, Wanted, When,
};
use crate::config::S3;
use crate::paths::{self, Repository};

/// Requests at a time for one call.
const AT_ONCE: usize = 16;
/// What a chunk of an upload should have, in bytes: what a store takes as a part.
const LEAST_CHUNK: u64 = 5 << 20;
/// How much is remembered of where content lies, in entries.
const REMEMBERED: usize = 1 << 16;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct S3Home(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bucket: Bucket,
    /// Whether the store holds to conditions; where not, this process has a lease.
    lease: Option<Lease>,
    redirect: bool,
    spool: Option<PathBuf>,
    /// Changes of one process come one after the other where the store knows no conditions.
    alone: tokio::sync::Mutex<()>,
    places: Mutex<HashMap<Digest, content::Data>>,
    enrolled: Mutex<HashSet<Repository>>,
}

impl S3Home {
    /// Whether there is a registry already.
    pub(crate) async fn is_there(config: &S3) -> Result<bool> {
        let found = Bucket::open(config)?.get(paths::VERSION, content::HEAD).await?;
        Ok(found.is_some())
    }

    /// Opens a registry's bucket, or makes a registry of an empty prefix.
    pub(crate) async fn open(config: &S3) -> Result<Self> {
        let bucket = Bucket::open(config)?;
        let conditional = claim::knows_conditions(&bucket).await?;
        let lease = if conditional { None } else { Some(Lease::take(&bucket).await?) };
        let inner = Inner {
            bucket,
            lease,
            redirect: config.redirect,
            spool: config.spool.clone(),
            alone: tokio::sync::Mutex::default(),
            places: Mutex::default(),
            enrolled: Mutex::default(),
        };
        inner.check_format().await?;
        Ok(Self(Arc::new(inner)))
    }
}

#[async_trait]
impl Home for S3Home {
    fn is_shared(&self) -> bool {
        self.0.lease.is_none()
    }

    fn least_chunk(&self) -> Option<u64> {
        Some(LEAST_CHUNK)
    }

    async fn key(&self) -> Result<Vec<u8>> {
        let made = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
        self.0.write(paths::KEY, made.into(), When::Absent).await?;
        let found = self.0.read(paths::KEY).await?;
        Ok(found.map(|record| record.bytes.to_vec()).unwrap_or_default())
    }

    async fn read(&self, names: Vec<String>) -> Result<Vec<Option<Record>>> {
        let reading = names.into_iter().map(|name| async move { self.0.read(&name).await });
        stream::iter(reading).buffered(AT_ONCE).try_collect().await
    }

    async fn write(&self, name: &str, bytes: Bytes, when: When) -> Result<Option<Version>> {
        self.0.write(name, bytes, when).await
    }

    async fn remove(&self, name: &str, version: Option<&Version>) -> Result<bool> {
        self.0.remove(name, version).await
    }

    async fn list(&self, folder: &str, after: &str, count: usize) -> Result<Page<String>> {
        self.0.bucket.names(&format!("{folder}/"), after, count).await
    }

    async fn enrol(&self, repository: &Repository) -> Result<()> {
        if self.0.enrolled().contains(repository) {
            return Ok(());
        }
        self.0.write(&repository.entry(), Bytes::new(), When::Absent).await?;
        self.0.enrolled().insert(repository.clone());
        Ok(())
    }

    async fn has_repository(&self, repository: &Repository) -> Result<bool> {
        if self.0.enrolled().contains(repository) {
            return Ok(true);
        }
        Ok(self.0.read(&repository.entry()).await?.is_some())
    }

    async fn repositories(&self, after: &str, count: usize) -> Result<Page<String>> {
        let end = paths::CATALOG_END;
        let after = if after.is_empty() { String::new() } else { format!("{after}{end}") };
        let folder = format!("{}/", paths::CATALOG);
        let page = self.0.bucket.names(&folder, &after, count).await?;
        let items = page.items.iter().map(|name| name.trim_end_matches(end).to_owned()).collect();
        Ok(Page { items, more: page.more })
    }

    async fn look(&self, wanted: Vec<Wanted>) -> Result<Vec<Option<Content>>> {
        let looking = wanted.into_iter().map(|wanted| async move { self.look_at(&wanted).await });
        stream::iter(looking).buffered(AT_ONCE).try_collect().await
    }

    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<()> {
        self.0.put(digest, bytes).await
    }

    async fn survey(&self, after: Option<&Digest>, count: usize) -> Result<Page<Surveyed>> {
        self.0.survey(after, count).await
    }

    async fn now(&self) -> Result<Stamp> {
        self.0.now().await
    }

    async fn last(&self) -> Result<Option<Stamp>> {
        self.0.bucket.stamp(paths::COLLECTED).await
    }

    async fn begin_collection(&self) -> Result<()> {
        self.0.write(paths::COLLECTED, Bytes::new(), When::Always).await.map(drop)
    }

    async fn aged(&self, folder: &str, after: &str, count: usize) -> Result<Page<Aged>> {
        self.0.aged(folder, after, count).await
    }

    async fn renew(&self, names: Vec<String>) -> Result<Vec<Option<Version>>> {
        let renewing = names.into_iter().map(|name| async move { self.0.renew(&name).await });
        stream::iter(renewing).buffered(AT_ONCE).try_collect().await
    }

    async fn sweep(&self, doomed: Vec<Aged>) -> Result<Vec<bool>> {
        let sweeping = doomed.into_iter().map(|one| async move { self.0.sweep(&one).await });
        stream::iter(sweeping).buffered(AT_ONCE).try_collect().await
    }

    async fn hold(&self, digest: &Digest) -> Result<bool> {
        self.0.hold(digest).await
    }

    async fn forget(&self, content: &Surveyed) -> Result<bool> {
        self.0.forget(content).await
    }

    async fn sessions(&self) -> Result<Vec<(Repository, Uuid, Stamp)>> {
        self.0.sessions().await
    }

    async fn check(&self, digest: &Digest) -> Result<Option<(bool, u64)>> {
        self.0.check(digest).await
    }

    async fn set_aside(&self, digest: &Digest) -> Result<bool> {
        self.0.set_aside(digest).await
    }

    async fn tidy(&self, before: Stamp) -> Result<u64> {
        self.0.tidy(before).await
    }

    async fn begin(
        &self,
        repository: &Repository,
        id: Uuid,
        single: bool,
    ) -> Result<Box<dyn Session>> {
        self.begin_session(repository.clone(), id, single).await
    }

    async fn resume(&self, repository: &Repository, id: Uuid) -> Result<Option<Box<dyn Session>>> {
        self.resume_session(repository.clone(), id).await
    }

    async fn uploaded(&self, repository: &Repository, id: Uuid) -> Result<Option<u64>> {
        self.0.uploaded(repository, id).await
    }

    async fn close(&self) {
        if let Some(lease) = &self.0.lease {
            lease.give_up(&self.0.bucket).await;
        }
    }
}

impl Inner {
    async fn check_format(&self) -> Result<()> {
        let format = Bytes::from_static(paths::FORMAT);
        if self.write(paths::VERSION, format, When::Absent).await?.is_some() {
            return Ok(());
        }
        let found = self.read(paths::VERSION).await?.map(|record| record.bytes);
        paths::check_format(&self.bucket, &found.unwrap_or_default())
    }

    fn enrolled(&self) -> std::sync::MutexGuard<'_, HashSet<Repository>> {
        let mut enrolled = self.enrolled.lock().unwrap_or_else(PoisonError::into_inner);
        if enrolled.len() >= REMEMBERED {
            enrolled.clear();
        }
        enrolled
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, content::Data>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= REMEMBERED {
            places.clear();
        }
        places
    }
}
