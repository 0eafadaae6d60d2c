//! Manifests that were asked for lately, in memory.
//!
//! What a repository has is decided by its records alone (CVE-2026-35172: a cache brought deleted
//! access back). So nothing of a repository is cached while it is being changed, what was read from
//! the disk before or during a change is not kept after it, and what is found here is served only
//! after a look whether the records that led to it are still the same.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::paths::Repository;
use crate::storage::manifests::Stored;

/// What an entry takes beside its bytes, about.
const OVERHEAD: usize = 512;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache {
    state: Mutex<State>,
    limit: usize,
}

/// Two generations: what is found in the old one moves to the young one, and when the young one
/// is full the old one is dropped and the young one grows old.
#[derive(Debug, Default)]
struct State {
    young: Generation,
    old: Generation,
    changes: u64,
    /// How many changes of each go on.
    changing: HashMap<Repository, usize>,
}

/// A repository is being changed as long as this lives.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    cache: &'a Cache,
    repository: &'a Repository,
}

#[derive(Debug, Default)]
struct Generation {
    repositories: HashMap<Repository, HashMap<String, Stored>>,
    bytes: usize,
}

/// When a reading from the disk began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(u64);

impl Cache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit }
    }

    /// The manifest, or the moment from which on it is read from the disk.
    pub(crate) fn get(&self, repository: &Repository, name: &str) -> Result<Stored, Moment> {
        let mut state = self.state();
        if let Some(stored) = state.young.get(repository, name) {
            return Ok(stored);
        }
        match state.old.get(repository, name) {
            Some(stored) => {
                self.keep(&mut state, repository, name, stored.clone());
                Ok(stored)
            }
            None => Err(Moment(state.changes)),
        }
    }

    /// The moment from which on something is read that was not found here.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.state().changes)
    }

    /// Keeps what was read from the disk since a moment.
    pub(crate) fn put(&self, since: Moment, repository: &Repository, name: &str, stored: Stored) {
        let mut state = self.state();
        if state.changes == since.0 && !state.changing.contains_key(repository) {
            self.keep(&mut state, repository, name, stored);
        }
    }

    /// Begins a change of a repository; from now on it is read from the disk. The caller holds the
    /// repository's lock, and drops the change before it is acknowledged.
    pub(crate) fn change<'a>(&'a self, repository: &'a Repository) -> Change<'a> {
        let mut state = self.state();
        *state.changing.entry(repository.clone()).or_default() += 1;
        state.young.remove(repository);
        state.old.remove(repository);
        Change { cache: self, repository }
    }

    fn keep(&self, state: &mut State, repository: &Repository, name: &str, stored: Stored) {
        if state.young.bytes + weight(&stored) > self.limit / 2 {
            state.old = std::mem::take(&mut state.young);
        }
        if weight(&stored) <= self.limit / 2 {
            state.young.insert(repository, name, stored);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        if let Some(count) = state.changing.get_mut(self.repository) {
            *count -= 1;
            if *count == 0 {
                state.changing.remove(self.repository);
            }
        }
        state.changes += 1;
    }
}

impl Generation {
    fn get(&self, repository: &Repository, name: &str) -> Option<Stored> {
        self.repositories.get(repository)?.get(name).cloned()
    }

    fn insert(&mut self, repository: &Repository, name: &str, stored: Stored) {
        self.bytes += weight(&stored);
        let names = self.repositories.entry(repository.clone()).or_default();
        if let Some(before) = names.insert(name.to_owned(), stored) {
            self.bytes -= weight(&before);
        }
    }

    fn remove(&mut self, repository: &Repository) {
        let names = self.repositories.remove(repository).unwrap_or_default();
        self.bytes -= names.values().map(weight).sum::<usize>();
    }
}

fn weight(stored: &Stored) -> usize {
    stored.bytes.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::{Digest, MediaType};

    fn stored(length: usize) -> Stored {
        let bytes = vec![b' '; length];
        let (digest, media_type) = (Digest::sha256(&bytes), MediaType::INDEX);
        Stored { digest, media_type, bytes: bytes.into(), seen: [].into() }
    }

    fn name(text: &str) -> Repository {
        text.parse().unwrap()
    }

    #[test]
    fn a_change_forgets_the_repository_and_what_was_being_read() {
        let cache = Cache::new(1 << 20);
        let (a, b) = (name("a"), name("b"));
        let since = cache.get(&a, "x").unwrap_err();
        cache.put(since, &a, "x", stored(1));
        cache.put(since, &b, "x", stored(2));
        assert_eq!(cache.get(&a, "x").unwrap().bytes.len(), 1);
        let reading = cache.get(&a, "y").unwrap_err();
        let change = cache.change(&a);
        cache.put(reading, &a, "y", stored(3));
        assert!(cache.get(&a, "x").is_err());
        let other = cache.change(&a);
        drop(change);
        cache.put(cache.now(), &a, "y", stored(3));
        assert!(cache.get(&a, "y").is_err(), "the other one goes on");
        drop(other);
        cache.put(reading, &a, "y", stored(3));
        assert!(cache.get(&a, "x").is_err() && cache.get(&a, "y").is_err());
        assert!(cache.get(&b, "x").is_ok());
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let cache = Cache::new(100 << 10);
        let a = name("a");
        let since = cache.get(&a, "").unwrap_err();
        cache.put(since, &a, "hot", stored(100));
        cache.put(since, &a, "huge", stored(60 << 10));
        assert!(cache.get(&a, "huge").is_err());
        for i in 0..1000 {
            cache.put(since, &a, &i.to_string(), stored(1000));
            assert!(cache.get(&a, "hot").is_ok(), "{i}");
        }
        let state = cache.state();
        assert!(state.young.bytes + state.old.bytes <= 100 << 10);
        assert!(state.young.bytes > 0);
    }
}
