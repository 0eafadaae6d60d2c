//! Extended attributes: which ones travel in layers, and how they are read and set.
//!
//! | attribute | in a layer |
//! |---|---|
//! | `user.*`, `trusted.*` | kept |
//! | `security.capability`, `system.posix_acl_*` | kept |
//! | `user.overlay.*`, `trusted.overlay.*` | left out: they would steer overlayfs (rule U11) |
//! | `security.selinux`, `.ima`, `.evm`, … | left out: they belong to the host's policy |
//! | any other | left out: what it means here nobody knows |

use std::os::fd::{AsFd, BorrowedFd};

use conex_spec::{Error, Result};
use conex_tar::{Code, Entry, Warnings, Xattr, show};
use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;

use crate::sys::{HANDLE, failed, proc_path};

/// What grants capabilities to a program.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// The kernel's limit of a value, and of the list of names.
const MAX_VALUE: usize = 64 << 10;

/// Whether an attribute may travel in a layer; see the table above.
pub(crate) fn travels(name: &[u8]) -> bool {
    let overlay = |namespace: &[u8]| name.strip_prefix(namespace).is_some_and(is_overlay);
    match name {
        CAPABILITY => true,
        _ if is_acl(name) => true,
        _ if overlay(b"user.") || overlay(b"trusted.") => false,
        _ => name.starts_with(b"user.") || name.starts_with(b"trusted."),
    }
}

/// Whether it says who else may do what with a file, or with those that are made in a directory.
pub(crate) fn is_acl(name: &[u8]) -> bool {
    name == b"system.posix_acl_access" || name == b"system.posix_acl_default"
}

fn is_overlay(rest: &[u8]) -> bool {
    rest == b"overlay" || rest.starts_with(b"overlay.")
}

/// Refuses attributes that the kernel would refuse on any file, so that a layer that cannot be unpacked
/// is not listed or exported either.
pub(crate) fn check(entry: &Entry) -> Result<()> {
    for Xattr { name, value } in entry.xattrs.iter().filter(|xattr| travels(&xattr.name)) {
        let sound = match &name[..] {
            // Revisions 1 to 3: `struct vfs_cap_data`, linux/capability.h.
            CAPABILITY => {
                matches!((value.get(3), value.len()), (Some(1), 12) | (Some(2), 20) | (Some(3), 24))
            }
            // A header of four bytes and entries of eight, linux/posix_acl_xattr.h.
            name if is_acl(name) => {
                value.is_empty() || value.len() % 8 == 4 && value.starts_with(&[2, 0, 0, 0])
            }
            b"user." | b"trusted." => false,
            _ => true,
        };
        if !sound {
            let what = format!("attribute {} of {} makes no sense", show(name), show(&entry.path));
            return Err(Error::invalid(what).found(format!(
                "{} bytes, {}",
                value.len(),
                show(value)
            )));
        }
    }
    Ok(())
}

