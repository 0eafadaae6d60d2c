//! What is inside one layer: whiteouts, extended attributes, and the trees that entries become.
//!
//! Everything here is blocking: [`std::io::Read`] in, [`std::io::Write`] out, no async, no
//! network, no clock. Layers come from strangers; see the security notes of each module. Tar and
//! compression themselves are in the crate `conex-tar`.
//!
//! | looking for | it is |
//! |---|---|
//! | `.wh.` files | [`whiteout::parse`] |
//! | layers to a directory | [`unpack::Unpacker`] |
//! | layers to one tar, or single files of them | [`flatten::Flattener`], [`flatten::Parts`] |
//! | a manifest of a directory | [`mtree::write`], [`mtree::check`] |
//! | a directory to a layer | [`pack::pack`] |
//! | the files of an image without unpacking it, and what differs | [`tree::Tree`], [`tree::compare`] |
//! | a file of an unpacked image, safely | [`Root::file`] |
//! | the path of an entry below the root | [`Name`] |

pub mod flatten;
mod hashed;
mod ids;
pub mod mtree;
mod name;
pub mod pack;
mod root;
mod sys;
pub mod tree;
pub mod unpack;
pub mod whiteout;
mod xattr;

pub use ids::{IdMap, Ids, OWNER as OWNER_NOTED, Range as IdRange};
pub use name::Name;
pub use root::{Folder, Root};
