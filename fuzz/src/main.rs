//! Fuzz targets in one program; the environment's `TARGET` says which one runs. `scripts/fuzz`
//! builds and runs them.
//!
//! A target panics where a promise is broken: what was parsed prints and parses as itself, an
//! unedited document keeps its bytes, nothing takes more than the bounded time and memory that
//! libFuzzer is told of.
#![no_main]

mod archive;
mod chart;
mod documents;
mod helm;
mod names;
mod tar;
mod template;
mod tree;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// A target, by its name.
type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 12] = [
    ("reference", names::reference),
    ("digest", names::digest),
    ("platform", names::platform),
    ("location", names::location),
    ("documents", documents::all),
    ("template", template::render),
    ("tar", tar::entries),
    ("compression", tar::compressed),
    ("archive", archive::index),
    ("tree", tree::merged),
    ("chart", chart::metadata),
    ("chart-archive", chart::archived),
];

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(chosen)(data);
});

fn chosen() -> Target {
    let name = std::env::var("TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("TARGET is {name:?}, none of {:?}", TARGETS.map(|t| t.0))).1
}
