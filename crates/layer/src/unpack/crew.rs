//! The threads that make small files, and what the thread that reads the tar knows of them.
//!
//! Making, filling and closing small files is most of the work of a layer, so several threads share it:
//! each file is one thread's from its name to its time, and all files of a directory are the same
//! thread's while any of them is under way. Everything else is done by the thread that reads the tar.
//! Where it asks about a name that is still to be made, or changes what is below one, it waits: so
//! what names mean is as if one thread had done everything in the order of the layer.
//!
//! | what | is ordered by |
//! |---|---|
//! | two files of one name | their directory has one thread |
//! | a file and then anything else of its name, or something below it | [`Crew::settle`] |
//! | a file and then a hard link to it | [`Crew::settle_target`] |
//! | files and the time, mode or owner of their directory | [`Crew::set_time`], [`Crew::settle_dir`] |
//! | a file and what a whiteout, or a later entry, removes | [`Crew::settle_all`] |
//! | a file in the place of a directory | it comes back, and waits for all others |

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use conex_spec::{Error, Kind, Result};
use conex_tar::{Time, Warnings};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::parcel::{Duplicates, NewFile, Parcel, Work};
use super::remove::SharedTrash;
use crate::hashed::Hashed;

/// More threads than this wait for the one that reads the tar.
const MOST: usize = 4;
/// Parcels that may wait for a thread.
const WAITING: usize = 3;
/// So many names are remembered before those that are made are forgotten.
const NAMES: usize = 8192;

type Places = HashMap<u64, Place, Hashed>;

/// In which parcel of which thread something is.
#[derive(Clone, Copy, Debug)]
struct Place {
    hand: usize,
    number: u64,
}

/// The threads, as the thread that reads the tar sees them; without any, all is done at once.
#[derive(Debug, Default)]
pub(super) struct Crew {
    hands: Vec<Hand>,
    key: RandomState,
    /// Names that are to be made, by directory and last component.
    names: Places,
    /// The same by thread and last component: files of one last name may be on several threads.
    lasts: Places,
    /// Directories in which names are to be made, by inode number.
    dirs: Places,
    returned: Arc<Returned>,
    trash: Option<SharedTrash>,
}

/// One thread.
#[derive(Debug)]
struct Hand {
    sender: Sender<Parcel>,
    spare: Receiver<Parcel>,
    /// What is being gathered, the parcel of this number.
    parcel: Parcel,
    number: u64,
    /// The number of the last parcel that is done.
    done: Arc<AtomicU64>,
}

/// What the threads tell the one that reads the tar: files that found a directory in their place,
/// which may be being filled, and that one of them failed.
#[derive(Debug, Default)]
struct Returned {
    failed: AtomicBool,
    some: AtomicBool,
    files: Mutex<Vec<Parcel>>,
    duplicates: Mutex<Duplicates>,
}

/// How many threads this machine has work for.
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).clamp(1, MOST)
}

/// Runs `work` with threads beside it. What went wrong there is what went wrong; what was odd there is
/// returned as well.
pub(super) fn run<T>(
    count: usize,
    trash: &SharedTrash,
    work: impl FnOnce(Crew) -> Result<T>,
) -> Result<(T, Warnings)> {
    thread::scope(|scope| {
        let returned = Arc::new(Returned::default());
        let noted = Arc::clone(&returned);
        let mut hands = Vec::new();
        let mut threads = Vec::new();
        for _ in 0..count {
            let (sender, parcels) = bounded::<Parcel>(WAITING);
            let (give, spare) = bounded(WAITING + 1);
            let done = Arc::new(AtomicU64::new(0));
            let told = (Arc::clone(&done), Arc::clone(&returned));
            let thread = move || toil(&parcels, &give, &told.0, &told.1);
            let thread = thread::Builder::new().spawn_scoped(scope, thread);
            let failed = |err| Error::from_io(err, || "cannot start a thread".into());
            threads.push(thread.map_err(failed)?);
            hands.push(Hand { sender, spare, parcel: Parcel::default(), number: 1, done });
        }
        let crew = Crew { hands, returned, trash: Some(Arc::clone(trash)), ..Crew::default() };
        let worked = work(crew);
        let mut duplicates = noted
            .duplicates
            .lock()
            .map_or_else(|_| Duplicates::default(), |mut some| std::mem::take(&mut *some));
        let mut failed = None;
        for thread in threads {
            match thread.join().unwrap_or_else(|_| Err(stopped())) {
                Ok(found) => duplicates.append(found),
                Err(err) => failed = failed.or(Some(err)),
            }
        }
        // If one of the threads failed, that is the cause of the other failure.
        match failed {
            Some(err) => Err(err),
            None => worked.map(|value| (value, duplicates.warnings())),
        }
    })
}

