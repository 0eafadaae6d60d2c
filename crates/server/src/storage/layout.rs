//! An OCI layout as the home of a registry that is only read: one repository, as its `index.json`
//! tells it.
//!
//! Nothing is kept: the records of the repository are worked out from `index.json`, and again whenever
//! another tool has changed it. Its tags are the names of the roots that can be tags; its manifests
//! are the roots and what is below them; its blobs are what these manifests name. What the layout
//! has beside that is not in the repository. Content is hashed before it is served first.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Digest, Document, Error, ImageIndex, Kind, MediaType, Result, Tag};
use conex_store::blobs;
use conex_store::commit::{Folder, Identity};
use uuid::Uuid;

use super::home::{Content, Home, Page, Record, Session, Surveyed, Version, Wanted, When};
use super::{blocking, fault};
use crate::file_body::{CHUNK, read_at};
use crate::inspect::Inspected;
use crate::paths::Repository;

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LayoutHome(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    repository: Repository,
    key: Vec<u8>,
    told: Mutex<Option<Arc<Told>>>,
    /// Files whose content was hashed, as they were then.
    sound: Mutex<HashMap<Digest, Identity>>,
}

/// What an `index.json` tells.
#[derive(Debug)]
struct Told {
    index: Identity,
    records: BTreeMap<String, Bytes>,
}

