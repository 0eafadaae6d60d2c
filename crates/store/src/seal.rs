//! The seal of a blob that was verified when it was written.
//!
//! The nanoseconds of such a file's modification time follow from its digest and a key. Whoever
//! changes the file where it lies breaks the seal, so that a look at the file's metadata tells
//! whether its content is still what was verified, and a damaged blob is never taken for present.
//!
//! # Security
//! The key lies in a folder of the person's own, never in what is handed on: a layout that comes
//! from a stranger brings no seal that counts. A file that others own or may write is never
//! taken for sealed, since they could put its time back. What has no seal is hashed.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT, futimens};
use rustix::process::geteuid;
use uuid::Uuid;

use conex_spec::{Digest, Error, Result};

/// The length of a key in bytes.
pub const KEY_LENGTH: usize = 32;

/// What makes seals one person's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_LENGTH]);

impl Key {
    /// A new key that nobody can guess.
    pub fn random() -> Self {
        let mut key = [0; KEY_LENGTH];
        for half in key.chunks_mut(KEY_LENGTH / 2) {
            half.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        Self(key)
    }

    /// A key that was kept.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The key, to be kept where only its owner can read it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From 1 to 999,999,999, never a round value that a coarse clock would write.
    fn stamp(&self, digest: &Digest) -> i64 {
        let keyed = Digest::sha256(&[&self.0, digest.as_str().as_bytes()].concat());
        let start = keyed.encoded().get(..15).unwrap_or_default();
        let stamp = i64::from_str_radix(start, 16).unwrap_or_default() % 999_999_998 + 1;
        if stamp % 100 == 0 { stamp + 1 } else { stamp }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Marks a file whose content was verified against the digest; without a key does nothing.
pub fn seal(key: Option<&Key>, file: &File, digest: &Digest) -> Result<()> {
    let Some(key) = key else { return Ok(()) };
    let fault = |err: std::io::Error| Error::from_io(err, || format!("cannot seal {digest}"));
    let seconds = file.metadata().map_err(fault)?.mtime();
    set_modified(file, seconds, key.stamp(digest)).map_err(fault)
}

/// Takes the seal from a file, whose time becomes a round one that nobody takes for a seal.
pub fn unseal(file: &File, digest: &Digest) -> Result<()> {
    let fault = |err: std::io::Error| Error::from_io(err, || format!("cannot unseal {digest}"));
    let seconds = file.metadata().map_err(fault)?.mtime();
    set_modified(file, seconds, 0).map_err(fault)
}

fn set_modified(file: &File, seconds: i64, nanoseconds: i64) -> std::io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ },
    };
    Ok(futimens(file.as_fd(), &times)?)
}

/// Whether a file carries the seal of the digest under this key.
pub fn is_sealed(key: Option<&Key>, file: &File, digest: &Digest) -> Result<bool> {
    let Some(key) = key else { return Ok(false) };
    let meta = file.metadata();
    let meta = meta.map_err(|err| Error::from_io(err, || format!("cannot read {digest}")))?;
    let own = meta.uid() == geteuid().as_raw() && meta.mode() & 0o022 == 0;
    Ok(own && meta.mtime_nsec() == key.stamp(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_an_own_file_under_the_own_key_is_sealed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = file.as_file();
        let (digest, other) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        let key = Key::random();
        let holds = |key: &Key, digest: &Digest| is_sealed(Some(key), file, digest).unwrap();
        assert!(!holds(&key, &digest));
        seal(Some(&key), file, &digest).unwrap();
        assert!(holds(&key, &digest));
        unseal(file, &digest).unwrap();
        assert!(!holds(&key, &digest));
        seal(Some(&key), file, &digest).unwrap();
        assert!(!holds(&key, &other) && !holds(&Key::random(), &digest));
        assert!(!is_sealed(None, file, &digest).unwrap());
        file.set_permissions(PermissionsExt::from_mode(0o666)).unwrap();
        assert!(!holds(&key, &digest));
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        let key = Key::random();
        assert_eq!(Key::from_bytes(key.as_bytes()), Some(key));
        assert_eq!(Key::from_bytes(b"short"), None);
    }
}
