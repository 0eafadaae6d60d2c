//! Which names the current layer made, so that its whiteouts spare them and its duplicates show.
//!
//! "Whiteout files MUST only apply to resources in lower/parent layers": a whiteout may come
//! after the entries that it must not hide. A name is known by its directory's inode number and
//! its last component, hashed with a key that no layer can know; ten million names fit into
//! memory that way. If an inode number is used again within one layer, the directory that has it
//! now was made by this layer as well, so that all in it is of this layer indeed.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::hashed::Hashed;

/// The set is kept in parts that grow one by one, since a set that grows is there twice.
const SHARDS: usize = 32;

type Ids = HashSet<u64, Hashed>;

/// The names of one layer.
#[derive(Debug, Default)]
pub(super) struct Seen {
    key: RandomState,
    names: [Ids; SHARDS],
    /// Directories that the layer only implies.
    implied: Ids,
    /// Below the first layer there is nothing: whatever exists is of this layer.
    first: bool,
}

impl Seen {
    /// Nothing is known of the next layer yet.
    pub(super) fn new(first: bool) -> Self {
        Self { first, ..Self::default() }
    }

    /// Whether there is no layer below.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// The layer made `name` in the directory with this inode number by an entry of its own.
    pub(super) fn add(&mut self, dir: u64, name: &[u8]) {
        let id = self.id(dir, name);
        self.implied.remove(&id);
        if !self.first {
            self.shard(id).insert(id);
        }
    }

    /// The layer has an entry below this directory.
    pub(super) fn imply(&mut self, dir: u64, name: &[u8], made: bool) {
        let id = self.id(dir, name);
        if self.first {
            if made {
                self.implied.insert(id);
            }
        } else if self.shard(id).insert(id) {
            self.implied.insert(id);
        }
    }

    /// Whether an existing name is of this layer.
    pub(super) fn contains(&self, dir: u64, name: &[u8]) -> bool {
        let id = self.id(dir, name);
        self.first || self.names[shard(id)].contains(&id)
    }

    /// Whether the layer has entries below this directory but none for itself.
    pub(super) fn is_implied(&self, dir: u64, name: &[u8]) -> bool {
        self.implied.contains(&self.id(dir, name))
    }

    fn shard(&mut self, id: u64) -> &mut Ids {
        &mut self.names[shard(id)]
    }

    fn id(&self, dir: u64, name: &[u8]) -> u64 {
        self.key.hash_one((dir, name))
    }
}

/// By bits in the middle: a set uses those at both ends.
fn shard(id: u64) -> usize {
    (id >> 32) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_of_the_first_layer() {
        let seen = Seen::new(true);
        assert!(seen.contains(1, b"a"));
        assert!(!seen.is_implied(1, b"a"));
    }

    #[test]
    fn later_layers_know_their_names() {
        let mut seen = Seen::new(false);
        seen.add(1, b"a");
        assert!(seen.contains(1, b"a"));
        assert!(!seen.contains(2, b"a"));
        assert!(!seen.contains(1, b"b"));
        seen.imply(1, b"d", false);
        assert!(seen.contains(1, b"d") && seen.is_implied(1, b"d"));
        seen.add(1, b"d");
        assert!(seen.contains(1, b"d") && !seen.is_implied(1, b"d"));
        seen.imply(1, b"d", false);
        assert!(!seen.is_implied(1, b"d"));
    }
}
