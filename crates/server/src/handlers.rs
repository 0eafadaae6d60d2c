//! What each endpoint does.

mod blobs;
mod lists;
mod manifests;
mod uploads;
