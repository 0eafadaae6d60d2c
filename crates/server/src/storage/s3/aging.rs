//! The stamps of a bucket: when an object was written last, by the clock of the store.
//!
//! To renew a record or to hold content is to write the same again, under the condition that nobody
//! changed it. Each such write has a mark of its own, so the store's tag is another one afterwards, and
//! who collects removes an object only under the tag that it was listed with. S3 deletes under no
//! condition, but it writes under one: what is removed becomes empty, and an empty object stands for
//! nothing. Where the store knows no conditions there is one process, and a lock within it.

use std::collections::HashSet;

use bytes::Bytes;
use conex_spec::{Digest, Error, Kind, Result};
use futures_util::TryStreamExt;
use object_store::PutMode;
use tokio::sync::MutexGuard;
use uuid::Uuid;

use super::Inner;
use super::bucket::{Listed, Refused, unchanged};
use super::content::{self, Located};
use super::records;
use crate::paths::{self, Repository};
use crate::storage::home::{Aged, Page, Stamp, Surveyed, Version, When};

/// How often something is renewed that others change.
const TRIES: usize = 8;
/// Objects that are listed at once.
const PAGE: usize = 10_000;

impl Inner {
    pub(super) async fn now(&self) -> Result<Stamp> {
        self.write(paths::CLOCK, Bytes::new(), When::Always).await?;
        Ok(self.bucket.stamp(paths::CLOCK).await?.unwrap_or_default())
    }

    pub(super) async fn aged(&self, folder: &str, after: &str, count: usize) -> Result<Page<Aged>> {
        let folder = format!("{folder}/");
        let after = if after.is_empty() { String::new() } else { format!("{folder}{after}") };
        let page = self.bucket.list(&folder, &after, count).await?;
        let aged = |object: Listed| {
            let name = object.name.get(folder.len()..).unwrap_or_default().to_owned();
            let version = Version::Object { mark: Bytes::new(), tag: object.tag };
            Aged { name, stamp: object.stamp, version }
        };
        Ok(Page { items: page.items.into_iter().map(aged).collect(), more: page.more })
    }

    pub(super) async fn renew(&self, name: &str) -> Result<Option<Version>> {
        for _ in 0..TRIES {
            let Some(found) = self.read(name).await? else { return Ok(None) };
            let when = When::Unchanged(found.version);
            if let Some(version) = self.write(name, found.bytes, when).await? {
                return Ok(Some(version));
            }
        }
        // Whoever changes it all the time renews it too.
        Ok(self.read(name).await?.map(|found| found.version))
    }

    pub(super) async fn sweep(&self, doomed: &Aged) -> Result<bool> {
        self.take_away(&doomed.name, doomed.stamp, records::tag(&doomed.version)).await
    }

    pub(super) async fn survey(
        &self,
        after: Option<&Digest>,
        count: usize,
    ) -> Result<Page<Surveyed>> {
        let after = after.map(content::name).transpose()?.unwrap_or_default();
        let page = self.bucket.list(content::FOLDER, &after, count).await?;
        let surveyed = |object: Listed| {
            let digest = paths::linked(&object.name)?;
            Some(Surveyed { digest, size: None, stamp: object.stamp, tag: object.tag })
        };
        Ok(Page { items: page.items.into_iter().filter_map(surveyed).collect(), more: page.more })
    }

    pub(super) async fn hold(&self, digest: &Digest) -> Result<bool> {
        let name = content::name(digest)?;
        let _guard = self.guard().await;
        for _ in 0..TRIES {
            let Some(there) = self.bucket.get(&name, content::LONGEST).await? else {
                return Ok(false);
            };
            let Some(sound) = self.sound(digest, &there.bytes).await? else { return Ok(false) };
            let mode =
                if self.lease.is_none() { unchanged(&there.tag) } else { PutMode::Overwrite };
            let body = sound.print();
            match self.bucket.put(&name, body.clone(), mode).await {
                Ok(_) => return Ok(true),
                Err(Refused::Condition) => {}
                Err(Refused::Fault(err)) => return Err(err),
            }
            // An earlier try of the same write may have been taken.
            let now = self.bucket.get(&name, content::LONGEST).await?;
            if now.is_some_and(|now| now.bytes == body) {
                return Ok(true);
            }
        }
        Err(Error::new(Kind::Network, format!("{name} cannot be held: others keep changing it")))
    }

