//! Sets of digests that take little memory.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use conex_spec::Digest;

/// What stands for a digest in a [`Keys`]. Two digests may have the same key, by a chance that is
/// another one in each collection: then something stays that could go, until the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// A set of digests.
#[derive(Debug, Default)]
pub(super) struct Keys {
    hash: RandomState,
    set: HashSet<Key>,
}

impl Keys {
    /// An empty set with the same keys.
    pub(super) fn another(&self) -> Self {
        Self { hash: self.hash.clone(), set: HashSet::new() }
    }

    pub(super) fn key(&self, digest: &Digest) -> Key {
        Key(self.hash.hash_one(digest.as_str()))
    }

    /// Returns whether it was new.
    pub(super) fn add(&mut self, key: Key) -> bool {
        self.set.insert(key)
    }

    pub(super) fn insert(&mut self, digest: &Digest) {
        self.add(self.key(digest));
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.set.contains(&key)
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.has(self.key(digest))
    }
}
