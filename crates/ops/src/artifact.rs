//! `conex artifact`: content other than container images, as image-spec, manifest.md, "Guidelines for
//! Artifact Usage" packages it.
//!
//! | looking for | module |
//! |---|---|
//! | an artifact before it is stored | [`draft`] |
//! | what its files hold, hashed before anything is sent | `contents` |
//! | which names files may have | [`titles`] |
//! | which type a file has by its name | [`types`] |
//! | annotations from the command line and from files | [`annotate`] |
//! | `conex artifact push` | [`push`] |
//! | `conex artifact attach` | [`attach`] |
//! | SBOMs, attestations, modules, models | [`kinds`]; what is in these [`wasm`], `model` |
//! | `conex artifact pull` | [`pull`] |
//! | blobs into a folder as files, of charts and bundles too | `bring`; the folder `landing`, one blob `fetch`, packed folders `tree`, what would be lost `losses` |
//!
//! ```no_run
//! # async fn example(context: &conex_ops::Context) -> conex_spec::Result<()> {
//! use conex_ops::CopyOptions;
//! use conex_ops::artifact::{Draft, Part};
//! use conex_spec::MediaType;
//!
//! let mut draft = Draft::new(MediaType::new("application/vnd.example.report"));
//! draft.layers.push(Part::bytes(MediaType::new("text/plain"), "all is well").titled("report.txt"));
//! let stored = draft.store(context, &"oci:./build:report".parse()?, &[], &CopyOptions::default()).await?;
//! println!("{}", stored.root.digest);
//! # Ok(())
//! # }
//! ```

pub mod annotate;
pub mod attach;
pub(crate) mod bring;
mod contents;
pub mod draft;
mod fetch;
pub mod kinds;
mod landing;
mod losses;
mod model;
pub mod pull;
pub mod push;
pub mod titles;
mod tree;
pub mod types;
pub mod wasm;

pub use draft::{Content, Draft, Part, Prepared, Stored};

#[cfg(test)]
mod tests;
