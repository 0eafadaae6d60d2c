//! Where an image is unpacked before anyone can see it: a private folder beside the target.
//!
//! ```text
//! PARENT/.conex-UUID/          mode 0700, so that set-id programs are out of reach (rule U10);
//!                              locked by the process that works in it
//! PARENT/.conex-UUID/tree/     becomes the target by one rename: a root file system, or a
//!                              bundle with its `rootfs` and `config.json`
//! PARENT/.conex-UUID/trash/    what is being removed
//! ```
//!
//! A process that was killed leaves its folder behind, without a lock. Whoever next unpacks to a
//! folder beside it removes it.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use conex_spec::{Error, Kind, Result};
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::remove::Trash;
use crate::sys::{list, open_dir};

/// What the name of every private folder begins with.
const PREFIX: &str = ".conex-";
/// What becomes the target.
const TREE: &str = "tree";
const TRASH: &str = "trash";
const PROBE: &str = "probe";
/// The root file system of a bundle.
const ROOTFS: &str = "tree/rootfs";
/// How often another name is tried where someone takes a new folder for a leftover.
const MAX_TRIES: usize = 100;

/// What the tree becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A root file system.
    Rootfs,
    /// A folder with a root file system and the file that tells a runtime how to start it.
    Bundle,
    /// A folder of several trees.
    Folders,
}

impl Shape {
    fn root(self) -> &'static str {
        match self {
            Self::Rootfs | Self::Folders => TREE,
            Self::Bundle => ROOTFS,
        }
    }
}

/// The private folder; removed with all it holds unless it was published.
#[derive(Debug)]
pub(super) struct Staging {
    parent: OwnedFd,
    name: String,
    fd: OwnedFd,
    target: PathBuf,
    shape: Shape,
}

/// What a new file gets without being asked for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Creation {
    /// The owner of new files.
    pub(super) uid: u32,
    /// The group of new files, unless their directory has the set-group-id bit.
    pub(super) gid: u32,
    /// Mode bits that the process's umask takes away.
    pub(super) masked: u32,
    /// Whether files take the group of every directory (mount option `grpid`).
    pub(super) grpid: bool,
}

