//! A folder as the home of a registry, on the commit protocol. One process has it at a time.
//!
//! All work of one call is done by one thread for blocking work. A record's version is that of its
//! file, since each write makes a new file.

mod aging;
mod at_hand;
mod names;
mod tree;
pub(super) mod upload;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Descriptor, Digest, Error, Kind, MediaType, Result};
use conex_store::blobs::{self, Blobs};
use conex_store::commit::{Folder, Identity, Lock};
use conex_store::seal;
use tokio::sync::RwLock as Working;
use uuid::Uuid;

use self::names::Names;
use super::home::{
    Aged, Content, Home, MAX_RECORD, Page, Record, Session, Source, Stamp, Surveyed, Version,
    Wanted, When,
};
use super::{blocking, fault};
use crate::paths::{self, FORMAT, Repository};

/// Conditional writes of as many records can go on at a time.
const LOCKS: usize = 64;
/// Content of which so much is asked for at once is looked for without a thread of its own, where
/// the kernel has the answer in memory.
const AT_HAND: usize = 2;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FolderHome(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    folder: Folder,
    /// One process serves a folder: the cache would not see the changes of another. Until closed.
    lock: Mutex<Option<Lock>>,
    /// Shared by all work underway, also where nobody waits for it any more.
    working: Arc<Working<()>>,
    locks: [Mutex<()>; LOCKS],
    /// Content comes, or leaves, one digest at a time.
    arrivals: [RwLock<()>; LOCKS],
    hash: RandomState,
    names: Names,
}

impl FolderHome {
    /// Opens a registry's folder, or makes one of an empty or missing folder.
    pub(crate) async fn open(root: PathBuf) -> Result<Self> {
        blocking(move || Inner::open(&root)).await.map(|inner| Self(Arc::new(inner)))
    }

    fn shelf(&self) -> Arc<dyn upload::Shelf> {
        Arc::<Inner>::clone(&self.0)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        let working = Arc::clone(&inner.working).read_owned().await;
        blocking(move || {
            let done = work(&inner);
            drop(working);
            done
        })
        .await
    }
}

#[async_trait]
impl Home for FolderHome {
    fn is_shared(&self) -> bool {
        false
    }

    async fn key(&self) -> Result<Vec<u8>> {
        self.work(|inner| Ok(inner.folder.own_key()?.as_bytes().to_vec())).await
    }

    async fn read(&self, names: Vec<String>) -> Result<Vec<Option<Record>>> {
        self.work(move |inner| names.iter().map(|name| inner.read(name)).collect()).await
    }

    async fn present(&self, names: Vec<String>) -> Result<Vec<bool>> {
        self.work(move |inner| inner.folder.present(names)).await
    }

    fn unchanged(&self, seen: &[(String, Version)]) -> Option<bool> {
        for (name, version) in seen {
            if self.0.version_at_hand(name).ok()?.as_ref() != Some(version) {
                return Some(false);
            }
        }
        Some(true)
    }

    async fn write(&self, name: &str, bytes: Bytes, when: When) -> Result<Option<Version>> {
        let name = name.to_owned();
        self.work(move |inner| inner.write(&name, &bytes, &when)).await
    }

    async fn remove(&self, name: &str, version: Option<&Version>) -> Result<bool> {
        let (name, version) = (name.to_owned(), version.cloned());
        self.work(move |inner| {
            let _guard = inner.lock(&name);
            let holds = match version {
                Some(version) => inner.version(&name)?.is_some_and(|found| found == version),
                None => true,
            };
            let removed = holds && inner.folder.remove(&name)?;
            inner.names.touched(&name);
            Ok(removed)
        })
        .await
    }

    async fn list(&self, folder: &str, after: &str, count: usize) -> Result<Page<String>> {
        let (folder, after) = (folder.to_owned(), after.to_owned());
        self.work(move |inner| inner.names.list(&inner.folder, &folder, &after, count)).await
    }

    /// The tree itself tells.
    async fn enrol(&self, _: &Repository) -> Result<()> {
        Ok(())
    }

    async fn has_repository(&self, repository: &Repository) -> Result<bool> {
        let repository = repository.clone();
        self.work(move |inner| inner.has_repository(&repository)).await
    }

    async fn repositories(&self, after: &str, count: usize) -> Result<Page<String>> {
        let after = after.to_owned();
        self.work(move |inner| inner.repositories(&after, count)).await
    }

    async fn look(&self, wanted: Vec<Wanted>) -> Result<Vec<Option<Content>>> {
        let at_hand = |wanted| self.0.look_at_hand(wanted);
        if wanted.len() <= AT_HAND
            && let Ok(found) = wanted.iter().map(at_hand).collect()
        {
            return Ok(found);
        }
        self.work(move |inner| wanted.iter().map(|wanted| inner.look(wanted)).collect()).await
    }

    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<()> {
        let digest = digest.clone();
        self.work(move |inner| inner.put(&digest, &bytes)).await
    }

    async fn survey(&self, after: Option<&Digest>, count: usize) -> Result<Page<Surveyed>> {
        let after = after.cloned();
        self.work(move |inner| inner.survey(after.as_ref(), count)).await
    }

