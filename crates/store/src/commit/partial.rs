//! Large files in the making that outlive their writer: steps 1 to 5 of the protocol, begun by one
//! process and ended by another.
//!
//! Such a file has a name that follows from what it is to become, so that the next writer finds
//! it. One process at a time has it, by a lock that ends with the process; others write a file of
//! their own. Nothing of it was synced, and a power cut may have left anything in it: it is
//! hashed from its first byte on before it counts for anything.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::geteuid;

use conex_spec::Result;

use super::{Folder, PARTIAL, Staged};

/// A file that was begun, locked for who holds this. Dropped, it stays where it is.
#[derive(Debug)]
pub struct Begun {
    file: File,
    name: String,
}

impl Begun {
    /// The open file, for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Folder {
    /// The file that was begun under a name; nothing where there is none to go on with, or where
    /// another process has it.
    pub fn begun(&self, name: &str) -> Result<Option<Begun>> {
        let name = format!("{PARTIAL}/{name}");
        let Some(file) = self.writable_file(&name)? else { return Ok(None) };
        if !self.take(&file, &name)? {
            return Ok(None);
        }
        if !self.is_own(&file, &name)? {
            self.unlink(&name)?;
            return Ok(None);
        }
        Ok(Some(Begun { file, name }))
    }

    /// An empty file to begin under a name; nothing where another process has one.
    pub fn begin(&self, name: &str) -> Result<Option<Begun>> {
        let path = format!("{PARTIAL}/{name}");
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        drop(self.open_or_make(&path, flags)?);
        let Some(begun) = self.begun(name)? else { return Ok(None) };
        let emptied = begun.file.set_len(0);
        emptied.map_err(|err| self.fault("cannot write", &path, err))?;
        Ok(Some(begun))
    }

    /// Goes on with a file at its end.
    pub fn go_on(&self, begun: Begun) -> Staged<'_> {
        Staged { folder: self, file: begun.file, name: begun.name, published: false }
    }

    /// Removes files that were begun, that nobody writes, and that `is_over` says of, by their name
    /// and the time of their last change in seconds since 1970. Returns how many.
    pub fn sweep_begun(&self, is_over: impl Fn(&str, i64) -> bool) -> usize {
        let names = self.list(PARTIAL).unwrap_or_default();
        let over = |name: &&String| {
            let path = format!("{PARTIAL}/{name}");
            let Ok(Some(file)) = self.file(&path) else { return false };
            let old = file.metadata().is_ok_and(|meta| is_over(name, meta.mtime()));
            old && self.take(&file, &path).unwrap_or(false) && self.unlink(&path).unwrap_or(false)
        };
        names.iter().filter(over).count()
    }

    /// Locks a file, if nobody has it and it still has its name: who had it before may have
    /// published it.
    fn take(&self, file: &File, name: &str) -> Result<bool> {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(false);
        }
        let fault = |err| self.fault("cannot read", name, err);
        let Some(named) = self.file(name)? else { return Ok(false) };
        let (ours, there) = (file.metadata().map_err(fault)?, named.metadata().map_err(fault)?);
        Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    }

    /// Whether nobody else can write to a file, now or when it is published.
    fn is_own(&self, file: &File, name: &str) -> Result<bool> {
        let meta = file.metadata().map_err(|err| self.fault("cannot read", name, err))?;
        Ok(meta.uid() == geteuid().as_raw() && meta.mode() & 0o022 == 0 && meta.nlink() == 1)
    }
}
