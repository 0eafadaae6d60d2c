//! Who may do what to a folder at the same time.
//!
//! - [`Folder::lock`]: one changes a file that several change. Held for a moment.
//! - [`Folder::share`]: everyone who reads or writes content has a share in the folder, from the
//!   first look to the last; [`Folder::claim`] waits until nobody else has, and then content may
//!   be removed. So what another process uses is never collected, whatever its age.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use conex_spec::{Error, Kind, Result};

use super::{Folder, LOCK, retry};

/// How long a claim waits before it looks again.
const PAUSE: Duration = Duration::from_millis(10);

impl Folder {
    /// Waits for the folder's lock; it is held until the value is dropped, or the process dies.
    pub fn lock(&self) -> Result<Lock> {
        let fd = self.open_or_make(LOCK, OFlags::CREATE | OFlags::RDWR)?;
        retry(|| flock(&fd, FlockOperation::LockExclusive))
            .map_err(|err| self.fault("cannot lock", LOCK, err.into()))?;
        Ok(Lock(fd))
    }

    /// Takes the folder's lock if nobody holds it; nothing if someone does.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        let fd = self.open_or_make(LOCK, OFlags::CREATE | OFlags::RDWR)?;
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(fd))),
            Err(Errno::AGAIN) => Ok(None),
            Err(err) => Err(self.fault("cannot lock", LOCK, err.into())),
        }
    }

    /// Takes a share in the folder, until it is closed. Waits while someone else has a claim.
    pub fn share(&self) {
        // Where a file system has no such locks, nobody can have a claim either.
        let _ = retry(|| flock(&self.fd, FlockOperation::LockShared));
    }

    /// Turns the share into a claim: nobody else reads or writes content until the value is
    /// dropped. Looks `attempts` times, a hundredth of a second apart.
    ///
    /// # Errors
    /// `Conflict` where others still have shares then.
    pub fn claim(&self, attempts: u32) -> Result<Claim<'_>> {
        for attempt in 0..attempts.max(1) {
            if attempt > 0 {
                thread::sleep(PAUSE);
            }
            match flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Claim(self)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(err) => return Err(self.fault("cannot lock", "", err.into())),
            }
        }
        // An attempt that fails may have lost the share.
        self.share();
        let message = format!("{} is in use by another process", self.path.display());
        Err(Error::new(Kind::Conflict, message).hint("try again when that has ended"))
    }
}

/// A held lock of a folder.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open, never read")] OwnedFd);

/// A folder that nobody else uses; see [`Folder::claim`].
#[derive(Debug)]
pub struct Claim<'a>(&'a Folder);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.share();
    }
}
