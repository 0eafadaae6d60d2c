//! What a tree on the disk would have in its manifest.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use conex_spec::{Algorithm, Error, Result};
use conex_tar::show;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat,
};

use super::Words;
use super::text::base64;
use crate::sys::{HANDLE, failed, list, open_dir};
use crate::xattr::{Target, get_all};

pub(super) const SHA256: &str = "sha256digest";
pub(super) const XATTR: &str = "xattr.";

/// Which files are read.
pub(super) type Hashed<'a> = Option<&'a dyn Fn(&[u8]) -> bool>;

/// A folder on the way, and what is left to do in it.
struct Frame {
    fd: OwnedFd,
    /// With a slash at the end; empty for the root.
    path: Vec<u8>,
    /// Sorted backwards, so that the next one is the last.
    names: Vec<Vec<u8>>,
}

/// Shows every name with what it is, each folder before what is in it.
pub(super) fn visit(
    root: BorrowedFd<'_>,
    hashed: Hashed<'_>,
    see: &mut dyn FnMut(&[u8], Words) -> Result<()>,
) -> Result<()> {
    let fd = open_dir(root, b".").map_err(|errno| failed("open", b".", errno))?;
    see(b"", describe_dir(fd.as_fd(), b"")?)?;
    let mut frames = vec![frame(fd, Vec::new())?];
    while let Some(top) = frames.last_mut() {
        let Some(name) = top.names.pop() else {
            frames.pop();
            continue;
        };
        let path = [&top.path[..], &name].concat();
        let fail = |errno| failed("read", &path, errno);
        let stat = statat(&top.fd, &name[..], AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let fd = open_dir(&top.fd, &name).map_err(fail)?;
                see(&path, describe_dir(fd.as_fd(), &path)?)?;
                frames.push(frame(fd, [&path[..], b"/"].concat())?);
            }
            FileType::RegularFile => {
                let read = hashed.is_none_or(|hashed| hashed(&path));
                see(&path, describe_file(&top.fd, &name, &path, read)?)?;
            }
            _ => see(&path, describe_other(&top.fd, &name, &path, &stat)?)?,
        }
    }
    Ok(())
}

fn frame(fd: OwnedFd, path: Vec<u8>) -> Result<Frame> {
    let mut names: Vec<_> = list(&fd, &path)?.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Frame { fd, path, names })
}

pub(super) fn describe_dir(fd: BorrowedFd<'_>, path: &[u8]) -> Result<Words> {
    let stat = fstat(fd).map_err(|errno| failed("read", path, errno))?;
    let mut words = words(&stat, "dir");
    // What a folder's number of names is, each file system decides.
    words.remove("nlink");
    add_xattrs(&mut words, Target::Open(fd), path)?;
    Ok(words)
}

fn describe_file(at: &OwnedFd, name: &[u8], path: &[u8], read: bool) -> Result<Words> {
    let fail = |errno| failed("read", path, errno);
    // A pipe that took the file's place meanwhile must not block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = openat(at, name, flags, Mode::empty()).map_err(fail)?.into();
    let stat = fstat(&file).map_err(fail)?;
    let mut words = words(&stat, "file");
    words.insert("size".into(), stat.st_size.to_string().into_bytes());
    add_xattrs(&mut words, Target::open(&file), path)?;
    if read {
        words.insert(SHA256.into(), hash(file, path)?.into_bytes());
    }
    Ok(words)
}

fn describe_other(at: &OwnedFd, name: &[u8], path: &[u8], stat: &Stat) -> Result<Words> {
    let fail = |errno| failed("read", path, errno);
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mut words = words(
        stat,
        match kind {
            FileType::Symlink => "link",
            FileType::CharacterDevice => "char",
            FileType::BlockDevice => "block",
            FileType::Fifo => "fifo",
            _ => "socket",
        },
    );
    if kind == FileType::Symlink {
        let target = readlinkat(at, name, Vec::new()).map_err(fail)?;
        words.insert("link".into(), target.into_bytes());
    }
    if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        let device = format!("native,{},{}", major(stat.st_rdev), minor(stat.st_rdev));
        words.insert("device".into(), device.into_bytes());
    }
    let handle = openat(at, name, HANDLE, Mode::empty()).map_err(fail)?;
    add_xattrs(&mut words, Target::handle(&handle), path)?;
    Ok(words)
}

fn words(stat: &Stat, kind: &str) -> Words {
    let time = format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec);
    let words = [
        ("type", kind.to_owned()),
        ("mode", format!("{:04o}", stat.st_mode & 0o7777)),
        ("uid", stat.st_uid.to_string()),
        ("gid", stat.st_gid.to_string()),
        ("time", time),
        ("nlink", stat.st_nlink.to_string()),
    ];
    words.into_iter().map(|(key, value)| (key.to_owned(), value.into_bytes())).collect()
}

fn add_xattrs(words: &mut Words, target: Target<'_>, path: &[u8]) -> Result<()> {
    for xattr in get_all(target, path)? {
        // A keyword is text without what separates words.
        let name = super::text::spell(&xattr.name).replace('=', "\\075");
        words.insert(format!("{XATTR}{name}"), base64(&xattr.value).into_bytes());
    }
    Ok(())
}

fn hash(mut file: File, path: &[u8]) -> Result<String> {
    let mut hasher = Algorithm::Sha256.hasher();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish().encoded().to_owned()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(Error::from_io(err, || format!("cannot read {}", show(path)))),
        }
    }
}
