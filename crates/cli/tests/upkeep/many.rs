//! Many at once, and many names.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use conex_store::commit::Folder;

use crate::collect::noise;
use crate::support::layout::{Handmade, tags};
use crate::support::program::{Conex, Run};
use crate::support::scratch::Scratch;

const PROCESSES: usize = 64;
const NAMES: usize = 10_000;
/// In the environment of a process that only takes shares: the folder.
pub const SHARES: &str = "CONEX_TEST_SHARES";

/// Shares of four processes overlap without end; the collector has its turn all the same.
pub fn a_place_that_is_never_idle_is_collected() {
    let scratch = Scratch::new("busy");
    let conex = Conex::new(&scratch);
    let made = Handmade::new(scratch.join("layout"));
    let image = made.finish(&made.image(&[&noise(1, 100)]));
    made.blob("application/octet-stream", b"garbage");
    let this = std::env::current_exe().unwrap();
    let place = format!("oci:{}", made.dir.display());
    let start = |_| Command::new(&this).env(SHARES, &made.dir).spawn().unwrap();
    let mut users: Vec<_> = (0..4).map(start).collect();
    thread::sleep(Duration::from_millis(300));
    for removed in [1, 0, 0] {
        let report = conex.json(&["gc", &place, "--grace=0s", "--wait=20s"]);
        assert_eq!(report["removed"]["blobs"], removed, "{report}");
        conex.ok(&["inspect", &image]);
    }
    for user in &mut users {
        assert!(user.try_wait().unwrap().is_none());
        user.kill().unwrap();
        user.wait().unwrap();
    }
}

pub fn take_shares_for_ever(dir: &Path) -> ! {
    loop {
        let folder = Folder::open(dir).unwrap();
        folder.share();
        thread::sleep(Duration::from_millis(40));
    }
}

/// Each process puts an image of its own, whose blobs nobody needs until its tag is there, and
/// the collector leaves content no time at all.
pub fn tags_while_the_collector_loops() {
    let scratch = Scratch::new("tags");
    let conex = Conex::new(&scratch);
    let layout = scratch.arg("layout");
    let shared = noise(1000, 1 << 16);
    let image = |number: usize| {
        let made = Handmade::new(scratch.join(&format!("image-{number}")));
        made.finish(&made.image(&[&shared, &noise(number as u64, 1 << 14)]))
    };
    let images: Vec<_> = (0..PROCESSES).map(image).collect();
    conex.ok(&["copy", &images[0], &format!("oci:{layout}:first")]);
    let done = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let collector = || {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                let run = conex.run(&["gc", &format!("oci:{layout}"), "--grace=0s", "--wait=1s"]);
                assert!(matches!(run.code, Some(0 | 1)), "{}", run.err);
                rounds += usize::from(run.code == Some(0));
            }
            rounds
        };
        let collectors = [scope.spawn(collector), scope.spawn(collector)];
        let start = |(number, image): (usize, &String)| {
            let to = format!("oci:{layout}:tag-{number:02}");
            let mut command = conex.command(&["copy", image, &to]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = images.iter().enumerate().map(start).collect();
        for child in children {
            Run::of(&["copy"], &child.wait_with_output().unwrap()).ok();
        }
        done.store(true, Ordering::Relaxed);
        collectors.into_iter().map(|collector| collector.join().unwrap()).sum::<usize>()
    });
    assert!(rounds > 0, "the collector never had its turn");
    let expected: Vec<_> = (0..PROCESSES).map(|number| format!("tag-{number:02}")).collect();
    assert_eq!(tags(layout.as_ref())[1..], expected);
    conex.ok(&["fsck", &format!("oci:{layout}")]);
    conex.ok(&["gc", &format!("oci:{layout}"), "--grace=0s"]);
    conex.ok(&["fsck", &format!("oci:{layout}")]);
}

pub fn tags_in_one_layout() {
    let scratch = Scratch::new("names");
    let conex = Conex::new(&scratch);
    let made = Handmade::new(scratch.join("layout"));
    let root = made.image(&[b"layer"]);
    let entry = |number: usize| {
        let mut entry = root.clone();
        entry["annotations"] =
            serde_json::json!({"org.opencontainers.image.ref.name": format!("tag-{number:05}")});
        entry
    };
    let entries: Vec<_> = (0..NAMES).map(entry).collect();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    let file = made.dir.join("index.json");
    fs::write(&file, index.to_string()).unwrap();
    let layout = made.dir.display().to_string();
    conex.ok(&["inspect", &format!("oci:{layout}:tag-07777")]);
    conex.ok(&["tag", &format!("oci:{layout}:tag-07777"), "new"]);
    conex.ok(&["rm", &format!("oci:{layout}:tag-00000")]);
    // What was not touched keeps its bytes.
    let (start, end) =
        (index["manifests"][1].to_string(), index["manifests"][NAMES - 1].to_string());
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("[{start},")) && text.contains(&format!("{end},{{")));
    assert_eq!(tags(&made.dir).len(), NAMES);
}
