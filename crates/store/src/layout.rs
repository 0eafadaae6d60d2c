//! An OCI layout directory. image-spec, image-layout.md.
//!
//! ```text
//! DIR/
//!   oci-layout                      the marker
//!   index.json                      the roots; a name is an annotation of an entry
//!   blobs/ALGORITHM/ENCODED         everything else
//!   .conex/                         conex's own: see `commit`
//! ```
//! Any number of processes may write at once. Blobs need no lock: each is staged and renamed.
//! `index.json` is read, changed and replaced under an exclusive lock, so no name is lost.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};

use conex_spec::descriptor::REF_NAME;
use conex_spec::document::LIMIT;
use conex_spec::layout::{INDEX_FILE, LayoutMarker, MARKER_FILE};
use conex_spec::{Descriptor, Digest, Document, Error, ImageIndex, Location, Name, Result, Tag};

use crate::blobs::Blobs;
use crate::bridge::{blocking, feed, file_stream};
use crate::commit::{Folder, LockMode};
use crate::memory::{no_blob, no_root};
use crate::seal::Key;
use crate::sink::Sink;
use crate::source::{ByteStream, Place, Source};

/// How often a tag is tried again where another tool keeps replacing `index.json`.
const FOREIGN_WRITERS: usize = 20;

/// A layout directory, held open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Layout {
    folder: Arc<Folder>,
    location: Location,
}

impl Layout {
    /// Opens a layout that is there. Seals are made and believed under `key`; without one
    /// every blob is hashed to see whether it is there.
    pub fn open(dir: &Path, key: Option<Key>) -> Result<Self> {
        let layout = Self::at(dir, Folder::open(dir)?.with_key(key));
        match layout.folder.read(MARKER_FILE, LIMIT)? {
            Some(bytes) => Document::<LayoutMarker>::parse(bytes)
                .map_err(|err| err.context(layout.location.clone()))?,
            None => {
                return Err(Error::not_found(format!("{} is no OCI layout", dir.display()))
                    .expected(format!("a file `{MARKER_FILE}`"))
                    .hint("name a folder that a tool wrote as an OCI layout, or copy an image there first"));
            }
        };
        Ok(layout)
    }

    /// Opens a layout, making it where there is none.
    pub fn create(dir: &Path, key: Option<Key>) -> Result<Self> {
        let layout = Self::at(dir, Folder::create(dir)?);
        if layout.folder.read(MARKER_FILE, LIMIT)?.is_none() {
            layout.initialise()?;
        }
        layout.folder.sweep();
        Self::open(dir, key)
    }

    /// The roots, in the order of `index.json`.
    pub fn roots(&self) -> Result<Vec<Descriptor>> {
        Ok(self.index()?.into_value().manifests)
    }

    fn at(dir: &Path, folder: Folder) -> Self {
        let location = Location::Layout { path: dir.into(), name: None };
        Self { folder: Arc::new(folder), location }
    }

    /// The marker is written last: a folder is a layout only when it is a whole one.
    fn initialise(&self) -> Result<()> {
        let _lock = self.folder.lock(LockMode::Exclusive)?;
        self.folder.make_folder("blobs/sha256")?;
        if self.folder.read(INDEX_FILE, LIMIT)?.is_none() {
            let index = Document::new(ImageIndex::new(Vec::new()))?;
            self.folder.replace(INDEX_FILE, index.bytes())?;
        }
        let marker = Document::new(LayoutMarker::default())?;
        self.folder.replace(MARKER_FILE, marker.bytes())
    }

    fn index(&self) -> Result<Document<ImageIndex>> {
        let bytes = self
            .folder
            .read(INDEX_FILE, LIMIT)?
            .ok_or_else(|| Error::not_found(format!("{} has no `{INDEX_FILE}`", self.location)))?;
        Document::<ImageIndex>::parse(bytes)
            .map_err(|err| err.context(format_args!("{INDEX_FILE} of {}", self.location)))
    }

    /// Changes `index.json` so that no other writer's change is lost: conex's own writers wait
    /// for the lock, and a change by another tool in between is seen and merged.
    fn change_index(&self, change: impl Fn(&mut ImageIndex)) -> Result<()> {
        let _lock = self.folder.lock(LockMode::Exclusive)?;
        for _ in 0..FOREIGN_WRITERS {
            let index = self.index()?;
            let changed = index.edit(&change)?;
            if changed.bytes() == index.bytes() {
                return Ok(());
            }
            let mut staged = self.folder.stage()?;
            staged.write(changed.bytes())?;
            if self.index()?.bytes() == index.bytes() {
                return staged.publish(INDEX_FILE);
            }
        }
        Err(Error::new(
            conex_spec::Kind::Conflict,
            format!("another program keeps changing {}", self.location),
        ))
    }

