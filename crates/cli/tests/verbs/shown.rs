//! Progress, and how fast content moves.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use crate::support::daemon::Registry;
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
