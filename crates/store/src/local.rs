//! The local store, shared by all pulls of a person.
//!
//! ```text
//! STORE/
//!   version                         "conex store 1"
//!   blobs/ALGORITHM/ENCODED         content
//!   refs/SHA256-OF-NAME             one name: {"name": …, "root": descriptor}
//!   roots/ALGORITHM-ENCODED         a root that was pulled by digest and has no name: descriptor
//!   .conex/                         see `commit`
//! ```
//! Each name is a file of its own, replaced by one rename, so that writers never meet.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};

use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Digest, Error, Kind, Location, Name, Result, Tag};

use crate::blobs::Blobs;
use crate::bridge::{blocking, feed, file_stream};
use crate::commit::Folder;
use crate::memory::{no_blob, no_root};
use crate::seal::Key;
use crate::sink::Sink;
use crate::source::{ByteStream, Place, Source};

const VERSION_FILE: &str = "version";
const VERSION: &[u8] = b"conex store 1\n";
const REFS: &str = "refs";
const ROOTS: &str = "roots";

/// The local store, held open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalStore {
    folder: Arc<Folder>,
    location: Location,
}

/// A named root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name, a canonical reference for what came from a registry.
    pub name: String,
    /// What it stands for.
    pub root: Descriptor,
}

impl LocalStore {
    /// Opens the store in a folder, making it where there is none. `location` is what people
    /// call the image that they are about to work on.
    ///
    /// # Errors
    /// `Unsupported` where another version of conex made the store.
    pub fn open(dir: &Path, location: Location) -> Result<Self> {
        let folder = Folder::create(dir)?;
        match folder.read(VERSION_FILE, 64)? {
            Some(version) if version == VERSION => {}
            Some(version) => {
                let found = String::from_utf8_lossy(&version).trim_end().escape_debug().to_string();
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("{} has an unknown format", dir.display()),
                )
                .expected("conex store 1")
                .found(found));
            }
            None => folder.replace(VERSION_FILE, VERSION)?,
        }
        folder.sweep();
        let key = folder.own_key()?;
        Ok(Self { folder: Arc::new(folder.with_key(Some(key))), location })
    }

    /// The key under which this store's seals are made; it serves the layouts of the same person.
    pub fn key(&self) -> Option<&Key> {
        self.folder.key()
    }

    /// All roots, in the order of their names; one that was pulled by digest is called by it.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = self.entries_in(REFS)?;
        entries.extend(self.entries_in(ROOTS)?);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn entries_in(&self, folder: &str) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for file in self.folder.list(folder)? {
            entries.extend(self.read_entry(&format!("{folder}/{file}"))?);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Takes a name away. The content stays until it is collected. Returns whether it was there.
    pub fn remove(&self, name: &Name) -> Result<bool> {
        self.folder.remove(&file_of(name))
    }

    /// Records what a name that was asked for stands for here. `shown` is what people call it.
    pub fn record(&self, name: &Name, shown: &str, root: &Descriptor) -> Result<()> {
        Blobs(&self.folder).sync()?;
        let entry = Entry { name: shown.to_owned(), root: root.clone() };
        let bytes = serde_json::to_vec(&entry)
            .map_err(|err| Error::invalid("root cannot be recorded").source(err))?;
        self.folder.replace(&file_of(name), &bytes)
    }

    fn read_entry(&self, file: &str) -> Result<Option<Entry>> {
        let Some(bytes) = self.folder.read(file, LIMIT)? else { return Ok(None) };
        let entry = serde_json::from_slice(&bytes).map_err(|err| {
            Error::invalid(format!("{} is damaged", self.folder.path().join(file).display()))
                .source(err)
        })?;
        Ok(Some(entry))
    }

    fn find(&self, name: Option<&Name>) -> Result<Descriptor> {
        let entry = match name {
            Some(name) => self.read_entry(&file_of(name))?,
            None => None,
        };
        if let Some(entry) = entry {
            return Ok(entry.root);
        }
        // A manifest may be there without being a root.
        if let Some(Name::Digest(digest)) = name
            && let Some(root) = Blobs(&self.folder).describe(digest)?
            && root.media_type.is_manifest()
        {
            return Ok(root);
        }
        let tags: Vec<Tag> =
            self.entries_in(REFS)?.iter().filter_map(|entry| Tag::new(&entry.name).ok()).collect();
        Err(no_root(name, &self.location, &tags)
            .hint("`conex images` lists the store; `conex pull` adds to it"))
    }
}

/// A name may be longer than a file name; its digest is not.
fn file_of(name: &Name) -> String {
    match name {
        Name::Tag(tag) => format!("{REFS}/{}", Digest::sha256(tag.as_str().as_bytes()).encoded()),
        Name::Digest(digest) => format!("{ROOTS}/{}-{}", digest.algorithm_name(), digest.encoded()),
    }
}

impl Place for LocalStore {
    fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Source for LocalStore {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        let (store, name) = (self.clone(), name.cloned());
        blocking(move || store.find(name.as_ref())).await
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        let file = self.file(blob).await?.ok_or_else(|| no_blob(blob, &self.location))?;
        Ok(file_stream(file, range, format!("cannot read {} in the local store", blob.digest)))
    }

    async fn file(&self, blob: &Descriptor) -> Result<Option<Arc<File>>> {
        Ok(Blobs(&self.folder).file(blob)?.map(Arc::new))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let (store, subject) = (self.clone(), subject.clone());
        blocking(move || {
            let mut found = Vec::new();
            for entry in store.entries()? {
                let root = &entry.root;
                let Some(manifest) = Blobs(&store.folder).manifest(root)? else { continue };
                found.extend(manifest.as_referrer(&root.digest, root.size, &subject));
            }
            found.sort_by(|a, b| a.digest.cmp(&b.digest));
            found.dedup_by(|a, b| a.digest == b.digest);
            Ok(found)
        })
        .await
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        match self.entries_in(REFS) {
            Ok(entries) => {
                stream::iter(entries.into_iter().map(|entry| Tag::new(&entry.name))).boxed()
            }
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }
}

#[async_trait]
impl Sink for LocalStore {
    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        let (store, blob) = (self.clone(), blob.clone());
        blocking(move || Blobs(&store.folder).intact(&blob)).await
    }

    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()> {
        let (store, blob) = (self.clone(), blob.clone());
        feed(content, move |mut content| Blobs(&store.folder).put(&blob, &mut content)).await
    }

    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()> {
        let (store, root, tag) = (self.clone(), root.clone(), tag.cloned());
        let name = tag.map_or_else(|| Name::Digest(root.digest.clone()), Name::Tag);
        blocking(move || store.record(&name, name.as_str(), &root)).await
    }

    async fn adopt(&self, blob: &Descriptor, from: &dyn Source) -> Result<bool> {
        let Some(file) = from.file(blob).await? else { return Ok(false) };
        let (store, blob) = (self.clone(), blob.clone());
        blocking(move || Blobs(&store.folder).link(&blob, &file)).await
    }
}
