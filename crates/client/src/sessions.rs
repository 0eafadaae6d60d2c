//! Uploads that broke off, so that the next try goes on where the registry came to: by this
//! process or, where the program names a folder for that, by a later one. Whose turn it is to change
//! what a registry keeps under one name is told there too.
//!
//! ```text
//! FOLDER/
//!   SHA256-OF-REGISTRY-REPOSITORY-DIGEST    the upload's location; its user holds a lock on it
//!   SHA256-OF-REGISTRY-REPOSITORY-TAG       nothing; who changes the list under the tag holds a lock on it
//! ```
//!
//! # Security
//! A location is all that is needed to write to an upload, and its query may hold more than that.
//! So a file is for its owner alone (0600), is gone when the upload ends, and is not believed when it
//! is old or when others could have written it. Where it leads to is checked as if the registry
//! had said it just now.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::options::Uploads;
use crate::push::Session;
use crate::registry::Registry;
use crate::repository::Repository;
use conex_spec::{Descriptor, Digest, Name};
use conex_store::bridge::blocking;
use conex_store::source::Place;
use conex_store::wait::Wait;

/// The longest location that is kept, in bytes.
const MAX_LOCATION: u64 = 16 << 10;
/// How many files are looked at for old ones.
const MAX_SWEPT: usize = 1000;
/// How long someone's turn is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an upload was called: a repository and a digest.
pub(crate) type Key = (Arc<str>, Digest);

/// An upload that can be gone on with.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where the registry said that it goes on.
    pub(crate) at: String,
    /// The least size of a chunk that is not the last, in bytes.
    pub(crate) least: u64,
    /// Whether nothing was sent to it yet.
    pub(crate) fresh: bool,
}

/// The place where the upload of one blob is remembered, held by who uploads.
#[derive(Debug)]
pub(crate) struct Slot {
    registry: Arc<Registry>,
    key: Key,
    file: Option<Kept>,
    found: Option<Found>,
}

impl Repository {
    /// Takes what is remembered of a blob's upload. Who takes it has it alone.
    pub(crate) async fn slot(&self, blob: &Descriptor) -> Slot {
        let (registry, key) = (self.registry().clone(), (self.name().clone(), blob.digest.clone()));
        let mut found =
            registry.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let mut file = None;
        if let (Some(uploads), Ok(origin)) =
            (registry.options().uploads.clone(), self.origin().await)
        {
            let name = Digest::sha256(format!("{origin}\n{}\n{}", key.0, key.1).as_bytes());
            // Where nothing can be kept, the next process begins anew.
            let taken = blocking(move || {
                sweep(&uploads);
                Ok(Kept::take(&uploads, name.encoded()).ok().flatten())
            });
            if let Ok(Some((kept, at))) = taken.await {
                file = Some(kept);
                found = found.or_else(|| at.as_deref().and_then(parse));
            }
        }
        Slot { registry, key, file, found }
    }

    /// Waits until nobody else with this folder changes what is under a name. Nothing where there is
    /// no such folder, or someone takes too long: what others may do has to be borne anyway.
    pub(crate) async fn turn(&self, name: &Name) -> Option<Turn> {
        let uploads = self.registry().options().uploads.clone()?;
        let origin = self.origin().await.ok()?;
        let key = Digest::sha256(format!("{origin}\n{}\n{name}", self.name()).as_bytes());
        let swept = uploads.clone();
        let sweeping = blocking(move || {
            sweep(&swept);
            Ok(())
        });
        sweeping.await.ok()?;
        let mut wait = Wait::begin();
        let tell = || {
            let place = self.location();
            let text = format!("waits for another process that changes {name} in {place}");
            self.registry().warn(&text);
        };
        loop {
            let (uploads, key) = (uploads.clone(), key.clone());
            let taken = blocking(move || Ok(Kept::take(&uploads, key.encoded()))).await.ok()?;
            match taken {
                Ok(Some((kept, _))) => return Some(Turn(kept)),
                // The last one who leaves takes the folder away, perhaps just now.
                Err(err) if err.kind() != io::ErrorKind::NotFound => return None,
                Ok(None) | Err(_) => {}
            }
            if !wait.look_again(PATIENCE, tell).await {
                return None;
            }
        }
    }

    /// Takes an upload to which nothing was sent yet.
    pub(crate) fn take_fresh(&self, blob: &Descriptor) -> Option<Found> {
        let key = (self.name().clone(), blob.digest.clone());
        let mut uploads = self.registry().uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.remove(&key).filter(|found| found.fresh)
    }

    /// Remembers an upload that was opened and not used.
    pub(crate) fn keep_fresh(&self, blob: &Descriptor, session: &Session) {
        let key = (self.name().clone(), blob.digest.clone());
        let found = Found { at: session.at.to_string(), least: session.least, fresh: true };
        let mut uploads = self.registry().uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.insert(key, found);
    }
}

impl Slot {
    pub(crate) fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// Remembers where the upload goes on.
    pub(crate) fn keep(&mut self, session: &Session) {
        if let Some(file) = &mut self.file {
            // A few bytes for the page cache, not for the disk.
            let _ = file.write(&format!("{} {}", session.least, session.at));
        }
        let at = session.at.to_string();
        self.found = Some(Found { at, least: session.least, fresh: false });
    }

