//! An OCI layout as the home of a registry: one repository, as its `index.json` tells it.
//!
//! The records of the repository are worked out from `index.json`, and again whenever another tool has
//! changed it. Its tags are the names of the roots that can be tags; its manifests are the roots and
//! what is below them; its blobs are what these manifests name, and what was pushed for manifests
//! that are still to come. Content is hashed before it is served first.
//!
//! A record that is written becomes a change of `index.json` (`layout/roots`): a tag is the name of a
//! root, a manifest a root without one, unless another manifest has it below itself. So other tools
//! read at any time what was pushed, and what they write is seen here.

mod roots;
mod told;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Descriptor, Digest, Error, Kind, MediaType, Result};
use conex_store::blobs::{self, Blobs};
use conex_store::commit::{Folder, Identity};
use conex_store::{Collection as _, Layout};
use uuid::Uuid;

use self::told::Told;
use super::folder::upload::{self, Shelf};
use super::home::{Content, Home, Page, Record, Session, Surveyed, Version, Wanted, When};
use super::{blocking, fault};
use crate::file_body::{CHUNK, read_at};
use crate::paths::{About, Repository, beside};

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LayoutHome(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    repository: Repository,
    key: Vec<u8>,
    told: Mutex<Option<Arc<Told>>>,
    /// Files whose content was hashed, as they were then.
    sound: Mutex<HashMap<Digest, Identity>>,
}

impl LayoutHome {
    /// Opens a layout; where there is none it is made, unless it is only to be read.
    pub(crate) async fn open(path: &Path, repository: &str, read_only: bool) -> Result<Self> {
        let (path, repository) = (path.to_owned(), repository.parse::<Repository>()?);
        blocking(move || {
            let layout = if read_only {
                Layout::open(&path, None)?
            } else {
                let layout = Layout::create(&path, None)?;
                refuse_strangers(&layout, &path)?;
                layout.make()?;
                layout
            };
            let key = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
            let (told, sound) = (Mutex::default(), Mutex::default());
            let inner = Inner { layout, repository, key, told, sound };
            inner.told()?;
            Ok(Self(Arc::new(inner)))
        })
        .await
    }

    fn shelf(&self) -> Arc<dyn Shelf> {
        Arc::<Inner>::clone(&self.0)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        blocking(move || work(&inner)).await
    }
}

/// A folder that holds anything else is not made a layout.
fn refuse_strangers(layout: &Layout, path: &Path) -> Result<()> {
    if layout.folder().is_some() {
        return Ok(());
    }
    let found = match Folder::open(path) {
        Ok(folder) => folder.list(".")?.into_iter().find(|name| name != ".conex"),
        Err(err) if err.kind() == Kind::NotFound => None,
        Err(err) => return Err(err),
    };
    match found {
        None => Ok(()),
        Some(found) => Err(Error::invalid(format!("{} is no layout", path.display()))
            .expected("a folder with `oci-layout` and `index.json`, or an empty one")
            .found(found)),
    }
}

#[async_trait]
impl Home for LayoutHome {
    /// By other tools.
    fn takes_notes(&self) -> bool {
        false
    }

    fn is_shared(&self) -> bool {
        true
    }

    /// Each one changes the same file.
    fn takes_many(&self) -> bool {
        false
    }

    fn takes(&self, repository: &Repository) -> bool {
        self.0.repository == *repository
    }

    async fn key(&self) -> Result<Vec<u8>> {
        Ok(self.0.key.clone())
    }

    async fn read(&self, names: Vec<String>) -> Result<Vec<Option<Record>>> {
        self.work(move |inner| {
            let told = inner.told()?;
            let record = |name: &String| {
                let bytes = inner.link(&told, name)?;
                Ok(bytes.map(|bytes| Record { version: version(&bytes), bytes }))
            };
            names.iter().map(record).collect()
        })
        .await
    }

