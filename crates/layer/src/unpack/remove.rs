//! Removes trees of any depth without following a link, with a bounded number of open files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use conex_spec::Result;
use rustix::fs::{AtFlags, FileType, Mode, chmodat, fchmod, fstat, renameat, unlinkat};
use rustix::io::Errno;

use crate::sys::{failed, list, open_dir};

/// Below this depth directories are moved to the trash and emptied from there.
const MAX_DEPTH: usize = 48;

/// A directory of our own into which whole trees are moved, to be removed there.
#[derive(Debug)]
pub(super) struct Trash {
    fd: OwnedFd,
    serial: u64,
}

/// A trash of several threads.
pub(super) type SharedTrash = Arc<Mutex<Trash>>;

/// As [`Trash::remove`].
pub(super) fn shared(trash: &SharedTrash, at: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    // Who panicked left a folder in the trash at worst.
    trash.lock().unwrap_or_else(PoisonError::into_inner).remove(at, name)
}

impl Trash {
    /// Trees are moved into `fd`, which must be on the same file system.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, serial: 0 }
    }

    /// Removes whatever has this name; nothing there is no error. True where there was something.
    pub(super) fn remove(&mut self, at: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
        match unlinkat(at, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::ISDIR) => {
                self.take(at, name)?;
                self.empty()?;
                Ok(true)
            }
            Err(errno) => Err(failed("remove", name, errno)),
        }
    }

    /// Removes everything that was moved here.
    pub(super) fn empty(&mut self) -> Result<()> {
        // Emptying a deep tree may move its lower half here again.
        loop {
            let names = list(&self.fd, b"the trash")?;
            if names.is_empty() {
                return Ok(());
            }
            let fd = self.fd.try_clone().map_err(|err| {
                conex_spec::Error::from_io(err, || "cannot open the trash".into())
            })?;
            for (name, kind) in names {
                self.remove_child(fd.as_fd(), &name, kind, 0)?;
            }
        }
    }

    fn take(&mut self, at: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        self.serial += 1;
        let place = self.serial.to_string();
        renameat(at, name, &self.fd, &place).map_err(|errno| failed("remove", name, errno))
    }

    fn remove_child(
        &mut self,
        at: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
        depth: usize,
    ) -> Result<()> {
        let fail = |errno| failed("remove", name, errno);
        if kind != FileType::Directory {
            match unlinkat(at, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {} // The file system does not tell kinds.
                other => return other.map_err(fail),
            }
        }
        if depth == MAX_DEPTH {
            return self.take(at, name);
        }
        let dir = open_writable(at, name).map_err(fail)?;
        for (child, kind) in list(&dir, name)? {
            self.remove_child(dir.as_fd(), &child, kind, depth + 1)?;
        }
        unlinkat(at, name, AtFlags::REMOVEDIR).map_err(fail)
    }
}

/// A tree may hold folders that even their owner may not read or write, until the mode is changed.
fn open_writable(at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let dir = match open_dir(at, name) {
        Err(Errno::ACCESS) => {
            chmodat(at, name, Mode::RWXU, AtFlags::empty())?;
            return open_dir(at, name);
        }
        opened => opened?,
    };
    if !Mode::from_raw_mode(fstat(&dir)?.st_mode).contains(Mode::RWXU) {
        fchmod(&dir, Mode::RWXU)?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::DIRECTORY;
    use rustix::fs::{CWD, mkdirat, symlinkat};

    #[test]
    fn deep_trees_and_links_are_removed_but_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let canary = temp.path().join("canary");
        std::fs::create_dir(&canary).unwrap();
        std::fs::write(canary.join("keep"), "x").unwrap();
        for dir in ["trash", "tree"] {
            std::fs::create_dir(temp.path().join(dir)).unwrap();
        }
        let base = rustix::fs::openat(CWD, temp.path(), DIRECTORY, Mode::empty()).unwrap();
        let mut at = open_dir(&base, b"tree").unwrap();
        for _ in 0..200 {
            symlinkat(&canary, &at, "link").unwrap();
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open_dir(&at, b"d").unwrap();
        }
        let mut trash = Trash::new(open_dir(&base, b"trash").unwrap());
        assert!(trash.remove(base.as_fd(), b"tree").unwrap());
        assert!(!trash.remove(base.as_fd(), b"tree").unwrap());
        assert!(canary.join("keep").exists());
        assert!(list(open_dir(&base, b"trash").unwrap(), b"trash").unwrap().is_empty());
    }
}
