//! The directory that entries are being written to, and the open directories above it.
//!
//! Entries of a tar come directory by directory, so the way from the root to the current
//! directory is kept as a stack of descriptors. Each component is opened below its parent and
//! never followed if it is a link; a link's target is walked in its stead, `/` and `..` ending at
//! the root (rules U2, U3). So no path of a layer is ever given to the kernel as a whole.
//!
//! The stack also keeps the times of directories: a directory's own time is remembered on the
//! way in and set on the way out, so that entries below it do not change it. That needs no list
//! of directories, and holds for directories that a layer only implies.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use conex_spec::{Error, Kind, Result};
use conex_tar::{Time, Warnings, Xattr, show};
use rustix::fs::{FileType, Mode, fchmod, fstat, mkdirat, readlinkat};
use rustix::io::Errno;

use super::crew::Crew;
use super::deferred::Deferred;
use super::file::Meta;
use super::level::Level;
use super::parcel::NewFile;
use super::remove::{self, SharedTrash};
use super::seen::Seen;
use super::staging::Creation;
use crate::ids::Ids;
use crate::name::components;
use crate::sys::{failed, list, open_dir};
use crate::xattr::{Target, set_all};

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;
/// Only this many directories at the end of the stack are held open.
const MAX_OPEN: usize = 64;
/// Deeper trees are refused: no system call could reach them by a path.
pub(super) const MAX_DEPTH: usize = 4096;

/// What to do about directories that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make them: the layer implies them.
    Make,
    /// Stop: what a whiteout would hide is not there.
    Stop,
}

/// The way from the root of the tree to the current directory.
#[derive(Debug)]
pub(super) struct Cursor {
    levels: Vec<Level>,
    /// The path as the layer spells it that led here; links may make it differ from the names.
    path: Vec<u8>,
    valid: bool,
    /// Whether a link was followed on that way, which the next entry may replace.
    linked: bool,
    pub(super) seen: Seen,
    /// The threads that make small files; nobody between two layers.
    pub(super) crew: Crew,
    pub(super) trash: SharedTrash,
    pub(super) creation: Creation,
    pub(super) privileged: bool,
    pub(super) ids: Ids,
    deferred: Deferred,
}

enum Step {
    Entered(Level),
    Link(Vec<u8>),
    Missing,
    NotADirectory,
}

impl Cursor {
    /// Starts at the root.
    pub(super) fn new(
        root: OwnedFd,
        trash: SharedTrash,
        creation: Creation,
        privileged: bool,
        ids: Ids,
    ) -> Result<Self> {
        let mut crew = Crew::default();
        let root = Level::new(Vec::new(), root, &mut crew)?;
        Ok(Self {
            levels: vec![root],
            path: Vec::new(),
            valid: true,
            linked: false,
            seen: Seen::new(true),
            crew,
            trash,
            creation,
            privileged,
            ids,
            deferred: Deferred::default(),
        })
    }

