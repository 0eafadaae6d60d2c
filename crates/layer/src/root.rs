//! A directory tree of an image, held by a descriptor: every path is resolved inside it by the
//! kernel, links and `..` included, as if it were `/` (rules U2, U3, U13).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use conex_spec::{Error, Kind, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::sys::{HANDLE, failed};

/// While someone renames in the tree, the kernel may be unsure about a `..` and ask for another
/// try; someone who never stops shall not keep us for ever.
const MAX_TRIES: usize = 1000;

/// The root of an image's tree.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// What [`Root::folder`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The owner, as a number of this machine.
    pub uid: u32,
    /// The group, likewise.
    pub gid: u32,
    /// Permissions, set-ID and sticky bits.
    pub mode: u32,
}

impl Root {
    /// Opens a directory; links in `path` itself are the caller's and are followed.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open", path, errno.into()))?;
        Ok(Self { fd })
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens a regular file of the image for reading. Links are followed inside the root;
    /// anything but a regular file is an error, so that no device or pipe is ever opened.
    pub fn file(&self, path: &[u8]) -> Result<File> {
        // A pipe would block until someone writes.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let handle = self.resolve(path, HANDLE.difference(OFlags::NOFOLLOW))?;
        check_file(&handle, path)?;
        let fd = self.resolve(path, flags)?;
        check_file(&fd, path)?;
        Ok(fd.into())
    }

    /// Whose a directory of the image is, and its mode; nothing where there is none. Links are
    /// followed inside the root.
    ///
    /// # Errors
    /// `Invalid` where something else is in its place.
    pub fn folder(&self, path: &[u8]) -> Result<Option<Folder>> {
        let dir = match self.dir(path) {
            Ok(dir) => dir,
            Err(err) if err.kind() == Kind::NotFound => return Ok(None),
            Err(err) => {
                let errno = std::error::Error::source(&err)
                    .and_then(|cause| cause.downcast_ref::<std::io::Error>())
                    .and_then(Errno::from_io_error);
                let other = matches!(errno, Some(Errno::NOTDIR | Errno::LOOP));
                return Err(if other { err.with_kind(Kind::Invalid) } else { err });
            }
        };
        let stat = rustix::fs::fstat(&dir).map_err(|errno| failed("look at", path, errno))?;
        Ok(Some(Folder { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 }))
    }

    /// A handle on a directory of the image.
    pub(crate) fn dir(&self, path: &[u8]) -> Result<OwnedFd> {
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut result = Err(Errno::AGAIN);
        for _ in 0..MAX_TRIES {
            result = openat2(&self.fd, path, flags, Mode::empty(), inside);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result.map_err(|errno| failed("open", path, errno))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn check_file(fd: &OwnedFd, path: &[u8]) -> Result<()> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| failed("open", path, errno))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::RegularFile {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, format!("cannot open {}", conex_tar::show(path)))
        .expected("a regular file")
        .found(format!("{kind:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("secret"), "host").unwrap();
        let image = temp.path().join("image");
        std::fs::create_dir_all(image.join("etc")).unwrap();
        std::fs::write(image.join("etc/real"), "image").unwrap();
        symlink("../../secret", image.join("etc/passwd")).unwrap();
        symlink("/etc/real", image.join("etc/shadow")).unwrap();
        symlink("/proc/self/fd", image.join("fds")).unwrap();
        symlink("loop", image.join("loop")).unwrap();
        let root = Root::open(&image).unwrap();
        let mut text = String::new();
        root.file(b"etc/shadow").unwrap().read_to_string(&mut text).unwrap();
        root.file(b"/../etc/real").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "imageimage");
        for path in [&b"etc/passwd"[..], b"fds/0", b"loop", b"etc", b"", b"../secret"] {
            assert!(root.file(path).is_err(), "{}", conex_tar::show(path));
        }
        assert!(root.dir(b"").is_ok() && root.dir(b"etc/").is_ok());
        let folder = root.folder(b"/etc").unwrap().unwrap();
        assert_eq!(folder.uid, rustix::process::geteuid().as_raw());
        assert_eq!(root.folder(b"missing").unwrap(), None);
    }

    #[test]
    fn a_pipe_is_an_error_and_no_wait() {
        let temp = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(CWD, temp.path().join("pipe"), Mode::RWXU).unwrap();
        let err = Root::open(temp.path()).unwrap().file(b"pipe").unwrap_err();
        assert_eq!(err.kind(), Kind::Invalid);
    }
}
