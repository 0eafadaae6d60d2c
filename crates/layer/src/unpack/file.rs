//! The attributes of files, and files that are made by the thread that reads the tar.

use std::fs::File;
use std::os::fd::AsFd;

use conex_spec::Result;
use conex_tar::{Entry, Time};
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, futimens};

use crate::sys::{failed, times};

/// What an entry says of its inode besides the content.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) mtime: Time,
}

impl Meta {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { uid: entry.uid, gid: entry.gid, mode: entry.mode, mtime: entry.mtime }
    }
}

/// What a file that is filled still lacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    /// The owner, where creation gave another one.
    pub(super) owner: Option<(u32, u32)>,
    /// The mode, where creation gave another one or a change of owner takes bits away.
    pub(super) mode: Option<u32>,
    pub(super) mtime: Time,
}

impl Attributes {
    /// The order matters: a change of owner takes set-id bits and capabilities away, writing takes
    /// capabilities away, a mode may forbid to set attributes, and all change times.
    pub(super) fn set(
        &self,
        file: &File,
        path: &[u8],
        set_xattrs: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let fail = |errno| failed("set the attributes of", path, errno);
        if let Some((uid, gid)) = self.owner {
            chown(file, uid, gid).map_err(fail)?;
        }
        set_xattrs()?;
        if let Some(mode) = self.mode {
            fchmod(file, Mode::from_raw_mode(mode)).map_err(fail)?;
        }
        futimens(file, &times(self.mtime)).map_err(fail)
    }
}

/// Gives an open inode to an owner.
pub(super) fn chown(fd: impl AsFd, uid: u32, gid: u32) -> rustix::io::Result<()> {
    fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}
