//! Who may do what to a folder at the same time.
//!
//! - [`Folder::lock`]: one changes a file that several change. Held for a moment.
//! - [`Folder::try_lock_file`]: one adds to a file of a folder that is not conex's own, which is written anew for it.
//! - [`Folder::share`]: everyone who reads or writes content has a share in the folder, from the
//!   first look to the last; [`Folder::claim`] waits until nobody else has, and then content may
//!   be removed. So what another process uses is never collected, whatever its age.
//!
//! Where shares overlap without end, a claim would never get its turn. So who waits for a claim
//! closes a turnstile, which everyone passes on the way to a share: those that are inside end,
//! and nobody follows. A process with a share in the folder passes freely, for the claim waits
//! for that share already. The turnstile is closed for a second at a time, so that one long copy
//! does not keep all others out for as long as the claim is ready to wait.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, statat};
use rustix::io::Errno;

use conex_spec::{Error, Kind, Result};

use super::{Folder, LOCK, TURN, retry};

/// How long a claim waits before it looks again.
const PAUSE: Duration = Duration::from_millis(10);
/// For how many pauses the turnstile stays closed, and then open.
const CLOSED: u32 = 100;

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

    /// A file and its lock; without the lock where someone else has it, and nothing if there is no file.
    /// The file is its own lock, so that none is left lying beside it: it goes with a rename, and whoever
    /// has waited for one that is gone waits for the one that came.
    pub fn try_lock_file(&self, name: &str) -> Result<Option<(File, Option<Lock>)>> {
        loop {
            let Some(file) = self.file(name)? else { return Ok(None) };
            let fault = |err: std::io::Error| self.fault("cannot lock", name, err);
            let fd = file.try_clone().map_err(fault)?.into();
            match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::AGAIN) => return Ok(Some((file, None))),
                Err(Errno::INTR) => continue,
                // Where a file system has no such locks, nobody else has one either.
                Ok(()) | Err(_) => {}
            }
            let lock = Lock(fd);
            let ours = fstat(&file).map_err(|err| fault(err.into()))?;
            match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => {
                    return Ok(Some((file, Some(lock))));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(err) => return Err(fault(err.into())),
            }
        }
    }

    /// Takes a share in the folder, until it is closed. Waits while someone else has a claim.
    pub fn share(&self) {
        let is_new = self.user.get().is_none();
        let is_first = self.user.get_or_init(|| User::of(&self.fd)).is_first;
        let turn = if is_new && is_first { self.pass() } else { None };
        // Where a file system has no such locks, nobody can have a claim either.
        let _ = retry(|| flock(&self.fd, FlockOperation::LockShared));
        drop(turn);
    }

    /// Goes through the turnstile; it stays open for as long as the value lives. There is none
    /// before the first claim, and none that can be closed for who may not read it.
    fn pass(&self) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let turn = self.openat(TURN, flags, Mode::empty()).ok()??;
        retry(|| flock(&turn, FlockOperation::LockShared)).ok().map(|()| turn)
    }

    /// Turns the share into a claim: nobody else reads or writes content until the value is
    /// dropped. Looks `attempts` times, a hundredth of a second apart.
    ///
    /// # Errors
    /// `Conflict` where others still have shares then.
    pub fn claim(&self, attempts: u32) -> Result<Claim<'_>> {
        // Where it cannot be made, the claim waits for a moment without users.
        let turn = self.open_or_make(TURN, OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW).ok();
        for attempt in 0..attempts.max(1) {
            if attempt > 0 {
                thread::sleep(PAUSE);
            }
            if let Some(turn) = &turn {
                let is_closed = (attempt / CLOSED).is_multiple_of(2);
                // Someone may be on the way through, or another claim may wait; then not now.
                let _ = flock(
                    turn,
                    if is_closed {
                        FlockOperation::NonBlockingLockExclusive
                    } else {
                        FlockOperation::Unlock
                    },
                );
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

/// How many open folders of this process have shares, by device and inode.
static USERS: Mutex<BTreeMap<(u64, u64), usize>> = Mutex::new(BTreeMap::new());

/// One of them.
#[derive(Debug)]
pub(super) struct User {
    place: Option<(u64, u64)>,
    /// Whether no other of this process had a share then.
    is_first: bool,
}

impl User {
    fn of(folder: &OwnedFd) -> Self {
        let Ok(stat) = fstat(folder) else { return Self { place: None, is_first: true } };
        let place = (stat.st_dev, stat.st_ino);
        let mut users = users();
        let count = users.entry(place).or_default();
        *count += 1;
        Self { place: Some(place), is_first: *count == 1 }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let (Some(place), mut users) = (self.place, users()) else { return };
        if let Some(count) = users.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                users.remove(&place);
            }
        }
    }
}

fn users() -> MutexGuard<'static, BTreeMap<(u64, u64), usize>> {
    USERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A held lock of a folder.
#[derive(Debug)]
pub struct Lock(pub(super) OwnedFd);

/// Given back by word: a program that this process is just starting has all its descriptors until
/// it runs, so that closing this one would leave the folder locked for a moment.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = retry(|| flock(&self.0, FlockOperation::Unlock));
    }
}

/// A folder that nobody else uses; see [`Folder::claim`].
#[derive(Debug)]
pub struct Claim<'a>(&'a Folder);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.share();
    }
}
