//! The registry, spoken to over HTTP. One program, since each takes seconds to build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod bucket;
mod delete;
mod durability;
mod fuzzed;
mod hostile;
mod layout;
mod lists;
mod manifests;
mod operator;
mod policies;
mod pull;
mod push;
mod raw;
mod tls;
