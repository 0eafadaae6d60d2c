//! conex alone, on a real Debian.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::fixture::{packed, tree};
use crate::support::daemon::{Registry, Request};
use crate::support::layout;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;
use crate::support::tree::assert_same;

/// And what was unpacked is packed to the same bytes again, from another folder.
pub fn unpacked_is_what_was_packed() {
    let scratch = Scratch::new("round");
    let conex = Conex::new(&scratch);
    let rootfs = scratch.arg("rootfs");
    conex.ok(&["unpack", packed(), &rootfs]);
    let count = assert_same(tree(), &scratch.join("rootfs"));
    assert!(count > 20_000, "only {count}");
    let again = format!("oci:{}:again", scratch.arg("layout"));
    conex.ok(&["pack", &rootfs, &again]);
    let layers = |location: &str| {
        conex.json(&["inspect", location])["layers"][0]["digest"].as_str().unwrap().to_owned()
    };
    assert_eq!(layers(packed()), layers(&again));
}

/// Only the layer that changed moves, with the config and the manifest; counted at the registry.
pub fn a_second_pull_moves_what_changed() {
    let scratch = Scratch::new("delta");
    let conex = Conex::new(&scratch);
    let mut registry = Registry::start(&scratch);
    let image = registry.image("debian/app:latest");
    let push = |version: u32| {
        let app = scratch.folder("app");
        fs::write(app.join("version"), format!("{version}\n").repeat(1000)).unwrap();
        let base = tree().join("usr/lib").display().to_string();
        conex.ok(&["pack", &base, &scratch.arg("app"), &image]);
        conex.json(&["inspect", &image])
    };
    push(1);
    conex.ok(&["pull", &image]);
    push(2);
    registry.requests();
    let report = conex.json(&["pull", &image]);
    let copied = scratch.arg("copied");
    let moved = sent(&registry.requests());
    conex.ok(&["copy", &image, &format!("oci:{copied}:2")]);
    let copied = Path::new(&copied);
    let content = layout::content(copied, &layout::tagged(copied, "2"));
    // Manifest, config and the second of two layers.
    let expected: BTreeMap<_, _> = [0, 1, 3].map(|at: usize| content[at].clone()).into();
    assert_eq!(moved, expected);
    let expected: u64 = expected.values().sum();
    assert_eq!(report["summary"]["moved"]["bytes"], expected);
    assert!(content[2].1 > 10 << 20 && expected < 10_000, "{content:?}");
}

/// The bytes of all answers, by digest. Whether the registry speaks the API is asked at `/v2/`,
/// which says `{}`.
fn sent(requests: &[Request]) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    for request in requests.iter().filter(|request| request.sent > 0 && request.target != "/v2/") {
        let name = request.target.rsplit('/').next().unwrap();
        *sent.entry(name.to_owned()).or_default() += request.sent;
    }
    sent
}
