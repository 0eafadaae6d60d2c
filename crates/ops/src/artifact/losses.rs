//! What would be lost of a folder if something came in its place.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, ResolveFlags, openat2, statat};

/// The first path below a folder that is not in the one which comes in its place, and what is there. A
/// file or link that comes as something else is not lost; without a folder that comes, everything is.
pub(super) fn first(
    folder: impl AsFd,
    coming: Option<&Path>,
) -> io::Result<Option<(PathBuf, FileType)>> {
    let folder = folder.as_fd();
    let mut left = below(folder, Path::new(""))?;
    while let Some(path) = left.pop() {
        let there = statat(folder, &path, AtFlags::SYMLINK_NOFOLLOW)?;
        let there = FileType::from_raw_mode(there.st_mode);
        let new = coming.and_then(|coming| sort(&coming.join(&path)));
        match (there, new) {
            (FileType::Directory, Some(FileType::Directory)) => left.extend(below(folder, &path)?),
            (FileType::Directory, Some(_)) => {
                // An empty one has nothing to lose.
                if let Some(first) = below(folder, &path)?.pop() {
                    let lost = statat(folder, &first, AtFlags::SYMLINK_NOFOLLOW)?;
                    return Ok(Some((first, FileType::from_raw_mode(lost.st_mode))));
                }
            }
            (FileType::RegularFile | FileType::Symlink, Some(_)) => {}
            (there, Some(new)) if there == new => {}
            _ => return Ok(Some((path, there))),
        }
    }
    Ok(None)
}

/// What a folder holds, the first name last. No link is followed.
fn below(folder: BorrowedFd<'_>, path: &Path) -> io::Result<Vec<PathBuf>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let opened = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let held = openat2(folder, opened, flags, Mode::empty(), inside)?;
    let mut found = Vec::new();
    for entry in Dir::read_from(held)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            found.push(path.join(OsStr::from_bytes(name)));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

fn sort(path: &Path) -> Option<FileType> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(path).ok()?;
    Some(FileType::from_raw_mode(meta.mode() as RawMode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_first_that_does_not_come_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let (here, coming) = (temp.path().join("here"), temp.path().join("coming"));
        for dir in [&here, &coming] {
            fs::create_dir_all(dir.join("b/deep")).unwrap();
            fs::write(dir.join("b/deep/file"), dir.to_str().unwrap()).unwrap();
        }
        let lost = |coming: Option<&Path>| {
            let folder = fs::File::open(&here).unwrap();
            first(&folder, coming).unwrap().map(|(path, _)| path)
        };
        let coming = coming.as_path();
        assert_eq!(lost(Some(coming)), None);
        assert_eq!(lost(None), Some("b".into()));
        // A link is not followed, and is replaced by whatever comes.
        symlink(&here, here.join("link")).unwrap();
        assert_eq!(lost(Some(coming)), Some("link".into()));
        fs::create_dir(coming.join("link")).unwrap();
        assert_eq!(lost(Some(coming)), None);
        // An empty folder makes room for a file, one with something in it does not.
        fs::write(coming.join("c"), "").unwrap();
        fs::create_dir(here.join("c")).unwrap();
        assert_eq!(lost(Some(coming)), None);
        fs::create_dir(here.join("c/y")).unwrap();
        fs::write(here.join("c/x"), "").unwrap();
        assert_eq!(lost(Some(coming)), Some("c/x".into()));
        let _socket = UnixListener::bind(here.join("b/deep/socket")).unwrap();
        fs::write(coming.join("b/deep/socket"), "").unwrap();
        assert_eq!(lost(Some(coming)), Some("b/deep/socket".into()));
        fs::write(here.join("b/a"), "").unwrap();
        assert_eq!(lost(Some(coming)), Some("b/a".into()));
    }
}
