//! The names in large folders, in memory.
//!
//! A page of a list needs the names in order, and to read and sort those of a folder takes
//! milliseconds for each 10,000. So they are kept, and looked at before each use: where the folder
//! is as it was, they are too. What this process made or removed since then it has noted, and only
//! that is looked for. Whatever else changed the folder has it read again.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conex_spec::Result;
use conex_store::commit::{Folder, Identity};

use crate::storage::home::Page;

/// Folders of fewer names are read each time.
const LARGE: usize = 500;
/// The most memory for all names, in bytes.
const LIMIT: usize = 24 << 20;
/// What a name takes beside its bytes, about.
const OVERHEAD: usize = 48;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names {
    folders: Mutex<HashMap<String, Arc<Mutex<Known>>>>,
}

/// What is known of one folder.
#[derive(Debug, Default)]
struct Known {
    /// The folder when its names were read; nothing before that.
    seen: Option<Identity>,
    names: BTreeSet<Box<str>>,
    /// Names that came or went by our own hand since then.
    touched: Vec<Box<str>>,
}

impl Names {
    /// The names in a folder after one, at most `count`, in the order of their bytes.
    pub(super) fn list(
        &self,
        folder: &Folder,
        name: &str,
        after: &str,
        count: usize,
    ) -> Result<Page<String>> {
        let known = Arc::clone(self.folders().entry(name.to_owned()).or_default());
        let mut known = lock(&known);
        known.refresh(folder, name)?;
        let page = known.page(after, count);
        let (small, weight) = (known.names.len() < LARGE, known.weight());
        drop(known);
        if small || weight > LIMIT {
            self.folders().remove(name);
        } else {
            self.make_room(name);
        }
        Ok(page)
    }

    /// Takes note of a file that was made or removed, before that is acknowledged.
    pub(super) fn touched(&self, path: &str) {
        let Some((folder, name)) = path.rsplit_once('/') else { return };
        let known = self.folders().get(folder).map(Arc::clone);
        if let Some(known) = known {
            lock(&known).touched.push(name.into());
        }
    }

    /// Forgets others until all names fit. Those that someone is reading are kept.
    fn make_room(&self, keep: &str) {
        let mut folders = self.folders();
        let weight = |known: &Arc<Mutex<Known>>| known.try_lock().map_or(0, |known| known.weight());
        let mut all: usize = folders.values().map(weight).sum();
        folders.retain(|name, known| {
            let drop = all > LIMIT && name != keep && Arc::strong_count(known) == 1;
            if drop {
                all -= weight(known).min(all);
            }
            !drop
        });
    }

    fn folders(&self) -> MutexGuard<'_, HashMap<String, Arc<Mutex<Known>>>> {
        lock(&self.folders)
    }
}

impl Known {
    fn refresh(&mut self, folder: &Folder, name: &str) -> Result<()> {
        // Asked before the names: what changes meanwhile then shows.
        let now = folder.folder_identity(name)?;
        let touched = std::mem::take(&mut self.touched);
        if now.is_some() && self.seen == now && touched.is_empty() {
            return Ok(());
        }
        if now.is_none() || self.seen.is_none() || touched.is_empty() {
            self.names = folder.list(name)?.into_iter().map(String::into_boxed_str).collect();
        } else {
            let present = folder.present(touched.iter().map(|touched| format!("{name}/{touched}")));
            for (touched, present) in touched.into_iter().zip(present?) {
                if present {
                    self.names.insert(touched)
                } else {
                    self.names.remove(&touched)
                };
            }
        }
        self.seen = now;
        Ok(())
    }

    fn page(&self, after: &str, count: usize) -> Page<String> {
        let after: (Bound<&str>, Bound<&str>) = (Bound::Excluded(after), Bound::Unbounded);
        let mut rest = self.names.range::<str, _>(after);
        let items = rest.by_ref().take(count).map(|name| String::from(&**name)).collect();
        Page { items, more: rest.next().is_some() }
    }

    fn weight(&self) -> usize {
        self.names.iter().next().map_or(0, |name| self.names.len() * (name.len() + OVERHEAD))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn folder(count: usize) -> (tempfile::TempDir, Folder, Names) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        for number in 0..count {
            make(dir.path(), &format!("{number:04}"));
        }
        let folder = Folder::open(dir.path()).unwrap();
        (dir, folder, Names::default())
    }

    fn make(root: &Path, name: &str) {
        fs::write(root.join("d").join(name), "").unwrap();
    }

    fn all(names: &Names, folder: &Folder) -> usize {
        names.list(folder, "d", "", usize::MAX).unwrap().items.len()
    }

    #[test]
    fn pages_are_exact() {
        let (_dir, folder, names) = folder(LARGE + 5);
        let page = names.list(&folder, "d", "", 2).unwrap();
        assert_eq!((page.items, page.more), (vec!["0000".into(), "0001".into()], true));
        let page = names.list(&folder, "d", "0501", 10).unwrap();
        assert_eq!((page.items.len(), page.more), (3, false));
        assert_eq!(names.list(&folder, "d", "0501x", 1).unwrap().items, ["0502"]);
        assert!(names.list(&folder, "none", "", 10).unwrap().items.is_empty());
        assert_eq!(names.folders().len(), 1, "small ones are not kept");
    }

    #[test]
    fn what_was_made_or_removed_shows_at_once() {
        let (dir, folder, names) = folder(LARGE);
        assert_eq!(all(&names, &folder), LARGE);
        make(dir.path(), "new");
        names.touched("d/new");
        assert_eq!(all(&names, &folder), LARGE + 1);
        fs::remove_file(dir.path().join("d/new")).unwrap();
        fs::remove_file(dir.path().join("d/0001")).unwrap();
        names.touched("d/new");
        names.touched("d/0001");
        assert_eq!(all(&names, &folder), LARGE - 1);
        // Noted before or after someone looked, it counts.
        make(dir.path(), "late");
        assert_eq!(all(&names, &folder), LARGE);
        names.touched("d/late");
        assert_eq!(all(&names, &folder), LARGE);
    }

    #[test]
    fn another_hand_shows() {
        let (dir, folder, names) = folder(LARGE + 1);
        assert_eq!(all(&names, &folder), LARGE + 1);
        // The clocks of some file systems are coarse.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::remove_file(dir.path().join("d/0001")).unwrap();
        assert_eq!(all(&names, &folder), LARGE);
        fs::remove_dir_all(dir.path().join("d")).unwrap();
        assert_eq!(all(&names, &folder), 0);
    }

    #[test]
    fn many_hands_lose_no_name() {
        let (dir, folder, names) = folder(LARGE);
        let (root, folder, names) = (dir.path(), &folder, &names);
        std::thread::scope(|scope| {
            for hand in 0..4 {
                scope.spawn(move || {
                    for number in 0..100 {
                        let name = format!("{hand}-{number}");
                        make(root, &name);
                        names.touched(&format!("d/{name}"));
                        let page = names.list(folder, "d", "", usize::MAX).unwrap();
                        assert!(page.items.contains(&name), "{name}");
                    }
                });
            }
        });
        assert_eq!(all(names, folder), LARGE + 400);
    }
}
