//! The entries of a subject with very many referrers, in one record of its own.
//!
//! Entries are records, one for each referrer, so that a push writes one and a deletion removes one. To
//! read 10,000 of them after a start takes a system call for each, or on a bucket a request. So whoever
//! had to read many notes them down together, and the next start reads them in one go.
//!
//! ```text
//! conex referrers 1 blake3:…                             the digest of all that follows
//! sha256-ab…\tapplication/x-sbom\t{"mediaType":…}        name, artifact type, entry
//! ```
//! A note is never relied on. Which entries there are the folder tells each time; what an entry of a
//! name says never changes (see [`super::entries`]). So one that is old lacks some entries and has some
//! too many, and both do no harm; one that is damaged or gone is written anew. A push leaves it alone.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use conex_spec::{Algorithm, Digest, MediaType, Result};

use super::Storage;
use super::entries::Entry;
use super::home::When;
use crate::paths::{self, Repository};

/// As many entries that no note has are worth one.
pub(super) const WORTH: usize = 500;
/// The longest note, in bytes.
const LONGEST: usize = 12 << 20;
const HEAD: &str = "conex referrers 1 ";

/// Lines of a note, in the order of their names. Only those that are asked for become entries.
#[derive(Debug, Default)]
pub(super) struct Noted {
    bytes: Bytes,
    lines: Vec<Range<usize>>,
}

impl Storage {
    /// What the note of a subject has; nothing where there is none that is sound.
    pub(super) async fn noted(&self, repository: &Repository, subject: &Digest) -> Noted {
        let Some(name) = self.note(repository, subject) else { return Noted::default() };
        let found = self.home().read(vec![name]).await.ok().and_then(|mut found| found.pop());
        found.flatten().and_then(|record| parse(&record.bytes)).unwrap_or_default()
    }

    /// Writes a note of entries, where so many are in none that it is worth it: of those that were
    /// looked at, and of what the note had already.
    pub(super) async fn note_down(
        &self,
        (repository, subject): (&Repository, &Digest),
        looked: &[(String, Arc<Entry>)],
        noted: Option<Noted>,
    ) {
        let fresh = looked.iter().filter(|(_, entry)| !entry.is_noted()).count();
        if fresh < WORTH.max(looked.len() / 8) {
            return;
        }
        let Some(name) = self.note(repository, subject) else { return };
        let noted = match noted {
            Some(noted) => noted,
            None => self.noted(repository, subject).await,
        };
        let mut all: Vec<(&str, Arc<Entry>)> = noted.iter().collect();
        let new = looked.iter().filter(|(name, _)| noted.find(name).is_none());
        all.extend(new.map(|(name, entry)| (name.as_str(), Arc::clone(entry))));
        let bytes = print(all);
        // Where it cannot be written, as on a full disk, the list is answered all the same.
        let _ = self.home().write(&name, bytes.into(), When::Always).await;
        // Also those for which there was no room: or each list would write it anew.
        looked.iter().for_each(|(_, entry)| entry.set_noted());
    }

    fn note(&self, repository: &Repository, subject: &Digest) -> Option<String> {
        self.home().takes_notes().then(|| repository.note(subject))
    }

    /// Removes the notes of subjects that have no referrers any more. Returns how many.
    pub(crate) async fn tidy_notes(&self, repository: &Repository, count: usize) -> Result<u64> {
        let (folder, mut last, mut removed) = (repository.notes(), String::new(), 0);
        loop {
            let page = self.home().list(&folder, &last, count).await?;
            for name in &page.items {
                let entries = repository.referrers_named(name);
                if self.home().list(&entries, "", 1).await?.items.is_empty() {
                    removed +=
                        u64::from(self.home().remove(&format!("{folder}/{name}"), None).await?);
                }
            }
            match page.items.last().filter(|_| page.more) {
                Some(name) => last.clone_from(name),
                None => return Ok(removed),
            }
        }
    }
}

