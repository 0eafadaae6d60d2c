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
//! `index.json` is read, changed and replaced under a lock, so no name is lost.

mod unchecked;

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};

use conex_spec::descriptor::REF_NAME;
use conex_spec::document::LIMIT;
use conex_spec::layout::{INDEX_FILE, LayoutMarker, MARKER_FILE};
use conex_spec::{
    Descriptor, Digest, Document, Error, ImageIndex, Kind, Location, Name, Result, Tag,
};

use crate::blobs::Blobs;
use crate::bridge::{blocking, file_stream};
use crate::collection::{Collection, Entry};
use crate::commit::{Folder, Identity};
use crate::home::{Access, Home, Sort};
use crate::memory::{no_blob, no_root};
use crate::referrers;
use crate::sink::{Reopen, Sink};
use crate::source::{ByteStream, Place, Source};

mod index;

use index::{Index, Item};

/// How often a tag is tried again where another tool keeps replacing `index.json`.
const FOREIGN_WRITERS: usize = 20;

/// A layout directory, held open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Layout {
    home: Arc<Home>,
    location: Location,
}

const SORT: Sort = Sort { is_one, make, own_key: None };

impl Layout {
    /// Opens a layout that is there.
    pub fn open(dir: &Path, access: impl Into<Access>) -> Result<Self> {
        let layout = Self::create(dir, access)?;
        if layout.home.existing().is_some() {
            return Ok(layout);
        }
        // Told as the system tells it, where there is not even a folder.
        Folder::open(dir)?;
        Err(Self::missing(dir))
    }

    /// Opens a layout; where there is none, it is made with what is first put there.
    pub fn create(dir: &Path, access: impl Into<Access>) -> Result<Self> {
        let location = Location::Layout { path: dir.into(), name: None };
        let home = Home::open(dir, access.into(), SORT).map_err(|err| no_folder(err, dir))?;
        Ok(Self { home: Arc::new(home), location })
    }

    /// Makes the layout where there is none.
    pub fn make(&self) -> Result<()> {
        self.home.folder().map(drop)
    }

    /// The roots, in the order of `index.json`.
    pub fn roots(&self) -> Result<Vec<Descriptor>> {
        match self.bytes()? {
            Some((bytes, _)) => self.roots_of(bytes),
            None => Ok(Vec::new()),
        }
    }

    /// Changes the list of roots, durably, so that no other writer's change is lost. `change` gets
    /// the roots that there are and tells those that are to be there, or nothing where that is the
    /// same; it is asked again where another tool changed them meanwhile. Entries that stay keep
    /// their bytes. Returns whether anything was changed.
    ///
    /// What the new roots stand for must lie among the blobs already.
    pub fn change_roots(
        &self,
        mut change: impl FnMut(&[Descriptor]) -> Result<Option<Vec<Descriptor>>>,
    ) -> Result<bool> {
        let folder = self.home.folder()?;
        Blobs(folder).sync()?;
        self.change_index(folder, |index| {
            let roots: Result<Vec<_>> = index.entries().iter().map(Item::descriptor).collect();
            match change(&roots?)? {
                Some(new) => index.with_roots(&new).map(Some),
                None => Ok(None),
            }
        })
    }

    fn roots_of(&self, index: Vec<u8>) -> Result<Vec<Descriptor>> {
        let index = Document::<ImageIndex>::parse(index).map_err(|err| self.in_index(err))?;
        Ok(index.into_value().manifests)
    }

    /// `index.json`, and which file it is; nothing where there is no layout yet.
    fn bytes(&self) -> Result<Option<(Vec<u8>, Identity)>> {
        let Some(folder) = self.home.existing() else { return Ok(None) };
        let missing = || Error::not_found(format!("{} has no `{INDEX_FILE}`", self.location));
        folder.read_seen(INDEX_FILE, LIMIT)?.ok_or_else(missing).map(Some)
    }

    fn in_index(&self, err: Error) -> Error {
        err.context(format_args!("{INDEX_FILE} of {}", self.location))
    }

