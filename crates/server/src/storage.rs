//! What lies in a registry's folder. Everything here blocks, and is durable when it returns.

pub(crate) mod lists;
pub(crate) mod manifests;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use conex_spec::{Descriptor, Digest, Error, Kind, MediaType, Result};
use conex_store::blobs::{self, Blobs};
use conex_store::commit::{Folder, Lock};
use conex_store::seal;
use ring::hmac;

use crate::cache::{Cache, Change};
use crate::failure::Failure;
use crate::paths::{self, Repository};

/// What the version file holds.
const FORMAT: &[u8] = b"conex registry 1\n";
/// Changes of as many repositories can go on at a time.
const LOCKS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Storage {
    folder: Folder,
    /// One process serves a folder: the cache would not see the changes of another.
    _lock: Lock,
    locks: [Mutex<()>; LOCKS],
    hash: RandomState,
    pub(crate) cache: Cache,
}

/// A blob that is there, whole.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) file: File,
    /// In bytes.
    pub(crate) size: u64,
}

/// The right to change a repository's manifests and tags.
pub(crate) struct Changing<'a> {
    // Dropped in this order: the cache must know before the next one may change.
    _change: Change<'a>,
    _guard: MutexGuard<'a, ()>,
}

impl Storage {
    /// Opens a registry's folder, or makes one of an empty or missing folder. `cache` is in bytes.
    pub(crate) fn open(root: &Path, cache: usize) -> Result<Self> {
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
            Some(found) => check_format(&folder, &found)?,
        }
        folder.sweep();
        let key = folder.own_key()?;
        Ok(Self {
            folder: folder.with_key(Some(key)),
            _lock: lock,
            locks: std::array::from_fn(|_| Mutex::default()),
            hash: RandomState::new(),
            cache: Cache::new(cache),
        })
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// A secret of this registry for one purpose, the same after every start.
    pub(crate) fn secret(&self, purpose: &str) -> Result<Vec<u8>> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.folder.own_key()?.as_bytes());
        Ok(hmac::sign(&key, purpose.as_bytes()).as_ref().to_vec())
    }

    /// Whether anything was ever pushed to the repository.
    pub(crate) fn has_repository(&self, repository: &Repository) -> Result<bool> {
        Ok(self.folder.has(&repository.manifests())? || self.folder.has(&repository.blobs())?)
    }

    /// A blob of a repository.
    pub(crate) fn blob(&self, repository: &Repository, digest: &Digest) -> Result<Option<Blob>> {
        if digest.algorithm().is_err() || !self.folder.has(&repository.blob(digest)?)? {
            return Ok(None);
        }
        self.content(digest)
    }

    /// Content of any repository, with the bytes that its digest names: a file that was changed
    /// where it lies is not there, so that a client pushes it again.
    ///
    /// # Security
    /// Whether someone may see it must be known before.
    pub(crate) fn content(&self, digest: &Digest) -> Result<Option<Blob>> {
        let Some(file) = self.folder.file(&blobs::path(digest)?)? else { return Ok(None) };
        let meta = file.metadata();
        let size =
            meta.map_err(|err| Error::from_io(err, || format!("cannot read {digest}")))?.len();
        if !seal::is_sealed(self.folder.key(), &file, digest)? {
            let descriptor = Descriptor::new(MediaType::EMPTY, digest.clone(), size);
            if !Blobs(&self.folder).intact(&descriptor)? {
                return Ok(None);
            }
        }
        Ok(Some(Blob { file, size }))
    }

    /// Makes content that is there a blob of a repository.
    pub(crate) fn link_blob(&self, repository: &Repository, digest: &Digest) -> Result<()> {
        self.folder.touch(&repository.blob(digest)?)
    }

    /// Takes a blob from a repository. Returns whether it had it.
    pub(crate) fn unlink_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool> {
        self.folder.remove(&repository.blob(digest)?)
    }

    /// Makes a received file, whose bytes were found to be what `digest` names, a blob of a
    /// repository. The file is gone from its place afterwards.
    pub(crate) fn publish(
        &self,
        repository: &Repository,
        digest: &Digest,
        file: &File,
        name: &str,
    ) -> Result<()> {
        let path = blobs::path(digest)?;
        match self.content(digest)? {
            Some(there) => {
                // Whoever put it there may not have made it durable yet.
                self.folder.sync(&there.file, &path)?;
                self.folder.remove(name)?;
            }
            None => {
                seal::seal(self.folder.key(), file, digest)?;
                self.folder.publish(file, name, &path)?;
            }
        }
        self.link_blob(repository, digest)
    }

    /// Waits until nobody else changes the repository.
    pub(crate) fn change<'a>(&'a self, repository: &'a Repository) -> Changing<'a> {
        let slot = self.hash.hash_one(repository.as_str()) % LOCKS as u64;
        let lock = &self.locks[usize::try_from(slot).unwrap_or_default()];
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        Changing { _change: self.cache.change(repository), _guard: guard }
    }
}

/// A folder that holds anything else is not made a registry: it might be a layout.
fn refuse_strangers(folder: &Folder) -> Result<()> {
    if let Some(found) = folder.read(paths::VERSION, 1024)? {
        return check_format(folder, &found);
    }
    let strange = |name: &String| name != ".conex" && name != "lost+found";
    match folder.list(".")?.into_iter().find(strange) {
        None => Ok(()),
        Some(found) => Err(Error::invalid(format!("{} is no registry", folder.path().display()))
            .expected("a registry's folder, or an empty one")
            .found(found)),
    }
}

fn check_format(folder: &Folder, found: &[u8]) -> Result<()> {
    if found == FORMAT {
        return Ok(());
    }
    let message = format!("{} has another format", folder.path().display());
    Err(Error::new(Kind::Unsupported, message)
        .expected(String::from_utf8_lossy(FORMAT).trim())
        .found(String::from_utf8_lossy(found).trim().escape_debug())
        .hint("it belongs to another version of conex"))
}

/// Runs blocking work on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(err) => Err(Error::new(Kind::Io, "a worker thread failed").source(err).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn one_process_serves_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/root");
        let first = Storage::open(&root, 0).unwrap();
        assert_eq!(Storage::open(&root, 0).unwrap_err().kind(), Kind::Conflict);
        drop(first);
        Storage::open(&root, 0).unwrap();
    }

    /// Scenario B17.
    #[test]
    fn other_formats_and_other_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("oci-layout"), "{}").unwrap();
        let err = Storage::open(dir.path(), 0).unwrap_err();
        assert_eq!(err.found_value(), Some("oci-layout"));

        let dir = tempfile::tempdir().unwrap();
        drop(Storage::open(dir.path(), 0).unwrap());
        fs::write(dir.path().join(".conex/registry"), "conex registry 2\n").unwrap();
        let err = Storage::open(dir.path(), 0).unwrap_err();
        assert_eq!((err.kind(), err.found_value()), (Kind::Unsupported, Some("conex registry 2")));
    }

    #[test]
    fn a_start_sweeps_the_stage() {
        let dir = tempfile::tempdir().unwrap();
        drop(Storage::open(dir.path(), 0).unwrap());
        let left = dir.path().join(".conex/stage/left");
        fs::write(&left, "half").unwrap();
        Storage::open(dir.path(), 0).unwrap();
        assert!(!left.exists());
    }
}
