//! What content is written to.

use async_trait::async_trait;
use bytes::Bytes;

use conex_spec::{Descriptor, Error, Kind, Name, Result, Tag};

use crate::bridge::bytes_stream;
use crate::source::{ByteStream, Place, Source};

/// The content of one blob, as often as a sink needs it.
#[async_trait]
pub trait Reopen: Send + Sync {
    /// The content from a byte on, raw.
    async fn open(&self, from: u64) -> Result<ByteStream>;

    /// Tells that the first bytes are there from an earlier time: they do not move, though they may be
    /// read to be verified. Who opens it at a later byte has told that already.
    fn resumed(&self, _bytes: u64) {}

    /// Tells that what was there from an earlier time is of no use.
    fn anew(&self, _why: &Error) {}
}

/// A place content is written to.
#[async_trait]
pub trait Sink: Place {
    /// Whether a blob or manifest is there, whole. Content that someone changed where it lies
    /// is not there.
    async fn has(&self, blob: &Descriptor) -> Result<bool>;

    /// Reads what is there of a blob, whatever was known of it before: damage that left no trace,
    /// as that of a worn disk, is found so. What is damaged is not there afterwards.
    async fn look_again(&self, _blob: &Descriptor) -> Result<()> {
        Ok(())
    }

    /// Adds a blob or manifest. It is there whole, verified and durable when this returns, or
    /// not at all. Adding what is there already is no error. Children come before their parent.
    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()>;

    /// [`Sink::put`] for content that can be opened at any byte: a sink that has a part of it from
    /// an earlier time, which broke off, goes on from there.
    async fn put_from(&self, blob: &Descriptor, content: &dyn Reopen) -> Result<()> {
        self.put(blob, content.open(0).await?).await
    }

    /// Makes a root known, under a name or (in a layout) without one. The root is there already.
    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()>;

    /// Takes a blob over from a source without moving its bytes, where both sides can: a mount
    /// inside a registry, a reflink or hard link on a disk. Returns whether it did.
    async fn adopt(&self, _blob: &Descriptor, _from: &dyn Source) -> Result<bool> {
        Ok(false)
    }

    /// The same place as something to read from, where what is there can be read back.
    fn as_source(&self) -> Option<&dyn Source> {
        None
    }

    /// What a name stands for here now; nothing where it is free, or where nobody can tell.
    async fn tagged(&self, tag: &Tag) -> Result<Option<Descriptor>> {
        let Some(source) = self.as_source() else { return Ok(None) };
        match source.resolve(Some(&Name::Tag(tag.clone()))).await {
            Ok(root) => Ok(Some(root)),
            Err(err) if err.kind() == Kind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Adds a manifest whose children are there, and makes it known under all these names, in one
    /// request where the other side can; without a name as [`Sink::tag`] does.
    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        if !self.has(root).await? {
            self.put(root, bytes_stream(bytes, 0..root.size)).await?;
        }
        if tags.is_empty() {
            return self.tag(root, None).await;
        }
        for tag in tags {
            self.tag(root, Some(tag)).await?;
        }
        Ok(())
    }

    /// How many blobs it takes at a time: an archive takes one after the other, and content that
    /// was opened before its turn would keep a registry waiting.
    fn width(&self) -> usize {
        usize::MAX
    }

    /// Ends the writing: an archive puts its index. Others have nothing to do.
    async fn finish(&self) -> Result<()> {
        Ok(())
    }

    /// Ends the writing after a failure. A place that was made for it goes again, if nothing is in it
    /// that anyone was told of or that the next writer goes on with.
    async fn abandon(&self) {}
}
