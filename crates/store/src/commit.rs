//! The one way in which anything becomes durable: layouts, the local store and the server's
//! folder all go through it.
//!
//! ```text
//! FOLDER/
//!   .conex/
//!     key             where the folder is a person's own: what makes its seals, see `seal`
//!     lock            held by who changes a file that several change: an index; see `lock`
//!     turn            held by a collector that waits for the others; see `lock`
//!     stage/UUID      a file being written; its writer holds a lock on it
//!     partial/NAME    a large blob being written, which a later writer goes on with; see `partial`
//! ```
//! 1. Write to `.conex/stage/UUID`, on the same file system, hashing on the way.
//! 2. Check size and digest.
//! 3. `fsync` the file. An error here is final: the file is dropped and never synced again.
//! 4. `rename` it to its place.
//! 5. `fsync` that folder, and every folder that was made above it.
//! 6. Only then write the reference (a tag, an index) in the same way.
//!
//! So a power cut leaves the earlier state or the later one, and a killed process leaves at
//! most a file in `stage/`, which the next writer removes, and one in `partial/`, which the next
//! writer of the same blob hashes and goes on with, and which `gc` removes when it is old.
//!
//! # Security
//! Everything is opened relative to the folder's descriptor with `openat2`, beneath it and
//! never through a symbolic link; only regular files are read.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, fstat, mkdirat, open, openat2,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use conex_spec::{Digest, Error, Kind, Result};

use crate::seal::{KEY_LENGTH, Key, seal};

mod clear;
mod lock;
mod partial;
mod stage;
mod take;

use lock::User;
pub use lock::{Claim, Lock};
pub use partial::Begun;
pub use stage::{Identity, Staged};

const KEY: &str = ".conex/key";
const STAGE: &str = ".conex/stage";
const PARTIAL: &str = ".conex/partial";
const LOCK: &str = ".conex/lock";
const TURN: &str = ".conex/turn";

/// A disk would have to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAtHand;

/// A folder that content is committed to, held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    key: Option<Key>,
    durable: bool,
    /// Whether the file system was found not to share blocks between files.
    no_reflink: AtomicBool,
    /// Known once there is a share.
    user: OnceLock<User>,
}

impl Folder {
    /// Opens a folder that is there.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = open(path, flags, Mode::empty()).map_err(|err| cannot_open(path, err))?;
        let (no_reflink, user) = (AtomicBool::new(false), OnceLock::new());
        Ok(Self { fd, path: path.into(), key: None, durable: true, no_reflink, user })
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