    /// The upload is over.
    pub(crate) fn forget(&mut self) {
        if let Some(file) = &mut self.file {
            let _ = file.write("");
        }
        self.found = None;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match self.found.take() {
            // A file is enough, and tells other processes too.
            Some(found) if self.file.is_none() => {
                let uploads = self.registry.uploads.lock();
                let mut uploads = uploads.unwrap_or_else(PoisonError::into_inner);
                uploads.insert(self.key.clone(), found);
            }
            Some(_) => {}
            None => self.file.iter().for_each(Kept::remove),
        }
    }
}

/// See [`Repository::turn`]; held until it is dropped, or the process dies.
#[derive(Debug)]
pub(crate) struct Turn(Kept);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// `LEAST LOCATION`
fn parse(text: &str) -> Option<Found> {
    let (least, at) = text.split_once(' ')?;
    Some(Found { at: at.to_owned(), least: least.parse().ok()?, fresh: false })
}

/// A file with a location.
#[derive(Debug)]
struct Kept {
    file: File,
    path: PathBuf,
}

impl Kept {
    /// Nothing where another process has it.
    fn take(uploads: &Uploads, name: &str) -> io::Result<Option<(Self, Option<String>)>> {
        if !uploads.folder.is_dir() {
            fs::create_dir_all(uploads.folder.parent().unwrap_or(Path::new(".")))?;
            DirBuilder::new().recursive(true).mode(0o700).create(&uploads.folder)?;
        }
        let path = uploads.folder.join(name);
        let file = open(&path)?;
        if file.try_lock().is_err() || !is_at(&file, &path) {
            return Ok(None);
        }
        let kept = Self { file, path };
        let meta = kept.file.metadata()?;
        let believed = meta.mode() & 0o077 == 0 && meta.mtime() >= uploads.before;
        let mut text = String::new();
        (&kept.file).take(MAX_LOCATION).read_to_string(&mut text)?;
        Ok(Some((kept, Some(text).filter(|text| believed && !text.is_empty()))))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        // Where it was the last.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    // A link that lies there is an error with the one, and with the other never there.
    match options.clone().create_new(true).open(path) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
        opened => return opened,
    }
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    options.open(path)
}

/// Who had a file before may have removed it.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Removes what is too old to be of use.
fn sweep(uploads: &Uploads) {
    let entries = fs::read_dir(&uploads.folder).into_iter().flatten().take(MAX_SWEPT);
    for path in entries.flatten().map(|entry| entry.path()) {
        let old = fs::symlink_metadata(&path)
            .is_ok_and(|meta| meta.is_file() && meta.mtime() < uploads.before);
        if old && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;

    use conex_spec::Tag;
    use conex_store::{Event, Observer};

    use crate::{Client, Options};

    /// What is told to a person.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Observer for Told {
        fn event(&self, event: Event<'_>) {
            if let Event::Warning(text) = event {
                self.0.lock().unwrap().push(text.to_owned());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_is_told_of_once() {
        let (dir, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
        let uploads = Some(uploads(dir.path(), 0));
        let options = Options { observer: told.clone(), uploads, ..Options::default() };
        let repository = Client::new(options).repository(&"registry.example/a".parse().unwrap());
        let name = Name::Tag(Tag::new("list").unwrap());
        let first = repository.turn(&name).await.unwrap();
        assert_eq!(*told.0.lock().unwrap(), [""; 0]);
        assert!(repository.turn(&name).await.is_none());
        let warning = "waits for another process that changes list in registry.example/a";
        assert_eq!(*told.0.lock().unwrap(), [warning]);
        drop(first);
        assert!(repository.turn(&name).await.is_some());
    }

    fn uploads(dir: &Path, before: i64) -> Uploads {
        Uploads { folder: dir.join("a/b"), before }
    }

    #[test]
    fn one_at_a_time_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = uploads(dir.path(), 0);
        let (mut first, at) = Kept::take(&uploads, "x").unwrap().unwrap();
        assert_eq!(at, None);
        first.write("http://registry.example/long?secret").unwrap();
        first.write("http://registry.example/1").unwrap();
        assert!(Kept::take(&uploads, "x").unwrap().is_none(), "somebody has it");
        let meta = fs::metadata(uploads.folder.join("x")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        drop(first);
        let (second, at) = Kept::take(&uploads, "x").unwrap().unwrap();
        assert_eq!(at.as_deref(), Some("http://registry.example/1"));
        second.remove();
        drop(second);
        assert_eq!(Kept::take(&uploads, "x").unwrap().unwrap().1, None);
    }

    #[test]
    fn what_is_old_or_open_to_others_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = uploads(dir.path(), 0);
        let write = |name: &str| {
            Kept::take(&uploads, name).unwrap().unwrap().0.write("http://x.example/").unwrap();
        };
        write("old");
        write("open");
        let open = uploads.folder.join("open");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Kept::take(&uploads, "open").unwrap().unwrap().1, None);
        let later = Uploads { before: i64::MAX, ..uploads.clone() };
        assert_eq!(Kept::take(&later, "another").unwrap().unwrap().1, None);
        assert!(uploads.folder.join("old").exists(), "who only looks does not sweep");
        sweep(&later);
        assert!(!uploads.folder.join("old").exists());
        std::os::unix::fs::symlink(&open, uploads.folder.join("link")).unwrap();
        assert!(Kept::take(&uploads, "link").is_err());
    }
}
