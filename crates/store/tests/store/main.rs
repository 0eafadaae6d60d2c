//! Places of this machine. One program, since each takes seconds to build.

mod archive;
mod conformance;
mod layout;
mod local;
mod resume;