impl LayoutHome {
    /// Opens a layout that is there.
    pub(crate) async fn open(path: &Path, repository: &str) -> Result<Self> {
        let (path, repository) = (path.to_owned(), repository.parse::<Repository>()?);
        blocking(move || {
            let folder = Folder::open(&path)?;
            if !folder.has(MARKER)? {
                return Err(Error::not_found(format!("{} is no layout", path.display()))
                    .expected("a folder with `oci-layout` and `index.json`"));
            }
            // A collector waits until this folder is closed.
            folder.share();
            let key = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
            let (told, sound) = (Mutex::default(), Mutex::default());
            let inner = Inner { folder, repository, key, told, sound };
            inner.told()?;
            Ok(Self(Arc::new(inner)))
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        blocking(move || work(&inner)).await
    }
}

#[async_trait]
impl Home for LayoutHome {
    /// By other tools.
    fn is_shared(&self) -> bool {
        true
    }

    async fn key(&self) -> Result<Vec<u8>> {
        Ok(self.0.key.clone())
    }

    async fn read(&self, names: Vec<String>) -> Result<Vec<Option<Record>>> {
        self.work(move |inner| {
            let told = inner.told()?;
            let record = |name: &String| {
                let bytes = told.records.get(name)?.clone();
                Some(Record { bytes, version: Version::File(told.index.clone()) })
            };
            Ok(names.iter().map(record).collect())
        })
        .await
    }

    async fn write(&self, _: &str, _: Bytes, _: When) -> Result<Option<Version>> {
        Err(only_read())
    }

    async fn remove(&self, _: &str, _: Option<&Version>) -> Result<bool> {
        Err(only_read())
    }

    async fn list(&self, folder: &str, after: &str, count: usize) -> Result<Page<String>> {
        let (folder, after) = (format!("{folder}/"), after.to_owned());
        self.work(move |inner| {
            let told = inner.told()?;
            let below = told.records.range(folder.clone()..);
            let names = below.map_while(|(name, _)| name.strip_prefix(&folder)).map(str::to_owned);
            Ok(Page::of(names.collect(), &after, count))
        })
        .await
    }

    async fn enrol(&self, _: &Repository) -> Result<()> {
        Err(only_read())
    }

    async fn has_repository(&self, repository: &Repository) -> Result<bool> {
        Ok(self.0.repository == *repository)
    }

    async fn repositories(&self, after: &str, count: usize) -> Result<Page<String>> {
        Ok(Page::of(vec![self.0.repository.to_string()], after, count))
    }

    async fn look(&self, wanted: Vec<Wanted>) -> Result<Vec<Option<Content>>> {
        self.work(move |inner| {
            let told = inner.told()?;
            wanted.iter().map(|wanted| inner.look(&told, wanted)).collect()
        })
        .await
    }

    async fn put(&self, _: &Digest, _: Bytes) -> Result<()> {
        Err(only_read())
    }

    /// Whoever collects leaves it alone.
    async fn survey(&self, _: Option<&Digest>, _: usize) -> Result<Page<Surveyed>> {
        Err(only_read())
    }

    async fn begin(&self, _: &Repository, _: Uuid, _: bool) -> Result<Box<dyn Session>> {
        Err(only_read())
    }

    async fn resume(&self, _: &Repository, _: Uuid) -> Result<Option<Box<dyn Session>>> {
        Ok(None)
    }

    async fn uploaded(&self, _: &Repository, _: Uuid) -> Result<Option<u64>> {
        Ok(None)
    }
}

impl Inner {
    /// What `index.json` tells now.
    fn told(&self) -> Result<Arc<Told>> {
        let missing = || Error::not_found(format!("{INDEX} is gone"));
        let file = self.folder.file(INDEX)?.ok_or_else(missing)?;
        let now = Identity::of(&file).map_err(|err| fault(INDEX, err))?;
        let mut kept = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = kept.as_ref().filter(|told| told.index == now) {
            return Ok(Arc::clone(told));
        }
        let (bytes, index) = self.folder.read_seen(INDEX, LIMIT)?.ok_or_else(missing)?;
        let roots = Document::<ImageIndex>::parse(bytes)?.into_value().manifests;
        let told = Arc::new(Told { index, records: self.records(roots)? });
        *kept = Some(Arc::clone(&told));
        Ok(told)
    }

    fn records(&self, roots: Vec<Descriptor>) -> Result<BTreeMap<String, Bytes>> {
        let (mut records, repository) = (BTreeMap::new(), &self.repository);
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        for root in &roots {
            // The first one of a name is meant; names that are no tags are for other tools.
            if let Some(tag) = root.ref_name().and_then(|name| Tag::registry(name).ok()) {
                records.entry(repository.tag(&tag)?).or_insert_with(|| text(root.digest.as_str()));
            }
        }
        let mut left = roots;
        while let Some(next) = left.pop() {
            if next.digest.algorithm().is_err() {
                continue;
            }
            if !next.media_type.is_manifest() {
                records.entry(repository.blob(&next.digest)?).or_insert_with(Bytes::new);
                continue;
            }
            let link = repository.manifest(&next.digest)?;
            if records.contains_key(&link) {
                continue;
            }
            // What is missing or damaged is not there, and so is what only it leads to.
            let Some(inspected) = self.inspect(&next)? else { continue };
            records.insert(link, text(next.media_type.as_str()));
            if let Some(subject) = &inspected.subject {
                let entry = inspected.as_referrer(&next.bare());
                let json = serde_json::to_vec(&entry)
                    .map_err(|err| Error::invalid("descriptor cannot be printed").source(err))?;
                records.insert(repository.referrer(&subject.digest, &next.digest)?, json.into());
            }
            left.extend(inspected.children);
        }
        Ok(records)
    }

    fn inspect(&self, manifest: &Descriptor) -> Result<Option<Inspected>> {
        let path = blobs::path(&manifest.digest)?;
        let Some(bytes) = self.folder.read(&path, LIMIT)? else { return Ok(None) };
        let sound = manifest.verify(&bytes).is_ok();
        let media_type: MediaType = manifest.media_type.clone();
        let inspected = Inspected::parse(&bytes.into(), Some(media_type));
        Ok(inspected.ok().filter(|_| sound))
    }

    fn look(&self, told: &Told, wanted: &Wanted) -> Result<Option<Content>> {
        let link = wanted.links.iter().find_map(|name| told.records.get(name));
        let Some(link) = link.cloned().or_else(|| wanted.links.is_empty().then(Bytes::new)) else {
            return Ok(None);
        };
        let digest = &wanted.digest;
        let Some(file) = self.folder.file(&blobs::path(digest)?)? else { return Ok(None) };
        if !self.is_sound(&file, digest)? {
            return Ok(None);
        }
        let size = file.metadata().map_err(|err| fault(digest.as_str(), err))?.len();
        Content::of_file(file, size, link, wanted).map(Some)
    }

    fn is_sound(&self, file: &File, digest: &Digest) -> Result<bool> {
        let fault = |err| fault(digest.as_str(), err);
        let now = Identity::of(file).map_err(fault)?;
        let sound = || self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        if sound().get(digest) == Some(&now) {
            return Ok(true);
        }
        let mut hasher = digest.algorithm()?.hasher();
        let mut at = 0;
        loop {
            let chunk = read_at(file, at, CHUNK).map_err(fault)?;
            if chunk.is_empty() {
                break;
            }
            hasher.update(&chunk);
            at += chunk.len() as u64;
        }
        if hasher.finish() != *digest {
            return Ok(false);
        }
        sound().insert(digest.clone(), now);
        Ok(true)
    }
}

fn only_read() -> Error {
    Error::new(Kind::Unsupported, "a layout is only read")
}
