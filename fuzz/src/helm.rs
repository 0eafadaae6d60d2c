//! The part of conex-ops that reads charts, by itself: with the rest of that crate the fuzzer would have to
//! build a network library, and to look after its coverage in every run of every target.
#![allow(dead_code, unreachable_pub, reason = "not all of it is fuzzed")]

#[path = "../../crates/ops/src/helm/archive.rs"]
pub mod archive;
#[path = "../../crates/ops/src/helm/chart.rs"]
pub mod chart;
#[path = "../../crates/ops/src/helm/constraint.rs"]
pub mod constraint;
#[path = "../../crates/ops/src/helm/fields.rs"]
mod fields;
#[path = "../../crates/ops/src/helm/go_json.rs"]
mod go_json;
#[path = "../../crates/ops/src/helm/images.rs"]
pub mod images;
#[path = "../../crates/ops/src/helm/yaml/mod.rs"]
mod yaml;

pub use chart::Chart;