    pub(super) async fn forget(&self, content: &Surveyed) -> Result<bool> {
        let name = content::name(&content.digest)?;
        let there = self.bucket.get(&name, content::LONGEST).await?;
        if !self.take_away(&name, content.stamp, &content.tag).await? {
            return Ok(false);
        }
        self.places().remove(&content.digest);
        // Nobody else knows the name of the data; if this fails it is found later (`tidy`).
        if let Some(Located::Data(data)) = there.and_then(|there| Located::parse(&there.bytes)) {
            self.bucket.delete(&paths::data(data.id)).await?;
        }
        Ok(true)
    }

    pub(super) async fn check(&self, digest: &Digest) -> Result<Option<(bool, u64)>> {
        let there = self.bucket.get(&content::name(digest)?, content::LONGEST).await?;
        let Some(there) = there.filter(|there| !there.bytes.is_empty()) else { return Ok(None) };
        let Some(sound) = self.sound(digest, &there.bytes).await? else {
            return Ok(Some((false, there.bytes.len() as u64)));
        };
        let size = sound.size();
        let Located::Data(data) = sound else { return Ok(Some((true, size))) };
        let mut hasher = digest.algorithm()?.hasher();
        let mut stream = self.stream(data.id, 0..size).await?;
        let fault = |err| Error::from_io(err, || format!("cannot read {digest}"));
        while let Some(chunk) = stream.try_next().await.map_err(fault)? {
            hasher.update(&chunk);
        }
        Ok(Some((hasher.finish() == *digest, size)))
    }

    /// Its data stays as an object that nothing leads to, until that is tidied away.
    pub(super) async fn set_aside(&self, digest: &Digest) -> Result<bool> {
        let name = content::name(digest)?;
        let Some(there) = self.bucket.get(&name, content::LONGEST).await? else {
            return Ok(false);
        };
        let Some(stamp) = self.bucket.stamp(&name).await? else { return Ok(false) };
        if self.check(digest).await?.is_none_or(|(sound, _)| sound) {
            return Ok(false);
        }
        self.places().remove(digest);
        self.take_away(&name, stamp, &there.tag).await
    }

    /// Removes an object that was not written since it was listed.
    async fn take_away(&self, name: &str, stamp: Stamp, tag: &str) -> Result<bool> {
        let Some(_guard) = self.guard().await else {
            return match self.bucket.put(name, Bytes::new(), unchanged(tag)).await {
                Ok(_) => Ok(true),
                // Also if it is gone already.
                Err(Refused::Condition) => Ok(false),
                Err(Refused::Fault(err)) if err.kind() == Kind::NotFound => Ok(false),
                Err(Refused::Fault(err)) => Err(err),
            };
        };
        if let Some(lease) = &self.lease {
            lease.check()?;
        }
        let same = self.bucket.stamp(name).await? == Some(stamp);
        if same {
            self.bucket.delete(name).await?;
        }
        Ok(same)
    }

    /// Keeps other changes of this process away, where the store knows no conditions.
    pub(super) async fn guard(&self) -> Option<MutexGuard<'_, ()>> {
        match self.lease {
            Some(_) => Some(self.alone.lock().await),
            None => None,
        }
    }

    pub(super) async fn sessions(&self) -> Result<Vec<(Repository, Uuid, Stamp)>> {
        let mut found = Vec::new();
        for object in self.all(&format!("{}/", paths::REPOSITORIES)).await? {
            if let Some((repository, id)) = paths::upload_of(&object.name) {
                found.push((repository, id, object.stamp));
            }
        }
        Ok(found)
    }

    /// Large content that has no digest and that no upload has: of a process that died between the
    /// two, or of one that could not delete it.
    pub(super) async fn tidy(&self, before: Stamp) -> Result<u64> {
        let mut needed = HashSet::new();
        // Uploads first: one that ends meanwhile has its content under a digest before it is gone.
        for (repository, id, _) in self.sessions().await? {
            needed.extend(self.session_data(&repository, id).await?);
        }
        for object in self.all(content::FOLDER).await? {
            if object.size > content::HEAD as u64 {
                continue;
            }
            let found = self.bucket.get(&object.name, content::LONGEST).await?;
            if let Some(Located::Data(data)) = found.and_then(|it| Located::parse(&it.bytes)) {
                needed.insert(data.id);
            }
        }
        let mut count = 0;
        for object in self.all(&format!("{}/", paths::DATA)).await? {
            let Some(id) = paths::data_of(&object.name) else { continue };
            if object.stamp < before && !needed.contains(&id) {
                self.bucket.delete(&object.name).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    async fn all(&self, folder: &str) -> Result<Vec<Listed>> {
        let (mut found, mut last) = (Vec::new(), String::new());
        loop {
            let page = self.bucket.list(folder, &last, PAGE).await?;
            found.extend(page.items);
            match found.last().filter(|_| page.more) {
                Some(object) => last.clone_from(&object.name),
                None => return Ok(found),
            }
        }
    }
}
