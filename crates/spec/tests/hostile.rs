//! What a hostile document costs: at most a second and 32 MiB, its own bytes included, whatever the
//! verdict is. Each case runs in a process of its own, since the peak of memory is a process's.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "the test runs itself, once for each case")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use conex_spec::document::Format;
use conex_spec::{Descriptor, Document, ImageConfig, Manifest, MediaType};

const MIB: usize = 1 << 20;
const LONG: usize = 5 * MIB;

/// The peak of resident memory since the last call of [`forget_peak`], in bytes.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}

/// Whether the system can do it: it is Linux with `/proc`.
fn forget_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn repeated(start: &str, item: impl Fn(usize) -> String, end: &str) -> String {
    at_most(usize::MAX, start, item, end)
}

/// As many items as fit into five MiB, and no more than `count`.
fn at_most(count: usize, start: &str, item: impl Fn(usize) -> String, end: &str) -> String {
    let mut text = String::with_capacity(LONG);
    text.push_str(start);
    let mut number = 0;
    while text.len() < LONG - 200 && number < count {
        text.push_str(if number > 0 { "," } else { "" });
        text.push_str(&item(number));
        number += 1;
    }
    text + end
}

fn index(members: &str) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[]{members}"#)
}

fn entry(number: usize) -> String {
    let digest = format!("{number:064x}");
    format!(r#"{{"mediaType":"a/b","digest":"sha256:{digest}","size":1}}"#)
}

type Case = (&'static str, fn() -> String);

fn zero(_: usize) -> String {
    "0".into()
}

fn member(number: usize) -> String {
    format!("\"{number:x}\":0")
}

fn long_member(number: usize) -> String {
    format!("\"{number:0100x}\":0")
}

fn annotation(number: usize) -> String {
    format!("\"{number:x}\":\"\"")
}

const ENTRIES: &str = r#"{"schemaVersion":2,"manifests":["#;

/// Documents of five MiB or nearly, mostly beyond some limit.
const LARGE: &[Case] = &[
    ("deep arrays", || index(r#","x":"#) + &"[".repeat(LONG)),
    ("deep objects", || index(r#","x":"#) + &"{\"a\":".repeat(LONG / 5)),
    ("an unknown array", || repeated(&index(",\"x\":["), zero, "]}")),
    ("an unknown object", || repeated(&index(",\"x\":{"), member, "}}")),
    ("unknown members", || repeated(&index(","), member, "}")),
    ("annotations", || repeated(&index(",\"annotations\":{"), annotation, "}}")),
    ("a member twice", || repeated(&index(","), long_member, ",\"schemaVersion\":2}")),
    ("a case-variant member", || repeated(&index(","), long_member, ",\"Manifests\":[]}")),
    ("entries", || repeated(ENTRIES, entry, "]}")),
    ("entries that are none", || repeated(ENTRIES, |_| "{}".into(), "]}")),
    ("a version of zeros", || repeated("{\"manifests\":[],\"schemaVersion\":[", zero, "]}")),
    ("one long string", || index(&format!(",\"x\":\"{}\"}}", "a".repeat(LONG)))),
    ("escapes", || index(&format!(",\"x\":\"{}\"}}", "\\u0041".repeat(LONG / 6)))),
    ("a long number", || index(&format!(",\"x\":{}}}", "1".repeat(LONG)))),
    ("diff IDs", || {
        let digest = |number| format!("\"sha256:{number:064x}\"");
        repeated("{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[", digest, "]}}")
    }),
];

/// Documents that stay just below the limits and cost the most for it.
const DENSE: &[Case] = &[
    ("unknown zeros", || at_most(60_000, &index(",\"x\":["), zero, "]}")),
    ("unknown arrays", || at_most(60_000, &index(",\"x\":["), |_| "[]".into(), "]}")),
    ("unknown objects", || at_most(30_000, &index(",\"x\":["), |_| "{\"a\":0}".into(), "]}")),
    ("an unknown object of 60,000", || at_most(60_000, &index(",\"x\":{"), member, "}}")),
    ("60,000 unknown members", || at_most(60_000, &index(","), member, "}")),
    ("130,000 annotations", || at_most(130_000, &index(",\"annotations\":{"), annotation, "}}")),
    ("100,000 long annotations", || {
        let item = |number| format!("\"{number:030x}\":\"12345678\"");
        at_most(100_000, &index(",\"annotations\":{"), item, "}}")
    }),
    ("features", || {
        let start = format!(
            r#"{ENTRIES}{{"mediaType":"a/b","digest":"sha256:{:064}","size":1,"platform":{{"os.features":["#,
            0
        );
        at_most(250_000, &start, |_| "\"\"".into(), "]}}]}")
    }),
    ("history", || at_most(130_000, "{\"history\":[", |_| "{}".into(), "]}")),
    ("short diff IDs", || {
        let digest = |number| format!("\"a:{number:x}\"");
        at_most(250_000, "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[", digest, "]}}")
    }),
    ("words", || at_most(250_000, "{\"config\":{\"Cmd\":[", |_| "\"\"".into(), "]}}")),
    ("ports", || {
        let port = |number| format!("\"{number:x}\":{{}}");
        at_most(130_000, "{\"config\":{\"ExposedPorts\":{", port, "}}}")
    }),
];

fn parse_as<T: Format>(bytes: &[u8]) -> bool {
    Document::<T>::parse(bytes.to_vec()).is_ok()
}

type Parser = (&'static str, fn(&[u8]) -> bool);

const PARSERS: [Parser; 3] = [
    ("manifest", |bytes| Manifest::parse(bytes.to_vec(), Some(&MediaType::INDEX)).is_ok()),
    ("config", parse_as::<ImageConfig>),
    ("descriptor", parse_as::<Descriptor>),
];

/// Which case a child runs: document and parser.
const CASE: &str = "CONEX_HOSTILE_CASE";

#[test]
fn hostile_documents_cost_little() {
    let this = std::env::current_exe().unwrap();
    let mut faults = String::new();
    for document in 0..LARGE.len() + DENSE.len() {
        for parser in 0..PARSERS.len() {
            let child = std::process::Command::new(&this)
                .args(["one_case", "--exact", "--ignored", "--nocapture"])
                .env(CASE, format!("{document} {parser}"))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&child.stdout).into_owned();
            let line = text.lines().find(|line| line.contains(" as ")).unwrap_or("no answer");
            println!("{line}");
            if !child.status.success() {
                let _ = writeln!(faults, "{line}");
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
#[ignore = "the other test runs it, once for each case"]
fn one_case() {
    let case = std::env::var(CASE).unwrap();
    let (document, parser) = case.split_once(' ').unwrap();
    let documents = || LARGE.iter().chain(DENSE);
    let (name, make) = documents().nth(document.parse().unwrap()).unwrap();
    let (parser, parse) = PARSERS[parser.parse::<usize>().unwrap()];
    let text = make();
    let can_forget = forget_peak();
    let (before, start) = (peak(), Instant::now());
    let sound = parse(text.as_bytes());
    let spent = start.elapsed();
    let used = peak().zip(before).map_or(0, |(peak, before)| peak.saturating_sub(before));
    println!("\n{name} as {parser}: {} MiB, {spent:?}, sound: {sound}", used / MIB);
    assert!(can_forget, "the peak of memory can be measured");
    assert!(used <= 32 * MIB && spent < Duration::from_secs(1));
}
