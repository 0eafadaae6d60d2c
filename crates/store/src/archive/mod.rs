//! Images in a tar file: an OCI layout (`oci-archive:`), and what `docker save` writes
//! (`docker-archive:`).
//!
//! ```text
//! oci-layout                          the marker                          } an OCI layout,
//! index.json                          the roots                           } image-layout.md
//! blobs/ALGORITHM/ENCODED             everything else                     }
//! manifest.json                       Docker's own list: config, names and layers of each image,
//!                                     each by the name of a member
//! CONFIG.json, LAYER/layer.tar        as engines before Docker 25 called them
//! ```
//! Docker's engine writes both since version 25, and so does conex for `docker-archive:`, whose
//! layers stay compressed as they are: an image that goes into such an archive and comes out of it
//! is the same to the last byte.
//!
//! Reading unpacks nothing. A plain tar in a regular file is indexed once, and its members are
//! read where they lie. A stream can be read only once and a compressed file only from its
//! beginning, so the content of their members goes to one nameless file, and nothing else does.
//!
//! Writing is one pass, so that standard output and an engine's socket serve as well as a file:
//! blobs in the order in which they come, one whole blob at a time, and the index last. A file is
//! written beside its destination and takes its name, durable, when it is whole. What an OCI archive held
//! before goes over to the new file, unless that has it under its names; see [`keep`].
//!
//! # Security
//! Names in an archive are names of its members and never paths of this machine (rule D7).
//! Everything that two readers could take for different things is refused where it is asked for.
//!
//! | looking for | module |
//! |---|---|
//! | how a file or stream becomes members | [`input`] |
//! | the names of members, and links between them | [`members`] |
//! | `oci-archive:` | [`oci`]; which root is meant: [`choice`] |
//! | `docker-archive:` | [`docker`] |
//! | writing both | [`sink`], into an [`output`]; what stays of an old one: [`keep`] |

pub mod choice;
pub mod docker;
pub mod input;
pub mod keep;
pub mod members;
pub mod oci;
pub mod output;
pub mod sink;

pub use docker::DockerArchive;
pub use input::Input;
pub use keep::Keep;
pub use oci::OciArchive;
pub use output::Output;
pub use sink::{ArchiveSink, Form};