    async fn now(&self) -> Result<Stamp> {
        self.work(Inner::now).await
    }

    async fn last(&self) -> Result<Option<Stamp>> {
        self.work(|inner| inner.time_of(paths::COLLECTED)).await
    }

    async fn begin_collection(&self) -> Result<()> {
        self.work(|inner| inner.touch(paths::COLLECTED)).await
    }

    async fn aged(&self, folder: &str, after: &str, count: usize) -> Result<Page<Aged>> {
        let (folder, after) = (folder.to_owned(), after.to_owned());
        self.work(move |inner| inner.aged(&folder, &after, count)).await
    }

    async fn renew(&self, names: Vec<String>) -> Result<Vec<Option<Version>>> {
        self.work(move |inner| names.iter().map(|name| inner.renew(name)).collect()).await
    }

    async fn sweep(&self, doomed: Vec<Aged>) -> Result<Vec<bool>> {
        self.work(move |inner| doomed.iter().map(|one| inner.sweep(one)).collect()).await
    }

    async fn settle(&self) -> Result<()> {
        self.work(|inner| inner.folder.sync_all()).await
    }

    async fn hold(&self, digest: &Digest) -> Result<bool> {
        let digest = digest.clone();
        self.work(move |inner| inner.hold(&digest)).await
    }

    async fn forget(&self, content: &Surveyed) -> Result<bool> {
        let content = content.clone();
        self.work(move |inner| inner.forget(&content)).await
    }

    async fn sessions(&self) -> Result<Vec<(Repository, Uuid, Stamp)>> {
        self.work(Inner::sessions).await
    }

    async fn check(&self, digest: &Digest) -> Result<Option<(bool, u64)>> {
        let digest = digest.clone();
        self.work(move |inner| inner.check(&digest)).await
    }

    async fn set_aside(&self, digest: &Digest) -> Result<bool> {
        let digest = digest.clone();
        self.work(move |inner| inner.set_aside(&digest)).await
    }

    async fn tidy(&self, _: Stamp) -> Result<u64> {
        self.work(|inner| Ok(inner.folder.sweep() as u64)).await
    }

    async fn begin(
        &self,
        repository: &Repository,
        id: Uuid,
        single: bool,
    ) -> Result<Box<dyn Session>> {
        upload::begin(self.shelf(), repository.clone(), id, single).await
    }

    async fn resume(&self, repository: &Repository, id: Uuid) -> Result<Option<Box<dyn Session>>> {
        upload::resume(self.shelf(), repository.clone(), id).await
    }

    async fn uploaded(&self, repository: &Repository, id: Uuid) -> Result<Option<u64>> {
        upload::uploaded(self.shelf(), repository, id).await
    }

    /// The folder is someone else's once the last work here is done.
    async fn close(&self) {
        let _all = self.0.working.write().await;
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Inner {
    fn open(root: &Path) -> Result<Self> {
        let folder = Folder::create(root)?;
        refuse_strangers(&folder)?;
        let lock = folder.try_lock()?.ok_or_else(|| {
            let message = format!("{} is served by another process already", root.display());
            Error::new(Kind::Conflict, message)
                .hint("one folder has one server; stop the other one")
        })?;
        // Read again: another server may have made the folder its own in the meantime.
        match folder.read(paths::VERSION, 1024)? {
            None => folder.replace(paths::VERSION, FORMAT)?,
            Some(found) => paths::check_format(&folder.path().display(), &found)?,
        }
        folder.sweep();
        let key = folder.own_key()?;
        Ok(Self {
            folder: folder.with_key(Some(key)),
            lock: Mutex::new(Some(lock)),
            working: Arc::default(),
            locks: std::array::from_fn(|_| Mutex::default()),
            arrivals: std::array::from_fn(|_| RwLock::default()),
            hash: RandomState::new(),
            names: Names::default(),
        })
    }

    fn lock(&self, name: &str) -> MutexGuard<'_, ()> {
        let slot = self.hash.hash_one(name) % LOCKS as u64;
        let lock = &self.locks[usize::try_from(slot).unwrap_or_default()];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, name: &str) -> Result<Option<Record>> {
        let found = self.folder.read_seen(name, MAX_RECORD)?;
        Ok(found.map(|(bytes, seen)| Record { bytes: bytes.into(), version: Version::File(seen) }))
    }

    fn version(&self, name: &str) -> Result<Option<Version>> {
        let Some(file) = self.folder.file(name)? else { return Ok(None) };
        let found = Identity::of(&file).map_err(|err| fault(name, err))?;
        Ok(Some(Version::File(found)))
    }

    fn write(&self, name: &str, bytes: &[u8], when: &When) -> Result<Option<Version>> {
        let _guard = self.lock(name);
        let holds = match when {
            When::Always => true,
            When::Absent => !self.folder.has(name)?,
            When::Unchanged(version) => self.version(name)?.as_ref() == Some(version),
        };
        if !holds {
            return Ok(None);
        }
        if bytes.is_empty() && self.folder.read(name, MAX_RECORD)?.is_none_or(|old| old.is_empty())
        {
            // An empty file is never half-written, so it needs no stage.
            self.touch(name)?;
            return self.version(name);
        }
        let mut staged = self.folder.stage()?;
        staged.write(bytes)?;
        let version = Identity::of(staged.file()).map_err(|err| fault(name, err))?;
        staged.publish(name)?;
        self.names.touched(name);
        Ok(Some(Version::File(version)))
    }

    /// A file that was changed where it lies is not there, so that a client pushes it again.
    fn look(&self, wanted: &Wanted) -> Result<Option<Content>> {
        let Some(link) = self.link(&wanted.links)? else { return Ok(None) };
        let digest = &wanted.digest;
        let Some(file) = self.folder.file(&blobs::path(digest)?)? else { return Ok(None) };
        let size = file.metadata().map_err(|err| fault(digest.as_str(), err))?.len();
        if !seal::is_sealed(self.folder.key(), &file, digest)? {
            let descriptor = Descriptor::new(MediaType::EMPTY, digest.clone(), size);
            if !Blobs(&self.folder).intact(&descriptor)? {
                return Ok(None);
            }
        }
        let (link, linked) = link.map(|link| (link.bytes, link.version)).unzip();
        let content = Content::of_file(file, size, link.unwrap_or_default(), wanted)?;
        Ok(Some(Content { linked, ..content }))
    }

    /// The first record that is there; nothing in it where none is asked for.
    fn link(&self, links: &[String]) -> Result<Option<Option<Record>>> {
        if links.is_empty() {
            return Ok(Some(None));
        }
        for name in links {
            if let Some(record) = self.read(name)? {
                return Ok(Some(Some(record)));
            }
        }
        Ok(None)
    }

    fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let all = Wanted { digest: digest.clone(), links: Vec::new(), bytes: false };
        match self.look(&all)?.map(|content| content.source) {
            // Whoever put it there may not have made it durable yet.
            Some(Source::File(file)) if self.hold(digest)? => {
                self.folder.sync(&file, &blobs::path(digest)?)
            }
            _ => {
                let _arriving = self.arriving(digest);
                let blob = Descriptor::new(MediaType::EMPTY, digest.clone(), bytes.len() as u64);
                Blobs(&self.folder).put_bytes(&blob, bytes)
            }
        }
    }
}

