//! The verbs on real places. One program, since each takes seconds to build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

mod copying;
mod drafts;
mod matrix;
mod ranges;
mod registry;
mod validate;
mod validate_docker;
mod wire;