    fn find(&self, name: Option<&Name>) -> Result<Descriptor> {
        let roots = self.roots()?;
        let found = match name {
            Some(Name::Tag(tag)) => roots.iter().find(|root| root.ref_name() == Some(tag.as_str())),
            Some(Name::Digest(digest)) => roots.iter().find(|root| root.digest == *digest),
            None if all_same(&roots) => roots.first(),
            None => None,
        };
        match (found, name) {
            (Some(root), _) => Ok(nameless(root)),
            // A manifest may lie among the blobs without being a root.
            (None, Some(Name::Digest(digest))) => {
                Blobs(&self.folder).describe(digest)?.ok_or_else(|| self.no_root(name, &[]))
            }
            (None, _) => Err(self.no_root(name, &roots)),
        }
    }

    fn no_root(&self, name: Option<&Name>, roots: &[Descriptor]) -> Error {
        let tags: Vec<Tag> = roots.iter().filter_map(named).collect();
        let err = no_root(name, &self.location, &tags);
        match tags.first() {
            Some(tag) => err.hint(format!("for example `{}:{tag}`", self.location)),
            None => err,
        }
    }
}

/// Whether all entries are one root, perhaps under several names.
fn all_same(roots: &[Descriptor]) -> bool {
    roots.windows(2).all(|pair| pair[0].digest == pair[1].digest)
}

fn named(root: &Descriptor) -> Option<Tag> {
    root.ref_name().and_then(|name| Tag::new(name).ok())
}

/// "the `org.opencontainers.image.ref.name` annotation SHOULD only be considered valid when on
/// descriptors on `index.json`" (image-layout.md, "index.json file"), so it goes no further.
fn nameless(root: &Descriptor) -> Descriptor {
    let mut root = root.clone();
    root.annotations.shift_remove(REF_NAME);
    root
}

impl Place for Layout {
    fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Source for Layout {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        let (layout, name) = (self.clone(), name.cloned());
        blocking(move || layout.find(name.as_ref())).await
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        let file = self.file(blob).await?.ok_or_else(|| no_blob(blob, &self.location))?;
        Ok(file_stream(file, range, format!("cannot read {} in {}", blob.digest, self.location)))
    }

    async fn file(&self, blob: &Descriptor) -> Result<Option<Arc<File>>> {
        Ok(Blobs(&self.folder).file(blob)?.map(Arc::new))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let (layout, subject) = (self.clone(), subject.clone());
        blocking(move || layout.referrers_of(&subject)).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        let tags = self.roots().map(|roots| {
            let mut tags: Vec<_> = roots.iter().filter_map(named).collect();
            tags.sort_unstable();
            tags.dedup();
            tags
        });
        match tags {
            Ok(tags) => stream::iter(tags.into_iter().map(Ok)).boxed(),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }
}

impl Layout {
    /// A layout has no list of referrers: they are the roots with that subject, and what the
    /// index under the referrers tag lists.
    fn referrers_of(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let mut found: Vec<Descriptor> = Vec::new();
        let tag = subject.referrers_tag();
        for root in self.roots()? {
            if !root.media_type.is_manifest() {
                continue;
            }
            let Some(manifest) = Blobs(&self.folder).manifest(&root)? else { continue };
            if root.ref_name() == Some(tag.as_str()) {
                found.extend(manifest.children().into_iter().cloned());
            }
            found.extend(manifest.as_referrer(&root.digest, root.size, subject));
        }
        found.sort_by(|a, b| a.digest.cmp(&b.digest));
        found.dedup_by(|a, b| a.digest == b.digest);
        Ok(found)
    }
}

#[async_trait]
impl Sink for Layout {
    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        let (layout, blob) = (self.clone(), blob.clone());
        blocking(move || Blobs(&layout.folder).intact(&blob)).await
    }

    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()> {
        let (layout, blob) = (self.clone(), blob.clone());
        feed(content, move |mut content| Blobs(&layout.folder).put(&blob, &mut content)).await
    }

    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()> {
        let (layout, root, tag) = (self.clone(), root.clone(), tag.cloned());
        blocking(move || {
            Blobs(&layout.folder).sync()?;
            layout.change_index(|index| list(index, &root, tag.as_ref()))
        })
        .await
    }

    async fn adopt(&self, blob: &Descriptor, from: &dyn Source) -> Result<bool> {
        let Some(file) = from.file(blob).await? else { return Ok(false) };
        let (layout, blob) = (self.clone(), blob.clone());
        blocking(move || Blobs(&layout.folder).link(&blob, &file)).await
    }
}

/// Puts a root into an index under a name, in place of the entry that has the name now.
fn list(index: &mut ImageIndex, root: &Descriptor, tag: Option<&Tag>) {
    let mut entry = nameless(root);
    let Some(tag) = tag else {
        if !index.manifests.iter().any(|known| known.digest == root.digest) {
            index.manifests.push(entry);
        }
        return;
    };
    entry.annotations.insert(REF_NAME.into(), tag.to_string());
    let has_name = |known: &Descriptor| known.ref_name() == Some(tag.as_str());
    // A root that was listed without a name gets this one.
    let replaced = index.manifests.iter().position(|known| {
        has_name(known) || (known.ref_name().is_none() && known.digest == root.digest)
    });
    match replaced {
        Some(at) => index.manifests[at] = entry,
        None => index.manifests.push(entry),
    }
    let mut kept = false;
    index.manifests.retain(|known| !has_name(known) || !std::mem::replace(&mut kept, true));
}
