//! Content in memory: for tests, and for small documents in the making.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};

use conex_spec::{Descriptor, Digest, Error, Location, Manifest, MediaType, Name, Result, Tag};

use crate::bridge::bytes_stream;
use crate::sink::Sink;
use crate::source::{ByteStream, Place, Source};
use crate::verify;

/// A store that is gone with the process.
#[derive(Debug, Default)]
pub struct Memory {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    blobs: HashMap<Digest, (MediaType, Bytes)>,
    tags: BTreeMap<Tag, Descriptor>,
    roots: Vec<Descriptor>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that are all at hand.
    pub fn add(&self, media_type: MediaType, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        let descriptor = Descriptor::of(media_type, &bytes);
        self.insert(&descriptor, bytes);
        descriptor
    }

    fn insert(&self, blob: &Descriptor, bytes: Bytes) {
        let entry = (blob.media_type.clone(), bytes);
        self.content().blobs.insert(blob.digest.clone(), entry);
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self, blob: &Descriptor) -> Result<Bytes> {
        let content = self.content();
        let found = content.blobs.get(&blob.digest);
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| no_blob(blob, &self.called()))
    }
}

/// The fault of a blob that a store does not have.
pub(crate) fn no_blob(blob: &Descriptor, place: &str) -> Error {
    Error::not_found(format!("{} is not in {place}", blob.digest))
}

/// The fault of a name that a place does not have; the message lists what there is. Without a
/// name one of its `roots` was to be the only one.
pub(crate) fn no_root(name: Option<&Name>, place: &str, roots: usize, tags: &[Tag]) -> Error {
    let listed = tags.iter().take(10).map(Tag::as_str).collect::<Vec<_>>().join(", ");
    let more = if tags.len() > 10 { ", …" } else { "" };
    let there = if tags.is_empty() { "no names".into() } else { format!("{listed}{more}") };
    match name {
        Some(name) => Error::not_found(format!("`{name}` is not in {place}")).found(there),
        None if roots == 0 => Error::not_found(format!("there is no image in {place}")),
        None => Error::not_found(format!("there is more than one image in {place}"))
            .expected("the name of one")
            .found(there),
    }
}

impl Place for Memory {
    fn location(&self) -> &Location {
        &Location::Memory
    }
}

#[async_trait]
impl Source for Memory {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        let content = self.content();
        let found = match name {
            Some(Name::Tag(tag)) => content.tags.get(tag).cloned(),
            Some(Name::Digest(digest)) => content.blobs.get(digest).map(|(media_type, bytes)| {
                Descriptor::new(media_type.clone(), digest.clone(), bytes.len() as u64)
            }),
            None => match content.roots.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
        };
        let tags: Vec<_> = content.tags.keys().cloned().collect();
        found.ok_or_else(|| no_root(name, &self.called(), content.roots.len(), &tags))
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        Ok(bytes_stream(self.bytes(blob)?, range))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let content = self.content();
        let mut found = Vec::new();
        for (digest, (media_type, bytes)) in &content.blobs {
            if !media_type.is_manifest() {
                continue;
            }
            let manifest = Manifest::parse(bytes.clone(), Some(media_type))?;
            found.extend(manifest.as_referrer(digest, bytes.len() as u64, subject));
        }
        found.sort_by(|a, b| a.digest.cmp(&b.digest));
        Ok(found)
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        let tags: Vec<_> = self.content().tags.keys().cloned().map(Ok).collect();
        stream::iter(tags).boxed()
    }
}

#[async_trait]
impl Sink for Memory {
    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        let content = self.content();
        let found = content.blobs.get(&blob.digest);
        Ok(found.is_some_and(|(_, bytes)| bytes.len() as u64 == blob.size))
    }

    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()> {
        let mut content = verify::verified(content, blob)?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = content.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        self.insert(blob, bytes.freeze());
        Ok(())
    }

    fn as_source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()> {
        self.bytes(root)?;
        let mut content = self.content();
        if !content.roots.iter().any(|known| known.digest == root.digest) {
            content.roots.push(root.clone());
        }
        if let Some(tag) = tag {
            content.tags.insert(tag.clone(), root.clone());
        }
        Ok(())
    }
}
