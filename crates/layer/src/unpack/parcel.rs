//! Small files on their way to the thread that makes them, many in one piece of memory.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use conex_spec::{Error, Result};
use conex_tar::{Code, Time, Warnings, show};
use crossbeam_channel::Sender;
use rustix::fs::{AtFlags, Mode, OFlags, fstat, futimens, openat, unlinkat};
use rustix::io::Errno;

use super::file::Attributes;
use super::remove::{self, SharedTrash};
use crate::sys::{failed, times};

/// Files up to this size are handed over whole.
pub(super) const SMALL: u64 = 64 << 10;
/// A parcel is handed over when it has this many files, or bytes.
const FILES: usize = 64;
const BYTES: usize = 256 << 10;
/// How many files that appear twice are told of by name.
const TOLD: usize = 100;

/// What is to be done in some directories, in this order.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    dirs: Vec<(u64, Arc<OwnedFd>)>,
    items: Vec<(usize, Work)>,
    /// Of each file the path, the last component of its name, and the content.
    bytes: Vec<u8>,
    /// Who waits for all of it to be done.
    pub(super) ack: Option<Sender<()>>,
}

/// Something to be done in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    File(Packed),
    Time(Time),
}

/// A file to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewFile<'a> {
    /// As in the tar, for messages.
    pub(super) path: &'a [u8],
    /// The last component of its name.
    pub(super) last: &'a [u8],
    /// The mode it is made with.
    pub(super) created: u32,
    pub(super) attributes: Attributes,
    /// Whether the layer had an entry of this name already, if there is one.
    pub(super) again: bool,
    /// Where its entry begins in the tar.
    pub(super) offset: u64,
}

/// The same, with its names and its content in the bytes of the parcel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    start: usize,
    path: usize,
    last: usize,
    content: usize,
    created: u32,
    attributes: Attributes,
    again: bool,
    offset: u64,
}

impl Packed {
    fn unpack<'a>(&self, bytes: &'a [u8]) -> (NewFile<'a>, &'a [u8]) {
        let (path, rest) = bytes[self.start..].split_at(self.path);
        let (last, rest) = rest.split_at(self.last);
        let Self { created, attributes, again, offset, .. } = *self;
        (NewFile { path, last, created, attributes, again, offset }, &rest[..self.content])
    }
}

impl Parcel {
    /// Adds a file; `fill` appends its content.
    pub(super) fn push_file(
        &mut self,
        ino: u64,
        dir: &Arc<OwnedFd>,
        file: NewFile<'_>,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(file.path);
        self.bytes.extend_from_slice(file.last);
        let content = self.bytes.len();
        fill(&mut self.bytes)?;
        let NewFile { path, last, created, attributes, again, offset } = file;
        let (path, last, content) = (path.len(), last.len(), self.bytes.len() - content);
        let packed = Packed { start, path, last, content, created, attributes, again, offset };
        self.push(ino, dir, Work::File(packed));
        Ok(())
    }

    /// Adds something to be done in the directory of this inode number.
    pub(super) fn push(&mut self, ino: u64, dir: &Arc<OwnedFd>, work: Work) {
        if self.dirs.last().is_none_or(|(last, _)| *last != ino) {
            self.dirs.push((ino, Arc::clone(dir)));
        }
        self.items.push((self.dirs.len() - 1, work));
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= FILES || self.bytes.len() >= BYTES
    }

    /// Makes it ready to be filled again.
    pub(super) fn clear(&mut self) {
        self.dirs.clear();
        self.items.clear();
        self.bytes.clear();
        // One long name is no reason to keep so much.
        self.bytes.shrink_to(2 * BYTES);
    }

    /// Does all of it. Files come back that find a directory in their place.
    pub(super) fn work(&mut self, duplicates: &mut Duplicates) -> Result<Self> {
        let mut back = Self::default();
        for (at, work) in &self.items {
            let (ino, dir) = &self.dirs[*at];
            let packed = match work {
                Work::File(packed) => packed,
                Work::Time(time) => {
                    set_time(dir, *time)?;
                    continue;
                }
            };
            let (file, content) = packed.unpack(&self.bytes);
            if !file.make(dir, content, None, duplicates)? {
                back.push_file(*ino, dir, file, |bytes| {
                    bytes.extend_from_slice(content);
                    Ok(())
                })?;
            }
        }
        Ok(back)
    }

