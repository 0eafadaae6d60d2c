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

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use conex_testkit::history::{Client, History, Load, Random, judge};
use conex_testkit::s3_server::{Program, S3Server};
use serde_json::Value;

#[path = "support/serving.rs"]
#[allow(dead_code, unreachable_pub, clippy::panic, reason = "each test program uses its part")]
mod serving;

use serving::{Serve, Serving, bucket, reach};

/// What clients were told of stays so long at least. The server keeps it longer: a request takes time.
const LEASE: Duration = Duration::from_millis(1500);
const GRACE: &str = "2s";
/// A store of buckets tells time in whole seconds, and each request takes several of its own.
const BUCKET_LEASE: Duration = Duration::from_secs(6);
const BUCKET_GRACE: &str = "8s";
const CLIENTS: u64 = 6;

fn serve(serve: Serve, dir: &Path, address: &str, grace: &str) -> Serving {
    let text = format!("[gc]\ninterval = '250ms'\ngrace = '{grace}'\nuploads = '{grace}'\n");
    serve.listen(address).settings(&dir.join("settings.toml"), &text).start()
}

fn on_folder(dir: &Path, address: &str) -> Serving {
    serve(Serve::folder(&dir.join("root")), dir, address, GRACE)
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn free_address() -> String {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string()
}

/// Lets clients work while `work` goes on with servers at some addresses, and then looks at
/// everything. `work` ends with servers that run.
fn under_load<T>(addresses: &[String], work: impl FnOnce() -> T) -> Arc<History> {
    let history = Arc::new(History::default());
    let client = Client { history: Arc::clone(&history), addresses: addresses.to_vec() };
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
        let serving = work();
        over.store(true, Ordering::Relaxed);
        serving
    });
    Load::new(client, CLIENTS).look_at_all();
    drop(serving);
    history
}

/// The same with servers on a folder.
fn under_load_on_folder(dir: &Path, work: impl FnOnce(&str) -> Serving) -> Arc<History> {
    let address = free_address();
    let history = under_load(std::slice::from_ref(&address), || work(&address));
    // What is left is found, damaged or not, by a server that starts anew.
    drop(on_folder(dir, &address));
    history
}

fn check(history: &History, lease: Duration) {
    let events = history.events();
    let faults = judge(&events, lease);
    let first: String = faults.iter().take(5).map(|fault| format!("\n{fault}")).collect();
    assert!(faults.is_empty(), "{} of {} requests: {first}", faults.len(), events.len());
    eprintln!("{} requests keep the laws", events.len());
}

/// Scenario B7.
#[test]
fn collecting_all_the_time_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let time = Duration::from_secs(number("CONEX_LAWS_SECONDS", 20));
    let history = under_load_on_folder(dir.path(), |address| {
        let serving = on_folder(dir.path(), address);
        std::thread::sleep(time);
        serving
    });
    check(&history, LEASE);
    leaves_nothing(dir.path());
}

/// Without any grace promises are broken, which the checker finds; and nothing else is: what a manifest
/// needs, that was acknowledged, stays whatever is collected meanwhile. A while without luck breaks none,
/// so there are several.
#[test]
fn without_grace_only_promises_are_broken() {
    let broken = (0..8).map(|_| promises_broken_without_grace()).find(|broken| *broken > 0);
    assert!(broken.is_some());
    eprintln!("{} promises were broken, as they may be", broken.unwrap_or_default());
}

fn promises_broken_without_grace() -> usize {
    let dir = tempfile::tempdir().unwrap();
    let history = under_load_on_folder(dir.path(), |address| {
        let serving = serve(Serve::folder(&dir.path().join("root")), dir.path(), address, "0s");
        std::thread::sleep(Duration::from_secs(8));
        serving
    });
    let faults = judge(&history.events(), LEASE);
    let others: Vec<_> = faults.iter().filter(|fault| !fault.contains("L6: ")).take(5).collect();
    assert!(others.is_empty(), "{others:#?}");
    faults.len()
}

/// Scenario B1.
#[test]
fn kills_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(7);
    let mut slowest = Duration::ZERO;
    let history = under_load_on_folder(dir.path(), |address| {
        for _ in 0..number("CONEX_KILLS", 50) {
            let start = Instant::now();
            let serving = on_folder(dir.path(), address);
            slowest = slowest.max(start.elapsed());
            std::thread::sleep(Duration::from_millis(random.below(600)));
            drop(serving);
        }
        on_folder(dir.path(), address)
    });
    eprintln!("the slowest start took {slowest:?}");
    check(&history, LEASE);
    leaves_nothing(dir.path());
}

/// Two processes that both collect; each request goes to one of them, so that an upload goes on at the
/// other one, too. One is killed on the way.
#[test]
fn two_processes_collecting_on_a_bucket_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let time = Duration::from_secs(number("CONEX_LAWS_SECONDS", 20)) / 2;
    let addresses = [free_address(), free_address()];
    let start = |at: usize| serve(Serve::bucket(&server), dir.path(), &addresses[at], BUCKET_GRACE);
    let history = under_load(&addresses, || {
        let (one, two) = (start(0), start(1));
        std::thread::sleep(time);
        drop(two);
        let two = start(1);
        std::thread::sleep(time);
        (one, two)
    });
    check(&history, BUCKET_LEASE);
    // Older than the second in which it came.
    std::thread::sleep(Duration::from_secs(2));
    let collect = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conex"));
        reach(&mut command, &server);
        collect(command.args(["registry", "gc", "--grace", "0s", "--format", "json", &bucket()]))
    };
    collect();
    takes_nothing(&collect());
}

/// Law L7: offline, without grace, all goes that no manifest needs; and what is left is sound.
fn leaves_nothing(dir: &Path) {
    let root = dir.join("root");
    let collect = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conex"));
        collect(command.args(["registry", "gc", "--grace", "0s", "--format", "json"]).arg(&root))
    };
    collect();
    takes_nothing(&collect());
    assert_eq!(files(&root, "_uploads") + files(&root.join(".conex/stage"), ""), 0);
}

fn collect(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["unreadable"].as_array().unwrap().len(), 0);
    report
}

fn takes_nothing(report: &Value) {
    for nothing in ["blobs", "uploads", "swept", "manifests", "tags"] {
        assert_eq!(report[nothing], 0, "{nothing}");
    }
    assert_eq!((&report["removed"]["blobs"], &report["young"]["blobs"]), (&0.into(), &0.into()));
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
