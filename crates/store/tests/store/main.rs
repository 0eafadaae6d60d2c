//! Places of this machine. One program, since each takes seconds to build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

mod archive;
mod conformance;
mod keep;
mod layout;
mod local;
mod resume;
