//! System calls that fail: each in turn, in each way that it may. `strace` makes them fail; a disk
//! that has room for ever more pages ends a write in the middle, as no tracer can.

use std::path::Path;
use std::process::Command;

use crate::support::layout::{Handmade, tags};
use crate::support::program::{Conex, Run, partner, run};
use crate::support::scratch::Scratch;

/// What is injected into which call.
const FAULTS: &[(&str, &[&str])] = &[
    ("openat,openat2", &["error=EIO", "error=ENOSPC", "error=EMFILE", "signal=KILL"]),
    ("write,pwrite64,ftruncate", &["error=EIO", "error=ENOSPC", "error=EINTR", "signal=KILL"]),
    ("fsync,fdatasync,syncfs", &["error=EIO", "error=ENOSPC", "signal=KILL"]),
    ("rename,renameat,renameat2,linkat", &["error=EIO", "error=ENOSPC", "signal=KILL"]),
    ("unlinkat,mkdirat,utimensat,flock", &["error=EIO", "error=ENOSPC", "signal=KILL"]),
    ("getdents64,statx,newfstatat,fstat", &["error=EIO", "signal=KILL"]),
];
/// A thread makes no more calls of one sort than this.
const MOST: usize = 400;
/// Of so many places one is tried where not every one is asked for.
const SAMPLE: usize = 11;
/// The exit code where a name is gone already.
const NOT_FOUND: i32 = 3;
/// The exit code of a full disk.
const FULL: i32 = 7;
/// What a memory file system hands out at once, in bytes.
const PAGE: u64 = 4096;

pub fn of_a_copy() {
    Sweep::new("sweep-copy", &["a", "b"], |from, layout| {
        ["copy", from, &format!("{layout}:b")].map(str::to_owned).to_vec()
    })
    .every_call();
}

pub fn of_a_tag() {
    Sweep::new("sweep-tag", &["a", "b"], |_, layout| {
        ["tag", &format!("{layout}:a"), "b"].map(str::to_owned).to_vec()
    })
    .every_call();
}

pub fn of_rm() {
    Sweep::new("sweep-rm", &["a"], |_, layout| {
        ["rm", &format!("{layout}:old")].map(str::to_owned).to_vec()
    })
    .with("old")
    .every_call();
}

pub fn of_gc() {
    Sweep::new("sweep-gc", &["a"], |_, layout| {
        ["gc", layout, "--grace", "0s"].map(str::to_owned).to_vec()
    })
    .with("old")
    .without("old")
    .every_call();
}

pub fn short_writes_of_a_copy() {
    Sweep::new("sweep-short", &["a", "b"], |from, layout| {
        ["copy", from, &format!("{layout}:b")].map(str::to_owned).to_vec()
    })
    .fill();
}

/// A layout with some images, and a command.
struct Sweep {
    scratch: Scratch,
    conex: Conex,
    /// An image that is not in the layout.
    from: String,
    command: fn(&str, &str) -> Vec<String>,
    /// The tags before the command, and after it.
    before: Vec<&'static str>,
    after: &'static [&'static str],
}

