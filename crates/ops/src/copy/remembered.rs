//! A source whose manifests are read once, whoever asks for them, and to which edited ones are
//! added before they are copied.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Digest, Error, Location, Name, Result, Tag};
use conex_store::bridge::bytes_stream;
use conex_store::source::Place;
use conex_store::{ByteStream, Source, SourceExt};

/// How many bytes of manifests are kept.
const ROOM: usize = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Remembered<'a> {
    base: &'a dyn Source,
    /// A place of this machine that may have them too.
    beside: Option<&'a dyn Source>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    manifests: HashMap<Digest, Bytes>,
    bytes: usize,
}

impl<'a> Remembered<'a> {
    pub(crate) fn new(base: &'a dyn Source) -> Self {
        Self { base, beside: None, known: Mutex::default() }
    }

    /// The same, but what is on this machine already is read there.
    pub(crate) fn beside(self, beside: Option<&'a dyn Source>) -> Self {
        Self { beside, ..self }
    }

    /// Whether a manifest is at hand.
    pub(crate) fn knows(&self, digest: &Digest) -> bool {
        self.known().manifests.contains_key(digest)
    }

    async fn fetch(&self, blob: &Descriptor) -> Result<Bytes> {
        if let Some(beside) = self.beside
            && let Ok(bytes) = beside.read(blob).await
        {
            return Ok(bytes);
        }
        self.base.read(blob).await
    }

    /// Adds a manifest that the base does not have.
    pub(crate) fn add(&self, digest: &Digest, bytes: Bytes) {
        let mut known = self.known();
        known.bytes += bytes.len();
        known.manifests.insert(digest.clone(), bytes);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, digest: &Digest) -> Option<Bytes> {
        self.known().manifests.get(digest).cloned()
    }
}

impl Place for Remembered<'_> {
    fn location(&self) -> &Location {
        self.base.location()
    }

    fn called(&self) -> String {
        self.base.called()
    }
}

#[async_trait]
impl Source for Remembered<'_> {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        self.base.resolve(name).await
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        if !blob.media_type.is_manifest() || blob.size > LIMIT as u64 {
            return self.base.open(blob, range).await;
        }
        let bytes = match self.find(&blob.digest) {
            Some(bytes) => bytes,
            None => {
                let bytes = self.fetch(blob).await?;
                if self.known().bytes + bytes.len() <= ROOM {
                    self.add(&blob.digest, bytes.clone());
                }
                bytes
            }
        };
        Ok(bytes_stream(bytes, range))
    }

    async fn file(&self, blob: &Descriptor) -> Result<Option<Arc<File>>> {
        self.base.file(blob).await
    }

    fn distrust(&self, blob: &Descriptor, why: &Error) -> bool {
        self.base.distrust(blob, why)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.base.referrers(subject).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        self.base.tags()
    }
}
