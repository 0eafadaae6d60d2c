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

use super::merge::{self, Found};
use super::owners::{Owners, owner};
use super::patterns::{Filtering, Verdict};
use super::plan::{Plan, Step};
use super::{Options, overlay};
use crate::sys::{failed, open_dir};
use crate::xattr::{Target, get_all, get_all_at};
use crate::{ids, whiteout};

/// What was packed.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) entries: u64,
    pub(super) whiteouts: u64,
    pub(super) warnings: Warnings,
}

/// A tree to be packed.
pub(super) struct Walker<'a> {
    /// The folders that are laid one over the other, the uppermost first.
    roots: Vec<OwnedFd>,
    options: &'a Options,
    owners: Owners,
    /// Whose the lowest folder is.
    person: u32,
    /// Where a file with several names was met first, by device and inode number.
    links: HashMap<(u64, u64), Vec<u8>>,
    choice: Choice<'a>,
    walked: Walked,
}

/// What is packed of the tree.
pub(super) enum Choice<'a> {
    /// What the patterns of the options choose.
    Filter(Filtering<'a>),
    /// What a plan names.
    Plan(&'a Plan),
}

/// A directory on the way, and what is left to do in it.
struct Frame {
    /// In each folder that has it, the uppermost first.
    fds: Vec<OwnedFd>,
    /// With a slash at the end; empty for the root.
    path: Vec<u8>,
    /// Sorted backwards, so that the next one is the last.
    names: Vec<Found>,
    /// Its own entry, where it is only written once something below it is.
    waiting: Option<(Entry, Stat)>,
}

impl<'a> Walker<'a> {
    /// Opens folders, the lowest first.
    pub(super) fn open(
        dirs: &[impl AsRef<Path>],
        options: &'a Options,
        choice: Choice<'a>,
    ) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |dir: &Path| {
            openat(CWD, dir, flags, Mode::empty())
                .map_err(|errno| Error::io("cannot open", dir, errno.into()))
        };
        let roots: Vec<_> =
            dirs.iter().rev().map(|dir| open(dir.as_ref())).collect::<Result<_>>()?;
        let lowest = roots.last().map(fstat).transpose();
        let lowest = lowest.map_err(|errno| failed("read", b"/", errno))?;
        let person = lowest.map_or(0, |stat| stat.st_uid);
        let owners = lowest.map_or_else(Owners::default, |stat| options.owners.of(&stat));
        let (links, walked) = (HashMap::new(), Walked::default());
        Ok(Self { roots, options, owners, person, links, choice, walked })
    }

    /// Writes the whole tree. The root comes first, as `./`: Docker, containerd, Podman and
    /// umoci all clean that to the root and take its owner, mode and time from it, while the
    /// names below it are written bare, as BuildKit does, since that is how most tools list them.
    pub(super) fn walk(mut self, out: &mut impl Write) -> Result<Walked> {
        let mut writer = Writer::new(out);
        let roots = std::mem::take(&mut self.roots);
        let mut frames = vec![self.dir(&mut writer, roots, b"", true)?];
        while let Some(frame) = frames.last_mut() {
            let Some(found) = frame.names.pop() else {
                self.leave(frames.pop());
                continue;
            };
            let path = [&frame.path[..], &found.name].concat();
            if found.step == Step::Hide {
                self.hide(&mut writer, &mut frames, &found.name)?;
                continue;
            }
            self.child(&mut writer, &mut frames, &found, path)?;
        }
        writer.finish()?;
        Ok(self.walked)
    }

    fn leave(&mut self, frame: Option<Frame>) {
        if let (Choice::Filter(filtering), Some(frame)) = (&mut self.choice, frame) {
            filtering.leave(&frame.path);
        }
    }

    /// Writes the directories that waited for something below them.
    fn write_waiting<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        frames: &mut [Frame],
    ) -> Result<()> {
        for frame in frames.iter_mut() {
            if let Some((entry, stat)) = frame.waiting.take() {
                self.write(writer, entry, &stat, io::empty())?;
            }
        }
        Ok(())
    }

    /// A whiteout says nothing but its name: "an empty file" (image-spec, layer.md, "Whiteouts").
    fn hide<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        frames: &mut [Frame],
        name: &[u8],
    ) -> Result<()> {
        self.write_waiting(writer, frames)?;
        let dir = frames.last().map(|frame| &frame.path[..]).unwrap_or_default();
        let mut entry = Entry::new([dir, whiteout::PREFIX, name].concat(), Kind::File);
        self.put_below(&mut entry);
        self.walked.entries += 1;
        self.walked.whiteouts += 1;
        writer.append(&entry, io::empty())
    }

    /// A file named like a whiteout would delete something when the layer is applied.
    fn check_whiteout(&self, name: &[u8], path: &[u8]) -> Result<()> {
        if self.options.whiteouts || !name.starts_with(whiteout::PREFIX) {
            return Ok(());
        }
        let hint = match self.choice {
            Choice::Filter(_) => {
                "leave it out with --exclude, or delete what it names: --whiteouts"
            }
            Choice::Plan(_) => "remove or rename it",
        };
        Err(Error::invalid(format!("cannot pack {}", show(path)))
            .expected("no name that begins with .wh.")
            .found("a name that would be taken for a whiteout")
            .hint(hint))
    }

    /// Writes one entry; a directory becomes the last of the frames.
    fn child<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        frames: &mut Vec<Frame>,
        found: &Found,
        path: Vec<u8>,
    ) -> Result<()> {
        let Some(frame) = frames.last() else { return Ok(()) };
        let (fail, name) = (|errno| failed("read", &path, errno), &found.name[..]);
        let at = &frame.fds[found.first()];
        let stat = statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let taken = self.verdict(&frame.path, name, kind == FileType::Directory);
        if taken == Verdict::Leave {
            return Ok(());
        }
        self.check_whiteout(name, &path)?;
        let Some(frame) = frames.last() else { return Ok(()) };
        match kind {
            FileType::Directory => {
                let mut fds = vec![open_dir(at, name).map_err(fail)?];
                fds.extend(found.below(&frame.fds).map_err(fail)?);
                if taken == Verdict::Take {
                    self.write_waiting(writer, frames)?;
                }
                frames.push(self.dir(writer, fds, &path, taken == Verdict::Take)?);
                return Ok(());
            }
            FileType::Socket => {
                let detail = "socket left out, a tar cannot hold it";
                self.walked.warnings.add(Code::SocketSkipped, &path, detail);
                return Ok(());
            }
            _ => {}
        }
        self.write_waiting(writer, frames)?;
        if self.options.overlay && overlay::is_whiteout(&stat) {
            return self.hide(writer, frames, name);
        }
        let Some(frame) = frames.last() else { return Ok(()) };
        if !self.options.names_apart
            && let Some(first) = self.first_name(&stat, &path)
        {
            let mut entry = Entry::new(path, Kind::HardLink(first));
            if self.owners.are_noted() {
                entry.xattrs = get_all_at(&frame.fds[found.first()], name, &entry.path)?;
            }
            return self.write(writer, entry, &stat, io::empty());
        }
        self.inode(writer, &frame.fds[found.first()], name, path, &stat)
    }

    /// Anything but a directory, by its first name.
    fn inode<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        at: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
        stat: &Stat,
    ) -> Result<()> {
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.file(writer, at, name, path),
            FileType::Symlink => {
                let target = readlinkat(at, name, Vec::new());
                Kind::Symlink(target.map_err(|errno| failed("read", &path, errno))?.into_bytes())
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice { major: device.0, minor: device.1 },
            FileType::BlockDevice => Kind::BlockDevice { major: device.0, minor: device.1 },
            other => {
                return Err(Error::invalid(format!("cannot pack {}", show(&path)))
                    .found(format!("{other:?}")));
            }
        };
        let xattrs = get_all_at(at, name, &path)?;
        let mut entry = Entry::new(path, kind);
        entry.xattrs = self.nameable(xattrs, &entry.path);
        self.write(writer, entry, stat, io::empty())
    }

    fn verdict(&mut self, dir: &[u8], name: &[u8], is_dir: bool) -> Verdict {
        match &mut self.choice {
            Choice::Filter(filtering) => filtering.verdict(dir, name, is_dir),
            Choice::Plan(_) => Verdict::Take,
        }
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

    /// A directory that is entered; its own entry waits unless it is `taken`.
    fn dir<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        fds: Vec<OwnedFd>,
        path: &[u8],
        taken: bool,
    ) -> Result<Frame> {
        // The uppermost folder says what the directory is like.
        let fd = &fds[0];
        let stat = fstat(fd).map_err(|errno| failed("read", path, errno))?;
        let path = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let name = if path.is_empty() { b"./" } else { &path[..] };
        let mut entry = Entry::new(name, Kind::Dir);
        let opaque = self.options.overlay && overlay::is_opaque(fd.as_fd(), name)?;
        entry.xattrs = self.nameable(get_all(Target::Open(fd.as_fd()), name)?, name);
        let mut names = match &self.choice {
            Choice::Plan(plan) => {
                let names = plan.names(&path).into_iter();
                names.map(|(name, step)| Found::new(name, step)).collect()
            }
            Choice::Filter(_) => merge::names(&fds, name, self.options.whiteouts)?,
        };
        names.sort_unstable_by(|a, b| (&b.name, b.step).cmp(&(&a.name, a.step)));
        let mut frame = Frame { fds, path, names, waiting: Some((entry, stat)) };
        if taken || opaque {
            self.write_waiting(writer, std::slice::from_mut(&mut frame))?;
        }
        if opaque {
            // It stands before the siblings that it spares: "whiteout files MUST only apply to
            // resources in lower/parent layers".
            let mut entry = Entry::new([&frame.path, whiteout::OPAQUE].concat(), Kind::File);
            self.put_below(&mut entry);
            self.walked.entries += 1;
            self.walked.whiteouts += 1;
            writer.append(&entry, io::empty())?;
        }
        Ok(frame)
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
        if self.options.overlay {
            overlay::check_file(file.as_fd(), &path)?;
        }
        let xattrs = get_all(Target::open(&file), &path)?;
        let mut entry = Entry::new(path, Kind::File);
        entry.xattrs = self.nameable(xattrs, &entry.path);
        // A regular file's size is not negative.
        entry.size = stat.st_size.unsigned_abs();
        self.write(writer, entry, &stat, file)
    }

    /// Without the attributes that a tar has no way to name.
    fn nameable(&mut self, mut xattrs: Vec<Xattr>, path: &[u8]) -> Vec<Xattr> {
        xattrs.retain(|xattr| {
            let keeps = !xattr.name.contains(&b'=');
            if !keeps {
                let detail =
                    format!("attribute {} left out, a tar cannot name it", show(&xattr.name));
                self.walked.warnings.add(Code::XattrDropped, path, detail);
            }
            keeps
        });
        xattrs
    }

    fn write<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        mut entry: Entry,
        stat: &Stat,
        content: impl io::Read,
    ) -> Result<()> {
        entry.mode = stat.st_mode & 0o7777;
        self.hint_at_notes(&entry);
        let owner = owner(&self.owners, stat, &mut entry.xattrs, &entry.path)?;
        let kept = match &self.choice {
            Choice::Plan(plan) => plan.owner(&entry.path),
            Choice::Filter(_) => None,
        };
        (entry.uid, entry.gid) = kept.unwrap_or(owner);
        if matches!(entry.kind, Kind::HardLink(_)) {
            entry.xattrs.clear();
        }
        let mtime = Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
        entry.mtime = self.options.latest.map_or(mtime, |latest| mtime.min(latest));
        self.put_below(&mut entry);
        self.walked.entries += 1;
        writer.append(&entry, content)
    }

    /// Whoever unpacked the tree is root in it, but that nobody said.
    fn hint_at_notes(&mut self, entry: &Entry) {
        let noted = || entry.xattrs.iter().any(|xattr| xattr.name == ids::OWNER);
        if self.owners != Owners::Keep || self.person == 0 || !noted() {
            return;
        }
        let detail = format!(
            "unpacking without privilege has noted some owners; what has no note is packed as that of \
             {}, with --rootless as root's",
            self.person
        );
        if !self.walked.warnings.has(Code::OwnersNoted) {
            self.walked.warnings.add(Code::OwnersNoted, b"", detail);
        }
    }

    /// Names an entry, and what it is a hard link to, as things in the folder that all is in.
    fn put_below(&self, entry: &mut Entry) {
        let Some(folder) = &self.options.below else { return };
        let below = |path: &[u8]| match path {
            b"./" => [folder, &b"/"[..]].concat(),
            path => [folder, &b"/"[..], path].concat(),
        };
        entry.path = below(&entry.path);
        if let Kind::HardLink(first) = &mut entry.kind {
            *first = below(first);
        }
    }
}
