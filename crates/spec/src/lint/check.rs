//! The checks, one file for each sort of document.

mod annotations;
mod config;
mod descriptor;
mod index;
mod json;
mod manifest;
mod platform;
