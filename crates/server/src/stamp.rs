//! Whether a file of settings has changed since it was read.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Changes whenever the file does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(u64, u64, i64, i64);

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self(meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec())
    }

    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|meta| Self::of(&meta))
    }
}
