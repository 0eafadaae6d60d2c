//! What each endpoint does.

mod blobs;
mod health;
mod kept;
mod lists;
mod manifests;
mod uploads;
