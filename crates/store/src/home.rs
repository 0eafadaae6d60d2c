//! The folder of a layout or of the local store, made when something is first put there: what is
//! only read, or refused, leaves nothing behind.

mod discard;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use conex_spec::{Descriptor, Error, Kind, Result};

use crate::blobs::{Blobs, Ending, Partial};
use crate::bridge::{blocking, feed};
use crate::commit::Folder;
use crate::seal::Key;
use crate::sink::Reopen;
use crate::source::ByteStream;

use discard::Made;

/// How often a folder is made again that another process took away in the same moment.
const VANISHED: u32 = 10;

/// How the stores of this machine are worked with.
#[derive(Clone, Debug)]
pub struct Access {
    /// What makes and proves seals; without one every blob is hashed to see whether it is there.
    pub key: Option<Key>,
    /// Whether what is put there survives a power cut; see [`Folder::without_sync`].
    pub durable: bool,
}

impl From<Option<Key>> for Access {
    fn from(key: Option<Key>) -> Self {
        Self { key, durable: true }
    }
}

/// What makes a folder one of its sort.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sort {
    /// Whether it is one already; an error where it is one of another version.
    pub(crate) is_one: fn(&Folder) -> Result<bool>,
    /// Makes it one. Others may be doing so at the same time.
    pub(crate) make: fn(&Folder) -> Result<()>,
    /// The key that lies in it, where it has one of its own.
    pub(crate) own_key: Option<fn(&Folder) -> Result<Key>>,
}

/// The key of a folder that belongs to another person, or cannot be written, is none: what lies
/// there counts as unsealed, and is hashed.
fn of_another(err: Error) -> Result<Option<Key>> {
    let cause = std::error::Error::source(&err).and_then(|err| err.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => Ok(None),
        _ => Err(err),
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    access: Access,
    sort: Sort,
    folder: OnceLock<Folder>,
    /// Held by who makes the folder; whether its stage was swept.
    swept: Mutex<bool>,
    /// What this value made of the folder; nothing where it was one already.
    made: OnceLock<Made>,
}

impl Home {
    /// Looks what is there.
    pub(crate) fn open(path: &Path, access: Access, sort: Sort) -> Result<Self> {
        let (folder, swept, made) = (OnceLock::new(), Mutex::new(false), OnceLock::new());
        let home = Self { path: path.into(), access, sort, folder, swept, made };
        match Folder::open(path) {
            Ok(folder) if (sort.is_one)(&folder)? => {
                let folder = home.ready(folder)?;
                // Who had made it for nothing may just have taken it away.
                if home.is_there(&folder) {
                    home.folder.get_or_init(|| folder);
                }
            }
            Ok(_) => {}
            Err(err) if err.kind() == Kind::NotFound => {}
            Err(err) => return Err(err),
        }
        Ok(home)
    }

    /// The folder, where it is one.
    pub(crate) fn existing(&self) -> Option<&Folder> {
        self.folder.get()
    }

    /// The folder, to be written to; made where there is none.
    pub(crate) fn folder(&self) -> Result<&Folder> {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = match self.folder.get() {
            Some(folder) => folder,
            None => {
                let folder = self.make()?;
                self.folder.get_or_init(|| folder)
            }
        };
        if !std::mem::replace(&mut *swept, true) {
            folder.sweep();
        }
        Ok(folder)
    }

    /// Makes the folder. Another process may take it away in the same moment, since it had made it
    /// for nothing; then once more.
    fn make(&self) -> Result<Folder> {
        let made = Made::before(&self.path);
        for _ in 0..VANISHED {
            let folder = Folder::create(&self.path)?;
            let was_one = (self.sort.is_one)(&folder)?;
            // The folder itself is durable in any case: a later writer counts on it.
            if let Err(err) = (self.sort.make)(&folder) {
                if self.is_there(&folder) {
                    return Err(err);
                }
                continue;
            }
            let folder = self.ready(folder)?;
            if self.is_there(&folder) {
                if !was_one {
                    let _ = self.made.set(made);
                }
                return Ok(folder);
            }
        }
        let message = format!("another process keeps taking {} away", self.path.display());
        Err(Error::new(Kind::Conflict, message))
    }

    /// Puts a blob: on from where an earlier process came to. What that left is thrown away where it
    /// turns out to be of no use, and then all is read.
    pub(crate) async fn put_from(
        self: &Arc<Self>,
        blob: &Descriptor,
        content: &dyn Reopen,
    ) -> Result<()> {
        loop {
            let (home, owned) = (self.clone(), blob.clone());
            let partial = blocking(move || match home.existing() {
                Some(folder) => Blobs(folder).partial(&owned),
                None => Ok(None),
            });
            let partial = partial.await?;
            let start = partial.as_ref().map_or(0, Partial::length);
            let stream = content.open(start).await?;
            let (home, owned) = (self.clone(), blob.clone());
            let put = feed(stream, move |mut content| {
                Blobs(home.folder()?).put_rest(&owned, partial, &mut content)
            });
            match put.await? {
                Ending::Published => return Ok(()),
                Ending::Wrong(err) if start == 0 => return Err(err),
                Ending::Wrong(err) => content.anew(&err),
            }
        }
    }

    /// Puts a blob from its first byte on.
    pub(crate) async fn put(
        self: &Arc<Self>,
        blob: &Descriptor,
        content: ByteStream,
    ) -> Result<()> {
        let (home, blob) = (self.clone(), blob.clone());
        feed(content, move |mut content| Blobs(home.folder()?).put(&blob, &mut content)).await
    }

    pub(crate) async fn look_again(self: &Arc<Self>, blob: &Descriptor) -> Result<()> {
        let (home, digest) = (self.clone(), blob.digest.clone());
        blocking(move || match home.existing() {
            Some(folder) if digest.algorithm().is_ok() => Blobs(folder).look_again(&digest),
            _ => Ok(()),
        })
        .await
    }

    fn ready(&self, folder: Folder) -> Result<Folder> {
        folder.share();
        let key = match self.sort.own_key {
            Some(own_key) => {
                // It is the person's own, so that any visit may tidy it.
                folder.sweep();
                own_key(&folder).map(Some).or_else(of_another)?
            }
            None => self.access.key.clone(),
        };
        let folder = folder.with_key(key);
        Ok(if self.access.durable { folder } else { folder.without_sync() })
    }
}
