//! The attributes of files, and the thread that completes small files.
//!
//! Making a name and filling the file cost about the same. So the thread that reads the tar
//! makes the names, in the order of the layer, and hands open files over to be filled, given
//! their attributes and closed. What names mean is thereby never up to two threads.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use conex_spec::{Error, Kind, Result};
use conex_tar::{Entry, Time, Warnings, Xattr, show};
use crossbeam_channel::{Receiver, Sender};
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, futimens};

use crate::sys::{failed, times};
use crate::xattr::{Target, set_all};

/// Files up to this size are handed over whole.
pub(super) const SMALL: u64 = 64 << 10;
/// A parcel of files is handed over when it has this many files, or bytes.
const PARCEL_FILES: usize = 32;
const PARCEL_BYTES: usize = 512 << 10;
/// Parcels that may wait.
pub(super) const PARCELS: usize = 4;

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

/// A file that has its name and waits for the rest.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) file: File,
    pub(super) path: Vec<u8>,
    pub(super) content: Vec<u8>,
    /// The owner, where creation gave another one.
    pub(super) owner: Option<(u32, u32)>,
    /// The mode, where creation gave another one or a change of owner takes bits away.
    pub(super) mode: Option<u32>,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) privileged: bool,
}

impl Unfinished {
    /// Writes the content and sets the attributes. The order matters: a change of owner takes
    /// set-id bits and capabilities away, writing takes capabilities away, a mode may forbid
    /// to set attributes, and all change times.
    pub(super) fn finish(mut self, warnings: &mut Warnings) -> Result<()> {
        let fail = |errno| failed("set the attributes of", &self.path, errno);
        if !self.content.is_empty() {
            let written = self.file.write_all(&self.content);
            written.map_err(|err| {
                Error::from_io(err, || format!("cannot write {}", show(&self.path)))
            })?;
        }
        if let Some((uid, gid)) = self.owner {
            chown(&self.file, uid, gid).map_err(fail)?;
        }
        let target = Target::open(&self.file);
        set_all(target, &self.xattrs, self.privileged, &self.path, warnings)?;
        if let Some(mode) = self.mode {
            fchmod(&self.file, Mode::from_raw_mode(mode)).map_err(fail)?;
        }
        futimens(&self.file, &times(self.mtime)).map_err(fail)
    }
}

/// Gives an open inode to an owner.
pub(super) fn chown(fd: impl AsFd, uid: u32, gid: u32) -> rustix::io::Result<()> {
    fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

/// Gathers small files into parcels and sends them to the thread that finishes them.
#[derive(Debug)]
pub(super) struct Finisher {
    parcel: Vec<Unfinished>,
    bytes: usize,
    sender: Sender<Vec<Unfinished>>,
}

impl Finisher {
    pub(super) fn new(sender: Sender<Vec<Unfinished>>) -> Self {
        Self { parcel: Vec::new(), bytes: 0, sender }
    }

    /// Hands a file over. An error means that the other thread has failed, and knows why.
    pub(super) fn hand_over(&mut self, file: Unfinished) -> Result<()> {
        self.bytes += file.content.len();
        self.parcel.push(file);
        if self.parcel.len() < PARCEL_FILES && self.bytes < PARCEL_BYTES {
            return Ok(());
        }
        self.flush()
    }

    /// Sends what is gathered.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let parcel = std::mem::replace(&mut self.parcel, Vec::with_capacity(PARCEL_FILES));
        let stopped = |_| Error::new(Kind::Io, "the writing thread stopped");
        self.sender.send(parcel).map_err(stopped)
    }
}

/// The other thread: finishes files until no more come, or until the first failure.
pub(super) fn finish_all(parcels: &Receiver<Vec<Unfinished>>) -> Result<Warnings> {
    let mut warnings = Warnings::default();
    while let Ok(parcel) = parcels.recv() {
        for file in parcel {
            file.finish(&mut warnings)?;
        }
    }
    Ok(warnings)
}
