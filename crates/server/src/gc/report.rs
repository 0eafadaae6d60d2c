//! What a collection tells.

use conex_spec::Digest;
use serde::{Deserialize, Serialize};

/// The most lines of each list of a report; the counts tell of all.
const LINES: usize = 10_000;

/// What went, or would go. All sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Whether nothing was removed in fact.
    pub dry_run: bool,
    /// How many repositories were looked at.
    pub repositories: u64,
    /// How many tags went.
    pub tags: u64,
    /// How many manifests went that had no tag.
    pub manifests: u64,
    /// How many times a repository lost a blob that no manifest of it needs.
    pub blobs: u64,
    /// Content that went since no repository has it any more.
    pub removed: Count,
    /// Content that no repository has, but too young.
    pub young: Count,
    /// Content that repositories have. Its size is not told where that would cost a request each.
    pub needed: Count,
    /// Uploads that nobody went on with.
    pub uploads: u64,
    /// What writers that died had left behind.
    pub swept: u64,
    /// The tags that went, and why: the first 10,000.
    pub removed_tags: Vec<Removed>,
    /// The manifests that went: the first 10,000.
    pub removed_manifests: Vec<Untagged>,
    /// The content that went: the first 10,000.
    pub digests: Vec<Digest>,
    /// Manifests that cannot be read. Of their repositories no blob and no manifest goes.
    pub unreadable: Vec<Untagged>,
}

/// A number of things, and their size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Count {
    /// How many.
    pub blobs: u64,
    /// Their size together.
    pub bytes: u64,
}

/// A tag that went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Its repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// What it stood for, where that can be read.
    pub digest: Option<Digest>,
    /// Which rule decided, counted from 1.
    pub rule: usize,
    /// Why it did not keep the tag.
    pub why: String,
}

/// A manifest of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Untagged {
    /// Its repository.
    pub repository: String,
    /// Its digest.
    pub digest: Digest,
}

impl Count {
    pub(super) fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

/// Adds a line to a list that has an end.
pub(super) fn note<T>(list: &mut Vec<T>, line: T) {
    if list.len() < LINES {
        list.push(line);
    }
}
