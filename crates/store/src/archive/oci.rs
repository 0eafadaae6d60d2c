//! An OCI layout in a tar, read. image-spec, image-layout.md.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use conex_spec::document::LIMIT;
use conex_spec::layout::{INDEX_FILE, LayoutMarker, MARKER_FILE};
use conex_spec::{
    Descriptor, Digest, Document, Error, ImageIndex, Location, Manifest, Name, Result, Tag,
};

use super::choice;
use super::input::{Archive, Input, Lazy};
use super::members::Part;
use crate::blobs::{self, BLOBS};
use crate::bridge::blocking;
use crate::memory::no_blob;
use crate::referrers;
use crate::source::{ByteStream, Place, Source};

/// An archive to read from. Nothing is read before something is asked for.
#[derive(Debug)]
pub struct OciArchive {
    archive: Lazy,
    location: Location,
}

impl OciArchive {
    /// What is in `input`; `location` is what people call it. An archive that cannot be read in
    /// place is spooled to a nameless file in the folder `spool`.
    pub fn new(input: Input, location: Location, spool: PathBuf) -> Self {
        Self { archive: Lazy::new(input, spool), location }
    }

    async fn archive(&self) -> Result<Arc<Archive>> {
        self.archive.get().await.map_err(|err| err.context(&self.location))
    }

    /// The marker file as it is; nothing where there is none.
    pub async fn marker_file(&self) -> Result<Option<Bytes>> {
        self.small(MARKER_FILE).await
    }

    /// `index.json` as it is; nothing where there is none.
    pub async fn index_file(&self) -> Result<Option<Bytes>> {
        self.small(INDEX_FILE).await
    }

    /// The names of all that lies in `blobs`, as `sha256/…`; nothing where nothing does.
    pub async fn blob_files(&self) -> Result<Option<Vec<String>>> {
        let archive = self.archive().await?;
        let names = archive.members().names();
        let below = names.filter_map(|name| {
            let name = name.strip_prefix(BLOBS.as_bytes())?.strip_prefix(b"/")?;
            Some(String::from_utf8_lossy(name).into_owned())
        });
        let mut below: Vec<_> = below.collect();
        below.sort_unstable();
        Ok((!below.is_empty()).then_some(below))
    }

    /// The size of a blob in bytes, whether or not anything refers to it; nothing if there is none.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let part = self.archive().await?.members().find(&blobs::path(digest)?)?;
        Ok(part.map(|part| part.size))
    }

    async fn small(&self, name: &'static str) -> Result<Option<Bytes>> {
        let archive = self.archive().await?;
        let small = blocking(move || archive.small(name, LIMIT)).await;
        small.map_err(|err| err.context(&self.location))
    }

    async fn roots(&self) -> Result<Vec<Descriptor>> {
        let archive = self.archive().await?;
        let roots = blocking(move || roots(&archive)).await;
        roots.map_err(|err| err.context(&self.location))
    }
}

/// The entries of `index.json`, where the archive holds a layout.
pub(super) fn roots(archive: &Archive) -> Result<Vec<Descriptor>> {
    let no_layout = || {
        let err = Error::not_found("there is no OCI layout in the archive")
            .expected(format!("members `{MARKER_FILE}` and `{INDEX_FILE}`"));
        match archive.members().has("manifest.json") {
            true => err.hint("`docker save` wrote it: read it as docker-archive:FILE"),
            false => err,
        }
    };
    let marker = archive.small(MARKER_FILE, LIMIT)?.ok_or_else(no_layout)?;
    Document::<LayoutMarker>::parse(marker)?;
    let index = archive.small(INDEX_FILE, LIMIT)?.ok_or_else(no_layout)?;
    let index = Document::<ImageIndex>::parse(index).map_err(|err| err.context(INDEX_FILE))?;
    Ok(index.into_value().manifests)
}

/// Where a blob of the layout lies; nothing where it is missing.
pub(super) fn blob(archive: &Archive, blob: &Descriptor) -> Result<Option<Part>> {
    let part = archive.members().find(&blobs::path(&blob.digest)?)?;
    match part {
        Some(part) if part.size != blob.size => Err(blob.wrong_size(part.size)),
        part => Ok(part),
    }
}

/// A root to look for subjects in: as in a layout, one that is missing or damaged has none.
pub(super) fn readable(archive: &Archive, root: &Descriptor) -> Result<Option<Manifest>> {
    Ok(manifest(archive, root).ok().flatten().map(Document::into_value))
}

/// A manifest of the layout, verified; nothing where it is missing.
pub(super) fn manifest(archive: &Archive, root: &Descriptor) -> Result<Option<Document<Manifest>>> {
    let Some(bytes) = archive.small(&blobs::path(&root.digest)?, LIMIT)? else { return Ok(None) };
    root.verify(&bytes)?;
    Manifest::parse(bytes, Some(&root.media_type)).map(Some)
}

/// The descriptor of a manifest or a blob of which only the digest is known.
fn describe(archive: &Archive, digest: &Digest) -> Result<Option<Descriptor>> {
    let path = blobs::path(digest)?;
    let Some(part) = archive.members().find(&path)? else { return Ok(None) };
    blobs::described(digest, part.size, || archive.small(&path, LIMIT)).map(Some)
}

impl Place for OciArchive {
    fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Source for OciArchive {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        let mut roots = self.roots().await?;
        if name.is_none() && roots.len() > 1 {
            let archive = self.archive().await?;
            roots = blocking(move || referrers::without(&roots, |root| readable(&archive, root)))
                .await?;
        }
        let missing = match (choice::find(&roots, name, &self.location), name) {
            (Err(err), Some(Name::Digest(digest))) => (err, digest),
            (found, _) => return found,
        };
        // A manifest may lie among the blobs without being a root.
        let found = describe(self.archive().await?.as_ref(), missing.1)?;
        found.ok_or(missing.0)
    }

    async fn open(&self, descriptor: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        let archive = self.archive().await?;
        let part = blob(&archive, descriptor).map_err(|err| err.context(&self.location))?;
        let part = part.ok_or_else(|| no_blob(descriptor, &self.called()))?;
        Ok(archive.stream(part, range))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let (roots, archive) = (self.roots().await?, self.archive().await?);
        let subject = subject.clone();
        blocking(move || referrers::among(&roots, &subject, |root| readable(&archive, root))).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        let tags = async {
            let tags = self.roots().await.map(|roots| choice::tags(&roots));
            stream::iter(match tags {
                Ok(tags) => tags.into_iter().map(Ok).collect(),
                Err(err) => vec![Err(err)],
            })
        };
        stream::once(tags).flatten().boxed()
    }
}
