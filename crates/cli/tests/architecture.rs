//! Holds the crate graph to `ARCHITECTURE.md`: no arrow that is not drawn there.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "cargo itself knows the graph")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate, and which others it may use.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("spec", &[]),
    ("tar", &["spec"]),
    ("layer", &["spec", "tar"]),
    ("store", &["spec", "tar"]),
    ("client", &["spec", "store"]),
    ("server", &["spec", "store"]),
    ("template", &["spec"]),
    ("ops", &["spec", "tar", "layer", "store", "client"]),
    ("cli", &["spec", "tar", "layer", "store", "client", "server", "template", "ops"]),
    ("testkit", &["spec", "tar", "layer", "store", "client", "server", "ops"]),
];

#[test]
fn no_crate_uses_what_it_may_not() {
    let graph = graph();
    let known: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(graph.keys().cloned().collect::<BTreeSet<_>>(), known);
    for (name, allowed) in ALLOWED {
        for used in &graph[name] {
            assert!(allowed.contains(&used.as_str()), "{name} uses {used}");
        }
    }
}

/// The normal dependencies among the crates of the workspace; those of tests are free.
fn graph() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let short = |name: &str| name.strip_prefix("conex-").map(str::to_owned);
    let mut graph = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let used = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| short(dependency["name"].as_str().unwrap()))
            .collect();
        graph.insert(short(package["name"].as_str().unwrap()).unwrap(), used);
    }
    graph
}
