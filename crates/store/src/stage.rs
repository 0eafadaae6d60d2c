//! A source that one can add to: where builds and edits put what they make.
//!
//! What is added lies in nameless files and in memory until a copy moves it to its
//! destination; nothing of it is left when the stage is dropped or the process dies. On the
//! destination's own file system the copy links the files instead of moving their bytes.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use conex_spec::document::Format;
use conex_spec::{Descriptor, Digest, Document, Location, MediaType, Name, Result, Tag};

use crate::bridge::{bytes_stream, file_stream};
use crate::commit::Folder;
use crate::memory::{no_blob, no_root};
use crate::seal::{Key, seal};
use crate::source::{ByteStream, Place, Source};

/// What was added so far, on top of a base.
#[derive(Debug)]
pub struct Stage {
    folder: Folder,
    base: Option<Arc<dyn Source>>,
    location: Location,
    added: Mutex<HashMap<Digest, Added>>,
}

#[derive(Clone, Debug)]
enum Added {
    Bytes(Bytes),
    File(Arc<File>),
}

impl Stage {
    /// An empty stage whose files lie in `dir`, best on the destination's file system, or in the
    /// nearest folder above it that is there. Reads that it cannot answer go to `base`. What is
    /// added is sealed under `key`.
    pub fn new(dir: &Path, base: Option<Arc<dyn Source>>, key: Option<Key>) -> Result<Self> {
        let location = base.as_ref().map_or(Location::Memory, |base| base.location().clone());
        let folder = Folder::open(nearest(dir))?.with_key(key);
        Ok(Self { folder, base, location, added: Mutex::default() })
    }

    /// A new nameless file to write a blob to; see [`Stage::add_file`].
    pub fn file(&self) -> Result<File> {
        self.folder.temporary_file()
    }

    /// Adds a file whose digest and size its writer worked out while writing it.
    pub fn add_file(&self, blob: &Descriptor, file: File) -> Result<()> {
        seal(self.folder.key(), &file, &blob.digest)?;
        self.added().insert(blob.digest.clone(), Added::File(Arc::new(file)));
        Ok(())
    }

    /// Adds bytes that are all at hand.
    pub fn add(&self, media_type: MediaType, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        let descriptor = Descriptor::of(media_type, &bytes);
        self.added().insert(descriptor.digest.clone(), Added::Bytes(bytes));
        descriptor
    }

    /// Adds a new document.
    pub fn add_document<T: Format>(&self, media_type: MediaType, value: T) -> Result<Descriptor> {
        let document = Document::new(value)?;
        Ok(self.add(media_type, document.bytes().clone()))
    }

    fn added(&self) -> MutexGuard<'_, HashMap<Digest, Added>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, blob: &Descriptor) -> Option<Added> {
        self.added().get(&blob.digest).cloned()
    }
}

/// Nothing is made for files that have no name.
fn nearest(dir: &Path) -> &Path {
    let there = dir.ancestors().find(|dir| dir.is_dir());
    there.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Place for Stage {
    fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Source for Stage {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        match &self.base {
            Some(base) => base.resolve(name).await,
            None => Err(no_root(name, &self.called(), 0, &[])),
        }
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        match (self.find(blob), &self.base) {
            (Some(Added::Bytes(bytes)), _) => Ok(bytes_stream(bytes, range)),
            (Some(Added::File(file)), _) => {
                Ok(file_stream(file, range, format!("cannot read {} from the stage", blob.digest)))
            }
            (None, Some(base)) => base.open(blob, range).await,
            (None, None) => Err(no_blob(blob, &self.called())),
        }
    }

    async fn file(&self, blob: &Descriptor) -> Result<Option<Arc<File>>> {
        match (self.find(blob), &self.base) {
            (Some(Added::File(file)), _) => Ok(Some(file)),
            (None, Some(base)) => base.file(blob).await,
            _ => Ok(None),
        }
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        match &self.base {
            Some(base) => base.referrers(subject).await,
            None => Ok(Vec::new()),
        }
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        match &self.base {
            Some(base) => base.tags(),
            None => stream::empty().boxed(),
        }
    }
}
