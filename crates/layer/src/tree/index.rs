//! Finds a name in its directory: a table of first nodes by a hash of both. Nodes of one place are
//! chained by the tree itself, so that the table is all the memory that is needed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::NONE;
use crate::hashed::Hashed;

/// The table. Its key is random: no layer can know which names meet in one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    key: RandomState,
    first: HashMap<u64, u32, Hashed>,
}

impl Index {
    pub(super) fn place(&self, parent: u32, name: &[u8]) -> u64 {
        self.key.hash_one((parent, name))
    }

    pub(super) fn first(&self, parent: u32, name: &[u8]) -> u32 {
        self.get(self.place(parent, name))
    }

    /// Puts a node first in its place, and tells which one was.
    pub(super) fn insert(&mut self, parent: u32, name: &[u8], node: u32) -> u32 {
        self.first.insert(self.place(parent, name), node).unwrap_or(NONE)
    }

    pub(super) fn get(&self, place: u64) -> u32 {
        self.first.get(&place).copied().unwrap_or(NONE)
    }

    pub(super) fn set(&mut self, place: u64, node: u32) {
        match node {
            NONE => self.first.remove(&place),
            node => self.first.insert(place, node),
        };
    }
}
