//! Memory that many requests have together: what waits for clients that take their time.
//!
//! Chunks of answers, and what has come of uploads, wait in memory: the first until the client reads
//! them, the others until there is enough for a write. One client has as much as serves it best, but
//! the nearer all of them together are to their bound, the less each one gets. So thousands of clients
//! that stopped to read or to send leave memory for those that go on.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Which part of what is free one piece takes at most.
const SHARE: usize = 16;

/// A bound on the memory of many, in bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    held: AtomicUsize,
    bound: usize,
    /// What one gets where nothing is short, and what it gets in any case.
    most: usize,
    least: usize,
}

/// A part of a [`Memory`], until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: &'static Memory,
    length: usize,
}

impl Memory {
    /// Of `bound` bytes for all, from which each one gets `least` to `most`.
    pub(crate) const fn new(bound: usize, least: usize, most: usize) -> Self {
        Self { held: AtomicUsize::new(0), bound, most, least }
    }

    /// How much one may have now.
    pub(crate) fn fair(&self) -> usize {
        let free = self.bound.saturating_sub(self.held.load(Ordering::Relaxed));
        (free / SHARE).clamp(self.least, self.most)
    }

    /// Whether more than half of it is taken.
    pub(crate) fn is_short(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.bound / 2
    }

    /// Whether all of it is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.bound
    }

    /// Takes a part, of whatever length.
    pub(crate) fn hold(&'static self, length: usize) -> Held {
        self.held.fetch_add(length, Ordering::Relaxed);
        Held { memory: self, length }
    }
}

impl Held {
    /// Takes more.
    pub(crate) fn grow(&mut self, length: usize) {
        self.memory.held.fetch_add(length, Ordering::Relaxed);
        self.length += length;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.length, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2,000 clients that each took one part and then stopped.
    #[test]
    fn many_parts_have_a_bound_together() {
        static MEMORY: Memory = Memory::new(32 << 20, 8 << 10, 256 << 10);
        let mut parts = Vec::new();
        for number in 0..2000 {
            let fair = MEMORY.fair();
            assert!(fair == 256 << 10 || number > 64, "few have large ones");
            parts.push(MEMORY.hold(fair));
        }
        assert!(MEMORY.is_short() && MEMORY.fair() == 8 << 10);
        let held = MEMORY.held.load(Ordering::Relaxed);
        assert!(held <= (32 << 20) + 2000 * (8 << 10), "{held}");
        drop(parts);
        assert!(!MEMORY.is_short() && MEMORY.fair() == 256 << 10);
        let mut part = MEMORY.hold(5);
        part.grow(3);
        assert_eq!(MEMORY.held.load(Ordering::Relaxed), 8);
        drop(part);
        assert_eq!(MEMORY.held.load(Ordering::Relaxed), 0);
    }
}
