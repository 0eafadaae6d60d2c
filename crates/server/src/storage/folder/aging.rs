//! The stamps of a folder: a record's is the time of its last modification, that of content the time
//! when its file last changed in any way, since its time of modification is its seal.
//!
//! Both are set by the kernel, by one clock. A power cut may take a stamp back by some seconds: who
//! pushes then finds that a blob is not there any more, before anything that needs it is acknowledged.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use conex_spec::{Algorithm, Digest, Result};
use conex_store::blobs::{self, BLOBS, Blobs};
use conex_store::commit::Identity;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use uuid::Uuid;

use super::{Inner, LOCKS};
use crate::paths::{self, Repository};
use crate::storage::fault;
use crate::storage::home::{Aged, Page, Stamp, Surveyed, Version, Wanted};

use std::hash::BuildHasher;

impl Inner {
    pub(super) fn now(&self) -> Result<Stamp> {
        self.touch(paths::CLOCK)?;
        Ok(self.time_of(paths::CLOCK)?.unwrap_or_default())
    }

    pub(super) fn time_of(&self, name: &str) -> Result<Option<Stamp>> {
        let Some(file) = self.folder.file(name)? else { return Ok(None) };
        Ok(Some(modified(&meta(&file, name)?)))
    }

    /// Makes an empty record, durably, or gives the one that is there a new stamp. The caller holds
    /// its lock where it may be swept.
    pub(super) fn touch(&self, name: &str) -> Result<()> {
        self.folder.touch(name)?;
        self.names.touched(name);
        match self.folder.file(name)? {
            Some(file) => stamp(&file, name),
            None => Ok(()),
        }
    }

    pub(super) fn renew(&self, name: &str) -> Result<Option<Version>> {
        let _guard = self.lock(name);
        let Some(file) = self.folder.file(name)? else { return Ok(None) };
        stamp(&file, name)?;
        let seen = Identity::of(&file).map_err(|err| fault(name, err))?;
        Ok(Some(Version::File(seen)))
    }

    pub(super) fn aged(&self, folder: &str, after: &str, count: usize) -> Result<Page<Aged>> {
        let mut names = Vec::new();
        self.below(folder, "", &mut names)?;
        let names = Page::of(sorted(names), after, count);
        let mut items = Vec::with_capacity(names.items.len());
        for name in names.items {
            let path = format!("{folder}/{name}");
            let Some(file) = self.folder.file(&path)? else { continue };
            let stamp = modified(&meta(&file, &path)?);
            let seen = Identity::of(&file).map_err(|err| fault(&path, err))?;
            items.push(Aged { name, stamp, version: Version::File(seen) });
        }
        Ok(Page { items, more: names.more })
    }

    /// The names of all files below a folder.
    fn below(&self, folder: &str, prefix: &str, names: &mut Vec<String>) -> Result<()> {
        for name in self.folder.list(folder)? {
            let (path, name) = (format!("{folder}/{name}"), format!("{prefix}{name}"));
            // Only links and entries lie deeper, in folders of digests' names; nothing else is one.
            if self.folder.is_folder(&path)? {
                self.below(&path, &format!("{name}/"), names)?;
            } else {
                names.push(name);
            }
        }
        Ok(())
    }

    /// Not durable yet.
    pub(super) fn sweep(&self, doomed: &Aged) -> Result<bool> {
        let _guard = self.lock(&doomed.name);
        let same = self.version(&doomed.name)?.is_some_and(|found| found == doomed.version);
        let gone = same && self.folder.unlink(&doomed.name)?;
        self.names.touched(&doomed.name);
        Ok(gone)
    }