impl Staging {
    /// Fails where the target exists and is not an empty directory.
    pub(super) fn new(target: &Path, shape: Shape) -> Result<Self> {
        let Some(last) = target.file_name() else {
            return Err(Error::new(Kind::Usage, "cannot unpack to a folder that has no name here")
                .found(target.display())
                .hint("name it from outside, as in `../rootfs`"));
        };
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent_fd = openat(CWD, parent, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open", parent, errno.into()))?;
        check_target(&parent_fd, Path::new(last), target)?;
        sweep(&parent_fd);
        let fail = |errno: Errno| Error::making("cannot make a folder in", parent, errno.into());
        let (name, fd) = make_locked(&parent_fd).map_err(fail)?;
        let staging = Self { parent: parent_fd, name, fd, target: target.to_owned(), shape };
        staging.make_private().map_err(fail)?;
        Ok(staging)
    }

    /// What the parent folder hands down to new files would end up in the image.
    fn make_private(&self) -> Result<(), Errno> {
        rustix::fs::fchmod(&self.fd, Mode::RWXU)?;
        match rustix::fs::fremovexattr(&self.fd, "system.posix_acl_default") {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
        mkdirat(&self.fd, TREE, Mode::RWXU)?;
        if self.shape == Shape::Bundle {
            mkdirat(&self.fd, ROOTFS, Mode::RWXU)?;
        }
        mkdirat(&self.fd, TRASH, Mode::RWXU)
    }

    /// The root of the image, and a trash for it.
    pub(super) fn open(&self) -> Result<(OwnedFd, Trash)> {
        let open = |name: &[u8]| open_dir(&self.fd, name).map_err(|errno| self.fail(errno));
        Ok((open(self.shape.root().as_bytes())?, Trash::new(open(TRASH.as_bytes())?)))
    }

    /// The private folder.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What the tree becomes.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// A new root in the tree, and a trash for it.
    pub(super) fn make_folder(&self, name: &str) -> Result<(OwnedFd, Trash)> {
        let fail = |errno| self.fail(errno);
        let path = format!("{TREE}/{name}");
        mkdirat(&self.fd, &path, Mode::RWXU).map_err(fail)?;
        let root = open_dir(&self.fd, path.as_bytes()).map_err(fail)?;
        Ok((root, Trash::new(open_dir(&self.fd, TRASH.as_bytes()).map_err(fail)?)))
    }

    /// Puts a file beside the root file system of a bundle.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let file = openat(&self.fd, format!("{TREE}/{name}"), flags, mode);
        let mut file = std::fs::File::from(file.map_err(|errno| self.fail(errno))?);
        let written = file.write_all(content);
        written.map_err(|err| Error::from_io(err, || format!("cannot write {name}")))
    }

    /// Makes a file to see what it gets.
    pub(super) fn probe(&self) -> Result<Creation> {
        let fail = |errno| self.fail(errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        let file = openat(&self.fd, PROBE, flags, all).map_err(fail)?;
        let stat = fstat(&file).map_err(fail)?;
        unlinkat(&self.fd, PROBE, AtFlags::empty()).map_err(fail)?;
        let gid = rustix::process::getegid().as_raw();
        Ok(Creation {
            uid: stat.st_uid,
            gid,
            masked: !stat.st_mode & 0o777,
            grpid: stat.st_gid != gid,
        })
    }

    /// Bytes that a user may still write to this file system; nothing where it does not say.
    pub(super) fn free_space(&self) -> Option<u64> {
        let stat = rustix::fs::fstatvfs(&self.fd).ok()?;
        (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Writes everything to the disk.
    pub(super) fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.fd).map_err(|errno| self.fail(errno))
    }

    /// Moves the tree to the target, which must not exist or be an empty directory.
    pub(super) fn publish(&self) -> Result<()> {
        let last = self.target.file_name().unwrap_or_default();
        renameat(&self.fd, TREE, &self.parent, last).map_err(|errno| match errno {
            Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR => occupied(&self.target),
            errno => Error::making("cannot publish", &self.target, errno.into()),
        })
    }

    /// Makes the rename itself last.
    pub(super) fn sync_parent(&self) -> Result<()> {
        rustix::fs::fsync(&self.parent).map_err(|errno| self.fail(errno))
    }

    fn fail(&self, errno: Errno) -> Error {
        Error::making("cannot prepare to unpack", &self.target, errno.into())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // There is nobody to tell of a failure; what is left carries our name.
        let _ = remove(&self.parent, &self.name, &self.fd);
    }
}

/// A new folder, locked as long as its descriptor is open.
fn make_locked(parent: &OwnedFd) -> Result<(String, OwnedFd), Errno> {
    for _ in 0..MAX_TRIES {
        let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
        mkdirat(parent, &name, Mode::RWXU)?;
        let Ok(fd) = open_dir(parent, name.as_bytes()) else { continue };
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            // Where there are no locks nobody can take the folder for a leftover.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::INVAL) => {}
            Err(Errno::WOULDBLOCK) => continue,
            Err(errno) => return Err(errno),
        }
        if is_at(parent, &name, &fd) {
            return Ok((name, fd));
        }
    }
    Err(Errno::AGAIN)
}

/// Removes what processes left behind that were killed. What is another person's, or in use,
/// stays; and so does what cannot be removed, since it is in nobody's way.
fn sweep(parent: &OwnedFd) {
    for (name, _) in list(parent, b".").unwrap_or_default() {
        if let Ok(name) = String::from_utf8(name)
            && is_ours(&name)
        {
            let _ = sweep_one(parent, &name);
        }
    }
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|id| uuid::Uuid::try_parse(id).is_ok())
}

fn sweep_one(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    let fd = open_dir(parent, name.as_bytes())?;
    if fstat(&fd)?.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    if is_at(parent, name, &fd) { remove(parent, name, &fd) } else { Ok(()) }
}

