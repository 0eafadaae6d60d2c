//! Entries of referrers that were read or written lately, in memory.
//!
//! What an entry says follows from the manifest, whose digest is the entry's name: it never changes.
//! Whether it is there at all is not asked here, but of the storage, each time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conex_spec::{Digest, MediaType};
use serde::Deserialize;

/// What an entry takes beside its text, about.
const OVERHEAD: usize = 300;

/// The descriptor of a manifest that refers to another one, as it is written.
#[derive(Debug)]
pub(crate) struct Entry {
    text: Box<str>,
    pub(crate) digest: Digest,
    pub(crate) artifact_type: Option<MediaType>,
    /// Whether a note has it, or has no room for it (see [`super::notes`]).
    noted: AtomicBool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Entries {
    state: Mutex<State>,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    /// By the folder of their subject.
    subjects: HashMap<String, Subject>,
    bytes: usize,
    /// Counts the uses, to know which is the oldest.
    uses: u64,
}

#[derive(Debug, Default)]
struct Subject {
    entries: HashMap<String, Arc<Entry>>,
    bytes: usize,
    used: u64,
}

impl Entry {
    /// Reads an entry; nothing where someone damaged it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Known {
            digest: Digest,
            artifact_type: Option<MediaType>,
        }
        let text = std::str::from_utf8(bytes).ok()?.trim_matches([' ', '\t', '\r', '\n']);
        if !text.starts_with('{') {
            return None;
        }
        let Known { digest, artifact_type } = serde_json::from_str(text).ok()?;
        Some(Self { text: text.into(), digest, artifact_type, noted: AtomicBool::new(false) })
    }

    /// One that a note has.
    pub(super) fn of_note(text: &str, digest: Digest, artifact_type: Option<MediaType>) -> Self {
        Self { text: text.into(), digest, artifact_type, noted: AtomicBool::new(true) }
    }

    pub(super) fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    pub(super) fn set_noted(&self) {
        self.noted.store(true, Ordering::Relaxed);
    }

    /// A JSON object.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The length of its text, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }
}

impl Entries {
    /// `limit` is in bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit }
    }

    /// Those of some names that are here, in the order asked.
    pub(crate) fn get(&self, folder: &str, names: &[String]) -> Vec<Option<Arc<Entry>>> {
        let mut state = self.state();
        state.uses += 1;
        let used = state.uses;
        let Some(subject) = state.subjects.get_mut(folder) else { return vec![None; names.len()] };
        subject.used = used;
        names.iter().map(|name| subject.entries.get(name).map(Arc::clone)).collect()
    }

    /// Keeps an entry, where there is room for it.
    pub(crate) fn put(&self, folder: &str, name: &str, entry: Arc<Entry>) {
        let weight = entry.len() + name.len() + OVERHEAD;
        let mut state = self.state();
        if state.bytes + weight > self.limit {
            state.make_room(folder, self.limit.saturating_sub(weight));
        }
        if state.bytes + weight > self.limit {
            return;
        }
        let used = state.uses;
        let fresh = || Subject { used, ..Subject::default() };
        let subject = state.subjects.entry(folder.to_owned()).or_insert_with(fresh);
        if subject.entries.insert(name.to_owned(), entry).is_none() {
            subject.bytes += weight;
            state.bytes += weight;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the subjects that nobody asked for longest, but one.
    fn make_room(&mut self, keep: &str, limit: usize) {
        let mut oldest: Vec<_> =
            self.subjects.iter().map(|(name, subject)| (subject.used, name.clone())).collect();
        oldest.sort_unstable();
        for (_, name) in oldest.into_iter().filter(|(_, name)| name != keep) {
            if self.bytes <= limit {
                return;
            }
            self.bytes -= self.subjects.remove(&name).map_or(0, |subject| subject.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::Descriptor;

    fn entry(seed: u8) -> Arc<Entry> {
        let descriptor = Descriptor::of(MediaType::MANIFEST, &[seed]);
        Arc::new(Entry::parse(&serde_json::to_vec(&descriptor).unwrap()).unwrap())
    }

    const ARRAY: &str =
        "[\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",null]";

    #[test]
    fn a_damaged_entry_is_none() {
        for bad in ["", "{}", "[]", "{\"digest\":\"x\"}", "{\"digest\":\"sha256:", ARRAY] {
            assert!(Entry::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_subject_goes() {
        let entries = Entries::new(20_000);
        let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        for folder in ["old", "new"] {
            for (seed, name) in names.iter().take(20).enumerate() {
                entries.put(folder, name, entry(seed as u8));
            }
            entries.get(folder, &[]);
        }
        let there = |folder| entries.get(folder, &names).iter().flatten().count();
        assert_eq!((there("old"), there("new")), (20, 20));
        for (seed, name) in names.iter().enumerate() {
            entries.put("more", name, entry(seed as u8));
        }
        assert_eq!((there("old"), there("new")), (0, 0));
        let kept = there("more");
        assert!(kept > 20 && kept < 100, "{kept}");
        let state = entries.state();
        let sum: usize = state.subjects.values().map(|subject| subject.bytes).sum();
        assert!(state.bytes == sum && sum <= 20_000);
    }
}
