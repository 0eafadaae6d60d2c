//! Lists of referrers, page by page, in the order of their bytes.

use std::sync::Arc;

use conex_spec::{Digest, Result};

use super::Storage;
use super::entries::Entry;
use super::home::Page;
use super::notes::Noted;
use crate::paths::Repository;

/// What is looked at in one go: names, entries, and about how many bytes of these.
const NAMES: usize = 1000;
const ENTRIES: usize = 1000;
const BYTES: usize = 1 << 20;
/// A subject with so many referrers may have a note.
const MANY: usize = 100;

impl Storage {
    /// The entries of a subject's referrers after the one called `last`, of at most `bytes`
    /// together but at least one, and the name of the last one looked at. Those that `wanted`
    /// refuses are left out.
    pub(crate) async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        last: &str,
        bytes: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<(Page<Arc<Entry>>, String)> {
        let folder = repository.referrers(subject);
        let mut page = Page { items: Vec::new(), more: false };
        let (mut left, mut at, mut batch) = (bytes, last.to_owned(), 4);
        let mut reading = Reading {
            of: (repository, subject),
            folder,
            looked: Vec::new(),
            many: false,
            noted: None,
        };
        loop {
            let names = self.home().list(&reading.folder, &at, NAMES).await?;
            reading.many |= names.items.len() >= MANY;
            let mut rest = names.items.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(batch.min(rest.len()));
                let entries = self.there(&mut reading, now, &wanted).await?;
                let largest = entries.iter().flatten().map(|entry| entry.len()).max().unwrap_or(0);
                for (name, entry) in now.iter().zip(entries) {
                    if let Some(entry) = entry {
                        if entry.len() > left && !page.items.is_empty() {
                            page.more = true;
                            self.note_down(reading.of, &reading.looked, reading.noted).await;
                            return Ok((page, at));
                        }
                        left = left.saturating_sub(entry.len());
                        page.items.push(entry);
                    }
                    at.clone_from(name);
                }
                batch = (BYTES / largest.max(1)).clamp(1, ENTRIES);
                rest = later;
            }
            if !names.more {
                self.note_down(reading.of, &reading.looked, reading.noted).await;
                return Ok((page, at));
            }
        }
    }

    /// Entries; nothing for each that is not wanted, or whose manifest the repository does not have.
    async fn there(
        &self,
        reading: &mut Reading<'_>,
        names: &[String],
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Option<Arc<Entry>>>> {
        let mut entries = self.entries(reading, names).await?;
        let looked = names.iter().zip(&entries);
        let looked = looked.filter_map(|(name, entry)| Some((name.clone(), entry.clone()?)));
        reading.looked.extend(looked);
        for entry in &mut entries {
            entry.take_if(|entry| !wanted(entry));
        }
        let links = entries.iter().flatten().map(|entry| reading.of.0.manifest(&entry.digest));
        let links = links.collect::<Result<Vec<_>>>()?;
        let mut there = self.home().present(links).await?.into_iter();
        for entry in entries.iter_mut().filter(|entry| entry.is_some()) {
            if !there.next().unwrap_or(false) {
                *entry = None;
            }
        }
        Ok(entries)
    }

    async fn entries(
        &self,
        reading: &mut Reading<'_>,
        names: &[String],
    ) -> Result<Vec<Option<Arc<Entry>>>> {
        let folder = &reading.folder;
        let mut entries = self.entries.get(folder, names);
        let missing = |(at, entry): (usize, &Option<Arc<Entry>>)| entry.is_none().then_some(at);
        let mut missing: Vec<_> = entries.iter().enumerate().filter_map(missing).collect();
        if reading.many && missing.len() > names.len() / 2 && reading.noted.is_none() {
            reading.noted = Some(self.noted(reading.of.0, reading.of.1).await);
        }
        if let Some(noted) = &reading.noted {
            missing.retain(|at| {
                entries[*at] = noted.get(&names[*at]);
                if let Some(entry) = &entries[*at] {
                    self.entries.put(folder, &names[*at], Arc::clone(entry));
                }
                entries[*at].is_none()
            });
        }
        if missing.is_empty() {
            return Ok(entries);
        }
        let paths = missing.iter().map(|at| format!("{folder}/{}", names[*at])).collect();
        for (at, record) in missing.into_iter().zip(self.home().read(paths).await?) {
            // An entry is written whole; one that someone damaged is left out.
            let entry = record.and_then(|record| Entry::parse(&record.bytes)).map(Arc::new);
            if let Some(entry) = &entry {
                self.entries.put(folder, &names[at], Arc::clone(entry));
            }
            entries[at] = entry;
        }
        Ok(entries)
    }
}

/// What one list has looked at.
struct Reading<'a> {
    of: (&'a Repository, &'a Digest),
    folder: String,
    looked: Vec<(String, Arc<Entry>)>,
    many: bool,
    /// What the note has, once it was needed.
    noted: Option<Noted>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::folder::FolderHome;
    use crate::storage::manifests::Putting;
    use conex_spec::{Descriptor, MediaType};

    #[tokio::test]
    async fn referrers_come_in_pages_of_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let home = FolderHome::open(dir.path().join("root")).await.unwrap();
        let storage = Storage::new(Arc::new(home), 0);
        let (repository, subject) = ("a".parse::<Repository>().unwrap(), Digest::sha256(b"s"));
        for i in 0..20_u8 {
            let mut entry = Descriptor::of(MediaType::MANIFEST, &[i]);
            entry.artifact_type = Some(MediaType::new(if i % 2 == 0 { "a/even" } else { "a/odd" }));
            let referrer = Some((&subject, &entry));
            let bytes = vec![i].into();
            let putting = Putting { manifest: &entry, bytes, referrer, tags: &[], seen: None };
            assert!(storage.put_manifest(&repository, &putting).await.unwrap());
        }
        let gone = Descriptor::of(MediaType::MANIFEST, &[0]).digest;
        storage.home().remove(&repository.manifest(&gone).unwrap(), None).await.unwrap();
        let even = |entry: &Entry| entry.artifact_type == Some(MediaType::new("a/even"));
        for bytes in [1, 500, 1 << 20] {
            let (mut found, mut last) = (Vec::new(), String::new());
            loop {
                let page = storage.referrers(&repository, &subject, &last, bytes, even);
                let (page, at) = page.await.unwrap();
                assert!(!page.items.is_empty());
                found.extend(page.items.into_iter().map(|entry| entry.digest.clone()));
                last = at;
                if !page.more {
                    break;
                }
            }
            assert_eq!(found.len(), 9, "{bytes} a page");
            found.dedup();
            assert!(found.len() == 9 && found.is_sorted());
        }
    }
}
