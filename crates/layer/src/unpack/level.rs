//! One open directory on the way from the root to the current directory.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use conex_spec::Result;
use conex_tar::Time;
use rustix::fs::{Stat, fstat};

use super::crew::Crew;
use crate::sys::{failed, times};

/// An open directory of the tree.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) name: Vec<u8>,
    /// Nothing where it is far away from the current directory.
    pub(super) fd: Option<Arc<OwnedFd>>,
    pub(super) ino: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    /// The time the directory shall have.
    pub(super) mtime: Time,
    /// Whether its time on the disk may be another one.
    pub(super) dirty: bool,
    /// Whether the names made by this layer include it.
    pub(super) marked: bool,
}

impl Level {
    /// Notes the directory's attributes, once nothing that is under way in it changes them.
    pub(super) fn new(name: Vec<u8>, fd: OwnedFd, crew: &mut Crew) -> Result<Self> {
        let look = || fstat(&fd).map_err(|errno| failed("look at", &name, errno));
        let mut stat: Stat = look()?;
        if crew.settle_dir(stat.st_ino)? {
            stat = look()?;
        }
        Ok(Self {
            ino: stat.st_ino,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            mtime: Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 },
            dirty: false,
            marked: false,
            fd: Some(Arc::new(fd)),
            name,
        })
    }

    /// Sets the directory's time if something happened in it; where files are still being made in
    /// it, after the last of them.
    pub(super) fn flush(&mut self, crew: &mut Crew) -> Result<()> {
        if let (true, Some(fd)) = (self.dirty, &self.fd)
            && !crew.set_time(self.ino, fd, self.mtime)?
        {
            rustix::fs::futimens(fd, &times(self.mtime))
                .map_err(|errno| failed("set the time of", &self.name, errno))?;
        }
        self.dirty = false;
        Ok(())
    }
}
