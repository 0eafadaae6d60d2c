//! Places of this machine that keep many images: layouts and the local store.

use std::fmt;

use serde::{Deserialize, Serialize};

use conex_spec::{Descriptor, Name, Result, Tag};

use crate::commit::Folder;
use crate::sink::Sink;
use crate::source::Source;

/// A root and what it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name: in the local store a canonical reference; the digest of a root without a name.
    pub name: String,
    /// What it stands for.
    pub root: Descriptor,
}

/// What may be the matter with content that a place keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Problem {
    /// It is there, but not what its digest names.
    Damaged,
    /// It is not there, although something needs it.
    Missing,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
        })
    }
}

/// A place of this machine that keeps many images, as its upkeep sees it. All of it blocks.
pub trait Collection: Source + Sink {
    /// Where the content lies; nothing where nothing was ever put.
    fn folder(&self) -> Option<&Folder>;

    /// All roots.
    fn entries(&self) -> Result<Vec<Entry>>;

    /// Takes a name away, durably. A digest stands for the root that is listed by it: in a layout
    /// all names of the root go. The content stays until it is collected. Returns what was
    /// removed, each as [`Entry::name`] has it; nothing where there was no such name.
    fn remove(&self, name: &Name) -> Result<Vec<String>>;

    /// Takes a tag away, durably. What it stood for stays a root, without a name where it has no
    /// other. Returns whether there was such a tag.
    fn unname(&self, tag: &Tag) -> Result<bool>;
}