    /// Makes the files that came back, of all parcels in the order of the layer: one may take the
    /// place of a directory that another one belongs in. Directories may have their times already.
    pub(super) fn work_late(
        parcels: &[Self],
        trash: &SharedTrash,
        duplicates: &mut Duplicates,
    ) -> Result<()> {
        let mut files: Vec<_> = parcels.iter().flat_map(Self::files).collect();
        files.sort_by_key(|(_, file, _)| file.offset);
        for (dir, file, content) in files {
            let stat = fstat(dir).map_err(|errno| failed("look at", b"a directory", errno))?;
            file.make(dir, content, Some(trash), duplicates)?;
            set_time(dir, Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 })?;
        }
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = (&Arc<OwnedFd>, NewFile<'_>, &[u8])> {
        self.items.iter().filter_map(|(at, work)| {
            let Work::File(packed) = work else { return None };
            let (file, content) = packed.unpack(&self.bytes);
            Some((&self.dirs[*at].1, file, content))
        })
    }
}

fn set_time(dir: &Arc<OwnedFd>, time: Time) -> Result<()> {
    futimens(dir, &times(time)).map_err(|errno| failed("set the time of", b"a directory", errno))
}

impl NewFile<'_> {
    /// False where a directory is in its place and there is no trash to move it to. Anything else is
    /// removed first: that is cheaper than to look.
    fn make(
        &self,
        dir: &Arc<OwnedFd>,
        content: &[u8],
        trash: Option<&SharedTrash>,
        duplicates: &mut Duplicates,
    ) -> Result<bool> {
        let made = self.try_make(dir, content, trash, duplicates);
        made.map_err(|err| err.context(format!("file {}", show(self.path))))
    }

    fn try_make(
        &self,
        dir: &Arc<OwnedFd>,
        content: &[u8],
        trash: Option<&SharedTrash>,
        duplicates: &mut Duplicates,
    ) -> Result<bool> {
        let file = match self.open(dir) {
            Err(Errno::EXIST) => {
                let removed = match trash {
                    Some(trash) => remove::shared(trash, dir.as_fd(), self.last)?,
                    None => match unlinkat(dir, self.last, AtFlags::empty()) {
                        Ok(()) => true,
                        Err(Errno::NOENT) => false,
                        Err(Errno::ISDIR) => return Ok(false),
                        Err(errno) => return Err(failed("remove", self.last, errno)),
                    },
                };
                if removed && self.again {
                    duplicates.add(self.offset, self.path);
                }
                self.open(dir)
            }
            opened => opened,
        };
        let mut file = File::from(file.map_err(|errno| failed("make", self.last, errno))?);
        if !content.is_empty() {
            let written = file.write_all(content);
            written.map_err(|err| {
                Error::from_io(err, || format!("cannot write {}", show(self.path)))
            })?;
        }
        self.attributes.set(&file, self.path, || Ok(()))?;
        Ok(true)
    }

    fn open(&self, dir: &Arc<OwnedFd>) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        openat(dir, self.last, flags | OFlags::CLOEXEC, Mode::from_raw_mode(self.created))
    }
}

/// Files that took the place of an earlier entry of the same layer.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    count: u64,
    /// The first ones, by where their entries begin in the tar.
    first: Vec<(u64, Vec<u8>)>,
}

impl Duplicates {
    fn add(&mut self, offset: u64, path: &[u8]) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push((offset, path.to_vec()));
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.count += other.count;
        self.first.extend(other.first);
    }

    /// In the order of the layer, however the files were shared out.
    pub(super) fn warnings(mut self) -> Warnings {
        let mut warnings = Warnings::default();
        self.first.sort();
        for (_, path) in self.first.iter().take(TOLD) {
            warnings.add(Code::DuplicateEntry, path, super::TWICE);
        }
        warnings.add_unkept(self.count - warnings.count());
        warnings
    }
}