    /// Makes the directory of this cleaned path the current one. False where `missing` says to
    /// stop and it, or a directory above it, is not there.
    pub(super) fn enter(&mut self, path: &[u8], missing: Missing) -> Result<bool> {
        let make = missing == Missing::Make;
        if self.valid && !self.linked && self.path == path && (self.top().marked || !make) {
            return Ok(true);
        }
        (self.valid, self.linked) = (false, false);
        let mut todo = Vec::new();
        push_reversed(&mut todo, path);
        let mut depth = 0;
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match &name[..] {
                // Only targets of links still have these.
                b"." => continue,
                b".." => {
                    depth = usize::saturating_sub(depth, 1);
                    continue;
                }
                _ if self.levels.get(depth + 1).is_some_and(|level| level.name == name) => {
                    depth += 1;
                    self.mark(depth, make);
                    continue;
                }
                _ => self.leave(depth + 1)?,
            }
            match self.step(&name, path)? {
                Step::Entered(level) => self.push(level)?,
                Step::Link(target) => {
                    self.linked = true;
                    links += 1;
                    if links > MAX_LINKS {
                        let what = format!("too many symbolic links in {}", show(path));
                        return Err(Error::invalid(what).expected(format!("at most {MAX_LINKS}")));
                    }
                    if target.starts_with(b"/") {
                        depth = 0;
                    }
                    push_reversed(&mut todo, &target);
                    continue;
                }
                _ if !make => return Ok(false),
                Step::Missing => self.imply(&name)?,
                Step::NotADirectory => self.replace_by_dir(&name, path)?,
            }
            depth += 1;
            self.mark(depth, make);
        }
        self.leave(depth + 1)?;
        self.path = path.to_vec();
        self.valid = true;
        Ok(true)
    }

    /// Notes that the layer has entries below this level.
    fn mark(&mut self, depth: usize, make: bool) {
        if make && !self.levels[depth].marked {
            self.levels[depth].marked = true;
            let parent = self.levels[depth - 1].ino;
            self.seen.imply(parent, &self.levels[depth].name, false);
        }
    }

    /// Tries to enter a child of the current directory.
    fn step(&mut self, name: &[u8], path: &[u8]) -> Result<Step> {
        self.settle(name)?;
        let parent = self.fd()?;
        match open_dir(parent, name) {
            Ok(fd) => Ok(Step::Entered(Level::new(name.to_vec(), fd, &mut self.crew)?)),
            Err(Errno::NOENT) => Ok(Step::Missing),
            Err(Errno::NOTDIR | Errno::LOOP) => match readlinkat(parent, name, Vec::new()) {
                Ok(target) => Ok(Step::Link(target.into_bytes())),
                Err(Errno::INVAL) => Ok(Step::NotADirectory),
                Err(errno) => Err(failed("read a link in", path, errno)),
            },
            Err(errno) => Err(failed("open a directory of", path, errno)),
        }
    }

    /// Makes a directory that the layer has no entry for. It belongs to root and is from 1970:
    /// nothing better is known, and every run gives the same.
    fn imply(&mut self, name: &[u8]) -> Result<()> {
        let parent = self.fd()?;
        mkdirat(parent, name, Mode::from_raw_mode(0o755))
            .map_err(|errno| failed("make directory", name, errno))?;
        let fd = open_dir(parent, name).map_err(|errno| failed("open", name, errno))?;
        let ino = self.top().ino;
        self.seen.imply(ino, name, true);
        self.top_mut().dirty = true;
        let mut level = Level::new(name.to_vec(), fd, &mut self.crew)?;
        level.marked = true;
        self.push(level)?;
        let meta = self.implied();
        self.set_top(&meta, name)
    }

    /// "In all other cases", "removing the file path": a lower layer's file makes room for a
    /// directory. A file of this very layer does not: some readers would lose one of the two.
    fn replace_by_dir(&mut self, name: &[u8], path: &[u8]) -> Result<()> {
        if self.seen.contains(self.top().ino, name) {
            return Err(Error::invalid(format!("tar entry below {}", show(path)))
                .expected("a directory")
                .found(format!("an earlier entry {} that is none", show(name))));
        }
        self.remove(name)?;
        self.imply(name)
    }

    /// Makes a child directory the current one after its entry was noted; `path` is the name
    /// of the entry, by which its children will ask for it.
    pub(super) fn descend(&mut self, name: &[u8], fd: OwnedFd, path: &[u8]) -> Result<()> {
        let mut level = Level::new(name.to_vec(), fd, &mut self.crew)?;
        level.marked = true;
        self.push(level)?;
        self.path = path.to_vec();
        self.valid = true;
        Ok(())
    }

    /// What a directory without an entry gets.
    pub(super) fn implied(&self) -> Meta {
        let (uid, gid) = self.ids.root();
        Meta { uid, gid, mode: 0o755, mtime: Time::default() }
    }

    /// Gives the current directory the attributes of its entry.
    pub(super) fn set_top(&mut self, meta: &Meta, path: &[u8]) -> Result<()> {
        let fail = |errno| failed("set the attributes of", path, errno);
        let mode = if self.privileged { meta.mode } else { meta.mode | 0o700 };
        let ino = self.top().ino;
        self.crew.settle_dir(ino)?;
        let top = self.top_mut();
        let (old_owner, old_mode) = ((top.uid, top.gid), top.mode);
        let chown = self.privileged && old_owner != (meta.uid, meta.gid);
        if chown {
            super::file::chown(self.fd()?, meta.uid, meta.gid).map_err(fail)?;
        }
        if old_mode != mode || chown && mode & 0o6000 != 0 {
            fchmod(self.fd()?, Mode::from_raw_mode(mode)).map_err(fail)?;
        }
        if !self.deferred.is_empty() {
            self.deferred.take(ino);
        }
        if mode != meta.mode {
            self.deferred.set_mode(ino, meta.mode);
        }
        self.top_mut().dirty = true;
        // Through a link the same directory may be on the stack twice; it has one time.
        for level in self.levels.iter_mut().filter(|level| level.ino == ino) {
            if chown {
                (level.uid, level.gid) = (meta.uid, meta.gid);
            }
            level.mode = mode;
            level.mtime = meta.mtime;
        }
        Ok(())
    }

    /// The access control lists of the current directory, which it gets last.
    pub(super) fn defer_acls(&mut self, acls: Vec<Xattr>) -> Result<()> {
        let ino = self.top().ino;
        self.deferred.set_acls(ino, acls)
    }

    /// Removes a child of the current directory, whatever it is. True if there was one.
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<bool> {
        self.crew.settle_all()?;
        // The current path may have led through it.
        self.valid = false;
        self.top_mut().dirty = true;
        let top = self.levels.len() - 1;
        let fd = self.levels[top].fd.as_ref().ok_or_else(closed)?;
        remove::shared(&self.trash, fd.as_fd(), name)
    }

    /// Applies a whiteout of a child of the current directory.
    pub(super) fn hide(&mut self, name: &[u8]) -> Result<()> {
        self.crew.settle_all()?;
        if self.hide_or_enter(name)? {
            self.hide_children()?;
            self.leave(self.levels.len() - 1)?;
        }
        Ok(())
    }

    /// Applies an opaque whiteout to the current directory: "all siblings are hidden in the
    /// lower layer".
    pub(super) fn hide_children(&mut self) -> Result<()> {
        self.crew.settle_all()?;
        self.valid = false;
        let mut pending = vec![self.children()?];
        while let Some(names) = pending.last_mut() {
            match names.pop() {
                Some((name, _)) => {
                    if self.hide_or_enter(&name)? {
                        pending.push(self.children()?);
                    }
                }
                None => {
                    pending.pop();
                    if !pending.is_empty() {
                        self.leave(self.levels.len() - 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes a child unless this layer made it. True where it is a directory of this layer,
    /// which is now the current one: it stays, without what was there before. If the layer only
    /// implies it, it is a new directory without the attributes it had.
    fn hide_or_enter(&mut self, name: &[u8]) -> Result<bool> {
        let ino = self.top().ino;
        if !self.seen.contains(ino, name) {
            self.remove(name)?;
            return Ok(false);
        }
        let Ok(fd) = open_dir(self.fd()?, name) else {
            return Ok(false);
        };
        let implied = self.seen.is_implied(ino, name);
        self.descend(name, fd, b"")?;
        self.valid = false;
        self.top_mut().dirty = true;
        if implied {
            crate::xattr::clear(self.fd()?, name)?;
            let meta = self.implied();
            self.set_top(&meta, name)?;
        }
        Ok(true)
    }

    fn children(&self) -> Result<Vec<(Vec<u8>, FileType)>> {
        list(self.fd()?, &self.top().name)
    }

    /// Gives directories what would have been in the way of filling them, children first; all but the
    /// root.
    pub(super) fn set_deferred(&mut self, warnings: &mut Warnings) -> Result<()> {
        self.finish()?;
        if self.deferred.is_empty() {
            return Ok(());
        }
        let mut pending = vec![self.children()?];
        while let Some(names) = pending.last_mut() {
            match names.pop() {
                Some((name, FileType::Directory | FileType::Unknown)) => {
                    if let Ok(fd) = open_dir(self.fd()?, &name) {
                        self.descend(&name, fd, b"")?;
                        pending.push(self.children()?);
                    }
                }
                Some(_) => {}
                None => {
                    pending.pop();
                    if !pending.is_empty() {
                        self.set_own_deferred(warnings)?;
                        self.leave(self.levels.len() - 1)?;
                    }
                }
            }
        }
        self.valid = false;
        Ok(())
    }

    /// Gives the current directory its mode and its access control lists, if they had to wait.
    pub(super) fn set_own_deferred(&mut self, warnings: &mut Warnings) -> Result<()> {
        let ino = self.top().ino;
        let (mode, acls) = self.deferred.take(ino);
        self.set_last(mode, &acls, warnings)
    }

    /// What someone sees in the current directory with all that it gets in the end.
    pub(super) fn as_in_the_end<T>(
        &mut self,
        look: impl FnOnce(BorrowedFd<'_>) -> Result<T>,
    ) -> Result<T> {
        let ino = self.top().ino;
        let (mode, acls) = self.deferred.take(ino);
        // What is odd about them is told when they are set for good.
        self.set_last(mode, &acls, &mut Warnings::default())?;
        let seen = self.fd().and_then(look);
        if let Some(mode) = mode {
            self.set_mode(mode | 0o700)?;
            self.deferred.set_mode(ino, mode);
        }
        self.deferred.set_acls(ino, acls)?;
        seen
    }

    fn set_last(&self, mode: Option<u32>, acls: &[Xattr], warnings: &mut Warnings) -> Result<()> {
        if let Some(mode) = mode {
            self.set_mode(mode)?;
        }
        if acls.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.levels[1..].iter().map(|level| &level.name[..]).collect();
        let target = Target::Open(self.fd()?);
        set_all(target, acls, self.privileged, &names.join(&b'/'), warnings)
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        fchmod(self.fd()?, Mode::from_raw_mode(mode))
            .map_err(|errno| failed("set the mode of", &self.top().name, errno))
    }

    /// Makes the attributes of the current directory last.
    pub(super) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(self.fd()?).map_err(|errno| failed("sync", &self.top().name, errno))
    }

    /// The current directory.
    pub(super) fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.top().fd.as_deref().map(AsFd::as_fd).ok_or_else(closed)
    }

    /// Waits until a child of the current directory is made, if it is under way.
    pub(super) fn settle(&mut self, name: &[u8]) -> Result<()> {
        let ino = self.top().ino;
        self.crew.settle(ino, name)
    }

    /// Has a small file made in the current directory; `fill` appends its content.
    pub(super) fn make(
        &mut self,
        file: NewFile<'_>,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let top = &self.levels[self.levels.len() - 1];
        let dir = top.fd.as_ref().ok_or_else(closed)?;
        self.crew.make(top.ino, dir, file, fill)
    }

    /// The current directory's attributes.
    pub(super) fn top(&self) -> &Level {
        // The root is never popped.
        &self.levels[self.levels.len() - 1]
    }

    /// As [`Cursor::top`], to change them.
    pub(super) fn top_mut(&mut self) -> &mut Level {
        let top = self.levels.len() - 1;
        &mut self.levels[top]
    }

    /// The group that new files in the current directory get.
    pub(super) fn new_gid(&self) -> u32 {
        let top = self.top();
        let inherited = self.creation.grpid || top.mode & 0o2000 != 0;
        if inherited { top.gid } else { self.creation.gid }
    }

    /// Goes back to the root, so that every directory has its time.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.valid = false;
        self.leave(1)?;
        self.levels[0].flush(&mut self.crew)
    }

    fn push(&mut self, level: Level) -> Result<()> {
        if self.levels.len() == MAX_DEPTH {
            return Err(Error::new(Kind::Limit, "directories are nested too deeply")
                .expected(format!("at most {MAX_DEPTH} levels")));
        }
        self.levels.push(level);
        if self.levels.len() > MAX_OPEN {
            // The root stays open.
            let far = self.levels.len() - MAX_OPEN;
            self.levels[far].flush(&mut self.crew)?;
            self.levels[far].fd = None;
        }
        Ok(())
    }

    /// Pops all but the first `keep` levels.
    fn leave(&mut self, keep: usize) -> Result<()> {
        while self.levels.len() > keep {
            if let Some(mut level) = self.levels.pop() {
                level.flush(&mut self.crew)?;
            }
        }
        if self.top().fd.is_none() {
            self.reopen()?;
        }
        Ok(())
    }

    /// Opens the current directory again that was closed when it was far away.
    fn reopen(&mut self) -> Result<()> {
        let top = self.levels.len() - 1;
        let from = (0..top).rev().find(|&i| self.levels[i].fd.is_some()).unwrap_or(0);
        let mut fd = self.levels[from].fd.as_ref().ok_or_else(closed)?.as_fd();
        let mut opened: OwnedFd;
        for i in from + 1..=top {
            let name = &self.levels[i].name;
            let next = open_dir(fd, name).map_err(|errno| failed("open", name, errno))?;
            let stat = fstat(&next).map_err(|errno| failed("look at", name, errno))?;
            if stat.st_ino != self.levels[i].ino {
                return Err(closed());
            }
            opened = next;
            if i == top {
                self.levels[top].fd = Some(Arc::new(opened));
                break;
            }
            fd = opened.as_fd();
        }
        Ok(())
    }
}

fn closed() -> Error {
    Error::new(Kind::Conflict, "someone else moves directories while the layer is unpacked")
}

/// Adds the components of a path to a stack, the first one on top.
fn push_reversed(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    let start = todo.len();
    todo.extend(components(path).map(<[u8]>::to_vec));
    todo[start..].reverse();
}
