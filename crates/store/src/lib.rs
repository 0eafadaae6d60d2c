//! Where content lives: sources, sinks, and the stores that need no network.
//!
//! | looking for | module |
//! |---|---|
//! | what a store can be asked | [`source`], [`sink`] |
//! | a digest that does not match | [`verify`] |
//! | an OCI layout directory and its lock | [`layout`] |
//! | the local store, shared by all pulls | [`local`] |
//! | images in a tar file | [`archive`] |
//! | content in memory | [`memory`] |
//! | a source one can add to, for builds | [`stage`] |
//! | what keeps many images, for its upkeep | [`collection`] |
//! | a folder made when something is put there | [`home`] |
//! | how anything becomes durable | [`commit`] |
//! | blobs as files | [`blobs`] |
//! | whether a blob changed where it lies | [`seal`] |
//! | the border between async and blocking | [`bridge`] |
//! | what belongs to a manifest, where no registry lists it | [`referrers`] |
//! | progress | [`observer`] |
//! | how fast content may move | [`rate`] |
//! | a file that a person names | [`plain_file`] |
//! | waiting for another process | [`wait`] |

pub mod archive;
pub mod blobs;
pub mod bridge;
pub mod collection;
pub mod commit;
pub mod home;
pub mod layout;
pub mod local;
pub mod memory;
pub mod observer;
pub mod plain_file;
pub mod rate;
pub mod referrers;
pub mod seal;
pub mod sink;
pub mod source;
pub mod stage;
pub mod verify;
pub mod wait;

pub use collection::{Collection, Entry, Problem};
pub use home::Access;
pub use layout::Layout;
pub use local::LocalStore;
pub use memory::Memory;
pub use observer::{Event, Observer};
pub use sink::{Reopen, Sink};
pub use source::{ByteStream, Place, Source, SourceExt};
pub use stage::Stage;