impl Sweep {
    /// The layout holds an image named `a`.
    fn new(
        name: &str,
        after: &'static [&'static str],
        command: fn(&str, &str) -> Vec<String>,
    ) -> Self {
        let scratch = Scratch::new(name);
        let conex = Conex::new(&scratch);
        let from = add(&scratch, "other", 2);
        let sweep = Self { scratch, conex, from, command, before: Vec::new(), after };
        sweep.with("a")
    }

    /// One image more.
    fn with(mut self, tag: &'static str) -> Self {
        let image = add(&self.scratch, &format!("image-{tag}"), 10 + self.before.len() as u64);
        self.conex.ok(&["copy", &image, &format!("{}:{tag}", self.prepared())]);
        self.before.push(tag);
        self
    }

    /// Its name goes, its content stays.
    fn without(mut self, tag: &'static str) -> Self {
        self.conex.ok(&["rm", &format!("{}:{tag}", self.prepared())]);
        self.before.retain(|known| *known != tag);
        self
    }

    fn prepared(&self) -> String {
        format!("oci:{}", self.scratch.join("prepared").display())
    }

    fn arguments(&self, layout: &Path) -> Vec<String> {
        (self.command)(&self.from, &format!("oci:{}", layout.display()))
    }

    fn every_call(&self) {
        let mut tried = 0;
        for (calls, faults) in FAULTS {
            let most = self.count(calls);
            for fault in *faults {
                let every = if std::env::var_os("CONEX_SWEEP").is_some() { 1 } else { SAMPLE };
                let first = 1 + tried % every;
                for when in (first..=most).step_by(every) {
                    tried += 1;
                    self.inject(calls, fault, when);
                }
            }
        }
        eprintln!("{tried} faults");
        assert!(tried > 50, "only {tried} faults were tried");
    }

    /// How often one thread at most makes one of these calls.
    fn count(&self, calls: &str) -> usize {
        let layout = self.fresh();
        let log = self.scratch.join("log");
        let traced = self.traced(calls, None, &log, &layout);
        assert_eq!(traced.code, Some(0), "{traced:?}");
        let log = std::fs::read_to_string(&log).unwrap();
        let mut counts = std::collections::BTreeMap::new();
        for line in log.lines().filter(|line| !line.contains("resumed>") && line.contains('(')) {
            let call = line.split('(').next().unwrap_or_default();
            *counts.entry(call).or_insert(0) += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        assert!(most <= MOST, "{most} calls of {calls}");
        most
    }

    fn inject(&self, calls: &str, fault: &str, when: usize) {
        let layout = self.fresh();
        let log = self.scratch.join("log");
        let what = format!("{calls}:{fault}:when={when}");
        let run = self.traced(calls, Some(&what), &log, &layout);
        let happened = std::fs::read_to_string(&log).unwrap().contains("INJECTED");
        let unsynced = happened && calls.contains("fsync") && fault.starts_with("error");
        let ended = format!("{what}: {run:?}");
        assert!(run.code != Some(0) || !unsynced, "acknowledged what may not last: {ended}");
        self.judge(&layout, run.code, &ended);
        self.again(&layout, &ended);
    }

    /// Runs the command on a disk that has room for no further page, for one, for two, until it
    /// fits: each time the last write that fits partly is cut short.
    fn fill(&self) {
        let disk = self.scratch.folder("disk");
        let layout = disk.join("layout");
        mount(&disk, "size=16m");
        let used = self.copy_to(&layout);
        for room in 0.. {
            mount(&disk, &format!("remount,size={}", (used + room) * PAGE));
            let run = self.run_on(&layout);
            let ended = format!("room for {room} pages: {run:?}");
            self.judge(&layout, run.code, &ended);
            mount(&disk, "remount,size=16m");
            self.again(&layout, &ended);
            if run.code == Some(0) {
                assert!(room > 4, "only {room} sizes were tried");
                return;
            }
            assert_eq!(run.code, Some(FULL), "{ended}");
            std::fs::remove_dir_all(&layout).unwrap();
            assert_eq!(self.copy_to(&layout), used);
        }
    }

    /// Whatever happened: the old state or the new one, and all of it valid.
    fn judge(&self, layout: &Path, code: Option<i32>, ended: &str) {
        let names = tags(layout);
        assert!(names == self.after || names == self.before, "{names:?} after {ended}");
        if code == Some(0) {
            assert_eq!(names, self.after, "nothing came of {ended}");
        }
        for name in names {
            self.valid(layout, &name, ended);
        }
    }

    /// What failed can be done again; what was done can be done again or is said to be done.
    fn again(&self, layout: &Path, ended: &str) {
        let again = self.run_on(layout);
        let gone = again.code == Some(NOT_FOUND) && tags(layout) == self.after;
        assert!(again.code == Some(0) || gone, "{again:?} after {ended}");
        assert_eq!(tags(layout), self.after);
        for name in self.after {
            self.valid(layout, name, ended);
        }
        // Nothing that was begun survives a collection.
        self.conex.ok(&["gc", &format!("oci:{}", layout.display()), "--grace", "0s"]);
        let staged = std::fs::read_dir(layout.join(".conex/stage")).into_iter().flatten().count();
        assert_eq!(staged, 0, "{ended}");
    }

    fn run_on(&self, layout: &Path) -> Run {
        let arguments = self.arguments(layout);
        self.conex.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn valid(&self, layout: &Path, name: &str, after: &str) {
        let run = self.conex.run(&["validate", &format!("oci:{}:{name}", layout.display())]);
        assert_eq!(run.code, Some(0), "{run:?} after {after}");
    }

    fn traced(&self, calls: &str, inject: Option<&str>, log: &Path, layout: &Path) -> Run {
        let arguments = self.arguments(layout);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let command = self.conex.command(&arguments);
        let mut strace = partner("strace");
        strace.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(log);
        if let Some(inject) = inject {
            strace.args(["-e", &format!("inject={inject}")]);
        }
        strace.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        Run::of(&arguments, &strace.output().unwrap())
    }

    /// A new copy of the prepared layout.
    fn fresh(&self) -> std::path::PathBuf {
        let layout = self.scratch.join("layout");
        let _ = std::fs::remove_dir_all(&layout);
        self.copy_to(&layout);
        layout
    }

    /// The same at a place. Returns how many pages are in use there.
    fn copy_to(&self, layout: &Path) -> u64 {
        run(Command::new("cp").arg("-rp").arg(self.scratch.join("prepared")).arg(layout));
        let disk = rustix::fs::statvfs(layout).unwrap();
        (disk.f_blocks - disk.f_bfree) * disk.f_frsize / PAGE
    }
}

fn mount(dir: &Path, options: &str) {
    run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "conex-tests"]).arg(dir));
}

/// A small image.
fn add(scratch: &Scratch, name: &str, seed: u64) -> String {
    let made = Handmade::new(scratch.join(name));
    let common = conex_testkit::images::noise(1, 20_000);
    let own = conex_testkit::images::noise(seed + 10, 10_000);
    made.finish(&made.image(&[&common, &own]))
}
