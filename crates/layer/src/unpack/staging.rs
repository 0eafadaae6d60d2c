//! Where an image is unpacked before anyone can see it: a private folder beside the target.
//!
//! ```text
//! PARENT/.conex-UUID/        mode 0700, so that set-id programs are out of reach (rule U10)
//! PARENT/.conex-UUID/root/   becomes the target by one rename
//! PARENT/.conex-UUID/trash/  what is being removed
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use conex_spec::{Error, Kind, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::remove::Trash;
use crate::sys::open_dir;

/// The private folder; removed with all it holds unless it was published.
#[derive(Debug)]
pub(super) struct Staging {
    parent: OwnedFd,
    name: String,
    fd: OwnedFd,
    target: PathBuf,
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
    pub(super) fn new(target: &Path) -> Result<Self> {
        let Some(last) = target.file_name() else {
            return Err(Error::new(Kind::Usage, "cannot unpack to a path without a last name")
                .found(target.display()));
        };
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent_fd = openat(CWD, parent, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open", parent, errno.into()))?;
        check_target(&parent_fd, Path::new(last), target)?;
        let name = format!(".conex-{}", uuid::Uuid::new_v4().simple());
        let fail = |errno: Errno| Error::io("cannot make a folder in", parent, errno.into());
        mkdirat(&parent_fd, &name, Mode::RWXU).map_err(fail)?;
        let fd = open_dir(&parent_fd, name.as_bytes()).map_err(fail)?;
        let staging = Self { parent: parent_fd, name, fd, target: target.to_owned() };
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
        for dir in ["root", "trash"] {
            mkdirat(&self.fd, dir, Mode::RWXU)?;
        }
        Ok(())
    }

    /// The root of the image, and a trash for it.
    pub(super) fn open(&self) -> Result<(OwnedFd, Trash)> {
        let open = |name: &[u8]| open_dir(&self.fd, name).map_err(|errno| self.fail(errno));
        Ok((open(b"root")?, Trash::new(open(b"trash")?)))
    }

    /// Makes a file to see what it gets.
    pub(super) fn probe(&self) -> Result<Creation> {
        let fail = |errno| self.fail(errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        let file = openat(&self.fd, "probe", flags, all).map_err(fail)?;
        let stat = rustix::fs::fstat(&file).map_err(fail)?;
        unlinkat(&self.fd, "probe", AtFlags::empty()).map_err(fail)?;
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

    /// Moves the root to the target, which must not exist or be an empty directory.
    pub(super) fn publish(&self) -> Result<()> {
        let last = self.target.file_name().unwrap_or_default();
        renameat(&self.fd, "root", &self.parent, last).map_err(|errno| match errno {
            Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR => occupied(&self.target),
            errno => Error::io("cannot publish", &self.target, errno.into()),
        })
    }

    /// Makes the rename itself last.
    pub(super) fn sync_parent(&self) -> Result<()> {
        rustix::fs::fsync(&self.parent).map_err(|errno| self.fail(errno))
    }

    fn fail(&self, errno: Errno) -> Error {
        Error::io("cannot prepare to unpack", &self.target, errno.into())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // There is nobody to tell of a failure; what is left carries our name.
        if let Ok((_, mut trash)) = self.open() {
            let _ = trash.remove(self.fd.as_fd(), b"root");
        } else if let Ok(trash) = open_dir(&self.fd, b"trash") {
            let _ = Trash::new(trash).empty();
        }
        let _ = unlinkat(&self.fd, "trash", AtFlags::REMOVEDIR);
        let _ = unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
    }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("rootfs");
        let staging = Staging::new(&target).unwrap();
        let inside = temp.path().join(&staging.name).join("root/deep/er");
        std::fs::create_dir_all(inside).unwrap();
        drop(staging);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_directory_is_replaced_and_a_full_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("rootfs");
        std::fs::create_dir(&target).unwrap();
        let staging = Staging::new(&target).unwrap();
        staging.publish().unwrap();
        drop(staging);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);

        let staging = Staging::new(&target).unwrap();
        std::fs::write(target.join("x"), "").unwrap();
        assert_eq!(staging.publish().unwrap_err().kind(), Kind::Conflict);
        assert_eq!(Staging::new(&target).unwrap_err().kind(), Kind::Conflict);
        for target in ["/", "/..", ""] {
            assert_eq!(Staging::new(Path::new(target)).unwrap_err().kind(), Kind::Usage);
        }
    }

    #[test]
    fn a_link_or_file_in_the_way_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("rootfs");
        std::os::unix::fs::symlink(temp.path(), &target).unwrap();
        assert_eq!(Staging::new(&target).unwrap_err().kind(), Kind::Conflict);
        std::fs::remove_file(&target).unwrap();
        std::fs::write(&target, "").unwrap();
        assert_eq!(Staging::new(&target).unwrap_err().kind(), Kind::Conflict);
    }
}
