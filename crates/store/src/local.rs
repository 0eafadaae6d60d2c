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
use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Digest, Error, Kind, Location, Name, Result, Tag};
use futures_util::stream::{self, BoxStream, StreamExt};

use crate::blobs::{self, Blobs};
use crate::bridge::{blocking, file_stream};
use crate::collection::{Collection, Entry};
use crate::commit::Folder;
use crate::home::{Access, Home, Sort};
use crate::memory::{no_blob, no_root};
use crate::referrers::each_once;
use crate::seal::Key;
use crate::sink::{Reopen, Sink};
use crate::source::{ByteStream, Place, Source};

const VERSION_FILE: &str = "version";
const VERSION: &[u8] = b"conex store 1\n";
const REFS: &str = "refs";
const ROOTS: &str = "roots";
/// What people call it.
const CALLED: &str = "the local store";

/// The local store, held open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalStore {
    home: Arc<Home>,
    location: Location,
}

const SORT: Sort = Sort { is_one, make, own_key: Some(Folder::own_key) };

impl LocalStore {
    /// Opens the store in a folder; where there is none, it is made with what is first put there.
    /// `location` is what people call the image that they are about to work on.
    ///
    /// # Errors
    /// `Unsupported` where another version of conex made the store.
    pub fn open(dir: &Path, location: Location) -> Result<Self> {
        Self::open_with(dir, location, true)
    }

    /// [`LocalStore::open`], saying whether what is put there survives a power cut.
    pub fn open_with(dir: &Path, location: Location, durable: bool) -> Result<Self> {
        let home = Home::open(dir, Access { key: None, durable }, SORT)?;
        Ok(Self { home: Arc::new(home), location })
    }

    /// Makes the store where there is none.
    pub fn make(&self) -> Result<()> {
        self.home.folder().map(drop)
    }

    /// The key under which this store's seals are made; it serves the layouts of the same person.
    /// Nothing where there is no store yet.
    pub fn key(&self) -> Option<&Key> {
        self.home.existing().and_then(Folder::key)
    }

    fn entries_in(&self, part: &str) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let Some(folder) = self.home.existing() else { return Ok(entries) };
        for file in folder.list(part)? {
            entries.extend(read_entry(folder, &format!("{part}/{file}"))?);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Records what a name that was asked for stands for here. `shown` is what people call it.
    pub fn record(&self, name: &Name, shown: &str, root: &Descriptor) -> Result<()> {
        let folder = self.home.folder()?;
        Blobs(folder).sync()?;
        let entry = Entry { name: shown.to_owned(), root: root.clone() };
        let bytes = serde_json::to_vec(&entry)
            .map_err(|err| Error::invalid("root cannot be recorded").source(err))?;
        folder.replace(&file_of(name), &bytes)
    }

    fn find(&self, name: Option<&Name>) -> Result<Descriptor> {
        if let (Some(folder), Some(name)) = (self.home.existing(), name) {
            if let Some(entry) = read_entry(folder, &file_of(name))? {
                return Ok(entry.root);
            }
            // A manifest may be there without being a root.
            if let Name::Digest(digest) = name
                && let Some(root) = Blobs(folder).describe(digest)?
                && root.media_type.is_manifest()
            {
                return Ok(root);
            }
        }
        let tags: Vec<Tag> =
            self.entries_in(REFS)?.iter().filter_map(|entry| Tag::new(&entry.name).ok()).collect();
        Err(no_root(name, CALLED, tags.len(), &tags)
            .hint("`conex images` lists the store; `conex pull` adds to it"))
    }
}

fn is_one(folder: &Folder) -> Result<bool> {
    match folder.read(VERSION_FILE, 64)? {
        Some(version) if version == VERSION => Ok(true),
        Some(version) => {
            let found = String::from_utf8_lossy(&version).trim_end().escape_debug().to_string();
            let message = format!("{} has an unknown format", folder.path().display());
            Err(Error::new(Kind::Unsupported, message).expected("conex store 1").found(found))
        }
        None => Ok(false),
    }
}

/// A folder that holds anything else is not made a store: it might be a layout.
fn make(folder: &Folder) -> Result<()> {
    let own = [".conex", VERSION_FILE, blobs::BLOBS, REFS, ROOTS, "lost+found"];
    if let Some(found) = folder.list(".")?.into_iter().find(|name| !own.contains(&name.as_str())) {
        let message = format!("{} is no local store", folder.path().display());
        return Err(Error::new(Kind::Usage, message)
            .expected("a folder that conex made, or an empty one")
            .found(found));
    }
    let _lock = folder.lock()?;
    if !is_one(folder)? {
        folder.replace(VERSION_FILE, VERSION)?;
    }
    Ok(())
}

fn read_entry(folder: &Folder, file: &str) -> Result<Option<Entry>> {
    let Some(bytes) = folder.read(file, LIMIT)? else { return Ok(None) };
    let entry = serde_json::from_slice(&bytes).map_err(|err| {
        Error::invalid(format!("{} is damaged", folder.path().join(file).display())).source(err)
    })?;
    Ok(Some(entry))
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

    fn called(&self) -> String {
        CALLED.into()
    }
}

#[async_trait]
impl Source for LocalStore {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        let (store, name) = (self.clone(), name.cloned());
        blocking(move || store.find(name.as_ref())).await
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        let file = self.file(blob).await?.ok_or_else(|| no_blob(blob, CALLED))?;
        Ok(file_stream(file, range, format!("cannot read {} in the local store", blob.digest)))
    }

