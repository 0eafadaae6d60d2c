//! Folders of a test run. Each goes away with its test, mounts and all; what a killed run left
//! behind is removed by the next one.
//!
//! ```text
//! BASE/conex-tests-PID/
//!   NAME-NUMBER/          one test's folder, or a shared fixture
//!     *.pid               a daemon that may have to be stopped
//! ```

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

const PREFIX: &str = "conex-tests-";
/// Whole root file systems are unpacked several times; a memory file system must have room.
const ROOM: u64 = 4 << 30;

/// A folder that is removed when this value is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = run_folder().join(format!("{name}-{number}"));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of something in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path of something in the folder, as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A new folder in the folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        let dir = self.0.join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clear(&self.0);
    }
}

/// Ends the run: daemons that cases share are stopped, and everything is removed.
pub fn end() {
    clear(run_folder());
}

/// Removes what runs that were killed left behind.
pub fn sweep() {
    for entry in bases().iter().filter_map(|base| fs::read_dir(base).ok()).flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            clear(&entry.path());
        }
    }
}

/// The folder of cargo for what tests keep from run to run.
pub fn kept() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn run_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let bases = bases();
        let roomy = bases.iter().find(|base| free(base) >= ROOM);
        let dir = roomy.unwrap_or(&bases[1]).join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    })
}

/// Memory first: tens of thousands of small files come and go.
fn bases() -> [PathBuf; 2] {
    ["/dev/shm".into(), kept().to_owned()]
}

fn free(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}

fn clear(dir: &Path) {
    stop_daemons(dir);
    for _ in 0..20 {
        unmount_below(dir);
        if fs::remove_dir_all(dir).is_ok() || !dir.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Kills the daemons that wrote their process IDs below the folder, if they still are what
/// they were: their command lines name the folder.
fn stop_daemons(dir: &Path) {
    let folders = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for folder in folders.chain([dir.to_owned()]) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "pid") {
                stop_daemon(dir, &fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
    }
}

fn stop_daemon(dir: &Path, pid: &str) {
    let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) else { return };
    let command = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
    let ours = || {
        let command = fs::read(&command).unwrap_or_default();
        let dir = dir.as_os_str().as_bytes();
        command.windows(dir.len()).any(|part| part == dir)
    };
    for signal in [Signal::TERM, Signal::KILL] {
        for _ in 0..50 {
            if !ours() {
                // Where it was this process's own child, nobody else buries it.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
                return;
            }
            let _ = kill_process(pid, signal);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Unmounts everything below the folder, the deepest first.
fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut points: Vec<_> = points.filter(|point| Path::new(point).starts_with(dir)).collect();
    points.sort_unstable_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        let _ = Command::new("umount").args(["--lazy", point]).output();
    }
}
