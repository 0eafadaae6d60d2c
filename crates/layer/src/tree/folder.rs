//! A folder on the disk as a listing.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use conex_spec::{Algorithm, Error, Result};
use conex_tar::{Code, Entry, Kind, Time, show};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat,
};

use super::{ContentHash, Listing};
use crate::ids::Ids;
use crate::root::Root;
use crate::sys::{failed, list, open_dir};
use crate::xattr::{Target, get_all, get_all_at};

impl Listing {
    /// Looks at every file below a folder, by descriptors and without following a link; the content
    /// of files is not read. What a tar cannot hold, sockets, is left out with a warning.
    pub fn of_folder(dir: &Path) -> Result<Self> {
        Self::of_unpacked(dir, &Ids::default())
    }

    /// The same of a folder that was unpacked with these maps, with the owners that its files had before.
    ///
    /// # Errors
    /// `Usage` for an owner that is in no range.
    pub fn of_unpacked(dir: &Path, ids: &Ids) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, dir, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open", dir, errno.into()))?;
        let mut scan = Scan { listing: Self::literal(), links: HashMap::new(), ids };
        let stat = fstat(&root).map_err(|errno| failed("read", b"/", errno))?;
        let mut entry = entry(&stat, Kind::Dir);
        entry.xattrs = get_all(Target::Open(root.as_fd()), b"/")?;
        scan.push(entry, b"")?;
        let mut frames = vec![Frame::open(root, Vec::new())?];
        while let Some(frame) = frames.last_mut() {
            match frame.names.pop() {
                None => drop(frames.pop()),
                Some(name) => {
                    if let Some(child) = scan.child(frame, &name)? {
                        frames.push(child);
                    }
                }
            }
        }
        Ok(scan.listing)
    }
}

/// The hash of a file's content below a folder. Links on the way are followed inside it.
pub fn hash_file(root: &Root, path: &[u8]) -> Result<ContentHash> {
    let mut file: File = root.file(path)?;
    let mut hasher = Algorithm::Sha256.hasher();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let n = file.read(&mut buffer);
        match n.map_err(|err| Error::from_io(err, || format!("cannot read {}", show(path))))? {
            0 => return Ok(super::listing::finish(hasher)),
            n => hasher.update(&buffer[..n]),
        }
    }
}

struct Scan<'a> {
    listing: Listing,
    ids: &'a Ids,
    /// Where a file with several names was met first, by device and inode number.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// A directory on the way, and what is left to do in it.
struct Frame {
    fd: OwnedFd,
    /// With a slash at the end; empty for the root.
    path: Vec<u8>,
    /// Sorted backwards, so that the next one is the last.
    names: Vec<Vec<u8>>,
}

impl Frame {
    fn open(fd: OwnedFd, path: Vec<u8>) -> Result<Self> {
        let mut names: Vec<_> = list(&fd, &path)?.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self { fd, path, names })
    }
}

impl Scan<'_> {
    /// With the owner that it had before it was unpacked.
    fn push(&mut self, mut entry: Entry, path: &[u8]) -> Result<()> {
        let owner = (entry.uid, entry.gid);
        (entry.uid, entry.gid) = self.ids.restore(owner, &mut entry.xattrs, path)?;
        self.listing.push(&entry, path, None)
    }

    /// Notes one file; the directory, if it is one.
    fn child(&mut self, frame: &Frame, name: &[u8]) -> Result<Option<Frame>> {
        let mut path = [&frame.path[..], name].concat();
        let fail = |errno| failed("read", &path, errno);
        let stat = statat(&frame.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match kind {
            FileType::Directory => Kind::Dir,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => {
                let target = readlinkat(&frame.fd, name, Vec::new()).map_err(fail)?;
                Kind::Symlink(target.into_bytes())
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice { major: device.0, minor: device.1 },
            FileType::BlockDevice => Kind::BlockDevice { major: device.0, minor: device.1 },
            _ => {
                let detail = "socket left out, a tar cannot hold it";
                self.listing.warn(Code::SocketSkipped, &path, detail);
                return Ok(None);
            }
        };
        if kind != Kind::Dir && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                let link = entry(&stat, Kind::HardLink(first.clone()));
                return self.listing.push(&link, &path, None).map(|()| None);
            }
            self.links.insert(inode, path.clone());
        }
        let mut entry = entry(&stat, kind);
        entry.xattrs = get_all_at(&frame.fd, name, &path)?;
        let is_dir = entry.kind == Kind::Dir;
        self.push(entry, &path)?;
        if !is_dir {
            return Ok(None);
        }
        let fd = open_dir(&frame.fd, name).map_err(|errno| failed("open", &path, errno))?;
        path.push(b'/');
        Frame::open(fd, path).map(Some)
    }
}

fn entry(stat: &Stat, kind: Kind) -> Entry {
    let is_file = kind == Kind::File;
    let mut entry = Entry::new("", kind);
    entry.mode = stat.st_mode & 0o7777;
    (entry.uid, entry.gid) = (stat.st_uid, stat.st_gid);
    entry.mtime = Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
    if is_file {
        // A regular file's size is not negative.
        entry.size = stat.st_size.unsigned_abs();
    }
    entry
}
