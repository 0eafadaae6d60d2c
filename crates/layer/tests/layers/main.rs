//! Layers packed, unpacked, flattened and compared. One program, since each takes seconds to build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;

mod acl;
mod flatten;
mod from_top;
mod hostile_tar;
mod hostile_tree;
mod many;
mod overlay;
mod pack;
mod properties;
mod race;
mod tree;
mod unpack;
