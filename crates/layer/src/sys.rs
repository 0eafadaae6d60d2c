//! Small helpers around system calls.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use conex_spec::{Error, Result};
use conex_tar::{Time, show};
use rustix::fs::{Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

/// How every directory is opened: its last component is never followed.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Names an inode without opening it for reading or writing.
pub(crate) const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The error of a system call on an entry: `cannot ACTION PATH`.
pub(crate) fn failed(action: &str, path: &[u8], errno: Errno) -> Error {
    Error::from_io(errno.into(), || format!("cannot {action} {}", show(path)))
}

/// Opens a directory below another one, never through a link.
pub(crate) fn open_dir(at: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(at, name, DIRECTORY, Mode::empty())
}

/// The path by which the kernel names an open file, for calls that take no descriptor of the
/// `O_PATH` kind. It leads to the inode itself, whatever has become of its name.
pub(crate) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The same moment as access and modification time.
pub(crate) fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Reads all names of a directory, with what the file system says they are. The order is that
/// of the disk.
pub(crate) fn list(fd: impl AsFd, path: &[u8]) -> Result<Vec<(Vec<u8>, FileType)>> {
    let fail = |errno| failed("list", path, errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(fd).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(names)
}
