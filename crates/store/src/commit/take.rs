//! Taking over files of the same file system without moving their bytes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, CWD, FlockOperation, flock, ioctl_ficlone, linkat};
use rustix::io::Errno;
use uuid::Uuid;

use conex_spec::Result;

use super::{Folder, STAGE, Staged};

impl Folder {
    /// A staged file that shares the blocks of an open file until one of the two is changed, so
    /// that neither ever sees a change of the other. Nothing where the file system cannot.
    pub fn reflink(&self, file: &File) -> Result<Option<Staged<'_>>> {
        if self.no_reflink.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let staged = self.stage()?;
        match ioctl_ficlone(staged.file(), file) {
            Ok(()) => Ok(Some(staged)),
            Err(err) => {
                // Any other fault is of this one file: it may lie on another file system.
                let never = matches!(err, Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS);
                self.no_reflink.fetch_or(never, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    /// Puts a hard link to an open file in place of whatever has the name, durably.
    /// Returns false where the file lies on another file system or cannot be linked.
    pub fn link(&self, file: &File, name: &str) -> Result<bool> {
        self.flush(file).map_err(|err| self.fault("cannot sync", name, err.into()))?;
        // Without the lock a sweep would take the staged name for a dead writer's.
        if flock(file, FlockOperation::NonBlockingLockShared).is_err() {
            return Ok(false);
        }
        let stage = format!("{STAGE}/{}", Uuid::new_v4());
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        let follow = AtFlags::SYMLINK_FOLLOW;
        let link = || linkat(CWD, from.as_str(), &self.fd, stage.as_str(), follow);
        let linked = match link() {
            Err(Errno::NOENT) => {
                self.make_folder(STAGE)?;
                link()
            }
            linked => linked,
        };
        if linked.is_err() {
            return Ok(false);
        }
        let renamed = self.rename(&stage, name);
        // What cannot be unlocked now is when the file is closed.
        let _ = flock(file, FlockOperation::Unlock);
        // Linking a file to its own other name leaves the first one standing.
        let _ = self.unlink(&stage);
        renamed.map(|()| true)
    }
}