/// Whether the open folder still has this name.
fn is_at(parent: &OwnedFd, name: &str, fd: &OwnedFd) -> bool {
    let here = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    match (here, fstat(fd)) {
        (Ok(here), Ok(open)) => (here.st_dev, here.st_ino) == (open.st_dev, open.st_ino),
        _ => false,
    }
}

/// Removes a private folder, however far it got.
fn remove(parent: &OwnedFd, name: &str, fd: &OwnedFd) -> Result<(), Errno> {
    match mkdirat(fd, TRASH, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let mut trash = Trash::new(open_dir(fd, TRASH.as_bytes())?);
    let _ = trash.empty();
    let _ = trash.remove(fd.as_fd(), TREE.as_bytes());
    let _ = trash.remove(fd.as_fd(), PROBE.as_bytes());
    unlinkat(fd, TRASH, AtFlags::REMOVEDIR)?;
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn check_target(parent: &OwnedFd, last: &Path, target: &Path) -> Result<()> {
    match openat(parent, last, crate::sys::DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => Err(occupied(target)),
        Err(errno) => Err(Error::io("cannot open", target, errno.into())),
        Ok(dir) => {
            let names = rustix::fs::Dir::read_from(&dir)
                .map_err(|errno| Error::io("cannot list", target, errno.into()))?;
            // "." and ".." are always there.
            if names.take(3).count() > 2 { Err(occupied(target)) } else { Ok(()) }
        }
    }
}

fn occupied(target: &Path) -> Error {
    Error::new(Kind::Conflict, format!("cannot unpack to {}", target.display()))
        .expected("a new name or an empty directory")
        .found("something else")
        .hint("name another folder, or remove this one first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("rootfs");
        let staging = Staging::new(&target, Shape::Rootfs).unwrap();
        let inside = temp.path().join(&staging.name).join("tree/deep/er");
        std::fs::create_dir_all(inside).unwrap();
        drop(staging);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_in_use_stays_and_what_a_killed_process_left_goes() {
        let temp = tempfile::tempdir().unwrap();
        let new = || Staging::new(&temp.path().join("rootfs"), Shape::Bundle).unwrap();
        let names = || std::fs::read_dir(temp.path()).unwrap().count();
        let busy = new();
        let leftover = temp.path().join(".conex-0123456789abcdef0123456789abcdef");
        std::fs::create_dir_all(leftover.join("tree/rootfs/a")).unwrap();
        std::fs::write(leftover.join("tree/rootfs/a/file"), "x").unwrap();
        std::fs::create_dir(temp.path().join(".conex-of-someone")).unwrap();
        drop(new());
        assert!(!leftover.exists());
        assert!(temp.path().join(&busy.name).join("tree/rootfs").exists());
        std::fs::create_dir(&leftover).unwrap();
        drop(new());
        assert_eq!(names(), 2);
        drop(busy);
        assert_eq!(names(), 1);
    }

    #[test]
    fn an_empty_directory_is_replaced_and_a_full_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("rootfs");
        std::fs::create_dir(&target).unwrap();
        let staging = Staging::new(&target, Shape::Rootfs).unwrap();
        staging.publish().unwrap();
        drop(staging);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);

        let staging = Staging::new(&target, Shape::Rootfs).unwrap();
        std::fs::write(target.join("x"), "").unwrap();
        assert_eq!(staging.publish().unwrap_err().kind(), Kind::Conflict);
        assert_eq!(Staging::new(&target, Shape::Rootfs).unwrap_err().kind(), Kind::Conflict);
        for target in ["/", "/..", ""] {
            assert_eq!(
                Staging::new(Path::new(target), Shape::Rootfs).unwrap_err().kind(),
                Kind::Usage
            );
        }
    }

    #[test]
    fn a_link_or_file_in_the_way_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("rootfs");
        std::os::unix::fs::symlink(temp.path(), &target).unwrap();
        assert_eq!(Staging::new(&target, Shape::Rootfs).unwrap_err().kind(), Kind::Conflict);
        std::fs::remove_file(&target).unwrap();
        std::fs::write(&target, "").unwrap();
        assert_eq!(Staging::new(&target, Shape::Rootfs).unwrap_err().kind(), Kind::Conflict);
    }
}
