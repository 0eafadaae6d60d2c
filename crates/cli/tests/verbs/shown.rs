//! Progress, and how fast content moves.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::daemon::Registry;
use crate::support::layout::Handmade;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

pub fn events_are_json_with_a_sum() {
    let scratch = Scratch::new("events");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = crate::names::layout(&scratch, &conex);
    let copy = || {
        let args =
            ["copy", "--progress", "json", &format!("{place}:1.0"), &registry.image("app:1")];
        let run = conex.run(&args);
        let lines = run.err.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let events = copy();
    let sum = events.last().unwrap();
    assert_eq!(sum["event"], "summary");
    assert!(sum["moved"]["bytes"].as_u64().unwrap() > 30_000, "{sum}");
    assert!(sum["seconds"].as_f64().unwrap() > 0.0, "{sum}");
    let done: Vec<_> = events.iter().filter(|event| event["event"] == "done").collect();
    assert!(done.iter().all(|event| event["done"] == event["total"] && event["rate"].is_u64()));
    assert_eq!(sum["moved"]["blobs"], done.len());
    let again = copy();
    let sum = again.last().unwrap();
    assert_eq!(sum["moved"]["bytes"], 0, "{again:?}");
    for how in ["bar", "plain", "none"] {
        conex.ok(&["copy", "--progress", how, &format!("{place}:1.9"), &registry.image("app:2")]);
    }
}

pub fn what_moved_is_told_of_a_failure_too() {
    let scratch = Scratch::new("failure");
    let conex = Conex::new(&scratch);
    let nowhere = scratch.arg("nowhere");
    let run = conex.run(&["copy", "--progress", "json", &format!("oci:{nowhere}:1"), "store:x"]);
    assert_eq!(run.code, Some(3), "{}", run.err);
    let sum: Value = serde_json::from_str(run.err.lines().next().unwrap()).unwrap();
    assert_eq!((&sum["event"], &sum["failed"]), (&Value::from("summary"), &Value::from(true)));
    let registry = Registry::start(&scratch);
    let made = Handmade::new(scratch.join("large"));
    let layer = made.blob("application/vnd.oci.image.layer.v1.tar", &vec![7; 2 << 20]);
    let config = made.document(
        "application/vnd.oci.image.config.v1+json",
        &json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}),
    );
    let image = made.finish(&made.manifest(&config, &[layer]));
    for how in ["json", "plain", "bar"] {
        let to = registry.image(&format!("{how}:1"));
        let args = ["copy", "--limit-rate", "256K", "--progress", how, &image, &to];
        let (code, err) = interrupted(conex.command(&args));
        assert_eq!(code, Some(130), "{err}");
        let last = err.lines().last().unwrap();
        if how == "json" {
            let sum: Value = serde_json::from_str(last).unwrap();
            assert_eq!((&sum["event"], &sum["failed"]), (&json!("summary"), &json!(true)), "{sum}");
            assert!(sum["brokenOff"]["bytes"].as_u64().unwrap() > 100_000, "{sum}");
        } else {
            assert!(last.starts_with("before it failed: "), "{err}");
            assert!(last.contains("broken off after "), "{err}");
        }
    }
}

/// Where some names are kept, the report of the others says what moved.
pub fn a_report_is_not_told_twice() {
    let scratch = Scratch::new("reported");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = crate::names::layout(&scratch, &conex);
    let (image, app) = (format!("{place}:1.0"), registry.image("app"));
    conex.ok(&["copy", &format!("{place}:edge"), &format!("{app}:taken")]);
    let args = ["--no-clobber", "--tag", "taken", "--tag", "free", &image, &app];
    let run = conex.run(&[&["copy", "--progress", "plain"], &args[..]].concat());
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.out.contains("\nmoved ") && run.out.contains("\nkept taken"), "{}", run.out);
    assert!(!run.err.contains("before it failed"), "{}", run.err);
    let run = conex.run(&[&["copy", "--progress", "json"], &args[..]].concat());
    let sum = run.err.lines().find(|line| line.contains("summary")).unwrap();
    let sum: Value = serde_json::from_str(sum).unwrap();
    assert_eq!(sum["failed"], true, "{sum}");
}