/// One of the threads: until no more parcels come. After its first failure it only drops them, since
/// a channel keeps what nobody took, and who waits for a parcel is told by its end.
fn toil(
    parcels: &Receiver<Parcel>,
    give: &Sender<Parcel>,
    done: &AtomicU64,
    returned: &Returned,
) -> Result<Duplicates> {
    let made = work_all(parcels, give, done, returned);
    if made.is_err() {
        returned.failed.store(true, Ordering::Release);
        while parcels.recv().is_ok() {}
    }
    made
}

fn work_all(
    parcels: &Receiver<Parcel>,
    give: &Sender<Parcel>,
    done: &AtomicU64,
    returned: &Returned,
) -> Result<Duplicates> {
    let mut duplicates = Duplicates::default();
    while let Ok(mut parcel) = parcels.recv() {
        let back = parcel.work(&mut duplicates)?;
        if !back.is_empty()
            && let Ok(mut files) = returned.files.lock()
        {
            files.push(back);
            returned.some.store(true, Ordering::Release);
        }
        done.fetch_add(1, Ordering::Release);
        if let Some(ack) = parcel.ack.take() {
            let _ = ack.send(());
        }
        parcel.clear();
        let _ = give.try_send(parcel);
    }
    Ok(duplicates)
}

impl Crew {
    /// Whether there is anyone to make files.
    pub(super) fn is_there(&self) -> bool {
        !self.hands.is_empty()
    }

    /// Hands a file over, to be made in the directory of this inode number; `fill` appends its
    /// content.
    pub(super) fn make(
        &mut self,
        ino: u64,
        dir: &Arc<OwnedFd>,
        file: NewFile<'_>,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let hand = self.hand_of(ino);
        let place = Place { hand, number: self.hands[hand].number };
        if self.names.len() >= NAMES {
            self.forget();
        }
        self.names.insert(self.name(ino, file.last), place);
        self.lasts.insert(self.key.hash_one((hand, file.last)), place);
        self.dirs.insert(self.key.hash_one(ino), place);
        self.hands[hand].parcel.push_file(ino, dir, file, fill)?;
        self.flush_full(hand)
    }

    /// Has a directory's time set after all that is under way in it; false where nothing is.
    pub(super) fn set_time(&mut self, ino: u64, dir: &Arc<OwnedFd>, time: Time) -> Result<bool> {
        let Some(place) =
            self.dirs.get(&self.key.hash_one(ino)).copied().filter(|place| self.is_open(*place))
        else {
            return Ok(false);
        };
        let hand = place.hand;
        let place = Place { hand, number: self.hands[hand].number };
        self.dirs.insert(self.key.hash_one(ino), place);
        self.hands[hand].parcel.push(ino, dir, Work::Time(time));
        self.flush_full(hand)?;
        Ok(true)
    }

    /// Waits until this name is made, if it is to be.
    pub(super) fn settle(&mut self, ino: u64, last: &[u8]) -> Result<()> {
        let place = self.names.get(&self.name(ino, last)).copied();
        self.wait(place).map(drop)
    }

    /// Waits until nothing is under way in a directory; true if there was something.
    pub(super) fn settle_dir(&mut self, ino: u64) -> Result<bool> {
        let place = self.dirs.get(&self.key.hash_one(ino)).copied();
        self.wait(place)
    }