    async fn file(&self, blob: &Descriptor) -> Result<Option<Arc<File>>> {
        let Some(folder) = self.home.existing() else { return Ok(None) };
        Ok(Blobs(folder).file(blob)?.map(Arc::new))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let (store, subject) = (self.clone(), subject.clone());
        blocking(move || {
            let mut found = Vec::new();
            let Some(folder) = store.home.existing() else { return Ok(found) };
            for entry in store.entries()? {
                let root = &entry.root;
                let Some(manifest) = Blobs(folder).manifest(root)? else { continue };
                found.extend(manifest.as_referrer(&root.digest, root.size, &subject));
            }
            Ok(each_once(found))
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

impl Collection for LocalStore {
    fn folder(&self) -> Option<&Folder> {
        self.home.existing()
    }

    /// In the order of their names; one that was pulled by digest is called by it.
    fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = self.entries_in(REFS)?;
        entries.extend(self.entries_in(ROOTS)?);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn remove(&self, name: &Name) -> Result<Vec<String>> {
        let Some(folder) = self.home.existing() else { return Ok(Vec::new()) };
        let removed = folder.remove(&file_of(name))?;
        Ok(removed.then(|| name.to_string()).into_iter().collect())
    }

    fn unname(&self, tag: &Tag) -> Result<bool> {
        let Some(folder) = self.home.existing() else { return Ok(false) };
        let name = Name::Tag(tag.clone());
        let Some(entry) = read_entry(folder, &file_of(&name))? else { return Ok(false) };
        let other =
            |known: &Entry| known.root.digest == entry.root.digest && known.name != entry.name;
        if !self.entries()?.iter().any(other) {
            let digest = Name::Digest(entry.root.digest.clone());
            self.record(&digest, digest.as_str(), &entry.root)?;
        }
        folder.remove(&file_of(&name))
    }
}

#[async_trait]
impl Sink for LocalStore {
    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        let (store, blob) = (self.clone(), blob.clone());
        blocking(move || match store.home.existing() {
            Some(folder) => Blobs(folder).intact(&blob),
            None => Ok(false),
        })
        .await
    }

    async fn look_again(&self, blob: &Descriptor) -> Result<()> {
        self.home.look_again(blob).await
    }

    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()> {
        self.home.put(blob, content).await
    }

    async fn put_from(&self, blob: &Descriptor, content: &dyn Reopen) -> Result<()> {
        self.home.put_from(blob, content).await
    }

    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()> {
        let (store, root, tag) = (self.clone(), root.clone(), tag.cloned());
        let name = tag.map_or_else(|| Name::Digest(root.digest.clone()), Name::Tag);
        blocking(move || store.record(&name, name.as_str(), &root)).await
    }

    fn as_source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    async fn adopt(&self, blob: &Descriptor, from: &dyn Source) -> Result<bool> {
        let Some(file) = from.file(blob).await? else { return Ok(false) };
        let (store, blob) = (self.clone(), blob.clone());
        blocking(move || Blobs(store.home.folder()?).adopt(&blob, &file)).await
    }
}
