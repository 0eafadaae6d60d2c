//! The one way in which anything becomes durable: layouts, the local store and the server's
//! folder all go through it.
//!
//! ```text
//! FOLDER/
//!   .conex/
//!     key             where the folder is a person's own: what makes its seals, see `seal`
//!     lock            held by who changes a file that several change: an index
//!     stage/UUID      a file being written; its writer holds a lock on it
//! ```
//! 1. Write to `.conex/stage/UUID`, on the same file system, hashing on the way.
//! 2. Check size and digest.
//! 3. `fsync` the file. An error here is final: the file is dropped and never synced again.
//! 4. `rename` it to its place.
//! 5. `fsync` that folder, and every folder that was made above it.
//! 6. Only then write the reference (a tag, an index) in the same way.
//!
//! So a power cut leaves the earlier state or the later one, and a killed process leaves at
//! most a file in `stage/`, which the next writer removes.
//!
//! # Security
//! Everything is opened relative to the folder's descriptor with `openat2`, beneath it and
//! never through a symbolic link; only regular files are read.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, ResolveFlags, flock, fstat, linkat,
    mkdirat, open, openat2, renameat, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

use conex_spec::{Error, Kind, Result};

use crate::seal::{KEY_LENGTH, Key};

const KEY: &str = ".conex/key";
const STAGE: &str = ".conex/stage";
const LOCK: &str = ".conex/lock";

/// A folder that content is committed to, held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    key: Option<Key>,
}