/// A folder that holds anything else is not made a registry: it might be a layout.
fn refuse_strangers(folder: &Folder) -> Result<()> {
    if let Some(found) = folder.read(paths::VERSION, 1024)? {
        return paths::check_format(&folder.path().display(), &found);
    }
    let strange = |name: &String| name != ".conex" && name != "lost+found";
    match folder.list(".")?.into_iter().find(strange) {
        None => Ok(()),
        Some(found) => Err(Error::invalid(format!("{} is no registry", folder.path().display()))
            .expected("a registry's folder, or an empty one")
            .found(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn open(root: &Path) -> Result<Inner> {
        Inner::open(root)
    }

    #[test]
    fn one_process_serves_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/root");
        let first = open(&root).unwrap();
        assert_eq!(open(&root).unwrap_err().kind(), Kind::Conflict);
        drop(first);
        open(&root).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_closed_folder_is_free_after_the_last_work_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let home = FolderHome::open(root.clone()).await.unwrap();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = home.clone();
        let asked = tokio::spawn(async move {
            let work = move |_: &Inner| {
                begin.send(()).unwrap();
                ended.recv().unwrap();
                Ok(())
            };
            other.work(work).await
        });
        begun.await.unwrap();
        // Whoever asked is gone; what was begun goes on.
        asked.abort();
        let closer = home.clone();
        let closing = tokio::spawn(async move { closer.close().await });
        tokio::task::yield_now().await;
        assert!(open(&root).is_err());
        end.send(()).unwrap();
        closing.await.unwrap();
        open(&root).unwrap();
    }

    /// Scenario B17.
    #[test]
    fn other_formats_and_other_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("oci-layout"), "{}").unwrap();
        let err = open(dir.path()).unwrap_err();
        assert_eq!(err.found_value(), Some("oci-layout"));

        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        fs::write(dir.path().join(".conex/registry"), "conex registry 2\n").unwrap();
        let err = open(dir.path()).unwrap_err();
        assert_eq!((err.kind(), err.found_value()), (Kind::Unsupported, Some("conex registry 2")));
    }

    #[test]
    fn a_start_sweeps_the_stage() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let left = dir.path().join(".conex/stage/left");
        fs::write(&left, "half").unwrap();
        open(dir.path()).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn damaged_content_is_not_there_and_can_be_put_again() {
        let dir = tempfile::tempdir().unwrap();
        let home = open(dir.path()).unwrap();
        let digest = Digest::sha256(b"good");
        home.put(&digest, b"good").unwrap();
        fs::write(dir.path().join(blobs::path(&digest).unwrap()), b"evil").unwrap();
        let wanted = Wanted { digest: digest.clone(), links: Vec::new(), bytes: true };
        assert!(home.look(&wanted).unwrap().is_none());
        home.put(&digest, b"good").unwrap();
        assert_eq!(home.look(&wanted).unwrap().unwrap().size, 4);
    }
}
