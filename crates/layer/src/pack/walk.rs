//! Walks a directory by descriptors and writes what it finds as entries of a tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use conex_spec::{Error, Result};
use conex_tar::{Code, Entry, Kind, Time, Warnings, Writer, Xattr, show};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat,
};

use super::{Options, Owners};
use crate::sys::{HANDLE, failed, list, open_dir};
use crate::whiteout;
use crate::xattr::{Target, get_all};

/// What was packed.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) entries: u64,
    pub(super) warnings: Warnings,
}

/// A tree to be packed.
pub(super) struct Walker<'a> {
    root: OwnedFd,
    options: &'a Options,
    /// Where a file with several names was met first, by device and inode number.
    links: HashMap<(u64, u64), Vec<u8>>,
    walked: Walked,
}

/// A directory on the way, and what is left to do in it.
struct Frame {
    fd: OwnedFd,
    /// With a slash at the end; empty for the root.
    path: Vec<u8>,
    /// Sorted backwards, so that the next one is the last.
    names: Vec<Vec<u8>>,
}

impl<'a> Walker<'a> {
    pub(super) fn open(dir: &Path, options: &'a Options) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, dir, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open", dir, errno.into()))?;
        Ok(Self { root, options, links: HashMap::new(), walked: Walked::default() })
    }

    /// Writes the whole tree. The root comes first, as `./`: Docker, containerd, Podman and
    /// umoci all clean that to the root and take its owner, mode and time from it, while the
    /// names below it are written bare, as BuildKit does, since that is how most tools list them.
    pub(super) fn walk(mut self, out: &mut impl Write) -> Result<Walked> {
        let mut writer = Writer::new(out);
        let root = self.root.try_clone();
        let root = root.map_err(|err| Error::from_io(err, || "cannot open the root".into()))?;
        let mut frames = vec![self.dir(&mut writer, root, b"")?];
        while let Some(frame) = frames.last_mut() {
            let Some(name) = frame.names.pop() else {
                frames.pop();
                continue;
            };
            let path = [&frame.path[..], &name].concat();
            if whiteout::parse(&name).map_or(true, |found| found.is_some()) {
                self.check_whiteout(&path)?;
            }
            if let Some(dir) = self.child(&mut writer, &frame.fd, &name, path)? {
                frames.push(dir);
            }
        }
        writer.finish()?;
        Ok(self.walked)
    }

    /// A file named like a whiteout would delete something when the layer is applied.
    fn check_whiteout(&self, path: &[u8]) -> Result<()> {
        if self.options.whiteouts {
            return Ok(());
        }
        Err(Error::invalid(format!("cannot pack {}", show(path)))
            .expected("no name that begins with .wh.")
            .found("a name that would be taken for a whiteout"))
    }

    /// Writes one entry; returns the directory if it is one.
    fn child<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        at: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
    ) -> Result<Option<Frame>> {
        let fail = |errno| failed("read", &path, errno);
        let stat = statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let fd = open_dir(at, name).map_err(fail)?;
                return self.dir(writer, fd, &path).map(Some);
            }
            FileType::Socket => {
                let detail = "socket left out, a tar cannot hold it";
                self.walked.warnings.add(Code::SocketSkipped, &path, detail);
                return Ok(None);
            }
            _ => {}
        }
        if let Some(first) = self.first_name(&stat, &path) {
            let link = Entry::new(path, Kind::HardLink(first));
            return self.write(writer, link, &stat, Vec::new(), io::empty()).map(|()| None);
        }
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.file(writer, at, name, path).map(|()| None),
            FileType::Symlink => {
                let target = readlinkat(at, name, Vec::new()).map_err(fail)?;
                Kind::Symlink(target.into_bytes())
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => {
                let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
                Kind::CharDevice { major, minor }
            }
            FileType::BlockDevice => {
                let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
                Kind::BlockDevice { major, minor }
            }
            other => {
                return Err(Error::invalid(format!("cannot pack {}", show(&path)))
                    .found(format!("{other:?}")));
            }
        };
        let handle = openat(at, name, HANDLE, Mode::empty()).map_err(fail)?;
        let xattrs = self.xattrs(Target::handle(&handle), &path)?;
        self.write(writer, Entry::new(path, kind), &stat, xattrs, io::empty())?;
        Ok(None)
    }

    /// The first name of a file that has several.
    fn first_name(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let inode = (stat.st_dev, stat.st_ino);
        let first = self.links.get(&inode).cloned();
        if first.is_none() {
            self.links.insert(inode, path.to_vec());
        }
        first
    }

    fn dir<W: Write>(&mut self, writer: &mut Writer<W>, fd: OwnedFd, path: &[u8]) -> Result<Frame> {
        let stat = fstat(&fd).map_err(|errno| failed("read", path, errno))?;
        let path = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let name = if path.is_empty() { b"./" } else { &path[..] };
        let xattrs = self.xattrs(Target::Open(fd.as_fd()), name)?;
        self.write(writer, Entry::new(name, Kind::Dir), &stat, xattrs, io::empty())?;
        let mut names: Vec<_> = list(&fd, name)?.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Frame { fd, path, names })
    }

    fn file<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        at: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
    ) -> Result<()> {
        let fail = |errno| failed("read", &path, errno);
        // A pipe that took the file's place meanwhile must not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = openat(at, name, flags, Mode::empty()).map_err(fail)?.into();
        let stat = fstat(&file).map_err(fail)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let message = format!("{} changed while it was read", show(&path));
            return Err(Error::invalid(message).expected("a regular file"));
        }
        let xattrs = self.xattrs(Target::open(&file), &path)?;
        let mut entry = Entry::new(path, Kind::File);
        // A regular file's size is not negative.
        entry.size = stat.st_size.unsigned_abs();
        self.write(writer, entry, &stat, xattrs, file)
    }

    fn xattrs(&mut self, target: Target<'_>, path: &[u8]) -> Result<Vec<Xattr>> {
        let mut xattrs = get_all(target, path)?;
        xattrs.retain(|xattr| {
            let keeps = !xattr.name.contains(&b'=');
            if !keeps {
                let detail =
                    format!("attribute {} left out, a tar cannot name it", show(&xattr.name));
                self.walked.warnings.add(Code::XattrDropped, path, detail);
            }
            keeps
        });
        Ok(xattrs)
    }

    fn write<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        mut entry: Entry,
        stat: &Stat,
        xattrs: Vec<Xattr>,
        content: impl io::Read,
    ) -> Result<()> {
        entry.mode = stat.st_mode & 0o7777;
        (entry.uid, entry.gid) = match self.options.owners {
            Owners::Keep => (stat.st_uid, stat.st_gid),
            Owners::Set { uid, gid } => (uid, gid),
        };
        let mtime = Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
        entry.mtime = self.options.latest.map_or(mtime, |latest| mtime.min(latest));
        entry.xattrs = xattrs;
        self.walked.entries += 1;
        writer.append(&entry, content)
    }
}
