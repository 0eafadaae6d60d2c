//! CNAB bundles in registries and layouts: an index of the bundle's config and of all its images, as
//! cnab-to-oci writes it.
//!
//! | looking for | module |
//! |---|---|
//! | `bundle.json` and its rules (CNAB Core 1.0, 101) | [`bundle`] |
//! | the index, its annotations and media types | [`index`] |
//! | a bundle into a place, with its images | [`push`] |
//! | out of it again, with the relocation map | [`pull`] |

pub mod bundle;
pub mod index;
pub mod pull;
pub mod push;

pub use bundle::Bundle;

#[cfg(test)]
mod tests;