impl Folder {
    /// Opens a folder that is there.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = open(path, flags, Mode::empty())
            .map_err(|err| Error::io("cannot open folder", path, err.into()))?;
        Ok(Self { fd, path: path.into(), key: None })
    }

    /// Opens a folder, making it and those above it durable where they are missing.
    pub fn create(path: &Path) -> Result<Self> {
        create_all(path)?;
        Self::open(path)
    }

    /// The same folder, whose seals are made and believed under a key. Without one none are.
    #[must_use]
    pub fn with_key(mut self, key: Option<Key>) -> Self {
        self.key = key;
        self
    }

    /// See [`Folder::with_key`].
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The key that lies in this folder, which must be a person's own; made where there is none.
    pub fn own_key(&self) -> Result<Key> {
        if let Some(key) = self.kept_key()? {
            return Ok(key);
        }
        let mut staged = self.stage()?;
        staged
            .file()
            .set_permissions(Permissions::from_mode(0o600))
            .map_err(|err| self.fault("cannot protect", KEY, err))?;
        staged.write(Key::random().as_bytes())?;
        staged.publish(KEY)?;
        // Another process may have made one a moment later; then that one counts.
        self.kept_key()?.ok_or_else(|| Error::invalid(format!("{KEY} is damaged")))
    }

    fn kept_key(&self) -> Result<Option<Key>> {
        Ok(self.read(KEY, KEY_LENGTH)?.and_then(|bytes| Key::from_bytes(&bytes)))
    }

    /// What people call the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A regular file, for reading; nothing if there is none.
    pub fn file(&self, name: &str) -> Result<Option<File>> {
        // Without NONBLOCK the open of a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let Some(fd) = self.openat(name, flags, Mode::empty())? else { return Ok(None) };
        let file = File::from(fd);
        let stat = fstat(&file).map_err(|err| self.fault("cannot read", name, err.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile {
            return Ok(Some(file));
        }
        let path = self.path.join(name);
        Err(Error::invalid(format!("{} cannot be read", path.display()))
            .expected("a regular file")
            .found(format!("{kind:?}")))
    }

    /// A whole small file of at most `limit` bytes; nothing if there is none.
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|err| self.fault("cannot read", name, err))?;
        if bytes.len() > limit {
            let path = self.path.join(name);
            return Err(Error::new(Kind::Limit, format!("{} is too large", path.display()))
                .expected(format!("at most {limit} bytes")));
        }
        Ok(Some(bytes))
    }

    /// The names in a folder below this one, in the order of their bytes; none if it is not there.
    pub fn list(&self, name: &str) -> Result<Vec<String>> {
        let Some(fd) = self.openat(name, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())? else {
            return Ok(Vec::new());
        };
        let fault = |err: Errno| self.fault("cannot list", name, err.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(fd).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        names.retain(|name| name != "." && name != "..");
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is a file or folder of this name.
    pub fn has(&self, name: &str) -> Result<bool> {
        self.openat(name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).map(|fd| fd.is_some())
    }

    /// Makes an empty file, durably; the folders above it are made where missing. One that is
    /// there already stays, and is durable too when this returns.
    pub fn touch(&self, name: &str) -> Result<()> {
        let fd = self.open_or_make(name, OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW)?;
        // An empty file is never half-written, so it needs no stage.
        rustix::fs::fsync(fd).map_err(|err| self.fault("cannot sync", name, err.into()))?;
        self.sync_folder(parent(name))
    }

    /// Makes a file that is there already, and its name, durable.
    pub fn sync(&self, file: &File, name: &str) -> Result<()> {
        rustix::fs::fsync(file).map_err(|err| self.fault("cannot sync", name, err.into()))?;
        self.sync_folder(parent(name))
    }

    /// A new file to be written and then published.
    pub fn stage(&self) -> Result<Staged<'_>> {
        loop {
            let name = format!("{STAGE}/{}", Uuid::new_v4());
            let file = self.create_file(&name)?;
            retry(|| flock(&file, FlockOperation::LockExclusive))
                .map_err(|err| self.fault("cannot lock", &name, err.into()))?;
            let stat = fstat(&file).map_err(|err| self.fault("cannot read", &name, err.into()))?;
            // Between the two calls a sweep may have taken the file for a dead writer's.
            if stat.st_nlink > 0 {
                return Ok(Staged { folder: self, file, name, published: false });
            }
        }
    }

    /// Makes a new file for reading and writing; the folders above it are made where missing.
    pub fn create_file(&self, name: &str) -> Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        self.open_or_make(name, flags).map(File::from)
    }

    /// A file without a name, gone when it is closed unless [`Folder::link`] gives it one.
    pub fn temporary_file(&self) -> Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        match openat2(&self.fd, ".", flags | OFlags::CLOEXEC, file_mode(), ResolveFlags::BENEATH) {
            Ok(fd) => Ok(fd.into()),
            // Not every file system has nameless files; an unlinked one serves, but is never linked.
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let staged = self.stage()?;
                staged.file.try_clone().map_err(|err| self.fault("cannot make", STAGE, err))
            }
            Err(err) => Err(self.fault("cannot make a temporary file in", "", err.into())),
        }
    }

    /// Opens a regular file that is there for reading and writing.
    pub fn writable_file(&self, name: &str) -> Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        Ok(self.openat(name, flags, Mode::empty())?.map(File::from))
    }

    /// Steps 3 to 5: makes a file durable under another name, in place of whatever has it.
    pub fn publish(&self, file: &File, from: &str, to: &str) -> Result<()> {
        rustix::fs::fsync(file).map_err(|err| self.fault("cannot sync", from, err.into()))?;
        self.rename(from, to)
    }

    /// Removes what killed writers left in the stage. Returns how many files that were. What
    /// belongs to others, or cannot be removed, stays: nobody reads it.
    pub fn sweep(&self) -> usize {
        let names = self.list(STAGE).unwrap_or_default();
        names.iter().filter(|name| self.sweep_one(&format!("{STAGE}/{name}"))).count()
    }

    fn sweep_one(&self, name: &str) -> bool {
        let Ok(Some(file)) = self.file(name) else { return false };
        let dead = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        dead && self.unlink(name).unwrap_or(false)
    }

    /// Writes a small file in place of whatever has the name, durably and all at once.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut staged = self.stage()?;
        staged.write(bytes)?;
        staged.publish(name)
    }

    /// Writes a small new file, durably, in a folder that nobody else sees yet: without a stage.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.create_file(name)?;
        file.write_all(bytes).map_err(|err| self.fault("cannot write", name, err))?;
        file.sync_all().map_err(|err| self.fault("cannot sync", name, err))?;
        self.sync_folder(parent(name))
    }

    /// Removes a file, durably. Returns whether it was there.
    pub fn remove(&self, name: &str) -> Result<bool> {
        let removed = self.unlink(name)?;
        if removed {
            self.sync_folder(parent(name))?;
        }
        Ok(removed)
    }

    /// Waits for the folder's lock; it is held until the value is dropped, or the process dies.
    pub fn lock(&self, mode: LockMode) -> Result<Lock> {
        let fd = self.open_or_make(LOCK, OFlags::CREATE | OFlags::RDWR)?;
        let operation = match mode {
            LockMode::Shared => FlockOperation::LockShared,
            LockMode::Exclusive => FlockOperation::LockExclusive,
        };
        retry(|| flock(&fd, operation))
            .map_err(|err| self.fault("cannot lock", LOCK, err.into()))?;
        Ok(Lock(fd))
    }

    /// Takes the folder's lock for this process alone if nobody holds it; nothing if someone does.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        let fd = self.open_or_make(LOCK, OFlags::CREATE | OFlags::RDWR)?;
        match retry(|| match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN) => Ok(false),
            other => other.map(|()| true),
        }) {
            Ok(held) => Ok(held.then_some(Lock(fd))),
            Err(err) => Err(self.fault("cannot lock", LOCK, err.into())),
        }
    }

    /// Makes a folder below this one and those above it, durably.
    pub fn make_folder(&self, name: &str) -> Result<()> {
        match mkdirat(&self.fd, name, folder_mode()) {
            // Whoever made it a moment ago may not have synced it yet.
            Ok(()) | Err(Errno::EXIST) => self.sync_folder(parent(name)),
            Err(Errno::NOENT) if !parent(name).is_empty() => {
                self.make_folder(parent(name))?;
                self.make_folder(name)
            }
            Err(err) => Err(self.fault("cannot make folder", name, err.into())),
        }
    }

    /// Puts a hard link to an open file in place of whatever has the name, durably.
    /// Returns false where the file lies on another file system or cannot be linked.
    pub fn link(&self, file: &File, name: &str) -> Result<bool> {
        rustix::fs::fsync(file).map_err(|err| self.fault("cannot sync", name, err.into()))?;
        // Without the lock a sweep would take the staged name for a dead writer's.
        if flock(file, FlockOperation::NonBlockingLockShared).is_err() {
            return Ok(false);
        }
        let stage = format!("{STAGE}/{}", Uuid::new_v4());
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        let follow = AtFlags::SYMLINK_FOLLOW;
        let link = || linkat(CWD, from.as_str(), &self.fd, stage.as_str(), follow);
        let linked = match link() {
            Err(Errno::NOENT) => {
                self.make_folder(STAGE)?;
                link()
            }
            linked => linked,
        };
        if linked.is_err() {
            return Ok(false);
        }
        let renamed = self.rename(&stage, name);
        // What cannot be unlocked now is when the file is closed.
        let _ = flock(file, FlockOperation::Unlock);
        // Linking a file to its own other name leaves the first one standing.
        let _ = self.unlink(&stage);
        renamed.map(|()| true)
    }

    fn open_or_make(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        if let Some(fd) = self.openat(name, flags, file_mode())? {
            return Ok(fd);
        }
        self.make_folder(parent(name))?;
        let fd = self.openat(name, flags, file_mode())?;
        fd.ok_or_else(|| self.fault("cannot make", name, io::ErrorKind::NotFound.into()))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let moved = match renameat(&self.fd, from, &self.fd, to) {
            Err(Errno::NOENT) => {
                self.make_folder(parent(to))?;
                renameat(&self.fd, from, &self.fd, to)
            }
            moved => moved,
        };
        moved.map_err(|err| self.fault("cannot publish", to, err.into()))?;
        self.sync_folder(parent(to))
    }

    fn unlink(&self, name: &str) -> Result<bool> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(err) => Err(self.fault("cannot remove", name, err.into())),
        }
    }

    /// Makes the names in a folder durable; the empty name is this folder, and one that is not
    /// there has none.
    pub fn sync_folder(&self, name: &str) -> Result<()> {
        let name = if name.is_empty() { "." } else { name };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let Some(fd) = self.openat(name, flags, Mode::empty())? else { return Ok(()) };
        rustix::fs::fsync(fd).map_err(|err| self.fault("cannot sync folder", name, err.into()))
    }

    fn openat(&self, name: &str, flags: OFlags, mode: Mode) -> Result<Option<OwnedFd>> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match retry(|| openat2(&self.fd, name, flags | OFlags::CLOEXEC, mode, resolve)) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => {
                Err(Error::invalid(format!("{} cannot be opened", self.path.join(name).display()))
                    .expected("a regular file or folder")
                    .found("a symbolic link"))
            }
            Err(err) => Err(self.fault("cannot open", name, err.into())),
        }
    }

    fn fault(&self, action: &str, name: &str, err: io::Error) -> Error {
        Error::io(action, &self.path.join(name), err)
    }
}

/// A file in the making. Dropped unpublished, it is gone.
#[derive(Debug)]
pub struct Staged<'a> {
    folder: &'a Folder,
    file: File,
    name: String,
    published: bool,
}

impl Staged<'_> {
    /// Adds bytes at the end.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|err| self.folder.fault("cannot write", &self.name, err))
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the file durable under its name, in place of whatever has it.
    pub fn publish(mut self, name: &str) -> Result<()> {
        self.folder.publish(&self.file, &self.name, name)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is swept later.
            let _ = self.folder.unlink(&self.name);
        }
    }
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Together with others: adding content.
    Shared,
    /// Alone: replacing a reference file, or removing content.
    Exclusive,
}

/// A held lock of a folder.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open, never read")] OwnedFd);

fn create_all(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    create_all(above)?;
    match std::fs::create_dir(path) {
        Ok(()) => {}
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(err) => return Err(Error::io("cannot make folder", path, err)),
    }
    Folder::open(above)?.sync_folder("")
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn file_mode() -> Mode {
    Mode::from_raw_mode(0o644)
}

fn folder_mode() -> Mode {
    Mode::from_raw_mode(0o755)
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            // AGAIN: the kernel saw a rename while it resolved the path.
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
