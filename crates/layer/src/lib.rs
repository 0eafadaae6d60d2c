//! What is inside one layer: tar entries, whiteouts, compression, and the trees they become.
//!
//! Everything here is blocking: [`std::io::Read`] in, [`std::io::Write`] out, no async, no
//! network, no clock. Layers come from strangers; see the security notes of each module.
//!
//! | looking for | it is |
//! |---|---|
//! | the entries of a tar | [`tar::Reader`], [`tar::Entry`] |
//! | to write a tar | [`tar::Writer`] |
//! | gzip, zstd | [`compression::Decoder`], [`compression::Encoder`], [`compression::detect`] |
//! | `.wh.` files | [`whiteout::parse`] |
//! | layers to a directory | [`unpack::Unpacker`] |
//! | a directory to a layer | [`pack::pack`] |
//! | a file of an unpacked image, safely | [`Root::file`] |
//! | the path of an entry below the root | [`Name`] |
//! | a name on a terminal | [`show`] |
//! | what was odd | [`Warnings`] |

pub mod compression;
mod name;
pub mod pack;
mod root;
mod sys;
pub mod tar;
pub mod unpack;
mod warning;
pub mod whiteout;
mod xattr;

pub use name::{Name, show};
pub use root::Root;
pub use warning::{Code, Warning, Warnings};
