//! Applies the entries of one layer to the tree, in their order.
//! image-spec, layer.md, "Applying Changesets".

use std::io::{BufRead, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use conex_spec::{Error, Kind as Fault, Result};
use conex_tar::{Code, Entry, Kind, Piece, Reader, show};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, linkat, makedev, mkdirat, mknodat, openat,
    statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::above::{Above, Fate};
use super::crew::Crew;
use super::cursor::{Cursor, Missing};
use super::file::{Attributes, Meta};
use super::parcel::{NewFile, SMALL};
use super::room::Room;
use super::{Devices, LayerReport};
use crate::name::{Name, components};
use crate::root::Root;
use crate::sys::{HANDLE, failed, open_dir, proc_path, times};
use crate::whiteout::{self, Whiteout};
use crate::xattr::{self, CAPABILITY, Target, set_all};

/// What one layer may still do, and what it has done.
pub(super) struct Applier<'a> {
    pub(super) cursor: &'a mut Cursor,
    pub(super) root: &'a Root,
    /// Where layers are applied from the top down.
    pub(super) above: Option<&'a mut Above>,
    pub(super) devices: Devices,
    /// Whether this process made the tar, so that marks of overlayfs in it are meant.
    pub(super) own: bool,
    /// Whether set-ID bits may stay where maps restore the owner that they speak of.
    pub(super) keep_set_id: bool,
    /// Bytes that files may still take, holes included.
    pub(super) room: Room,
    pub(super) entries_left: u64,
    /// Whether the layer had an entry for the root.
    pub(super) rooted: bool,
    /// Whether it was said that owners are not restored.
    pub(super) owners_noted: bool,
    pub(super) report: LayerReport,
}