    async fn write(&self, name: &str, bytes: Bytes, when: When) -> Result<Option<Version>> {
        let name = name.to_owned();
        self.work(move |inner| inner.write(&name, &bytes, &when)).await
    }

    async fn remove(&self, name: &str, version: Option<&Version>) -> Result<bool> {
        let (name, version) = (name.to_owned(), version.cloned());
        self.work(move |inner| inner.remove(&name, version.as_ref())).await
    }

    async fn list(&self, folder: &str, after: &str, count: usize) -> Result<Page<String>> {
        let (folder, after) = (folder.to_owned(), after.to_owned());
        self.work(move |inner| {
            let (told, start) = (inner.told()?, format!("{folder}/"));
            let below = told.records.range(start.clone()..);
            let names = below.map_while(|(name, _)| name.strip_prefix(&start)).map(str::to_owned);
            let mut names: BTreeSet<String> = names.collect();
            if let Some(own) = beside(&inner.repository, &folder) {
                names.extend(inner.folder()?.list(&own)?);
            }
            Ok(Page::of(names.into_iter().collect(), &after, count))
        })
        .await
    }

    async fn enrol(&self, _: &Repository) -> Result<()> {
        Ok(())
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

    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<()> {
        let digest = digest.clone();
        self.work(move |inner| {
            let (folder, path) = (inner.folder()?, blobs::path(&digest)?);
            if let Some(file) = folder.file(&path)?
                && inner.is_sound(&file, &digest)?
            {
                return folder.sync(&file, &path);
            }
            let blob = Descriptor::new(MediaType::EMPTY, digest, bytes.len() as u64);
            Blobs(folder).put_bytes(&blob, &bytes)
        })
        .await
    }

    /// `conex gc` collects in layouts.
    async fn survey(&self, _: Option<&Digest>, _: usize) -> Result<Page<Surveyed>> {
        Err(Error::new(Kind::Unsupported, "a layout is collected by `conex gc`"))
    }

    /// Nothing is collected from it while it is served.
    async fn renew(&self, names: Vec<String>) -> Result<Vec<Option<Version>>> {
        let found = self.read(names).await?;
        Ok(found.into_iter().map(|record| record.map(|record| record.version)).collect())
    }

    async fn hold(&self, digest: &Digest) -> Result<bool> {
        let wanted = Wanted { digest: digest.clone(), links: Vec::new(), bytes: false };
        Ok(self.look(vec![wanted]).await?.iter().any(Option::is_some))
    }

    async fn begin(
        &self,
        repository: &Repository,
        id: Uuid,
        single: bool,
    ) -> Result<Box<dyn Session>> {
        upload::begin(self.shelf(), repository.clone(), id, single).await
    }

    async fn resume(&self, repository: &Repository, id: Uuid) -> Result<Option<Box<dyn Session>>> {
        upload::resume(self.shelf(), repository.clone(), id).await
    }

    async fn uploaded(&self, repository: &Repository, id: Uuid) -> Result<Option<u64>> {
        upload::uploaded(self.shelf(), repository, id).await
    }
}

impl Shelf for Inner {
    fn folder(&self) -> Result<&Folder> {
        self.layout.folder().ok_or_else(|| Error::not_found("the layout is gone"))
    }

    fn place(&self, repository: &Repository, id: Uuid) -> String {
        let name = repository.upload(id);
        // There are no uploads of other repositories.
        beside(&self.repository, &name).unwrap_or(name)
    }

