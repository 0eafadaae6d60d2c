//! Changes of a file with credentials. What is not changed keeps its very characters and its place.
//!
//! ```text
//! FOLDER/config.json            0600
//! FOLDER/.config.json.conex     the next one, for a moment
//! ```
//! The folder itself is locked meanwhile (`flock`), so two logins at once are both kept. The
//! store's commit protocol is not used: it would leave a folder of its own beside the file.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde_json::value::RawValue;

use conex_spec::{Error, Kind, Result};

use crate::credentials::config::{Entry, read, unreadable};

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(5);

type Members = IndexMap<String, Box<RawValue>>;

/// The entries of a file while they are changed.
pub(super) struct Entries(Members);

impl Entries {
    /// Puts an entry in the place of the one with this key, or behind all others.
    pub(super) fn set(&mut self, key: &str, entry: &Entry) -> Result<()> {
        self.0.insert(key.to_owned(), raw(entry, 2)?);
        Ok(())
    }

    /// Removes an entry. Returns whether it was there.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        self.0.shift_remove(key).is_some()
    }
}

/// Changes the entries of a file, which is made where it is missing. Nothing is written where
/// `change` fails or leaves all as it was. Blocking.
pub(super) fn edit<T>(path: &Path, change: impl FnOnce(&mut Entries) -> Result<T>) -> Result<T> {
    // Some keep the file elsewhere and link to it: the link stays.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&path)?;
    let _lock = lock(&folder)?;
    let text = read(&path)?.unwrap_or_default();
    let blank = text.iter().all(u8::is_ascii_whitespace);
    let fault = |err: serde_json::Error| unreadable(&path, &err);
    let mut members: Members =
        if blank { Members::new() } else { serde_json::from_slice(&text).map_err(fault)? };
    let auths: Option<Members> = match members.get("auths") {
        Some(auths) => serde_json::from_str(auths.get()).map_err(fault)?,
        None => None,
    };
    let before = auths.unwrap_or_default();
    let mut entries = Entries(before.clone());
    let done = change(&mut entries)?;
    let same = before
        .iter()
        .zip(&entries.0)
        .all(|(old, new)| old.0 == new.0 && old.1.get() == new.1.get());
    if same && before.len() == entries.0.len() {
        return Ok(done);
    }
    let auths = RawValue::from_string(print(&entries.0, 1)).map_err(fault)?;
    members.insert("auths".into(), auths);
    replace(&path, &folder, print(&members, 0).as_bytes())?;
    Ok(done)
}

/// As Docker and Podman print it, with tabs.
fn print(members: &Members, depth: usize) -> String {
    if members.is_empty() {
        return "{}".into();
    }
    let indent = "\t".repeat(depth + 1);
    let lines: Vec<_> = members
        .iter()
        .map(|(name, value)| {
            let name = serde_json::Value::String(name.clone());
            format!("{indent}{name}: {}", value.get())
        })
        .collect();
    format!("{{\n{}\n{}}}", lines.join(",\n"), "\t".repeat(depth))
}

/// An entry as it is printed at a depth.
fn raw(entry: &Entry, depth: usize) -> Result<Box<RawValue>> {
    let text = serde_json::to_string(entry).and_then(|text| {
        let members: Members = serde_json::from_str(&text)?;
        RawValue::from_string(print(&members, depth))
    });
    text.map_err(|err| Error::invalid("a login cannot be written down").source(err))
}

fn folder_of(path: &Path) -> Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_owned);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|err| Error::making("cannot make folder", &folder, err))?;
    Ok(folder)
}

/// Locks a folder until the file is closed.
fn lock(folder: &Path) -> Result<File> {
    let fault = |err| Error::making("cannot lock", folder, err);
    let dir = File::open(folder).map_err(fault)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match dir.try_lock() {
            Ok(()) => return Ok(dir),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(TICK),
            Err(TryLockError::WouldBlock) => {
                let what = format!("another process holds {}", folder.display());
                return Err(Error::new(Kind::Conflict, what).hint("try again when it has ended"));
            }
            // Where a file system has no locks, nobody else can hold one.
            Err(TryLockError::Error(err)) if err.kind() == io::ErrorKind::Unsupported => {
                return Ok(dir);
            }
            Err(TryLockError::Error(err)) => return Err(fault(err)),
        }
    }
}

/// Replaces the file as a whole, durably, readable to its owner only (rule C14).
fn replace(path: &Path, folder: &Path, text: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let next = folder.join(format!(".{name}.conex"));
    let fault = |err| Error::making("cannot write", &next, err);
    // One that is there was left behind by a process that died: the lock is ours.
    match fs::remove_file(&next) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(fault(err)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&next).map_err(fault)?;
    if let Ok(old) = fs::metadata(path) {
        // With another person's rights, as under sudo, the file stays its owner's.
        let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
    }
    let written = file
        .write_all(text)
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&next, path));
    if let Err(err) = written {
        let _ = fs::remove_file(&next);
        return Err(Error::making("cannot write", path, err));
    }
    File::open(folder)
        .and_then(|dir| dir.sync_all())
        .map_err(|err| Error::io("cannot sync", folder, err))
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