/// An inode whose attributes are set or read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// Open for reading or writing.
    Open(BorrowedFd<'a>),
    /// Open as `O_PATH`: links and devices.
    Handle(BorrowedFd<'a>),
}

/// Sets the attributes that may travel; warns about the others and about those that this file
/// system or user cannot store.
pub(crate) fn set_all(
    target: Target<'_>,
    xattrs: &[Xattr],
    privileged: bool,
    path: &[u8],
    warnings: &mut Warnings,
) -> Result<()> {
    for xattr in xattrs {
        let name = &xattr.name;
        if !travels(name) {
            let detail = format!("attribute {} is not taken from a layer", show(name));
            warnings.add(Code::XattrDropped, path, detail);
            continue;
        }
        let result = match target {
            Target::Open(fd) => {
                rustix::fs::fsetxattr(fd, &name[..], &xattr.value, XattrFlags::empty())
            }
            Target::Handle(fd) => {
                rustix::fs::setxattr(proc_path(fd), &name[..], &xattr.value, XattrFlags::empty())
            }
        };
        let Err(errno) = result else { continue };
        // What a capability or an access control list may be, the kernel decides.
        if errno == Errno::INVAL {
            let what = format!("attribute {} of {} makes no sense", show(name), show(path));
            return Err(Error::invalid(what).found(format!("{} bytes", xattr.value.len())));
        }
        // The kernel allows user attributes on files and directories only.
        let forgivable = errno == Errno::OPNOTSUPP
            || errno == Errno::PERM && (!privileged || name.starts_with(b"user."));
        if !forgivable {
            let action = format!("set attribute {} ({} bytes) of", show(name), xattr.value.len());
            return Err(failed(&action, path, errno));
        }
        let detail = format!("attribute {} cannot be stored here: {errno}", show(name));
        warnings.add(Code::XattrRefused, path, detail);
    }
    Ok(())
}

/// Sets the marks of overlayfs on a directory, which no layer may set.
pub(crate) fn set_marks(fd: BorrowedFd<'_>, entry: &Entry) -> Result<()> {
    let marks = entry.xattrs.iter().filter(|xattr| !travels(&xattr.name));
    for Xattr { name, value } in marks {
        rustix::fs::fsetxattr(fd, &name[..], value, XattrFlags::empty()).map_err(|errno| {
            failed(&format!("set attribute {} of", show(name)), &entry.path, errno)
        })?;
    }
    Ok(())
}

/// Removes the attributes that a lower layer may have set, before others take their place.
pub(crate) fn clear(fd: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
    for name in names(Target::Open(fd), path)? {
        if travels(&name) {
            let removed = rustix::fs::fremovexattr(fd, &name[..]);
            removed.map_err(|errno| failed("remove an attribute of", path, errno))?;
        }
    }
    Ok(())
}

/// The same of a child of an open directory, in one call for those that have none. A link is not
/// followed.
pub(crate) fn get_all_at(dir: impl AsFd, name: &[u8], path: &[u8]) -> Result<Vec<Xattr>> {
    let full = [proc_path(dir.as_fd()).as_bytes(), b"/", name].concat();
    // Not an empty buffer: rustix tells of none then, without asking.
    let mut few = [0_u8; 256];
    match rustix::fs::llistxattr(&full[..], &mut few[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        _ => {}
    }
    let handle = rustix::fs::openat(dir, name, HANDLE, Mode::empty());
    let handle = handle.map_err(|errno| failed("list the attributes of", path, errno))?;
    get_all(Target::handle(&handle), path)
}

/// The attributes of an inode, sorted by name; those that do not travel are left out.
pub(crate) fn get_all(target: Target<'_>, path: &[u8]) -> Result<Vec<Xattr>> {
    let mut xattrs = Vec::new();
    for name in names(target, path)? {
        if !travels(&name) {
            continue;
        }
        let mut value = vec![0; MAX_VALUE];
        let length = match target {
            Target::Open(fd) => rustix::fs::fgetxattr(fd, &name[..], &mut value[..]),
            Target::Handle(fd) => rustix::fs::getxattr(proc_path(fd), &name[..], &mut value[..]),
        };
        let length = length.map_err(|errno| failed("read an attribute of", path, errno))?;
        value.truncate(length);
        value.shrink_to_fit();
        xattrs.push(Xattr { name, value });
    }
    xattrs.sort();
    Ok(xattrs)
}

fn names(target: Target<'_>, path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let list = |buffer: &mut [u8]| match target {
        Target::Open(fd) => rustix::fs::flistxattr(fd, buffer),
        Target::Handle(fd) => rustix::fs::listxattr(proc_path(fd), buffer),
    };
    let mut buffer = vec![0; 1024];
    let length = match list(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(MAX_VALUE, 0);
            list(&mut buffer)
        }
        other => other,
    };
    let length = match length {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(failed("list the attributes of", path, errno)),
    };
    let names = buffer[..length].split(|&b| b == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

impl<'a> Target<'a> {
    /// An inode that is open for reading or writing.
    pub(crate) fn open(fd: &'a impl AsFd) -> Self {
        Self::Open(fd.as_fd())
    }

    /// An inode that is open as `O_PATH`.
    pub(crate) fn handle(fd: &'a impl AsFd) -> Self {
        Self::Handle(fd.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_kernel_takes_is_refused() {
        let entry = |name: &str, value: &[u8]| {
            let mut entry = Entry::new("f", conex_tar::Kind::File);
            entry.xattrs.push(Xattr { name: name.into(), value: value.into() });
            check(&entry).is_ok()
        };
        let capability = |revision: u8, length: usize| {
            let mut value = vec![0; length];
            value[3] = revision;
            entry("security.capability", &value)
        };
        assert!(capability(1, 12) && capability(2, 20) && capability(3, 24));
        assert!(!capability(2, 24) && !capability(4, 20) && !entry("security.capability", b""));
        for acl in ["system.posix_acl_access", "system.posix_acl_default"] {
            assert!(entry(acl, &[&[2, 0, 0, 0][..], &[0; 24]].concat()) && entry(acl, b""));
            assert!(!entry(acl, &[2, 0, 0, 0, 1]) && !entry(acl, &[1, 0, 0, 0]));
        }
        assert!(entry("user.a", b"") && !entry("user.", b"") && !entry("trusted.", b""));
        // What is left out may be as it likes.
        assert!(entry("security.selinux", b"") && entry("security.", b""));
    }

    /// Rule U11.
    #[test]
    fn which_attributes_travel() {
        for name in ["user.a", "trusted.a", "security.capability", "system.posix_acl_default"] {
            assert!(travels(name.as_bytes()), "{name}");
        }
        for name in [
            "trusted.overlay.opaque",
            "trusted.overlay.overlay.opaque",
            "user.overlay.redirect",
            "user.overlay",
            "security.selinux",
            "security.ima",
            "security.evm",
            "security.apparmor",
            "system.nfs4_acl",
            "com.apple.quarantine",
            "user",
            "",
        ] {
            assert!(!travels(name.as_bytes()), "{name}");
        }
    }

    /// Of a file by its name, without opening it.
    #[test]
    fn attributes_of_a_child_are_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        let set = rustix::fs::setxattr(dir.path().join("f"), "user.a", b"1", XattrFlags::empty());
        if set.is_err() {
            return; // This file system has no attributes.
        }
        let open = std::fs::File::open(dir.path()).unwrap();
        let expected = Xattr { name: b"user.a".to_vec(), value: b"1".to_vec() };
        assert_eq!(get_all_at(&open, b"f", b"f").unwrap(), [expected]);
        assert_eq!(get_all_at(&open, b"plain", b"plain").unwrap(), []);
    }

    #[test]
    fn attributes_are_set_read_and_cleared() {
        let file = tempfile::tempfile().unwrap();
        let xattr =
            |name: &[u8], value: &[u8]| Xattr { name: name.to_vec(), value: value.to_vec() };
        let wanted = [xattr(b"user.b", b"2"), xattr(b"user.a", b""), xattr(b"user.overlay.x", b"")];
        let mut warnings = Warnings::default();
        set_all(Target::open(&file), &wanted, true, b"f", &mut warnings).unwrap();
        assert!(warnings.has(Code::XattrDropped));
        if warnings.has(Code::XattrRefused) {
            return; // This file system has no attributes.
        }
        let found = get_all(Target::open(&file), b"f").unwrap();
        assert_eq!(found, [xattr(b"user.a", b""), xattr(b"user.b", b"2")]);
        clear(file.as_fd(), b"f").unwrap();
        assert!(get_all(Target::open(&file), b"f").unwrap().is_empty());
    }
}
