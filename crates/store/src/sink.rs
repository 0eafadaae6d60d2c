//! What content is written to.

use async_trait::async_trait;

use conex_spec::{Descriptor, Result, Tag};

use crate::source::{ByteStream, Place, Source};

/// A place content is written to.
#[async_trait]
pub trait Sink: Place {
    /// Whether a blob or manifest is there, whole. Content that someone changed where it lies
    /// is not there.
    async fn has(&self, blob: &Descriptor) -> Result<bool>;

    /// Adds a blob or manifest. It is there whole, verified and durable when this returns, or
    /// not at all. Adding what is there already is no error. Children come before their parent.
    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()>;

    /// Makes a root known, under a name or (in a layout) without one. The root is there already.
    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()>;

    /// Takes a blob over from a source without moving its bytes, where both sides can: a mount
    /// inside a registry, a reflink or hard link on a disk. Returns whether it did.
    async fn adopt(&self, _blob: &Descriptor, _from: &dyn Source) -> Result<bool> {
        Ok(false)
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
}
