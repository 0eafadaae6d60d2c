//! The verbs on whole images and artifacts, one file each.
//!
//! | looking for | module |
//! |---|---|
//! | a `Location` as something to read or write | [`open`] |
//! | which image of an index suits a platform | [`choose`] |
//! | what can be reached from a root | [`walk`] |
//! | `conex copy` | [`copy`] |
//! | `conex pull`, `conex push` | [`pull`], with `--unpack` [`pull_unpack`]; [`push`] |
//! | `conex inspect` | [`inspect`] |
//! | a small file that a person names, read whole | [`small_file`] |
//! | a bare JSON file, and what sort of document it is | [`json_file`] |
//! | `conex validate` | [`validate`]; with `--rootfs` [`rootfs`] |
//! | `conex pack`, `conex repack` | [`pack`], [`repack`] |
//! | `conex ls`, `conex cat`, `conex diff` | [`mod@ls`], [`mod@cat`], [`mod@diff`]; what they read of an image [`files`] |
//! | `conex unpack` | [`unpack`]; with `--bundle` [`bundle`] and [`runtime_config`] |
//! | `conex export`, `--path`, `--layers` | [`export`], [`unpack::unpack_parts`], [`unpack_layers`] |
//! | a user of an image by name | [`user`] |
//! | `conex index create` | [`index`] |
//! | `conex images`, `conex tag`, `conex rm` | [`images`], [`tag`], [`rm`] |
//! | `conex tags`, `conex repos`, `conex digest` | [`tags`], [`repos`], [`digest`] |
//! | `conex charts`, and charts as artifacts | [`helm`] |
//! | CNAB bundles | [`cnab`] |
//! | patterns and orders of names | [`glob`], [`order`] |
//! | `conex manifest`, `conex blob` | [`manifest`], [`blob`] |
//! | `conex artifact` | [`artifact`] |
//! | `conex discover` | [`discover`] |
//! | `conex untag`, `conex delete` | [`untag`], [`delete`] |
//! | `conex gc`, `conex du` | [`gc`], [`du`] |
//! | `conex fsck`, `conex repair` | [`fsck`], [`repair`] |
//! | what the roots of a place need, damage or not | [`reach`] |

pub mod artifact;
pub mod blob;
pub mod bundle;
pub mod cat;
pub mod choose;
pub mod cnab;
pub mod copy;
pub mod delete;
pub mod diff;
pub mod digest;
pub mod discover;
pub mod du;
pub mod export;
pub mod files;
pub mod fsck;
pub mod gc;
pub mod helm;
pub mod images;
pub mod index;
pub mod inspect;
pub mod json_file;
mod layers;
pub mod ls;
pub mod manifest;
mod onto;
pub mod open;
pub mod order;
pub mod pack;
pub mod pull;
pub mod pull_unpack;
pub mod push;
pub mod reach;
pub mod repack;
pub mod repair;
pub mod repos;
pub mod rm;
pub mod rootfs;
pub mod runtime_config;
pub mod small_file;
mod spool;
pub mod tag;
pub mod tags;
pub mod unpack;
pub mod unpack_layers;
pub mod untag;
pub mod user;
pub mod validate;
pub mod walk;

pub use conex_spec::glob;
pub use copy::{CopyOptions, Count, Summary, copy};
pub use open::Context;
