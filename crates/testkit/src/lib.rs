//! The test rig: what every store must do, and images to do it with.
//!
//! | looking for | module |
//! |---|---|
//! | the suite that every store runs | [`conformance`] |
//! | small sound images, and what breaks them | [`images`] |
//! | what a client must stand between itself and a registry | [`faults`] |
//! | a token server that signs what registries check | [`token_server`] |
//! | servers of S3, started for a test | [`s3_server`] |
//! | what clients did to a registry, and whether its laws hold | [`history`] |
//! | a wire that cuts, stalls, throttles and lies | [`proxy`] |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test rig may stop at the first surprise"
)]

pub mod conformance;
pub mod faults;
pub mod history;
pub mod images;
pub mod proxy;
pub mod s3_server;
pub mod token_server;
