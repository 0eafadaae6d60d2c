//! What each endpoint does.

mod blobs;
mod health;
mod lists;
mod manifests;
mod uploads;