/// Stops a command when it has moved something for a second.
fn interrupted(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(1500));
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (child.wait().unwrap().code(), err)
}

/// The exact measure is a test of its own under a clock that stands still; here only that the
/// program has the limit at all.
pub fn a_rate_is_kept() {
    let scratch = Scratch::new("rate");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    fs::write(scratch.join("content"), vec![7; 1 << 20]).unwrap();
    let put = |rate: &str| {
        let started = Instant::now();
        conex.ok(&[
            "--limit-rate",
            rate,
            "blob",
            "put",
            &registry.image(&format!("r{rate}").to_lowercase()),
            &scratch.arg("content"),
        ]);
        started.elapsed().as_secs_f64()
    };
    assert!(put("512K") > 1.5);
    conex.run(&["--limit-rate", "0", "tags", "oci:x"]).fails_with_usage();
}

trait Usage {
    fn fails_with_usage(&self);
}

impl Usage for crate::support::program::Run {
    /// What clap has to say.
    fn fails_with_usage(&self) {
        assert_eq!(self.code, Some(2), "{}", self.err);
    }
}

/// `{{.Digest}}` is what the text of each ends in, and what the place tells then.
pub fn every_report_on_one_thing_names_its_digest() {
    let scratch = Scratch::new("digests");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let tree = scratch.folder("tree");
    fs::write(tree.join("file"), "file").unwrap();
    let (tree, file) = (scratch.arg("tree"), scratch.arg("tree/file"));
    let remote = registry.image("app:1");
    let layout = format!("oci:{}", scratch.arg("layout"));
    let at = |name: &str| format!("{layout}:{name}");
    let artifact = |name: &str| registry.image(&format!("art:{name}"));
    let out = |name: &str| scratch.arg(&format!("out-{name}"));
    let manifest = scratch.arg("manifest");
    for (args, told) in [
        (&["pack", &tree, &at("1")][..], at("1")),
        (&["copy", &at("1"), &remote], remote.clone()),
        (&["copy", &remote, &format!("oci-archive:{}:1", out("a"))], remote.clone()),
        (&["push", &registry.image("b:1"), "--from", &at("1")], at("1")),
        (&["pull", &remote], remote.clone()),
        (&["tag", &at("1"), "2"], at("2")),
        (&["index", "create", &at("3"), &at("1")], at("3")),
        (&["inspect", &remote], remote.clone()),
        (&["digest", &remote], remote.clone()),
        (&["unpack", &at("1"), &out("tree")], at("1")),
        (&["repack", &out("tree"), &at("4"), "--base", &at("1")], at("4")),
        (&["manifest", "get", &at("1"), "-o", &manifest], String::new()),
        (&["manifest", "put", &at("5"), &manifest], at("5")),
        (&["artifact", "push", "--flat", &file, &artifact("1")], artifact("1")),
        (&["artifact", "pull", &artifact("1"), &out("files")], artifact("1")),
        (&["discover", &artifact("1")], artifact("1")),
    ] {
        if told.is_empty() {
            conex.ok(args);
            continue;
        }
        let shown = conex.ok(&[args, &["--format", "{{.Digest}}"]].concat());
        assert_eq!(shown, conex.ok(&["digest", &told]), "{args:?}");
    }
    let attach = ["artifact", "attach", "--to", &artifact("1"), "--flat", &file];
    let shown = conex.ok(&[&attach[..], &["--format", "{{.Digest}} {{.Subject.Digest}}"]].concat());
    let found = conex.json(&["discover", &artifact("1")]);
    let digest = |of: &Value| of["descriptor"]["digest"].as_str().unwrap().to_owned();
    let expected = format!("{} {}\n", digest(&found["referrers"][0]), digest(&found));
    assert_eq!(shown, expected);
    let blob = conex.ok(&["blob", "put", &layout, &file, "--format", "{{.Digest}} {{.Size}}"]);
    assert!(blob.starts_with("sha256:") && blob.ends_with(" 4\n"), "{blob}");
}
