//! System calls that fail: each in turn, in each way that it may.

use std::path::Path;
use std::process::Command;

use crate::support::layout::{Handmade, tagged, tags};
use crate::support::program::{Conex, Run, partner};
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
const SAMPLE: usize = 7;

pub fn of_a_copy_into_a_layout() {
    let image = |scratch: &Scratch| add(scratch, "other", 2);
    Sweep::new("sweep-copy", image, |from, layout| {
        vec!["copy".into(), from.into(), format!("oci:{}:b", layout.display())]
    })
    .run();
}

pub fn of_a_new_tag() {
    let image = |scratch: &Scratch| add(scratch, "other", 1);
    Sweep::new("sweep-tag", image, |_, layout| {
        let layout = layout.display();
        vec!["copy".into(), format!("oci:{layout}:a"), format!("oci:{layout}:b")]
    })
    .run();
}

/// A layout with one image named `a`, and a command that makes `b` of another one.
struct Sweep {
    scratch: Scratch,
    conex: Conex,
    /// What `b` stands for in the end.
    digest: String,
    from: String,
    command: fn(&str, &Path) -> Vec<String>,
}

impl Sweep {
    fn new(
        name: &str,
        image: fn(&Scratch) -> (String, String),
        command: fn(&str, &Path) -> Vec<String>,
    ) -> Self {
        let scratch = Scratch::new(name);
        let conex = Conex::new(&scratch);
        let (earlier, _) = add(&scratch, "earlier", 1);
        conex.ok(&["copy", &earlier, &format!("oci:{}:a", scratch.join("prepared").display())]);
        let (from, digest) = image(&scratch);
        Self { scratch, conex, digest, from, command }
    }

    fn run(&self) {
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
        let ended = || format!("{what}: {run:?}");
        let names = tags(&layout);
        assert!(names == ["a", "b"] || names == ["a"], "{names:?} after {}", ended());
        if run.code == Some(0) {
            assert_eq!(names, ["a", "b"], "nothing came of {}", ended());
            let unsynced = happened && calls.contains("fsync") && fault.starts_with("error");
            assert!(!unsynced, "acknowledged what may not last: {}", ended());
        }
        for name in names {
            self.valid(&layout, &name, &ended());
        }
        // What failed can be done again.
        let arguments = (self.command)(&self.from, &layout);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let again = self.conex.run(&arguments);
        assert_eq!(again.code, Some(0), "{again:?} after {}", ended());
        assert_eq!(tagged(&layout, "b"), self.digest);
        self.valid(&layout, "a", &ended());
        self.valid(&layout, "b", &ended());
    }

    fn valid(&self, layout: &Path, name: &str, after: &str) {
        let run = self.conex.run(&["validate", &format!("oci:{}:{name}", layout.display())]);
        assert_eq!(run.code, Some(0), "{run:?} after {after}");
    }

    fn traced(&self, calls: &str, inject: Option<&str>, log: &Path, layout: &Path) -> Run {
        let arguments = (self.command)(&self.from, layout);
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
        let copied =
            Command::new("cp").arg("-rp").arg(self.scratch.join("prepared")).arg(&layout).status();
        assert!(copied.unwrap().success());
        layout
    }
}

/// A small image; its location and digest.
fn add(scratch: &Scratch, name: &str, seed: u64) -> (String, String) {
    let made = Handmade::new(scratch.join(name));
    let common = conex_testkit::images::noise(1, 20_000);
    let own = conex_testkit::images::noise(seed + 10, 10_000);
    let location = made.finish(&made.image(&[&common, &own]));
    (location, tagged(&made.dir, "latest"))
}