    /// Waits until any of these names is made, in whatever directory.
    pub(super) fn settle_target<'a>(
        &mut self,
        lasts: impl Iterator<Item = &'a [u8]>,
    ) -> Result<()> {
        for last in lasts {
            for hand in 0..self.hands.len() {
                let place = self.lasts.get(&self.key.hash_one((hand, last))).copied();
                self.wait(place)?;
            }
        }
        Ok(())
    }

    /// Waits until all is made that is to be.
    pub(super) fn settle_all(&mut self) -> Result<()> {
        for hand in 0..self.hands.len() {
            self.drain(hand)?;
        }
        self.take_returned()
    }

    /// The thread that has files of this directory, or the one with the least to do.
    fn hand_of(&self, ino: u64) -> usize {
        let place =
            self.dirs.get(&self.key.hash_one(ino)).copied().filter(|place| self.is_open(*place));
        let load =
            |hand: &Hand| (hand.number - hand.done.load(Ordering::Acquire), hand.parcel.len());
        let least = || (0..self.hands.len()).min_by_key(|&hand| load(&self.hands[hand]));
        place.map(|place| place.hand).or_else(least).unwrap_or_default()
    }

    fn is_open(&self, place: Place) -> bool {
        self.hands
            .get(place.hand)
            .is_some_and(|hand| hand.done.load(Ordering::Acquire) < place.number)
    }

    /// Waits for a parcel. A file that came back is not made, whatever its parcel says.
    fn wait(&mut self, place: Option<Place>) -> Result<bool> {
        let Some(place) = place else { return Ok(false) };
        let open = self.is_open(place);
        if open {
            self.drain(place.hand)?;
        }
        if self.returned.some.load(Ordering::Acquire) {
            self.settle_all()?;
            return Ok(true);
        }
        Ok(open)
    }

    fn name(&self, ino: u64, last: &[u8]) -> u64 {
        self.key.hash_one((ino, last))
    }

    fn forget(&mut self) {
        let done: Vec<_> =
            self.hands.iter().map(|hand| hand.done.load(Ordering::Acquire)).collect();
        // What came back is to be found until it is made.
        if self.returned.some.load(Ordering::Acquire) {
            return;
        }
        let open = |_: &u64, place: &mut Place| done[place.hand] < place.number;
        self.names.retain(open);
        self.lasts.retain(open);
        self.dirs.retain(open);
    }

    fn flush_full(&mut self, hand: usize) -> Result<()> {
        if self.hands[hand].parcel.is_full() { self.flush(hand, None) } else { Ok(()) }
    }

    fn flush(&mut self, hand: usize, ack: Option<Sender<()>>) -> Result<()> {
        if self.returned.failed.load(Ordering::Acquire) {
            return Err(stopped());
        }
        let hand = &mut self.hands[hand];
        let spare = hand.spare.try_recv().unwrap_or_default();
        let mut parcel = std::mem::replace(&mut hand.parcel, spare);
        parcel.ack = ack;
        hand.number += 1;
        hand.sender.send(parcel).map_err(|_| stopped())
    }

    fn drain(&mut self, hand: usize) -> Result<()> {
        let Hand { parcel, number, done, .. } = &self.hands[hand];
        if parcel.is_empty() && done.load(Ordering::Acquire) + 1 == *number {
            return Ok(());
        }
        let (ack, acked) = bounded(1);
        self.flush(hand, Some(ack))?;
        acked.recv().map_err(|_| stopped())
    }

    /// Makes the files that came back; nothing else may be under way.
    fn take_returned(&mut self) -> Result<()> {
        if !self.returned.some.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let (Some(trash), Ok(mut files)) = (&self.trash, self.returned.files.lock()) else {
            return Err(stopped());
        };
        let mut duplicates = self.returned.duplicates.lock().map_err(|_| stopped())?;
        Parcel::work_late(&std::mem::take(&mut *files), trash, &mut duplicates)
    }
}

fn stopped() -> Error {
    Error::new(Kind::Io, "a writing thread stopped")
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, openat};

    use super::*;
    use crate::sys::DIRECTORY;
    use crate::unpack::file::Attributes;
    use crate::unpack::remove::Trash;

    /// The thread ends in the middle of a parcel while another one waits behind it.
    #[test]
    fn who_waits_for_a_thread_that_failed_is_told() {
        // Nothing can be made in there.
        let open = || openat(CWD, "/proc/self/fd", DIRECTORY, Mode::empty()).unwrap();
        let dir = Arc::new(open());
        let mtime = Time { secs: 0, nanos: 0 };
        let attributes = Attributes { owner: None, mode: None, mtime };
        for _ in 0..2000 {
            let trash = Arc::new(Mutex::new(Trash::new(open())));
            let failed = run(1, &trash, |mut crew| {
                for name in 0..64_u8 {
                    let last = &[b'a' + name / 8, b'a' + name % 8][..];
                    let file = NewFile {
                        path: last,
                        last,
                        created: 0o644,
                        attributes,
                        again: false,
                        offset: 0,
                    };
                    crew.make(1, &dir, file, |_| Ok(()))?;
                }
                crew.settle_all()
            });
            let told = failed.unwrap_err().to_string();
            assert!(told.contains("file aa"), "{told}");
        }
    }
}
