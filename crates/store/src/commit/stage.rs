//! Files in the making: steps 1 to 5 of the protocol.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc;
use std::thread;

use rustix::fs::{
    FlockOperation, OFlags, RenameFlags, ResolveFlags, flock, fstat, openat2, renameat_with,
};
use rustix::io::Errno;
use uuid::Uuid;

use conex_spec::Result;

use super::{Folder, STAGE, file_mode, parent, retry};

/// How much is written before the disk is told to take it, in bytes.
const BEHIND: usize = 16 << 20;

impl Folder {
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

    /// A file without a name, gone when it is closed unless [`Folder::link`] gives it one.
    pub fn temporary_file(&self) -> Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match openat2(&self.fd, ".", flags, file_mode(), ResolveFlags::BENEATH) {
            Ok(fd) => Ok(fd.into()),
            // Not every file system has nameless files; an unlinked one serves, but is never
            // linked. It leaves no folder behind, which need not be one of conex's own.
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let name = format!(".conex-{}", Uuid::new_v4());
                let file = self.create_file(&name)?;
                self.unlink(&name)?;
                Ok(file)
            }
            Err(err) => Err(self.fault("cannot make a temporary file in", "", err.into())),
        }
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

    /// Puts the staged file in place of `name` in one step, and what had the name in its place.
    /// Returns false where the file system cannot.
    fn exchange(&self, staged: &str, name: &str) -> Result<bool> {
        match renameat_with(&self.fd, staged, &self.fd, name, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOENT) => Ok(false),
            Err(err) => Err(self.fault("cannot publish", name, err.into())),
        }
    }

    /// Which regular file has a name now; nothing if there is none.
    pub(crate) fn identity(&self, name: &str) -> Result<Option<Identity>> {
        match self.file(name)? {
            Some(file) => {
                Identity::of(&file).map(Some).map_err(|err| self.fault("cannot read", name, err))
            }
            None => Ok(None),
        }
    }
}

/// A file in the making. Dropped unpublished, it is gone.
#[derive(Debug)]
pub struct Staged<'a> {
    pub(super) folder: &'a Folder,
    pub(super) file: File,
    pub(super) name: String,
    pub(super) published: bool,
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

    /// Writes large content while the disk takes what was written before, so that little is left
    /// to wait for in the end. `fill` gets a function that adds bytes at the end.
    ///
    /// # Errors
    /// Those of `fill`, and that of a disk which could not take all. Either is final.
    pub fn write_behind(
        &self,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let mut file = &self.file;
        let fault = |action, err| self.folder.fault(action, &self.name, err);
        let (sender, receiver) = mpsc::sync_channel::<()>(1);
        thread::scope(|scope| {
            let syncing = scope.spawn(move || {
                let mut parts = receiver.iter();
                parts.try_for_each(|()| file.sync_data())
            });
            let mut waiting = 0;
            let filled = fill(&mut |bytes| {
                file.write_all(bytes).map_err(|err| fault("cannot write", err))?;
                waiting += bytes.len();
                if self.folder.durable && waiting >= BEHIND {
                    waiting = 0;
                    // Where the disk is busy with the part before, it takes both next time.
                    let _ = sender.try_send(());
                }
                Ok(())
            });
            drop(sender);
            let died = |_| Err(io::Error::other("the thread that syncs failed"));
            let synced = syncing.join().unwrap_or_else(died);
            filled.and(synced.map_err(|err| fault("cannot sync", err)))
        })
    }

    /// Leaves a file that was begun to the next writer.
    pub fn leave(mut self) {
        // It is not published, but stays for the same reason: it has a name.
        self.published = true;
    }

    /// Makes the file durable under its name, in place of whatever has it.
    pub fn publish(mut self, name: &str) -> Result<()> {
        self.folder.publish(&self.file, &self.name, name)?;
        self.published = true;
        Ok(())
    }

    /// [`Staged::publish`] in place of a file that was read, if it is still the one that was
    /// `seen`. Returns false, and changes nothing, where another program has written it
    /// meanwhile: also in the very moment of the publishing, since the two are exchanged and
    /// then looked at again.
    pub fn publish_over(mut self, name: &str, seen: &Identity) -> Result<bool> {
        let (folder, fault) = (self.folder, |err| self.folder.fault("cannot sync", name, err));
        folder.flush(&self.file).map_err(|err| fault(err.into()))?;
        if folder.identity(name)?.as_ref() != Some(seen) {
            return Ok(false);
        }
        let ours = Identity::of(&self.file).map_err(fault)?;
        let (mut put, mut expected) = (ours.clone(), seen.clone());
        loop {
            if !folder.exchange(&self.name, name)? {
                folder.rename(&self.name, name)?;
                self.published = true;
                return Ok(true);
            }
            match folder.identity(&self.name)? {
                Some(out) if out != expected => (put, expected) = (out, put),
                _ => break,
            }
        }
        folder.sync_folder(parent(name))?;
        Ok(put == ours)
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

/// Which file it is, and in which state: a writer changes at least one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Identity {
    /// That of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let modified = (meta.mtime(), meta.mtime_nsec());
        Ok(Self { device: meta.dev(), inode: meta.ino(), modified, size: meta.len() })
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}