impl Noted {
    /// The entry of a name; nothing where the note does not have it.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.entry(self.find(name)?).map(|(_, entry)| entry)
    }

    fn find(&self, name: &str) -> Option<&str> {
        let name_at = |line: &Range<usize>| self.text(line).split('\t').next().unwrap_or_default();
        let at = self.lines.binary_search_by(|line| name_at(line).cmp(name)).ok()?;
        self.lines.get(at).map(|line| self.text(line))
    }

    fn iter(&self) -> impl Iterator<Item = (&str, Arc<Entry>)> {
        self.lines.iter().filter_map(|line| self.entry(self.text(line)))
    }

    fn text(&self, line: &Range<usize>) -> &str {
        // It was text as a whole, and a newline is no part of a letter.
        self.bytes.get(line.clone()).and_then(|it| str::from_utf8(it).ok()).unwrap_or_default()
    }

    fn entry<'a>(&self, line: &'a str) -> Option<(&'a str, Arc<Entry>)> {
        let (name, rest) = line.split_once('\t')?;
        let (kind, text) = rest.split_once('\t')?;
        let digest = paths::unflat(name)?;
        // An empty one is not the same as none: there is no artifact type that is empty.
        let kind = Some(kind).filter(|kind| !kind.is_empty()).map(MediaType::new);
        Some((name, Arc::new(Entry::of_note(text, digest, kind))))
    }
}

fn print(mut entries: Vec<(&str, Arc<Entry>)>) -> Vec<u8> {
    entries.sort_unstable_by_key(|(name, _)| *name);
    let mut text = String::new();
    for (name, entry) in &entries {
        let kind = entry.artifact_type.as_ref().map_or("", MediaType::as_str);
        // What cannot stand on a line is read by itself.
        if [name, kind, entry.text()].iter().any(|part| part.contains(['\t', '\n'])) {
            continue;
        }
        if text.len() + name.len() + kind.len() + entry.len() + 3 > LONGEST {
            break;
        }
        for part in [name, "\t", kind, "\t", entry.text(), "\n"] {
            text += part;
        }
    }
    let digest = Algorithm::Blake3.digest(text.as_bytes());
    format!("{HEAD}{digest}\n{text}").into_bytes()
}

