//! The documents that the OCI specifications and Docker define, as plain values.
//!
//! This crate parses, prints and names; it does no input or output and knows no clock.
//! Everything here may come from a stranger: parsing is strict and bounded, and
//! a fault is an [`Error`] that says what, where, expected and found.
//!
//! | looking for | module |
//! |---|---|
//! | `sha256:…` | [`digest`] |
//! | `{mediaType, digest, size}` | [`descriptor`] |
//! | image manifest, image index | [`manifest`] |
//! | image config | [`config`] |
//! | what drafts of the specification wrote, and its modern form | [`draft`] |
//! | OCI's types and Docker's, and the way between them | [`compatibility`] |
//! | artifacts, the empty descriptor | [`artifact`] |
//! | pre-defined annotations | [`annotations`] |
//! | raw bytes and their value, kept together | [`document`] |
//! | `registry.example/repo:tag` | [`reference`](mod@reference) |
//! | `oci:DIR:TAG`, `store:NAME` and the like | [`location`] |
//! | `linux/arm64/v8` | [`platform`] |
//! | patterns of names | [`glob`](mod@glob) |
//! | every rule of image-spec, as a check | [`lint`](mod@lint) |

pub mod annotations;
pub mod artifact;
pub mod compatibility;
pub mod config;
pub mod date;
pub mod descriptor;
pub mod digest;
pub mod document;
pub mod draft;
pub mod error;
pub mod extra;
pub mod glob;
pub mod layout;
pub mod lint;
pub mod location;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;
pub mod renewed;
pub mod shown;
pub mod strict_json;
mod written;

pub use config::ImageConfig;
pub use descriptor::{Annotations, Descriptor};
pub use digest::{Algorithm, Digest, Hasher};
pub use document::Document;
pub use error::{Error, Kind, Result};
pub use extra::Extra;
pub use glob::Glob;
pub use location::Location;
pub use manifest::{ImageIndex, ImageManifest, Manifest};
pub use media_type::{Compression, MediaType};
pub use platform::Platform;
pub use reference::{Name, Reference, Tag};
pub use renewed::Renewed;
