//! `conex serve` while many clients push, pull, mount and delete: it collects four times a second, and
//! is killed at random moments. Afterwards an offline checker judges all that was answered.
//!
//! `CONEX_KILLS=500` kills it so often, `CONEX_LAWS_SECONDS=10800` lets it collect so long.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the program itself is tested, as whoever runs it says, and figures are told"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use conex_testkit::history::{Client, History, Load, Random, judge};

/// What clients were told of stays so long at least. The server keeps it longer: a request takes time.
const LEASE: Duration = Duration::from_millis(1500);
const GRACE: &str = "2s";
const CLIENTS: u64 = 6;

/// A registry in a process of its own; killed when it is dropped, as by `kill -9`.
struct Serving {
    child: Child,
}

impl Serving {
    fn start(dir: &Path, address: &str) -> Self {
        Self::with(dir, address, GRACE)
    }

    fn with(dir: &Path, address: &str, grace: &str) -> Self {
        let settings = dir.join("settings.toml");
        let text = format!("[gc]\ninterval = '250ms'\ngrace = '{grace}'\nuploads = '2s'\n");
        std::fs::write(&settings, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_conex"))
            .args(["serve", "--listen", address, "--config"])
            .arg(settings)
            .arg("--root")
            .arg(dir.join("root"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("http://"), "{line}");
        Self { child }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn free_address() -> String {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string()
}

/// Lets clients work while `work` goes on, and then looks at everything. `work` ends with a server
/// that runs.
fn under_load(dir: &Path, work: impl FnOnce(&str) -> Serving) -> Arc<History> {
    let (history, address) = (Arc::new(History::default()), free_address());
    let client = Client { history: Arc::clone(&history), address: address.clone() };
    let over = AtomicBool::new(false);
    let serving = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (client, over) = (client.clone(), &over);
            scope.spawn(move || {
                let mut load = Load::new(client, number);
                while !over.load(Ordering::Relaxed) {
                    load.step();
                }
            });
        }
        let serving = work(&address);
        over.store(true, Ordering::Relaxed);
        serving
    });
    Load::new(client, CLIENTS).look_at_all();
    drop(serving);
    // What is left is found, damaged or not, by a server that starts anew.
    drop(Serving::start(dir, &address));
    history
}

fn check(history: &History) {
    let events = history.events();
    let faults = judge(&events, LEASE);
    let first: String = faults.iter().take(5).map(|fault| format!("\n{fault}")).collect();
    assert!(faults.is_empty(), "{} of {} requests: {first}", faults.len(), events.len());
    eprintln!("{} requests keep the laws", events.len());
}

/// Scenario B7.
#[test]
fn collecting_all_the_time_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let time = Duration::from_secs(number("CONEX_LAWS_SECONDS", 20));
    let history = under_load(dir.path(), |address| {
        let serving = Serving::start(dir.path(), address);
        std::thread::sleep(time);
        serving
    });
    check(&history);
    leaves_nothing(dir.path());
}

/// Without any grace promises are broken, which the checker finds; and nothing else is: what a manifest
/// needs, that was acknowledged, stays whatever is collected meanwhile.
#[test]
fn without_grace_only_promises_are_broken() {
    let dir = tempfile::tempdir().unwrap();
    let history = under_load(dir.path(), |address| {
        let serving = Serving::with(dir.path(), address, "0s");
        std::thread::sleep(Duration::from_secs(8));
        serving
    });
    let faults = judge(&history.events(), LEASE);
    let others: Vec<_> = faults.iter().filter(|fault| !fault.contains("L6: ")).take(5).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(!faults.is_empty());
    eprintln!("{} promises were broken, as they may be", faults.len());
}

/// Scenario B1.
#[test]
fn kills_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(7);
    let mut slowest = Duration::ZERO;
    let history = under_load(dir.path(), |address| {
        for _ in 0..number("CONEX_KILLS", 50) {
            let start = Instant::now();
            let serving = Serving::start(dir.path(), address);
            slowest = slowest.max(start.elapsed());
            std::thread::sleep(Duration::from_millis(random.below(600)));
            drop(serving);
        }
        Serving::start(dir.path(), address)
    });
    eprintln!("the slowest start took {slowest:?}");
    check(&history);
    leaves_nothing(dir.path());
}

/// Law L7: offline, without grace, all goes that no manifest needs; and what is left is sound.
fn leaves_nothing(dir: &Path) {
    let root = dir.join("root");
    let collect = || {
        let output = Command::new(env!("CARGO_BIN_EXE_conex"))
            .args(["registry", "gc", "--grace", "0s", "--format", "json"])
            .arg(&root)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let first = collect();
    assert_eq!(first["unreadable"].as_array().unwrap().len(), 0);
    let again = collect();
    for nothing in ["blobs", "uploads", "swept", "manifests", "tags"] {
        assert_eq!(again[nothing], 0, "{nothing}");
    }
    assert_eq!((&again["removed"]["blobs"], &again["young"]["blobs"]), (&0.into(), &0.into()));
    assert_eq!(files(&root, "_uploads") + files(&root.join(".conex/stage"), ""), 0);
}

/// How many files lie in folders of a name.
fn files(folder: &Path, name: &str) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let inside = name.is_empty() || folder.ends_with(name);
        count += if path.is_dir() { files(&path, name) } else { usize::from(inside) };
    }
    count
}
