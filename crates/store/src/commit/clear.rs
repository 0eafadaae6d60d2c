//! Undoing what was made of a folder, as long as nothing is in it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, fstat, unlinkat};
use rustix::io::Errno;

use super::{Folder, LOCK, PARTIAL, STAGE, TURN};

impl Folder {
    /// Removes `files`, the folders of blobs and conex's own, where no blob is in them and nothing that
    /// is being written or was begun. Returns whether all of it is gone. The caller has a claim.
    pub(crate) fn clear(&self, files: &[&str]) -> bool {
        self.sweep();
        let blobs = self.list("blobs").unwrap_or_default();
        let blobs = blobs.into_iter().map(|algorithm| format!("blobs/{algorithm}"));
        let mut folders: Vec<String> = [STAGE, PARTIAL].map(str::to_owned).into();
        folders.extend(blobs);
        let is_empty = |name: &String| self.list(name).is_ok_and(|names| names.is_empty());
        if !folders.iter().all(is_empty) {
            return false;
        }
        folders.push("blobs".to_owned());
        folders.iter().all(|name| self.remove_folder(name))
            && files.iter().chain(&[LOCK, TURN]).all(|name| self.unlink(name).is_ok())
            && self.remove_folder(".conex")
    }

    /// Whether this folder still is what a path names.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let (Ok(ours), Ok(named)) = (fstat(&self.fd), path.metadata()) else { return false };
        (ours.st_dev, ours.st_ino) == (named.dev(), named.ino())
    }

    fn remove_folder(&self, name: &str) -> bool {
        matches!(unlinkat(&self.fd, name, AtFlags::REMOVEDIR), Ok(()) | Err(Errno::NOENT))
    }
}