    /// Changes `index.json` so that no other writer's change is lost: conex's own writers wait
    /// for the lock, and a change by another tool in between is seen and merged. Returns false
    /// where there was nothing to change.
    fn change_index(
        &self,
        folder: &Folder,
        mut change: impl FnMut(&Index<'_>) -> Result<Option<Vec<u8>>>,
    ) -> Result<bool> {
        let _lock = folder.lock()?;
        for _ in 0..FOREIGN_WRITERS {
            let Some((bytes, seen)) = self.bytes()? else { return Ok(false) };
            let index = Index::parse(&bytes).map_err(|err| self.in_index(err))?;
            let Some(changed) = change(&index).map_err(|err| self.in_index(err))? else {
                return Ok(false);
            };
            if changed == bytes {
                return self.sync_index(folder).map(|()| true);
            }
            let mut staged = folder.stage()?;
            staged.write(&changed)?;
            if staged.publish_over(INDEX_FILE, &seen)? {
                return Ok(true);
            }
        }
        let message = format!("another program keeps changing {}", self.location);
        Err(Error::new(Kind::Conflict, message))
    }

    /// Whoever wrote the index may not have made it durable.
    fn sync_index(&self, folder: &Folder) -> Result<()> {
        match folder.file(INDEX_FILE)? {
            Some(file) => folder.sync(&file, INDEX_FILE),
            None => Ok(()),
        }
    }

    fn find(&self, name: Option<&Name>) -> Result<Descriptor> {
        let Some((bytes, _)) = self.bytes()? else { return Err(self.no_root(name, 0, &[])) };
        let index = Index::parse(&bytes).map_err(|err| self.in_index(err))?;
        if let Some(item) = index.find(name) {
            return item.descriptor().map(nameless).map_err(|err| self.in_index(err));
        }
        if let (None, Some(folder)) = (name, self.home.existing()) {
            let roots = self.roots_of(bytes.clone())?;
            let roots = referrers::without(&roots, |root| Blobs(folder).manifest(root))?;
            if let [first, rest @ ..] = roots.as_slice()
                && rest.iter().all(|root| root.digest == first.digest)
            {
                return Ok(nameless(first.clone()));
            }
        }
        // A manifest may lie among the blobs without being a root.
        if let (Some(Name::Digest(digest)), Some(folder)) = (name, self.home.existing())
            && let Some(root) = Blobs(folder).describe(digest)?
        {
            return Ok(root);
        }
        let tags: Vec<Tag> = index.entries().iter().filter_map(Item::tag).collect();
        Err(self.no_root(name, index.entries().len(), &tags))
    }

    fn no_root(&self, name: Option<&Name>, roots: usize, tags: &[Tag]) -> Error {
        let err = no_root(name, &self.called(), roots, tags);
        match tags.first() {
            Some(tag) => err.hint(format!("for example `{}:{tag}`", self.location)),
            None => err,
        }
    }

    fn tag_list(&self) -> Result<Vec<Tag>> {
        let Some((bytes, _)) = self.bytes()? else { return Ok(Vec::new()) };
        let index = Index::parse(&bytes).map_err(|err| self.in_index(err))?;
        let mut tags: Vec<_> = index.entries().iter().filter_map(Item::tag).collect();
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }
}

fn is_one(folder: &Folder) -> Result<bool> {
    let Some(bytes) = folder.read(MARKER_FILE, LIMIT)? else { return Ok(false) };
    Document::<LayoutMarker>::parse(bytes)
        .map_err(|err| err.context(format_args!("oci:{}", folder.path().display())))?;
    Ok(true)
}

/// The marker is written last: a folder is a layout only when it is a whole one.
fn make(folder: &Folder) -> Result<()> {
    let _lock = folder.lock()?;
    if is_one(folder)? {
        return Ok(());
    }
    folder.make_folder("blobs/sha256")?;
    if !folder.has(INDEX_FILE)? {
        let index = Document::new(ImageIndex::new(Vec::new()))?;
        folder.replace(INDEX_FILE, index.bytes())?;
    }
    let marker = Document::new(LayoutMarker::default())?;
    folder.replace(MARKER_FILE, marker.bytes())
}

/// Where a file was named, an archive is meant.
fn no_folder(err: Error, dir: &Path) -> Error {
    match err.kind() {
        Kind::Usage => {
            err.hint(format!("a layout in a tar is written oci-archive:{}", dir.display()))
        }
        _ => err,
    }
}

/// "the `org.opencontainers.image.ref.name` annotation SHOULD only be considered valid when on
/// descriptors on `index.json`" (image-layout.md, "index.json file"), so it goes no further.
fn nameless(mut root: Descriptor) -> Descriptor {
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
        let file = self.file(blob).await?.ok_or_else(|| no_blob(blob, &self.called()))?;
        Ok(file_stream(file, range, format!("cannot read {} in {}", blob.digest, self.location)))
    }