    fn publish(
        &self,
        file: &File,
        from: &str,
        digest: &Digest,
        repository: &Repository,
    ) -> Result<()> {
        let (folder, path) = (self.folder()?, blobs::path(digest)?);
        match folder.file(&path)? {
            Some(there) if self.is_sound(&there, digest)? => {
                folder.sync(&there, &path)?;
                folder.remove(from)?;
            }
            _ => {
                folder.publish(file, from, &path)?;
                let now = Identity::of(file).map_err(|err| fault(&path, err))?;
                self.sound().insert(digest.clone(), now);
            }
        }
        self.keep_blob(&repository.blob(digest)?)
    }
}

/// Who wrote the same bytes wrote the same: within this process the changes of the repository come
/// one after the other, and other tools know no versions.
fn version(bytes: &Bytes) -> Version {
    Version::Object { mark: bytes.clone(), tag: String::new() }
}

impl Inner {
    fn write(&self, name: &str, bytes: &Bytes, when: &When) -> Result<Option<Version>> {
        match About::parse(&self.repository, name) {
            Some(About::Blob(_)) => self.keep_blob(name)?,
            Some(About::Manifest(digest)) => {
                if !self.put_root(name, &digest, bytes, when)? {
                    return Ok(None);
                }
            }
            Some(About::Tag(tag)) => {
                if !self.put_tag(&tag, bytes, when)? {
                    return Ok(None);
                }
            }
            // It is the manifest itself that tells its subject.
            Some(About::Referrer) => {}
            None => return Err(Error::new(Kind::Unsupported, "a layout is one repository")),
        }
        Ok(Some(version(bytes)))
    }

    fn remove(&self, name: &str, expected: Option<&Version>) -> Result<bool> {
        match About::parse(&self.repository, name) {
            Some(About::Blob(digest)) => self.remove_blob(name, &digest),
            Some(About::Manifest(digest)) => self.remove_root(name, &digest),
            Some(About::Tag(tag)) => self.remove_tag(&tag, expected),
            Some(About::Referrer) | None => Ok(false),
        }
    }

    /// Remembers a blob that no manifest may name yet.
    fn keep_blob(&self, name: &str) -> Result<()> {
        match beside(&self.repository, name) {
            Some(own) => self.folder()?.touch(&own),
            None => Err(Error::new(Kind::Unsupported, "a layout is one repository")),
        }
    }

    /// The blob goes from the layout, also where a manifest names it.
    fn remove_blob(&self, name: &str, digest: &Digest) -> Result<bool> {
        let there = self.link(&*self.told()?, name)?.is_some();
        if let Some(own) = beside(&self.repository, name) {
            self.folder()?.remove(&own)?;
        }
        Ok(there && self.drop_file(digest)?)
    }

    fn drop_file(&self, digest: &Digest) -> Result<bool> {
        self.sound().remove(digest);
        self.folder()?.remove(&blobs::path(digest)?)
    }

    /// What a record says.
    fn link(&self, told: &Told, name: &str) -> Result<Option<Bytes>> {
        if let Some(bytes) = told.records.get(name) {
            return Ok(Some(bytes.clone()));
        }
        if !matches!(About::parse(&self.repository, name), Some(About::Blob(_))) {
            return Ok(None);
        }
        let Some(own) = beside(&self.repository, name) else { return Ok(None) };
        Ok(self.folder()?.has(&own)?.then(Bytes::new))
    }

    fn look(&self, told: &Told, wanted: &Wanted) -> Result<Option<Content>> {
        let mut link = wanted.links.is_empty().then(Bytes::new);
        for name in &wanted.links {
            if link.is_none() {
                link = self.link(told, name)?;
            }
        }
        let (Some(link), digest) = (link, &wanted.digest) else { return Ok(None) };
        let Some(file) = self.folder()?.file(&blobs::path(digest)?)? else { return Ok(None) };
        if !self.is_sound(&file, digest)? {
            return Ok(None);
        }
        let size = file.metadata().map_err(|err| fault(digest.as_str(), err))?.len();
        Content::of_file(file, size, link, wanted).map(Some)
    }

    fn sound(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Identity>> {
        self.sound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_sound(&self, file: &File, digest: &Digest) -> Result<bool> {
        let fault = |err| fault(digest.as_str(), err);
        let now = Identity::of(file).map_err(fault)?;
        if self.sound().get(digest) == Some(&now) {
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
        self.sound().insert(digest.clone(), now);
        Ok(true)
    }
}