    /// The same folder, but nothing that is committed from now on is made durable: for work that
    /// may be lost with the machine. Nothing is sealed either, since a seal tells of both.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.durable = false;
        self
    }

    /// Whether what is committed is made durable.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Marks a file whose content was verified; see [`crate::seal`].
    pub fn seal(&self, file: &File, digest: &Digest) -> Result<()> {
        seal(self.key().filter(|_| self.durable), file, digest)
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

    /// The key that lies in this folder; nothing where there is none.
    pub fn kept_key(&self) -> Result<Option<Key>> {
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

    /// [`Folder::file`] without waiting for a disk: fails where what the kernel has in memory does
    /// not answer, or anything is odd, and the file is to be asked for in the ordinary way.
    pub fn file_at_hand(&self, name: &str) -> Result<Option<File>, NotAtHand> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat2(&self.fd, name, flags, Mode::empty(), safely() | ResolveFlags::CACHED) {
            Ok(fd) => Ok(Some(fd.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(_) => Err(NotAtHand),
        }
    }

    /// A whole small file of at most `limit` bytes; nothing if there is none.
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.read_seen(name, limit)?.map(|(bytes, _)| bytes))
    }

    /// The same, and which file it was, for [`Staged::publish_over`].
    pub fn read_seen(&self, name: &str, limit: usize) -> Result<Option<(Vec<u8>, Identity)>> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        // Asked before it is read: a change meanwhile then shows.
        let seen = Identity::of(&file).map_err(|err| self.fault("cannot read", name, err))?;
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|err| self.fault("cannot read", name, err))?;
        if bytes.len() > limit {
            let path = self.path.join(name);
            return Err(Error::new(Kind::Limit, format!("{} is too large", path.display()))
                .expected(format!("at most {limit} bytes")));
        }
        Ok(Some((bytes, seen)))
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

    /// Whether there are files of these names, whatever they are, in the order asked. Quick where
    /// many that follow one another are in one folder.
    pub fn present(&self, names: impl IntoIterator<Item = String>) -> Result<Vec<bool>> {
        let mut at: Option<(String, Option<OwnedFd>)> = None;
        let mut found = Vec::new();
        for name in names {
            let (folder, last) = name.rsplit_once('/').unwrap_or((".", &name));
            if at.as_ref().is_none_or(|(at, _)| at != folder) {
                let fd = self.openat(folder, OFlags::DIRECTORY | OFlags::PATH, Mode::empty())?;
                at = Some((folder.to_owned(), fd));
            }
            let Some(fd) = at.as_ref().and_then(|(_, fd)| fd.as_ref()) else {
                found.push(false);
                continue;
            };
            found.push(match statat(fd, last, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => true,
                Err(Errno::NOENT) => false,
                Err(err) => return Err(self.fault("cannot look for", &name, err.into())),
            });
        }
        Ok(found)
    }

    /// Which folder of this name it is, and in which state: whatever comes or goes in it changes
    /// that. Nothing if there is none.
    pub fn folder_identity(&self, name: &str) -> Result<Option<Identity>> {
        let flags = OFlags::DIRECTORY | OFlags::PATH;
        let Some(fd) = self.openat(name, flags, Mode::empty())? else { return Ok(None) };
        let seen = Identity::of(&File::from(fd));
        seen.map(Some).map_err(|err| self.fault("cannot look at", name, err))
    }

    /// Whether there is a file or folder of this name.
    pub fn has(&self, name: &str) -> Result<bool> {
        self.openat(name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).map(|fd| fd.is_some())
    }

    /// Whether there is a folder of this name.
    pub fn is_folder(&self, name: &str) -> Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let Some(fd) = self.openat(name, flags, Mode::empty())? else { return Ok(false) };
        let stat = fstat(&fd).map_err(|err| self.fault("cannot read", name, err.into()))?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// Makes an empty file, durably; the folders above it are made where missing. One that is
    /// there already stays, and is durable too when this returns.
    pub fn touch(&self, name: &str) -> Result<()> {
        let fd = self.open_or_make(name, OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW)?;
        // An empty file is never half-written, so it needs no stage.
        self.flush(&fd).map_err(|err| self.fault("cannot sync", name, err.into()))?;
        self.sync_folder(parent(name))
    }

    /// Makes a file that is there already, and its name, durable.
    pub fn sync(&self, file: &File, name: &str) -> Result<()> {
        self.flush(file).map_err(|err| self.fault("cannot sync", name, err.into()))?;
        self.sync_folder(parent(name))
    }

    /// Makes a new file for reading and writing; the folders above it are made where missing.
    pub fn create_file(&self, name: &str) -> Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        self.open_or_make(name, flags).map(File::from)
    }

    /// Opens a regular file that is there for reading and writing.
    pub fn writable_file(&self, name: &str) -> Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        Ok(self.openat(name, flags, Mode::empty())?.map(File::from))
    }

    /// Steps 3 to 5: makes a file durable under another name, in place of whatever has it.
    pub fn publish(&self, file: &File, from: &str, to: &str) -> Result<()> {
        self.flush(file).map_err(|err| self.fault("cannot sync", from, err.into()))?;
        self.rename(from, to)
    }

    /// The same where nothing has the other name yet. Returns false where something has.
    pub fn publish_new(&self, file: &File, from: &str, to: &str) -> Result<bool> {
        self.flush(file).map_err(|err| self.fault("cannot sync", from, err.into()))?;
        match renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            Ok(()) => self.sync_folder(parent(to)).map(|()| true),
            Err(Errno::EXIST) => Ok(false),
            // A file system that cannot tell.
            Err(Errno::INVAL | Errno::NOSYS) => self.rename(from, to).map(|()| true),
            Err(err) => Err(self.fault("cannot publish", to, err.into())),
        }
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

    /// Makes a folder below this one and those above it, durably.
    pub fn make_folder(&self, name: &str) -> Result<()> {
        match mkdirat(&self.fd, name, folder_mode()) {
            // Whoever made it a moment ago may not have synced it yet.
            Ok(()) | Err(Errno::EXIST) => self.sync_folder(parent(name)),
            Err(Errno::NOENT) if !parent(name).is_empty() => {
                self.make_folder(parent(name))?;
                self.make_folder(name)
            }
            Err(err) => Err(Error::making("cannot make folder", &self.path.join(name), err.into())),
        }
    }

    /// `fsync`, unless the folder is for throw-away work.
    pub(crate) fn flush(&self, fd: impl AsFd) -> Result<(), Errno> {
        if self.durable { rustix::fs::fsync(fd) } else { Ok(()) }
    }

    fn open_or_make(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        if let Some(fd) = self.openat(name, flags, file_mode())? {
            return Ok(fd);
        }
        if !parent(name).is_empty() {
            self.make_folder(parent(name))?;
        }
        let fd = self.openat(name, flags, file_mode())?;
        let missing = || io::ErrorKind::NotFound.into();
        fd.ok_or_else(|| Error::making("cannot make", &self.path.join(name), missing()))
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

    /// Removes a file. Returns whether it was there. Durable only after [`Folder::sync_all`].
    pub fn unlink(&self, name: &str) -> Result<bool> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(err) => Err(self.fault("cannot remove", name, err.into())),
        }
    }

    /// Makes everything on the folder's file system durable, whoever wrote it.
    pub fn sync_all(&self) -> Result<()> {
        let synced = if self.durable { rustix::fs::syncfs(&self.fd) } else { Ok(()) };
        synced.map_err(|err| self.fault("cannot sync", "", err.into()))
    }

    /// Makes the names in a folder durable; the empty name is this folder, and one that is not
    /// there has none.
    pub fn sync_folder(&self, name: &str) -> Result<()> {
        let name = if name.is_empty() { "." } else { name };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let Some(fd) = self.openat(name, flags, Mode::empty())? else { return Ok(()) };
        self.flush(&fd).map_err(|err| self.fault("cannot sync folder", name, err.into()))
    }

    fn openat(&self, name: &str, flags: OFlags, mode: Mode) -> Result<Option<OwnedFd>> {
        match retry(|| openat2(&self.fd, name, flags | OFlags::CLOEXEC, mode, safely())) {
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

/// See the module, "Security".
fn safely() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

fn cannot_open(path: &Path, err: Errno) -> Error {
    if err == Errno::NOTDIR {
        return Error::new(Kind::Usage, format!("{} is no folder", path.display()))
            .expected("a folder")
            .found("a file");
    }
    Error::io("cannot open folder", path, err.into())
}

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
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
            return Err(cannot_open(path, Errno::NOTDIR));
        }
        Err(err) => {
            // What is above it is there: `/proc` has no room for folders of others.
            return Err(Error::making("cannot make folder", path, err));
        }
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
