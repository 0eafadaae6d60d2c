//! What directories get last, by inode number, since it would be in the way of filling them.

use std::collections::HashMap;

use conex_spec::{Error, Kind, Result};
use conex_tar::Xattr;

/// The most memory that lists take, in bytes; some 100,000 directories have short ones then.
const MAX_LISTS: usize = 24 << 20;
/// What a directory and each list of it take beside names and values, about.
const OVERHEAD: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// Without privilege a directory must be writable.
    modes: HashMap<u64, u32>,
    /// New files would inherit the list for them, and a directory's own may keep even its owner out.
    acls: HashMap<u64, Vec<Xattr>>,
    weight: usize,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.modes.is_empty() && self.acls.is_empty()
    }

    pub(super) fn set_mode(&mut self, ino: u64, mode: u32) {
        self.modes.insert(ino, mode);
    }

    /// Access control lists of a directory that has none here yet.
    ///
    /// # Errors
    /// `Limit` where all of them take too much memory (rule T7).
    pub(super) fn set_acls(&mut self, ino: u64, acls: Vec<Xattr>) -> Result<()> {
        if acls.is_empty() {
            return Ok(());
        }
        self.weight += weight(&acls);
        if self.weight > MAX_LISTS {
            return Err(Error::new(
                Kind::Limit,
                "access control lists of directories are too many",
            )
            .expected(format!("at most {MAX_LISTS} bytes of memory for them")));
        }
        self.acls.insert(ino, acls);
        Ok(())
    }

    /// What a directory is to get, which is then no longer here.
    pub(super) fn take(&mut self, ino: u64) -> (Option<u32>, Vec<Xattr>) {
        let acls = self.acls.remove(&ino);
        self.weight -= acls.as_deref().map_or(0, weight);
        (self.modes.remove(&ino), acls.unwrap_or_default())
    }
}

fn weight(acls: &[Xattr]) -> usize {
    let each = |acl: &Xattr| acl.name.len() + acl.value.len() + OVERHEAD;
    OVERHEAD + acls.iter().map(each).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: usize) -> Vec<Xattr> {
        vec![Xattr { name: b"system.posix_acl_access".to_vec(), value: vec![0; bytes] }]
    }

    /// An empty list takes memory as well.
    #[test]
    fn memory_for_lists_is_bounded() {
        for bytes in [4, 60_000] {
            let mut deferred = Deferred::default();
            let room = MAX_LISTS / weight(&list(bytes));
            assert!((0..room as u64).all(|ino| deferred.set_acls(ino, list(bytes)).is_ok()));
            let err = deferred.set_acls(room as u64, list(bytes)).unwrap_err();
            assert_eq!(err.kind(), Kind::Limit);
        }
    }

    #[test]
    fn what_is_taken_makes_room() {
        let mut deferred = Deferred::default();
        for _ in 0..3 {
            deferred.set_acls(1, list(MAX_LISTS / 2)).unwrap();
            deferred.set_mode(1, 0o500);
            assert_eq!(deferred.take(1), (Some(0o500), list(MAX_LISTS / 2)));
            assert!(deferred.is_empty());
        }
    }
}