    pub(super) fn survey(&self, after: Option<&Digest>, count: usize) -> Result<Page<Surveyed>> {
        let mut page = Page { items: Vec::new(), more: false };
        let mut algorithms: Vec<_> = Algorithm::ALL.iter().map(|known| known.as_str()).collect();
        algorithms.sort_unstable();
        for algorithm in algorithms {
            for name in self.folder.list(&format!("{BLOBS}/{algorithm}"))? {
                let Ok(digest) = format!("{algorithm}:{name}").parse::<Digest>() else { continue };
                if after.is_some_and(|after| digest.as_str() <= after.as_str()) {
                    continue;
                }
                let path = blobs::path(&digest)?;
                let Some(file) = self.folder.file(&path)? else { continue };
                if page.items.len() == count {
                    page.more = true;
                    return Ok(page);
                }
                let meta = meta(&file, &path)?;
                let (size, stamp) = (Some(meta.len()), changed(&meta));
                page.items.push(Surveyed { digest, size, stamp, tag: String::new() });
            }
        }
        Ok(page)
    }

    pub(super) fn hold(&self, digest: &Digest) -> Result<bool> {
        let all = Wanted { digest: digest.clone(), links: Vec::new(), bytes: false };
        if self.look(&all)?.is_none() {
            return Ok(false);
        }
        let (path, _arriving) = (blobs::path(digest)?, self.arriving(digest));
        let Some(file) = self.folder.file(&path)? else { return Ok(false) };
        // The time of the last access is nobody's, and setting it changes that of the last change.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: OMIT };
        futimens(&file, &times).map_err(|err| fault(&path, err.into()))?;
        Ok(true)
    }

    pub(super) fn forget(&self, content: &Surveyed) -> Result<bool> {
        let (path, _leaving) = (blobs::path(&content.digest)?, self.leaving(&content.digest));
        let Some(file) = self.folder.file(&path)? else { return Ok(false) };
        Ok(changed(&meta(&file, &path)?) == content.stamp && self.folder.unlink(&path)?)
    }

    pub(super) fn sessions(&self) -> Result<Vec<(Repository, Uuid, Stamp)>> {
        let mut found = Vec::new();
        let mut folders = vec![paths::REPOSITORIES.to_owned()];
        while let Some(folder) = folders.pop() {
            for name in self.folder.list(&folder)? {
                let path = format!("{folder}/{name}");
                if let Some((repository, id)) = paths::upload_of(&path) {
                    let Some(file) = self.folder.file(&path)? else { continue };
                    found.push((repository, id, modified(&meta(&file, &path)?)));
                } else if (name == "_uploads" || !name.starts_with(['_', '.']))
                    && self.folder.is_folder(&path)?
                {
                    folders.push(path);
                }
            }
        }
        Ok(found)
    }

    pub(super) fn check(&self, digest: &Digest) -> Result<Option<(bool, u64)>> {
        let Some((size, _)) = Blobs(&self.folder).look(digest)? else { return Ok(None) };
        Ok(Blobs(&self.folder).check(digest)?.map(|sound| (sound, size)))
    }

    pub(super) fn set_aside(&self, digest: &Digest) -> Result<bool> {
        let (path, _leaving) = (blobs::path(digest)?, self.leaving(digest));
        let Some(file) = self.folder.file(&path)? else { return Ok(false) };
        if Blobs(&self.folder).check(digest)? != Some(false) {
            return Ok(false);
        }
        self.folder.publish(&file, &path, &paths::damaged(digest)?)?;
        self.folder.sync_all()?;
        Ok(true)
    }

    /// Held while content comes under its digest or is held.
    pub(super) fn arriving(&self, digest: &Digest) -> RwLockReadGuard<'_, ()> {
        self.arrivals[self.slot(digest)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self, digest: &Digest) -> RwLockWriteGuard<'_, ()> {
        self.arrivals[self.slot(digest)].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, digest: &Digest) -> usize {
        let slot = self.hash.hash_one(digest.as_str()) % LOCKS as u64;
        usize::try_from(slot).unwrap_or_default()
    }
}

const OMIT: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

fn stamp(file: &File, name: &str) -> Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: OMIT, last_modification: now };
    futimens(file, &times).map_err(|err| fault(name, err.into()))
}

fn meta(file: &File, name: &str) -> Result<Metadata> {
    file.metadata().map_err(|err: io::Error| fault(name, err))
}

fn modified(meta: &Metadata) -> Stamp {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

fn changed(meta: &Metadata) -> Stamp {
    meta.ctime().saturating_mul(1_000_000_000).saturating_add(meta.ctime_nsec())
}
