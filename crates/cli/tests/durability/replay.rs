//! Disks as a power cut may have left them.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{SeekFrom as RawSeek, seek};

use crate::disk::Event;
use crate::filesystem::FileSystem;
use crate::history::{History, progress};

/// One moment of a log, and what of the writes that were not flushed then reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The cut is before this event.
    pub at: usize,
    /// Chooses among the writes since the last flush; none of them with 0, all of them with 1.
    pub seed: u64,
}

/// The states that are looked at: first each moment after a flush and after an acknowledgement
/// with nothing more than had to be there, then random ones, `count` in all.
pub fn states(log: &[Event], count: usize) -> Vec<State> {
    let certain = log.iter().enumerate().filter_map(|(at, event)| match event {
        Event::Flush | Event::Acknowledged(_) => Some(State { at: at + 1, seed: 0 }),
        Event::Write(..) | Event::Started(_) => None,
    });
    let certain: Vec<_> = certain.collect();
    let mut dice = Dice(0x5eed_0000_c0de);
    let random = std::iter::repeat_with(|| State {
        at: dice.below(log.len() as u64 + 1) as usize,
        seed: dice.next(),
    });
    let spread = certain.len().div_ceil(count.max(2) / 2).max(1);
    certain.iter().copied().step_by(spread).chain(random).take(count).collect()
}

/// Makes each state, mounts it, checks it, and does there the step that the cut interrupted.
/// Returns what went wrong, by state.
pub fn replay(
    history: &History,
    base: &Path,
    file_system: FileSystem,
    log: &[Event],
    states: &[State],
) -> Vec<(State, String)> {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = |worker: usize| {
            let mut failed = Vec::new();
            while let Some(state) = states.get(next.fetch_add(1, Ordering::Relaxed)) {
                let folder = history.scratch.folder(&format!("worker{worker}"));
                if let Err(err) = look_at(history, base, file_system, log, *state, &folder) {
                    failed.push((*state, err));
                }
            }
            failed
        };
        let workers: Vec<_> =
            (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

fn look_at(
    history: &History,
    base: &Path,
    file_system: FileSystem,
    log: &[Event],
    state: State,
    folder: &Path,
) -> Result<(), String> {
    let image = folder.join("image");
    make(base, log, state, &image);
    let (done, begun) = progress(&log[..state.at]);
    let mounted = file_system.mount(&image, folder.join("mounted"));
    let shown = history.check(mounted.path(), done, begun)?;
    validate(history, mounted.path(), shown)?;
    if shown < history.steps.len() {
        let run = history.step(shown, mounted.path());
        if run.code != Some(0) {
            return Err(format!("cannot go on after the cut: {run:?}"));
        }
        history.check(mounted.path(), shown + 1, shown + 1)?;
    }
    Ok(())
}

/// What conex itself says of every image that is there.
fn validate(history: &History, mounted: &Path, shown: usize) -> Result<(), String> {
    for name in history.names(shown).keys() {
        let Some(location) = history.location(name, mounted) else { continue };
        let run = history.conex_on(mounted).run(&["validate", &location]);
        if run.code != Some(0) {
            return Err(format!("not valid after the cut: {run:?}"));
        }
    }
    Ok(())
}

fn make(base: &Path, log: &[Event], state: State, image: &Path) {
    copy_sparse(base, image);
    let disk = File::options().write(true).open(image).unwrap();
    let flushed =
        log[..state.at].iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
    let mut dice = Dice(state.seed);
    // From few to nearly all of them.
    let share = dice.below(101);
    for (at, event) in log[..state.at].iter().enumerate() {
        let Event::Write(offset, data) = event else { continue };
        let kept = at < flushed
            || match state.seed {
                0 => false,
                1 => true,
                _ => dice.below(100) < share,
            };
        if kept {
            disk.write_all_at(data, *offset).unwrap();
        }
    }
}

/// Copies what a sparse file holds.
pub fn copy_sparse(from: &Path, to: &Path) {
    let mut source = File::open(from).unwrap();
    let _ = fs::remove_file(to);
    let mut target = File::create(to).unwrap();
    target.set_len(source.metadata().unwrap().len()).unwrap();
    let mut at = 0;
    while let Ok(start) = seek(&source, RawSeek::Data(at)) {
        let end = seek(&source, RawSeek::Hole(start)).unwrap();
        source.seek(SeekFrom::Start(start)).unwrap();
        target.seek(SeekFrom::Start(start)).unwrap();
        let mut part = vec![0; (end - start) as usize];
        source.read_exact(&mut part).unwrap();
        target.write_all(&part).unwrap();
        at = end;
    }
}

/// Numbers that look random and are the same in every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.max(2);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }
}
