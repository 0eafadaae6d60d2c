//! Charts of Helm in registries and layouts, byte for byte as `helm push` stores them.
//!
//! | looking for | module |
//! |---|---|
//! | `Chart.yaml` and its rules | [`chart`] |
//! | YAML, bounded, as Go reads it | `yaml` |
//! | `^1.2`, `>=1 <2`, `1.x` | [`constraint`] |
//! | the archive of a chart | [`archive`]; a folder as one `folder`, `.helmignore` `ignore` |
//! | the manifest, its annotations and media types | [`oci`] |
//! | a chart into a place | [`push`] |
//! | out of it again | [`pull`] |
//! | which versions there are | [`versions`] |
//! | which images a chart names | [`images`] |

pub mod archive;
pub mod chart;
pub mod constraint;
mod fields;
mod folder;
pub(crate) mod go_json;
mod ignore;
pub mod images;
pub mod oci;
pub mod pull;
pub mod push;
pub mod versions;
mod yaml;

pub use chart::Chart;
pub use constraint::{Constraint, Version};

#[cfg(test)]
mod tests;
