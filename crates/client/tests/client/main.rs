//! The client among servers that are real, made up or hostile. One program, since each takes seconds
//! to build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;

mod hostile_pull;
mod hostile_push;
mod leaks;
mod lists;
mod mirrors;
mod ranges;
mod referrers_tag;
mod secrets;
mod tls;
mod ways;