    async fn file(&self, blob: &Descriptor) -> Result<Option<Arc<File>>> {
        let Some(folder) = self.home.existing() else { return Ok(None) };
        Ok(Blobs(folder).file(blob)?.map(Arc::new))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let (layout, subject) = (self.clone(), subject.clone());
        blocking(move || layout.referrers_of(&subject)).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        match self.tag_list() {
            Ok(tags) => stream::iter(tags.into_iter().map(Ok)).boxed(),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }
}

impl Layout {
    /// A layout has no list of referrers: they are the roots with that subject, and what the
    /// index under the referrers tag lists.
    fn referrers_of(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let Some(folder) = self.home.existing() else { return Ok(Vec::new()) };
        referrers::among(&self.roots()?, subject, |root| Blobs(folder).manifest(root))
    }
}

impl Collection for Layout {
    fn folder(&self) -> Option<&Folder> {
        self.home.existing()
    }

    /// In the order of `index.json`.
    fn entries(&self) -> Result<Vec<Entry>> {
        let name = |root: &Descriptor| root.ref_name().unwrap_or(root.digest.as_str()).to_owned();
        let roots = self.roots()?;
        Ok(roots
            .into_iter()
            .map(|root| Entry { name: name(&root), root: nameless(root) })
            .collect())
    }

    fn remove(&self, name: &Name) -> Result<Vec<String>> {
        let Some(folder) = self.home.existing() else { return Ok(Vec::new()) };
        let mut removed = Vec::new();
        self.change_index(folder, |index| {
            let Some((bytes, names)) = index.without(name)? else { return Ok(None) };
            removed = names;
            Ok(Some(bytes))
        })?;
        Ok(removed)
    }

