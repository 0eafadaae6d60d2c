//! Tables whose keys are hashes already.

use std::hash::{BuildHasherDefault, Hasher};

/// Takes a key for its own hash. Keys must come from a hasher whose key is random: a layer could
/// choose them otherwise.
pub(crate) type Hashed = BuildHasherDefault<Identity>;

/// See [`Hashed`].
#[derive(Clone, Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}