impl Applier<'_> {
    /// Reads the whole stream and applies every entry.
    pub(super) fn apply(mut self, crew: Crew, stream: impl BufRead) -> Result<LayerReport> {
        self.cursor.crew = crew;
        let mut reader = Reader::from_buffered(stream);
        while let Some(mut entry) = reader.next_entry()? {
            self.count(&entry)?;
            let name = Name::parse(&entry.path)?;
            xattr::check(&entry)?;
            let mapped = self.cursor.ids.apply(&mut entry, self.cursor.privileged);
            mapped.and_then(|()| self.entry(&entry, &name, &mut reader)).map_err(|err| {
                err.context(format!("{} {}", entry.kind.noun(), show(&entry.path)))
            })?;
        }
        self.cursor.finish()?;
        self.cursor.crew.settle_all()?;
        self.report.warnings.append(reader.take_warnings());
        Ok(std::mem::take(&mut self.report))
    }

    fn count(&mut self, entry: &Entry) -> Result<()> {
        self.entries_left = self.entries_left.checked_sub(1).ok_or_else(|| {
            Error::new(Fault::Limit, "image has too many entries")
                .found(format!("one more, {}", show(&entry.path)))
        })?;
        self.room.take(entry.size)?;
        self.report.entries += 1;
        self.report.bytes += entry.size;
        Ok(())
    }

    fn entry<R: BufRead>(
        &mut self,
        entry: &Entry,
        name: &Name,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        if name.is_root() {
            return self.root_entry(entry);
        }
        let (parent, last) = name.split();
        if self.is_below_marker(entry, parent)? {
            return Ok(());
        }
        if let Some(whiteout) = whiteout::parse(last)? {
            return self.whiteout(entry, parent, whiteout);
        }
        if self.is_hidden(entry, name)? {
            return Ok(());
        }
        self.cursor.enter(parent, Missing::Make)?;
        if entry.kind == Kind::File && self.is_small(entry) {
            return self.small_file(entry, last, reader);
        }
        self.cursor.settle(last)?;
        match &entry.kind {
            Kind::Dir => return self.dir(entry, name, last),
            Kind::File => self.file(entry, last, reader)?,
            Kind::HardLink(target) => self.hard_link(entry, target, last)?,
            Kind::Symlink(target) => {
                self.node(entry, last, |at| symlinkat(&target[..], at, last))?;
            }
            Kind::Fifo => self.special(entry, last, FileType::Fifo, 0)?,
            Kind::CharDevice { major, minor } => {
                self.device(entry, last, FileType::CharacterDevice, (*major, *minor))?;
            }
            Kind::BlockDevice { major, minor } => {
                self.device(entry, last, FileType::BlockDevice, (*major, *minor))?;
            }
        }
        self.made(last);
        Ok(())
    }

    /// Whether a layer above hides the entry; the directories that it implies are there all the same.
    fn is_hidden(&mut self, entry: &Entry, name: &Name) -> Result<bool> {
        let Some(above) = &mut self.above else { return Ok(false) };
        match above.judge(entry, name, self.cursor.privileged) {
            Fate::Written => Ok(false),
            Fate::Unknown => Err(unknown()),
            Fate::Hidden { implies, again } => {
                if again {
                    self.warn(Code::DuplicateEntry, entry, super::TWICE);
                }
                if let Some(length) = implies {
                    self.cursor.enter(&name.as_bytes()[..length], Missing::Make)?;
                }
                Ok(true)
            }
        }
    }

    /// Notes that the layer has an entry of this name in the current directory.
    fn made(&mut self, last: &[u8]) {
        let top = self.cursor.top_mut();
        top.dirty = true;
        let ino = top.ino;
        self.cursor.seen.add(ino, last);
    }

    /// "It is not possible to create a filesystem which has a file or directory with a name
    /// beginning with `.wh.`". Below AUFS's own directories everything is ignored.
    fn is_below_marker(&mut self, entry: &Entry, parent: &[u8]) -> Result<bool> {
        for component in components(parent) {
            match whiteout::parse(component)? {
                None => {}
                Some(Whiteout::Aufs) => {
                    self.warn(Code::AufsMarker, entry, "marker of AUFS left out");
                    return Ok(true);
                }
                Some(_) => {
                    return Err(Error::invalid("tar entry below a whiteout").found(show(component)));
                }
            }
        }
        Ok(false)
    }

    /// The root may only be a directory, and only its attributes change (rule U4).
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Dir {
            return Err(Error::invalid("tar entry would replace the root")
                .expected("a directory")
                .found(entry.kind.noun()));
        }
        let again = std::mem::replace(&mut self.rooted, true);
        if again {
            self.warn(Code::DuplicateEntry, entry, super::TWICE);
        }
        if self.above.as_mut().is_some_and(|above| above.has_root()) {
            return Ok(());
        }
        self.cursor.enter(b"", Missing::Stop)?;
        if again || !self.cursor.seen.is_first() {
            xattr::clear(self.cursor.fd()?, b"/")?;
        }
        self.set_dir(entry)
    }

    fn dir(&mut self, entry: &Entry, name: &Name, last: &[u8]) -> Result<()> {
        let ino = self.cursor.top().ino;
        // Without privilege it must be writable until the end.
        let wanted = if self.cursor.privileged { entry.mode } else { entry.mode | 0o700 };
        let mode = Mode::from_raw_mode(wanted & 0o777);
        let mut made = mkdirat(self.cursor.fd()?, last, mode);
        if made == Err(Errno::EXIST) {
            match open_dir(self.cursor.fd()?, last) {
                Ok(fd) => return self.existing_dir(entry, name, last, fd),
                Err(Errno::NOTDIR | Errno::LOOP) => self.replace(entry, last)?,
                Err(errno) => return Err(failed("open", last, errno)),
            }
            made = mkdirat(self.cursor.fd()?, last, mode);
        }
        made.map_err(|errno| failed("make", last, errno))?;
        let fd = open_dir(self.cursor.fd()?, last).map_err(|errno| failed("open", last, errno))?;
        self.cursor.seen.add(ino, last);
        self.cursor.top_mut().dirty = true;
        self.cursor.descend(last, fd, name.as_bytes())?;
        self.set_dir(entry)
    }

    /// "If the entry and the existing path are both directories, then the existing path's
    /// attributes MUST be replaced by those of the entry".
    fn existing_dir(&mut self, entry: &Entry, name: &Name, last: &[u8], fd: OwnedFd) -> Result<()> {
        let ino = self.cursor.top().ino;
        let (seen, first) = (&self.cursor.seen, self.cursor.seen.is_first());
        let ours = seen.contains(ino, last) && !seen.is_implied(ino, last);
        if ours {
            self.warn(Code::DuplicateEntry, entry, super::TWICE);
        }
        if ours || !first {
            xattr::clear(fd.as_fd(), &entry.path)?;
        }
        self.cursor.seen.add(ino, last);
        self.cursor.descend(last, fd, name.as_bytes())?;
        self.set_dir(entry)
    }

    /// Attributes of the current directory.
    fn set_dir(&mut self, entry: &Entry) -> Result<()> {
        let top = self.cursor.top();
        self.note_owner(entry, (top.uid, top.gid));
        self.cursor.set_top(&Meta::of(entry), &entry.path)?;
        if entry.xattrs.is_empty() {
            return Ok(());
        }
        let privileged = self.cursor.privileged;
        let (acls, others): (Vec<_>, Vec<_>) =
            entry.xattrs.iter().cloned().partition(|xattr| xattr::is_acl(&xattr.name));
        let target = Target::Open(self.cursor.fd()?);
        set_all(target, &others, privileged, &entry.path, &mut self.report.warnings)?;
        self.cursor.defer_acls(acls)?;
        if self.own { xattr::set_marks(self.cursor.fd()?, entry) } else { Ok(()) }
    }

    /// Whether another thread can make the file. One with attributes is made at once: what of them
    /// is odd is told in the order of the layer.
    fn is_small(&self, entry: &Entry) -> bool {
        let plain = entry.xattrs.is_empty() && !entry.sparse;
        plain && entry.size <= SMALL && self.cursor.crew.is_there()
    }

    fn small_file<R: BufRead>(
        &mut self,
        entry: &Entry,
        last: &[u8],
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let (mode, attributes) = self.attributes(entry);
        let again = self.cursor.seen.contains(self.cursor.top().ino, last);
        let (path, offset) = (&entry.path[..], entry.offset);
        let created = mode & 0o777;
        let file = NewFile { path, last, created, attributes, again, offset };
        self.cursor.make(file, |content| {
            content.reserve(entry.size as usize);
            while let Some(Piece::Data(data)) = reader.next_piece()? {
                content.extend_from_slice(data);
            }
            Ok(())
        })?;
        self.made(last);
        Ok(())
    }

    /// The mode that a file gets, and what it lacks once it is made with that and filled.
    fn attributes(&mut self, entry: &Entry) -> (u32, Attributes) {
        let mode = self.file_mode(entry);
        let owner = self.owner(entry);
        let special = mode & (0o7000 | self.cursor.creation.masked) != 0;
        self.note_privileges(entry, mode);
        (mode, Attributes { owner, mode: special.then_some(mode), mtime: entry.mtime })
    }

    fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        last: &[u8],
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let (mode, mut attributes) = self.attributes(entry);
        // Without privilege attributes can only be set on a file that may be written.
        let lend = !self.cursor.privileged && !entry.xattrs.is_empty();
        if lend {
            attributes.mode = Some(mode);
        }
        let created = if lend { mode | 0o200 } else { mode };
        let mut file = std::fs::File::from(self.create(entry, created, last)?);
        write_content(&mut file, entry, reader)?;
        let (privileged, warnings) = (self.cursor.privileged, &mut self.report.warnings);
        attributes.set(&file, &entry.path, || {
            set_all(Target::open(&file), &entry.xattrs, privileged, &entry.path, warnings)
        })
    }

    fn create(&mut self, entry: &Entry, mode: u32, last: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode & 0o777);
        self.retry(entry, last, |at| openat(at, last, flags | OFlags::CLOEXEC, mode))
    }

    /// Makes something; what stands in the way is removed first. That is cheaper than to look.
    fn retry<T>(
        &mut self,
        entry: &Entry,
        last: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        let fail = |errno| failed("make", last, errno);
        match make(self.cursor.fd()?) {
            Err(Errno::EXIST) => {
                self.replace(entry, last)?;
                make(self.cursor.fd()?).map_err(fail)
            }
            result => result.map_err(fail),
        }
    }

    fn replace(&mut self, entry: &Entry, last: &[u8]) -> Result<()> {
        if self.cursor.seen.contains(self.cursor.top().ino, last) {
            self.warn(Code::DuplicateEntry, entry, super::TWICE);
        }
        self.cursor.remove(last).map(drop)
    }

    /// A link, pipe or device: made by name, given its attributes without following it.
    fn node(
        &mut self,
        entry: &Entry,
        last: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
    ) -> Result<()> {
        let fail = |errno| failed("set the attributes of", last, errno);
        self.retry(entry, last, make)?;
        let owner = self.owner(entry);
        let (privileged, masked) = (self.cursor.privileged, self.cursor.creation.masked);
        let at = self.cursor.fd()?;
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(at, last, Some(uid), Some(gid), nofollow).map_err(fail)?;
        }
        let is_link = matches!(entry.kind, Kind::Symlink(_));
        let chmod = !is_link && entry.mode & (0o7000 | masked) != 0;
        if chmod || !entry.xattrs.is_empty() {
            let handle = openat(at, last, HANDLE, Mode::empty()).map_err(fail)?;
            if chmod {
                let path = proc_path(handle.as_fd());
                rustix::fs::chmod(path, Mode::from_raw_mode(entry.mode)).map_err(fail)?;
            }
            let warnings = &mut self.report.warnings;
            set_all(Target::handle(&handle), &entry.xattrs, privileged, &entry.path, warnings)?;
        }
        utimensat(at, last, &times(entry.mtime), nofollow).map_err(fail)
    }

    fn special(&mut self, entry: &Entry, last: &[u8], kind: FileType, device: u64) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.node(entry, last, |at| mknodat(at, last, kind, mode, device))
    }

    /// Devices give access to the host's hardware, so they need a privileged caller who wants
    /// them; and a character device 0:0 is how overlayfs marks a deleted file (rule U9).
    fn device(
        &mut self,
        entry: &Entry,
        last: &[u8],
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<()> {
        let whiteout = kind == FileType::CharacterDevice && (major, minor) == (0, 0);
        match self.devices {
            // Anyone may make this one.
            _ if self.own && whiteout => return self.special(entry, last, kind, 0),
            Devices::Create if self.cursor.privileged && !whiteout => {
                return self.special(entry, last, kind, makedev(major, minor));
            }
            Devices::Skip => {
                let detail = format!("device {major}:{minor} left out");
                self.warn(Code::DeviceReplaced, entry, detail);
                return self.retry(entry, last, |at| {
                    match statat(at, last, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(_) => Err(Errno::EXIST),
                        Err(_) => Ok(()),
                    }
                });
            }
            Devices::Create | Devices::Replace => {}
        }
        let detail = format!("device {major}:{minor} replaced by an empty file");
        self.warn(Code::DeviceReplaced, entry, detail);
        let plain = Entry { kind: Kind::File, mode: entry.mode & 0o777, ..entry.clone() };
        let file = std::fs::File::from(self.create(&plain, plain.mode, last)?);
        let owner = self.owner(&plain);
        let attributes = Attributes { owner, mode: Some(plain.mode), mtime: entry.mtime };
        attributes.set(&file, &entry.path, || Ok(()))
    }

    /// The target is a path of the image, never of the host: it is cleaned as a name is, its
    /// directories are resolved inside the root, and itself it is not followed (rule U6). It
    /// must be there already. A hard link has no attributes of its own.
    fn hard_link(&mut self, entry: &Entry, target: &[u8], last: &[u8]) -> Result<()> {
        let target = Name::parse(target)?;
        let (parent, file) = target.split();
        let missing = |err: Error| {
            Error::invalid("hard link to a file that is not there")
                .expected("an earlier entry or a file of a lower layer")
                .found(show(target.as_bytes()))
                .source(err)
        };
        self.cursor.crew.settle_target(components(target.as_bytes()))?;
        let from = self.root.dir(parent).map_err(missing)?;
        let stat = statat(&from, file, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| missing(failed("find", file, errno)))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Error::invalid("hard link to a directory").found(show(target.as_bytes())));
        }
        // A link to itself must not remove its target first.
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if let Ok(there) = statat(self.cursor.fd()?, last, nofollow)
            && (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)
        {
            if self.cursor.seen.contains(self.cursor.top().ino, last) {
                self.warn(Code::DuplicateEntry, entry, super::TWICE);
            }
            return Ok(());
        }
        self.retry(entry, last, |at| linkat(&from, file, at, last, AtFlags::empty()))
    }

    fn whiteout(&mut self, entry: &Entry, parent: &[u8], whiteout: Whiteout<'_>) -> Result<()> {
        if entry.kind != Kind::File || entry.size > 0 {
            self.warn(Code::WhiteoutContent, entry, "whiteout that is not an empty file");
        }
        if whiteout == Whiteout::Aufs {
            self.warn(Code::AufsMarker, entry, "marker of AUFS left out");
            return Ok(());
        }
        if let Some(above) = &mut self.above {
            return if above.whiteout(parent, whiteout) { Ok(()) } else { Err(unknown()) };
        }
        // Nothing is below the first layer.
        if self.cursor.seen.is_first() || !self.cursor.enter(parent, Missing::Stop)? {
            return Ok(());
        }
        match whiteout {
            Whiteout::Hide(name) => self.cursor.hide(name),
            Whiteout::Opaque | Whiteout::Aufs => self.cursor.hide_children(),
        }
    }

    /// The owner, where it must be changed after creation.
    fn owner(&mut self, entry: &Entry) -> Option<(u32, u32)> {
        let created = self.created();
        self.note_owner(entry, created);
        let wanted = (entry.uid, entry.gid);
        (self.cursor.privileged && created != wanted).then_some(wanted)
    }

    /// Whom a new file in the current directory belongs to.
    fn created(&self) -> (u32, u32) {
        (self.cursor.creation.uid, self.cursor.new_gid())
    }

    /// Without privilege all belongs to the caller; said once.
    fn note_owner(&mut self, entry: &Entry, owner: (u32, u32)) {
        let own = owner == (entry.uid, entry.gid);
        if !self.cursor.privileged && !own && !self.owners_noted {
            self.owners_noted = true;
            let detail = "owners are not restored without privilege";
            self.report.warnings.add(Code::OwnersKept, b"", detail);
        }
    }

    /// The mode that a file gets. Without privilege a program that was to run as root would run
    /// as whoever unpacked it, for everyone who can reach it (rule U10): "if the user ID and group
    /// ID are not preserved for any reason, pax shall not set the S_ISUID and S_ISGID bits" (POSIX,
    /// pax, `-p`). Podman without root keeps owners, by a range of subordinate IDs.
    fn file_mode(&mut self, entry: &Entry) -> u32 {
        let own = self.created() == (entry.uid, entry.gid);
        let keep = own && self.keep_set_id;
        if self.cursor.privileged || keep || entry.mode & 0o6000 == 0 {
            return entry.mode;
        }
        self.warn(Code::SetIdDropped, entry, "set-ID bits left out, as its owner is");
        entry.mode & !0o6000
    }

    /// Set-id programs and capabilities are listed (rule U10).
    fn note_privileges(&mut self, entry: &Entry, mode: u32) {
        let set_id = mode & 0o6000 != 0;
        let capable = entry.xattrs.iter().any(|xattr| xattr.name == CAPABILITY);
        self.report.set_id += u64::from(set_id);
        self.report.capable += u64::from(capable);
        if (set_id || capable) && self.report.privileged.len() < super::MAX_LISTED {
            self.report.privileged.push(entry.path.clone());
        }
    }

    fn warn(&mut self, code: Code, entry: &Entry, detail: impl Into<String>) {
        self.report.warnings.add(code, &entry.path, detail);
    }
}

/// Whatever came of the layer, nobody waits for the next one.
impl Drop for Applier<'_> {
    fn drop(&mut self) {
        self.cursor.crew = Crew::default();
    }
}

/// Nobody sees this: the image is unpacked from the bottom up instead.
fn unknown() -> Error {
    Error::invalid("layers do not tell from the top down what they mean")
}

/// Content that is too long to be handed over; holes stay holes.
fn write_content<R: BufRead>(
    file: &mut std::fs::File,
    entry: &Entry,
    reader: &mut Reader<R>,
) -> Result<()> {
    let fail = |err| Error::from_io(err, || format!("cannot write {}", show(&entry.path)));
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Data(data) => file.write_all(data).map_err(fail)?,
            Piece::Hole(length) => {
                // Sizes are below 2^62.
                file.seek(SeekFrom::Current(length as i64)).map_err(fail)?;
            }
        }
    }
    if entry.sparse {
        file.set_len(entry.size).map_err(fail)?;
    }
    Ok(())
}