    fn unname(&self, tag: &Tag) -> Result<bool> {
        match self.home.existing() {
            Some(folder) => self.change_index(folder, |index| index.unnamed(tag)),
            None => Ok(false),
        }
    }
}

#[async_trait]
impl Sink for Layout {
    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        let (layout, blob) = (self.clone(), blob.clone());
        blocking(move || match layout.home.existing() {
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
        let (layout, root, tag) = (self.clone(), root.clone(), tag.cloned());
        blocking(move || {
            let folder = layout.home.folder()?;
            Blobs(folder).sync()?;
            let list = |index: &Index<'_>| index.with_root(&root, tag.as_ref()).map(Some);
            layout.change_index(folder, list).map(drop)
        })
        .await
    }

    fn as_source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    async fn adopt(&self, blob: &Descriptor, from: &dyn Source) -> Result<bool> {
        let Some(file) = from.file(blob).await? else { return Ok(false) };
        let (layout, blob) = (self.clone(), blob.clone());
        blocking(move || Blobs(layout.home.folder()?).adopt(&blob, &file)).await
    }

    async fn abandon(&self) {
        let layout = self.clone();
        let discarded = blocking(move || {
            let is_empty = || layout.roots().is_ok_and(|roots| roots.is_empty());
            layout.home.discard(1, &[MARKER_FILE, INDEX_FILE], is_empty);
            Ok(())
        });
        // Only a thread that died is told here, and then nothing is removed.
        let _ = discarded.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;

    #[test]
    fn roots_that_stay_keep_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path(), None).unwrap();
        layout.make().unwrap();
        let file = dir.path().join(INDEX_FILE);
        let [one, two, three] = ["one", "two", "three"]
            .map(|text| Descriptor::of(MediaType::MANIFEST, text.as_bytes()));
        let entry = |root: &Descriptor| {
            let text = serde_json::to_string(root).unwrap();
            text.replacen('{', "{ \"x-tool\" : 1, ", 1)
        };
        let text =
            format!(r#"{{"schemaVersion":2,"manifests":[{}, {}]}}"#, entry(&one), entry(&two));
        std::fs::write(&file, text).unwrap();
        let changed = layout.change_roots(|roots| {
            assert_eq!(roots.len(), 2);
            Ok(Some(vec![roots[1].clone(), three.clone()]))
        });
        assert!(changed.unwrap());
        let found = std::fs::read_to_string(&file).unwrap();
        assert!(found.contains(&entry(&two)) && !found.contains(&entry(&one)), "{found}");
        assert_eq!(layout.roots().unwrap()[1], three);
        assert!(!layout.change_roots(|_| Ok(None)).unwrap());
    }

    /// What was made for nothing goes; what is used, or has anything in it, stays.
    #[tokio::test]
    async fn an_abandoned_layout_goes_where_nothing_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let create = || Layout::create(&path, None).unwrap();
        let layout = create();
        layout.abandon().await;
        layout.make().unwrap();
        assert!(path.join(MARKER_FILE).exists());
        layout.abandon().await;
        assert!(!dir.path().join("a").exists(), "the folders above it were made too");

        // Another has it open.
        let (layout, other) = (create(), create());
        layout.make().unwrap();
        other.make().unwrap();
        layout.abandon().await;
        assert!(path.join(MARKER_FILE).exists());
        drop((layout, other));

        // It was there before.
        let layout = create();
        layout.make().unwrap();
        layout.abandon().await;
        assert!(path.join(MARKER_FILE).exists());
        std::fs::remove_dir_all(&path).unwrap();

        // A folder that was there stays, with what else is in it.
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("mine"), "x").unwrap();
        let layout = create();
        layout.make().unwrap();
        layout.abandon().await;
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);

        let content = b"content";
        let blob = Descriptor::of(MediaType::LAYER, content);
        let layout = create();
        let bytes = bytes::Bytes::from_static(content);
        layout.put(&blob, crate::bridge::bytes_stream(bytes, 0..blob.size)).await.unwrap();
        layout.abandon().await;
        assert!(create().has(&blob).await.unwrap());
    }

    /// The other tool writes the moment after conex has read, once in place and once by a rename.
    #[test]
    fn a_change_that_another_tool_made_in_between_is_merged() {
        for by_rename in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::create(dir.path(), None).unwrap();
            layout.make().unwrap();
            let file = dir.path().join(INDEX_FILE);
            let roots = ["theirs", "ours"].map(|text| {
                (Descriptor::of(MediaType::MANIFEST, text.as_bytes()), Tag::new(text).unwrap())
            });
            let [(theirs, their_tag), (ours, our_tag)] = &roots;
            let rounds = std::cell::Cell::new(0);
            let change = |index: &Index<'_>| {
                rounds.set(rounds.get() + 1);
                if rounds.get() == 1 {
                    let new = index.with_root(theirs, Some(their_tag))?;
                    let target = if by_rename { dir.path().join("new") } else { file.clone() };
                    std::fs::write(&target, new).unwrap();
                    std::fs::rename(&target, &file).unwrap();
                }
                index.with_root(ours, Some(our_tag)).map(Some)
            };
            assert!(layout.change_index(layout.home.folder().unwrap(), change).unwrap());
            assert_eq!(rounds.get(), 2);
            assert_eq!(layout.tag_list().unwrap(), [our_tag.clone(), their_tag.clone()]);
        }
    }
}
