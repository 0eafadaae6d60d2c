//! What `docker save` writes, read: of engines old and new, and of the tools that imitate them.
//!
//! `manifest.json` lists images, each with its config, its names and its layers. Where the archive
//! is an OCI layout too, an image is presented as that layout has it, digest for digest. Else its
//! manifest is made here: always the same one for the same config and layers.

pub mod saved;
mod view;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Digest, Location, Name, Result, Tag};

use super::input::{Archive, Input, Lazy, PartReader};
use super::members::Part;
use super::oci;
use crate::bridge::{blocking, bytes_stream};
use crate::memory::no_blob;
use crate::source::{ByteStream, Place, Source};

pub use saved::{MANIFEST_FILE, Saved, repo_tag};

/// An archive to read from. Nothing is read before something is asked for.
#[derive(Debug)]
pub struct DockerArchive {
    archive: Lazy,
    location: Location,
    /// What the images that were resolved are made of.
    content: Mutex<HashMap<Digest, Content>>,
}

/// Where a blob is.
#[derive(Clone, Debug)]
enum Content {
    Part(Part),
    Bytes(Bytes),
}

impl DockerArchive {
    /// What is in `input`; `location` is what people call it. An archive that cannot be read in
    /// place is spooled to a nameless file in the folder `spool`.
    pub fn new(input: Input, location: Location, spool: PathBuf) -> Self {
        Self { archive: Lazy::new(input, spool), location, content: Mutex::default() }
    }

    async fn archive(&self) -> Result<Arc<Archive>> {
        self.archive.get().await.map_err(|err| err.context(&self.location))
    }

    /// A small member as it is; nothing where there is none.
    ///
    /// # Errors
    /// `Invalid` where its content cannot be told, `Limit` where it is no small one.
    pub async fn small(&self, name: &str) -> Result<Option<Bytes>> {
        let (archive, name) = (self.archive().await?, name.to_owned());
        blocking(move || archive.small(&name, LIMIT)).await
    }

    /// A member to be read, wherever links lead; nothing where there is none.
    ///
    /// # Errors
    /// `Invalid` where its content cannot be told.
    pub async fn member(&self, name: &str) -> Result<Option<PartReader>> {
        let archive = self.archive().await?;
        Ok(archive.members().find(name)?.map(|part| archive.reader(part)))
    }

    /// Which image of the list a name stands for.
    ///
    /// # Errors
    /// `NotFound` where no image, or more than one, has the name.
    pub async fn position(&self, name: &Name) -> Result<usize> {
        let archive = self.archive().await?;
        let (name, location) = (name.clone(), self.location.clone());
        let at = blocking(move || {
            let saved = saved::read(&archive)?;
            let chosen = view::choose(&archive, &saved, Some(&name), &location)?;
            Ok(saved.iter().position(|image| std::ptr::eq(image, chosen)).unwrap_or_default())
        });
        at.await.map_err(|err| err.context(&self.location))
    }

    /// Where the layout in the archive has the image with this config: the root that it is
    /// presented by, and the image itself. Nothing where there is no layout, or none with it.
    pub async fn in_layout(&self, config: &Digest) -> Result<Option<(Descriptor, Descriptor)>> {
        let (archive, config) = (self.archive().await?, config.clone());
        blocking(move || view::in_layout(&archive, &config)).await
    }

    async fn find(&self, descriptor: &Descriptor) -> Result<Option<(Arc<Archive>, Content)>> {
        let archive = self.archive().await?;
        let known = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let content = match known.get(&descriptor.digest) {
            Some(content) => Some(content.clone()),
            None => oci::blob(&archive, descriptor)?.map(Content::Part),
        };
        Ok(content.map(|content| (archive, content)))
    }
}

impl Place for DockerArchive {
    fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Source for DockerArchive {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        let archive = self.archive().await?;
        let (name, location) = (name.cloned(), self.location.clone());
        let image = blocking(move || {
            let saved = saved::read(&archive)?;
            let chosen = view::choose(&archive, &saved, name.as_ref(), &location)?;
            view::view(&archive, chosen)
        });
        let image = image.await.map_err(|err| err.context(&self.location))?;
        self.content.lock().unwrap_or_else(PoisonError::into_inner).extend(image.content);
        Ok(image.root)
    }

    async fn open(&self, descriptor: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        let found = self.find(descriptor).await.map_err(|err| err.context(&self.location))?;
        match found.ok_or_else(|| no_blob(descriptor, &self.called()))? {
            (archive, Content::Part(part)) => Ok(archive.stream(part, range)),
            (_, Content::Bytes(bytes)) => Ok(bytes_stream(bytes, range)),
        }
    }

    /// Docker's list has no referrers, so that nobody is told of one.
    async fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        let tags = async {
            let archive = self.archive().await?;
            blocking(move || saved::read(&archive).map(|saved| view::tags(&saved))).await
        };
        let listed = async {
            stream::iter(match tags.await {
                Ok(tags) => tags.into_iter().map(Ok).collect(),
                Err(err) => vec![Err(err)],
            })
        };
        stream::once(listed).flatten().boxed()
    }
}