fn parse(bytes: &Bytes) -> Option<Noted> {
    let (head, text) = str::from_utf8(bytes).ok()?.split_once('\n')?;
    let stated = head.strip_prefix(HEAD)?;
    if Algorithm::Blake3.digest(text.as_bytes()).as_str() != stated {
        return None;
    }
    let mut at = head.len() + 1;
    let lines = text.split_inclusive('\n').map(|line| {
        let start = at;
        at += line.len();
        start..start + line.trim_end_matches('\n').len()
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort_by_key(|line| bytes.get(line.clone()));
    Some(Noted { lines, bytes: bytes.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::folder::FolderHome;
    use conex_spec::Descriptor;
    use std::fs;
    use std::path::{Path, PathBuf};

    struct Place {
        root: PathBuf,
        repository: Repository,
        subject: Digest,
        _dir: tempfile::TempDir,
    }

    impl Place {
        /// With so many referrers.
        fn new(count: u32) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (root, subject) = (dir.path().join("root"), Digest::sha256(b"subject"));
            fs::create_dir_all(root.join(".conex")).unwrap();
            fs::write(root.join(paths::VERSION), paths::FORMAT).unwrap();
            let place = Self { root, repository: "a".parse().unwrap(), subject, _dir: dir };
            (0..count).for_each(|number| drop(place.add(number)));
            place
        }

        /// As a push would; returns where the entry is.
        fn add(&self, number: u32) -> PathBuf {
            let mut entry = Descriptor::of(MediaType::MANIFEST, &number.to_le_bytes());
            entry.artifact_type = number.is_multiple_of(2).then(|| MediaType::new("test/even"));
            let name = self.repository.referrer(&self.subject, &entry.digest).unwrap();
            let at = self.root.join(name);
            let link = self.root.join(self.repository.manifest(&entry.digest).unwrap());
            for (path, bytes) in [(&at, serde_json::to_vec(&entry).unwrap()), (&link, "x".into())] {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            at
        }

        fn note(&self) -> PathBuf {
            self.root.join(self.repository.note(&self.subject))
        }

        /// How many a server that starts now lists, all and those of even numbers.
        async fn listed(&self) -> [usize; 2] {
            let storage = self.storage().await;
            let mut counts = [0, 0];
            for (even, count) in [false, true].into_iter().zip(&mut counts) {
                let wanted = |entry: &Entry| !even || entry.artifact_type.is_some();
                let (all, last) = (usize::MAX, "");
                let list = storage.referrers(&self.repository, &self.subject, last, all, wanted);
                let (page, _) = list.await.unwrap();
                *count = page.items.len();
            }
            counts
        }

        async fn storage(&self) -> Storage {
            let home = FolderHome::open(self.root.clone()).await.unwrap();
            Storage::new(Arc::new(home), 1 << 20)
        }
    }

    fn spoil(file: &Path) {
        let mut bytes = fs::read(file).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    #[tokio::test]
    async fn what_is_noted_is_read_in_one_go_and_what_came_since_by_itself() {
        let place = Place::new(WORTH as u32);
        assert_eq!(place.listed().await, [WORTH, WORTH / 2]);
        let written = fs::metadata(place.note()).unwrap().modified().unwrap();
        // The entries themselves are not read: these are no longer any.
        (0..WORTH as u32).for_each(|number| fs::write(place.add(number), "odd").unwrap());
        assert_eq!(place.listed().await, [WORTH, WORTH / 2]);
        fs::remove_file(place.add(0)).unwrap();
        place.add(10_000);
        assert_eq!(place.listed().await, [WORTH, WORTH / 2]);
        assert_eq!(fs::metadata(place.note()).unwrap().modified().unwrap(), written);
        (20_000..20_000 + WORTH as u32).for_each(|number| drop(place.add(number)));
        assert_eq!(place.listed().await, [2 * WORTH, WORTH]);
        assert_ne!(fs::metadata(place.note()).unwrap().modified().unwrap(), written);
    }

    #[tokio::test]
    async fn a_damaged_note_is_none_and_written_anew() {
        let place = Place::new(WORTH as u32 + 3);
        place.listed().await;
        let sound = fs::read(place.note()).unwrap();
        spoil(&place.note());
        assert_eq!(place.listed().await[0], WORTH + 3);
        assert_eq!(fs::read(place.note()).unwrap().len(), sound.len());
        fs::write(place.note(), &sound[..sound.len() - 1]).unwrap();
        assert_eq!(place.listed().await[0], WORTH + 3);
        fs::write(place.note(), "").unwrap();
        assert_eq!(place.listed().await[0], WORTH + 3);
        assert_eq!(fs::read(place.note()).unwrap().len(), sound.len());
    }

    #[tokio::test]
    async fn few_are_not_noted_and_a_note_goes_with_the_last() {
        let place = Place::new(WORTH as u32 - 1);
        place.listed().await;
        assert!(!place.note().exists());
        place.add(10_000);
        place.listed().await;
        let storage = place.storage().await;
        assert_eq!(storage.tidy_notes(&place.repository, 10).await.unwrap(), 0);
        let entries = place.root.join(place.repository.referrers(&place.subject));
        fs::remove_dir_all(entries).unwrap();
        assert_eq!(storage.tidy_notes(&place.repository, 10).await.unwrap(), 1);
        assert!(!place.note().exists());
    }

    #[test]
    fn what_cannot_stand_on_a_line_is_left_out() {
        let entry = |text: &str, kind: &'static str| {
            let kind = Some(MediaType::new(kind));
            Arc::new(Entry::of_note(text, Digest::sha256(b""), kind))
        };
        let name = paths::flat(&Digest::sha256(b"")).unwrap();
        for (text, kind, fits) in [("{}", "a/b", 1), ("{\n}", "a/b", 0), ("{}", "a\tb", 0)] {
            let entry = entry(text, kind);
            let printed = print(vec![(&name, entry)]);
            assert_eq!(parse(&printed.into()).unwrap().lines.len(), fits);
        }
    }

    /// Names may lie in any order in a note, and one may be the beginning of another.
    #[test]
    fn names_are_found_in_a_note() {
        let names: Vec<_> =
            (0..50_u8).map(|number| paths::flat(&Digest::sha256(&[number])).unwrap()).collect();
        let line = |name: &String| format!("{name}\ta/b\t{{\"{name}\"}}\n");
        let text: String = names.iter().map(line).collect();
        let digest = Algorithm::Blake3.digest(text.as_bytes());
        let noted = parse(&format!("{HEAD}{digest}\n{text}").into()).unwrap();
        for name in &names {
            assert_eq!(noted.get(name).unwrap().text(), format!("{{\"{name}\"}}"));
            assert!(noted.get(&name[..20]).is_none() && noted.get(&format!("{name}0")).is_none());
        }
        assert_eq!(noted.iter().count(), 50);
        assert!(Noted::default().get("a").is_none());
    }
}
