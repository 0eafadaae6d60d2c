//! The upper directory of an overlay file system, as the kernel's `filesystems/overlayfs.rst` has it:
//! deleted files are character devices 0:0, or empty files with an attribute, opaque directories have an
//! attribute, with the prefix `trusted.` or, where it is mounted without privilege, `user.`.

use std::os::fd::BorrowedFd;

use conex_spec::{Error, Kind, Result};
use conex_tar::show;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::sys::failed;

const PREFIXES: [&str; 2] = ["trusted.overlay.", "user.overlay."];
/// What would need the lower directories to be understood.
const REFUSED: [&str; 2] = ["redirect", "metacopy"];

/// Whether it stands for a file that was deleted.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether a directory hides all that is below it; one that was renamed is refused.
pub(super) fn is_opaque(dir: BorrowedFd<'_>, path: &[u8]) -> Result<bool> {
    check_file(dir, path)?;
    match value(dir, "opaque", path)?.as_deref() {
        None | Some(b"n") => Ok(false),
        Some(b"y") => Ok(true),
        Some(other) => Err(Error::new(
            Kind::Unsupported,
            format!("{} is marked for an overlay in an unknown way", show(path)),
        )
        .expected("overlay.opaque of y")
        .found(show(other))
        .hint("whiteouts in the form of attributes are not understood")),
    }
}

/// Refuses a file or directory whose content or place lies in a lower directory.
pub(super) fn check_file(file: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
    for name in REFUSED {
        if let Some(value) = value(file, name, path)? {
            let message = format!("{} is not whole in the upper directory", show(path));
            return Err(Error::new(Kind::Unsupported, message)
                .expected("an overlay mounted with redirect_dir=off and metacopy=off")
                .found(format!("overlay.{name} {}", show(&value))));
        }
    }
    Ok(())
}

fn value(file: BorrowedFd<'_>, name: &str, path: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut buffer = [0_u8; 4096];
    for prefix in PREFIXES {
        match rustix::fs::fgetxattr(file, format!("{prefix}{name}"), &mut buffer[..]) {
            Ok(length) => return Ok(Some(buffer[..length].to_vec())),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(failed("read an attribute of", path, errno)),
        }
    }
    Ok(None)
}
