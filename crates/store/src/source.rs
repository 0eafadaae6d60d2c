//! What content is read from.

use std::fmt::Debug;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use conex_spec::document::{Format, LIMIT};
use conex_spec::{
    Descriptor, Digest, Document, Error, Kind, Location, Manifest, Name, Result, Tag,
};

use crate::verify;

/// Content as it arrives. It ends in an error where it breaks off.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Somewhere content can be: one repository, one layout, the local store, memory.
pub trait Place: Debug + Send + Sync {
    /// What people call it; for messages and for [`crate::Sink::adopt`].
    fn location(&self) -> &Location;

    /// What people call it in a message about what it lacks, which is no matter of one image.
    fn called(&self) -> String {
        self.location().place()
    }
}

/// A place content is read from.
#[async_trait]
pub trait Source: Place {
    /// The root that a name stands for. No name stands for the only root of a layout,
    /// and for `latest` in a registry.
    ///
    /// # Errors
    /// `NotFound` where there is no such root; the message lists what there is.
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor>;

    /// Some bytes of a blob or manifest, raw.
    ///
    /// # Security
    /// Nothing is verified. Only backends call this; everyone else reads through [`SourceExt`].
    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream>;

    /// A blob that lies on this machine, as an open regular file, unverified.
    async fn file(&self, _blob: &Descriptor) -> Result<Option<Arc<File>>> {
        Ok(None)
    }

    /// Hears that a blob was not what its descriptor says. True where it will come from another place
    /// when it is read once more.
    fn distrust(&self, _blob: &Descriptor, _why: &Error) -> bool {
        false
    }

    /// The manifests whose `subject` is this one. distribution-spec, "Listing Referrers".
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>>;

    /// The names of all roots, in the order of their bytes.
    fn tags(&self) -> BoxStream<'_, Result<Tag>>;
}

/// Comforts for every source. All of it is verified and bounded.
#[async_trait]
pub trait SourceExt: Source {
    /// A whole blob; the stream ends in an error unless length and digest match.
    async fn fetch(&self, blob: &Descriptor) -> Result<ByteStream> {
        let content = self.open(blob, 0..blob.size).await?;
        verify::verified(content, blob)
    }

    /// A whole document in memory: at most 8 MiB, verified.
    async fn read(&self, blob: &Descriptor) -> Result<Bytes> {
        self.read_up_to(blob, "document", LIMIT as u64).await
    }

    /// A whole blob in memory, verified: at most so many bytes; `what` says what it is to be.
    async fn read_up_to(&self, blob: &Descriptor, what: &str, limit: u64) -> Result<Bytes> {
        if let Some(embedded) = blob.embedded()? {
            return Ok(embedded);
        }
        if blob.size > limit {
            return Err(Error::new(Kind::Limit, format!("{what} {} is too large", blob.digest))
                .expected(format!("at most {limit} bytes"))
                .found(format!("{} bytes", blob.size)));
        }
        loop {
            match collect(self.fetch(blob).await?).await {
                Err(err) if err.kind() == Kind::Mismatch && self.distrust(blob, &err) => {}
                read => return read,
            }
        }
    }

    /// A manifest or an index.
    async fn manifest(&self, root: &Descriptor) -> Result<Document<Manifest>> {
        let bytes = self.read(root).await?;
        let parsed = Manifest::parse(bytes, Some(&root.media_type));
        parsed.map_err(|err| err.context(format_args!("{} in {}", root.digest, self.called())))
    }

    /// A document of another sort, for example a config.
    async fn document<T: Format + Send>(&self, blob: &Descriptor) -> Result<Document<T>> {
        let bytes = self.read(blob).await?;
        let parsed = Document::parse(bytes);
        parsed.map_err(|err| err.context(format_args!("{} in {}", blob.digest, self.called())))
    }

    /// What a manifest or an index cannot be without; nothing for any other content.
    async fn children(&self, blob: &Descriptor) -> Result<Vec<Descriptor>> {
        if !blob.media_type.is_manifest() {
            return Ok(Vec::new());
        }
        let manifest = self.manifest(blob).await?;
        Ok(manifest.children().into_iter().cloned().collect())
    }
}

impl<T: Source + ?Sized> SourceExt for T {}

async fn collect(mut content: ByteStream) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = content.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes.freeze())
}
