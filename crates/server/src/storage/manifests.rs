//! Manifests, tags and referrers of a repository.
//!
//! | change | records, in this order |
//! |---|---|
//! | put | content, entry with the subject, link, tags; then a look at the link |
//! | delete | tags, entry, link; then again the tags and the entry that came back |
//!
//! Both may go on at once in two processes. Whoever puts goes by the version of the link: where it is
//! another one afterwards, someone deleted the manifest in between, and all is put again. Whoever
//! deletes looks for what was put under the link before it was gone, and removes it in just the
//! version that it saw. So in the end the manifest is there with all its names, or without any.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use conex_spec::{Descriptor, Digest, Error, Kind, MediaType, Result, Tag};

use super::Storage;
use super::entries::Entry;
use super::home::{Record, Version, Wanted, When};
use crate::inspect::Under;
use crate::paths::Repository;

/// How often a change is tried that others undo.
const TRIES: usize = 20;
/// Tags that are looked at in one go.
const BATCH: usize = 500;

/// A manifest of a repository. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) bytes: Bytes,
    /// The records that led to it, as they were, where that tells whether it is so still.
    pub(crate) seen: Arc<[(String, Version)]>,
}

/// A tag as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Tagged {
    pub(crate) digest: Digest,
    version: Version,
}

/// What a manifest needs, as it was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Child {
    /// In bytes.
    pub(crate) size: u64,
    /// That of a manifest.
    pub(crate) media_type: Option<MediaType>,
}

/// A manifest to be put.
#[derive(Debug)]
pub(crate) struct Putting<'a> {
    pub(crate) manifest: &'a Descriptor,
    pub(crate) bytes: Bytes,
    /// The subject, and the entry in the list of its referrers.
    pub(crate) referrer: Option<(&'a Digest, &'a Descriptor)>,
    /// The tags, and what each was when it was looked at, if that must not have changed.
    pub(crate) tags: &'a [Tag],
    pub(crate) seen: Option<Vec<Option<Tagged>>>,
}

impl Storage {
    /// What tags stand for; nothing for each that is not there.
    pub(crate) async fn tags_now(
        &self,
        repository: &Repository,
        tags: &[Tag],
    ) -> Result<Vec<Option<Tagged>>> {
        let names = tags.iter().map(|tag| repository.tag(tag)).collect::<Result<Vec<_>>>()?;
        let found = self.home().read(names.clone()).await?;
        names.iter().zip(found).map(|(name, found)| tagged(name, found)).collect()
    }

    /// A manifest by its digest.
    pub(crate) async fn manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<Stored>> {
        if digest.algorithm().is_err() {
            return Ok(None);
        }
        let link = repository.manifest(digest)?;
        let wanted = Wanted { digest: digest.clone(), links: vec![link.clone()], bytes: true };
        let Some(content) = self.look(wanted).await? else { return Ok(None) };
        let media_type = media_type(&link, &content.link)?;
        let seen = content.linked.clone().map(|version| (link, version)).into_iter().collect();
        let bytes = content.whole(conex_spec::document::LIMIT).await?;
        Ok(Some(Stored { digest: digest.clone(), media_type, bytes, seen }))
    }

    /// A manifest by its tag.
    pub(crate) async fn tagged(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Option<Stored>> {
        let found = self.tags_now(repository, std::slice::from_ref(tag)).await?.pop().flatten();
        let Some(Tagged { digest, version }) = found else { return Ok(None) };
        let Some(stored) = self.manifest(repository, &digest).await? else { return Ok(None) };
        // Without the version of its link, that of the tag tells only a half.
        let link = stored.seen.iter().cloned();
        let name = repository.tag(tag)?;
        let seen = link.flat_map(|link| [(name.clone(), version.clone()), link]).collect();
        Ok(Some(Stored { seen, ..stored }))
    }

    /// Whether what was read some time ago is so still: the tag, if it was read by one, and the
    /// manifest. One look for both.
    pub(crate) async fn still(
        &self,
        repository: &Repository,
        tag: Option<&Tag>,
        stored: &Stored,
    ) -> Result<bool> {
        if !stored.seen.is_empty()
            && let Some(unchanged) = self.home().unchanged(&stored.seen)
        {
            return Ok(unchanged);
        }
        let link = repository.manifest(&stored.digest)?;
        let mut names = vec![link];
        names.extend(tag.map(|tag| repository.tag(tag)).transpose()?);
        let found = self.home().read(names).await?;
        let says = |at: usize, text: &str| {
            let record = found.get(at).and_then(Option::as_ref);
            record.is_some_and(|record| record.bytes == text)
        };
        Ok(says(0, stored.media_type.as_str())
            && (tag.is_none() || says(1, stored.digest.as_str())))
    }

    /// The media type of a manifest; nothing if the repository does not have it.
    pub(crate) async fn manifest_type(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<MediaType>> {
        if digest.algorithm().is_err() {
            return Ok(None);
        }
        let link = repository.manifest(digest)?;
        let found = self.home().read(vec![link.clone()]).await?.pop().flatten();
        found.map(|record| media_type(&link, &record.bytes)).transpose()
    }

    /// What the repository has, whole, of the children of a manifest; nothing for each that it has
    /// not. What its parent calls a manifest must be there as one: only then are its own children
    /// there too. What it calls a blob must be there as one, else nobody could fetch it.
    pub(crate) async fn children(
        &self,
        repository: &Repository,
        children: &[(Digest, Under)],
    ) -> Result<Vec<Option<Child>>> {
        let wanted = |(digest, under): &(Digest, Under)| -> Result<Wanted> {
            let links = links(repository, digest, *under)?;
            Ok(Wanted { digest: digest.clone(), links, bytes: false })
        };
        let verifiable = |(digest, _): &&(Digest, Under)| digest.algorithm().is_ok();
        let all = children.iter().filter(verifiable).map(wanted).collect::<Result<Vec<_>>>()?;
        self.renew_first(&all).await?;
        let mut found = self.home().look(all).await?.into_iter();
        let child = |child: &(Digest, Under)| -> Result<Option<Child>> {
            let there = if verifiable(&child) { found.next().flatten() } else { None };
            let Some(content) = there else { return Ok(None) };
            // The link of a blob says nothing.
            let says = Some(&content.link).filter(|link| !link.is_empty());
            let media_type = says.map(|says| media_type(child.0.as_str(), says)).transpose()?;
            Ok(Some(Child { size: content.size, media_type }))
        };
        children.iter().map(child).collect()
    }

    /// Renews the lease of the first link of each that is there.
    async fn renew_first(&self, wanted: &[Wanted]) -> Result<()> {
        let mut left: Vec<_> = wanted.iter().map(|wanted| wanted.links.iter()).collect();
        while !left.is_empty() {
            let (mut links, mut rest) = (Vec::new(), Vec::new());
            for mut wanted in left {
                if let Some(link) = wanted.next() {
                    links.push(link.clone());
                    rest.push(wanted);
                }
            }
            let there = self.renew(&links).await?;
            left =
                rest.into_iter().zip(there).filter(|(_, there)| !there).map(|(w, _)| w).collect();
        }
        Ok(())
    }

    /// Puts a manifest and its tags. Returns whether it did: not where a tag is no longer what it
    /// was when it was looked at. The caller holds [`Storage::add`].
    pub(crate) async fn put_manifest(
        &self,
        repository: &Repository,
        putting: &Putting<'_>,
    ) -> Result<bool> {
        let digest = &putting.manifest.digest;
        self.home().put(digest, putting.bytes.clone()).await?;
        self.home().enrol(repository).await?;
        let mut mine: HashMap<&Tag, Version> = HashMap::new();
        for _ in 0..TRIES {
            if let Some((subject, entry)) = putting.referrer {
                let json = serde_json::to_vec(entry)
                    .map_err(|err| Error::invalid("descriptor cannot be printed").source(err))?;
                let name = repository.referrer(subject, digest)?;
                let known = Entry::parse(&json).map(Arc::new);
                self.home().write(&name, json.into(), When::Always).await?;
                if let (Some(entry), Some((folder, name))) = (known, name.rsplit_once('/')) {
                    self.entries.put(folder, name, entry);
                }
            }
            let Some(linked) = self.link_manifest(repository, putting.manifest).await? else {
                continue;
            };
            if !self.put_tags(repository, putting, &mut mine).await? {
                return Ok(false);
            }
            if !self.home().is_shared() {
                // Whoever may delete it waits for the caller.
                return Ok(true);
            }
            let link = repository.manifest(digest)?;
            let now = self.home().read(vec![link]).await?.pop().flatten();
            if now.is_some_and(|record| record.version == linked) {
                return Ok(true);
            }
        }
        Err(undone("put", digest))
    }

    /// The version of a manifest's link, which is written only where it is not there already: two
    /// that put the same manifest must not take each other for one that deletes it. Nothing where
    /// someone changed it meanwhile.
    async fn link_manifest(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
    ) -> Result<Option<Version>> {
        let (link, since) = (repository.manifest(&manifest.digest)?, Instant::now());
        let media_type = manifest.media_type.as_str();
        let when = match self.home().read(vec![link.clone()]).await?.pop().flatten() {
            Some(there) if there.bytes == media_type => {
                return self.renew_link(&link, Some(there.version)).await;
            }
            Some(there) => When::Unchanged(there.version),
            None => When::Absent,
        };
        let media_type = Bytes::copy_from_slice(media_type.as_bytes());
        let written = self.home().write(&link, media_type, when).await?;
        if written.is_some() {
            self.leased(&link, since);
        }
        Ok(written)
    }

    /// Lets the tags stand for the manifest. `mine` has the versions of an earlier try.
    async fn put_tags<'a>(
        &self,
        repository: &Repository,
        putting: &Putting<'a>,
        mine: &mut HashMap<&'a Tag, Version>,
    ) -> Result<bool> {
        let digest = Bytes::copy_from_slice(putting.manifest.digest.as_str().as_bytes());
        for (at, tag) in putting.tags.iter().enumerate() {
            let name = repository.tag(tag)?;
            let seen = putting.seen.as_ref().map(|seen| seen.get(at).cloned().flatten());
            let again = mine.get(tag).cloned();
            let when = match (seen, again.clone()) {
                (_, Some(version)) => When::Unchanged(version),
                (None, None) => When::Always,
                (Some(None), None) => When::Absent,
                (Some(Some(seen)), None) => When::Unchanged(seen.version),
            };
            let mut written = self.home().write(&name, digest.clone(), when).await?;
            if written.is_none() && again.is_some() {
                // Gone with the manifest, or someone else's by now; that came after ours.
                written = self.home().write(&name, digest.clone(), When::Absent).await?.or(again);
            }
            match written {
                Some(version) => mine.insert(tag, version),
                None => return Ok(false),
            };
        }
        Ok(true)
    }

    /// Removes a tag. Returns whether it was there. The caller holds [`Storage::change`].
    pub(crate) async fn remove_tag(&self, repository: &Repository, tag: &Tag) -> Result<bool> {
        self.home().remove(&repository.tag(tag)?, None).await
    }

    /// Removes a manifest: first what names it, so that nothing of it comes back when the same
    /// bytes are pushed again. Returns whether it was there. The caller holds [`Storage::change`].
    pub(crate) async fn remove_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        subject: Option<&Digest>,
    ) -> Result<bool> {
        for (name, version) in self.names_of(repository, digest, subject).await? {
            self.home().remove(&name, Some(&version)).await?;
        }
        let link = repository.manifest(digest)?;
        let removed = self.home().remove(&link, None).await?;
        // Nobody else can have put anything in between where nobody else is.
        if removed && self.home().is_shared() {
            let names = self.names_of(repository, digest, subject).await?;
            let back = self.home().read(vec![link]).await?.pop().flatten();
            for (name, version) in names.iter().filter(|_| back.is_none()) {
                self.home().remove(name, Some(version)).await?;
            }
        }
        Ok(removed)
    }

    /// The records that name a manifest: its tags, and its entry with its subject.
    async fn names_of(
        &self,
        repository: &Repository,
        digest: &Digest,
        subject: Option<&Digest>,
    ) -> Result<Vec<(String, Version)>> {
        let ours = |record: &Record| record.bytes == digest.as_str();
        let named = self.tags_that(repository, |_| true, ours).await?;
        let mut found: Vec<_> =
            named.into_iter().map(|(name, record)| (name, record.version)).collect();
        if let Some(subject) = subject {
            let name = repository.referrer(subject, digest)?;
            let entry = self.home().read(vec![name.clone()]).await?.pop().flatten();
            found.extend(entry.map(|entry| (name, entry.version)));
        }
        Ok(found)
    }

    /// The records of the tags that have such a name and say such a thing.
    pub(super) async fn tags_that(
        &self,
        repository: &Repository,
        named: impl Fn(&str) -> bool,
        says: impl Fn(&Record) -> bool,
    ) -> Result<Vec<(String, Record)>> {
        let (mut found, mut last) = (Vec::new(), String::new());
        loop {
            let folder = repository.tags();
            let page = self.home().list(&folder, &last, BATCH).await?;
            let names = page.items.iter().filter(|tag| named(tag));
            let names: Vec<_> = names.map(|tag| format!("{folder}/{tag}")).collect();
            let records = self.home().read(names.clone()).await?;
            let records = names.into_iter().zip(records);
            found.extend(records.filter_map(|(name, record)| Some((name, record.filter(&says)?))));
            match page.items.last().filter(|_| page.more) {
                Some(tag) => last.clone_from(tag),
                None => return Ok(found),
            }
        }
    }
}

/// The records one of which says that a repository has something.
pub(crate) fn links(repository: &Repository, digest: &Digest, under: Under) -> Result<Vec<String>> {
    Ok(match under {
        Under::Manifests => vec![repository.manifest(digest)?],
        Under::Blobs => vec![repository.blob(digest)?],
        Under::Either => vec![repository.blob(digest)?, repository.manifest(digest)?],
    })
}

pub(super) fn tagged(name: &str, found: Option<Record>) -> Result<Option<Tagged>> {
    let Some(Record { bytes, version }) = found else { return Ok(None) };
    let parsed = text(name, &bytes)?.parse::<Digest>();
    let digest = parsed.map_err(|err| err.context(format_args!("the tag in {name}")))?;
    Ok(Some(Tagged { digest, version }))
}

fn media_type(link: &str, bytes: &[u8]) -> Result<MediaType> {
    text(link, bytes).map(MediaType::new)
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map_err(|err| Error::invalid(format!("{name} is damaged")).source(err))
}

fn undone(what: &str, digest: &Digest) -> Error {
    Error::new(Kind::Conflict, format!("{} cannot be {what}: others undo it", digest.short()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::folder::FolderHome;
    use std::sync::Arc;

    async fn storage() -> (tempfile::TempDir, Storage, Repository) {
        let dir = tempfile::tempdir().unwrap();
        let home = FolderHome::open(dir.path().join("root")).await.unwrap();
        (dir, Storage::new(Arc::new(home), 0), "a/b".parse().unwrap())
    }

    async fn put(storage: &Storage, repository: &Repository, bytes: &str, tags: &[Tag]) -> Digest {
        let manifest = Descriptor::of(MediaType::INDEX, bytes.as_bytes());
        let bytes = Bytes::from(bytes.to_owned());
        let putting = Putting { manifest: &manifest, bytes, referrer: None, tags, seen: None };
        assert!(storage.put_manifest(repository, &putting).await.unwrap());
        manifest.digest
    }

    async fn named(storage: &Storage, repository: &Repository, tag: &Tag) -> Option<Digest> {
        let found = storage.tags_now(repository, std::slice::from_ref(tag)).await.unwrap().pop();
        found.flatten().map(|tagged| tagged.digest)
    }

    fn tag(text: &str) -> Tag {
        Tag::registry(text).unwrap()
    }

    #[tokio::test]
    async fn a_removed_manifest_takes_its_tags_with_it() {
        let (_dir, storage, repository) = storage().await;
        let one = put(&storage, &repository, "1", &[tag("a"), tag("c")]).await;
        let two = put(&storage, &repository, "2", &[tag("b")]).await;
        assert!(storage.remove_manifest(&repository, &one, None).await.unwrap());
        assert!(!storage.remove_manifest(&repository, &one, None).await.unwrap());
        assert!(storage.manifest(&repository, &one).await.unwrap().is_none());
        put(&storage, &repository, "1", &[]).await;
        assert_eq!(named(&storage, &repository, &tag("a")).await, None);
        assert_eq!(named(&storage, &repository, &tag("b")).await, Some(two));
    }

    #[tokio::test]
    async fn a_tag_that_changed_meanwhile_is_not_replaced() {
        let (_dir, storage, repository) = storage().await;
        let tags = [tag("t")];
        let seen = storage.tags_now(&repository, &tags).await.unwrap();
        let one = put(&storage, &repository, "1", &tags).await;
        let manifest = Descriptor::of(MediaType::INDEX, b"2");
        for (seen, done) in
            [(seen, false), (storage.tags_now(&repository, &tags).await.unwrap(), true)]
        {
            let (bytes, seen) = (Bytes::from("2"), Some(seen));
            let putting = Putting { manifest: &manifest, bytes, referrer: None, tags: &tags, seen };
            assert_eq!(storage.put_manifest(&repository, &putting).await.unwrap(), done);
            let found = named(&storage, &repository, &tags[0]).await.unwrap();
            assert_eq!(found, if done { manifest.digest.clone() } else { one.clone() });
        }
    }

    /// One process serves a folder, but its operator has hands.
    #[tokio::test]
    async fn what_was_read_tells_whether_the_folder_was_changed() {
        let (dir, storage, repository) = storage().await;
        let digest = put(&storage, &repository, "1", &[tag("t")]).await;
        let stored = storage.tagged(&repository, &tag("t")).await.unwrap().unwrap();
        assert_eq!((&stored.digest, stored.seen.len()), (&digest, 2));
        let still = async || storage.still(&repository, Some(&tag("t")), &stored).await.unwrap();
        assert!(still().await);
        let root = dir.path().join("root");
        std::fs::write(root.join("other"), digest.as_str()).unwrap();
        std::fs::rename(root.join("other"), root.join("repositories/a/b/_tags/t")).unwrap();
        assert!(!still().await);
        let stored = storage.tagged(&repository, &tag("t")).await.unwrap().unwrap();
        std::fs::remove_file(root.join(repository.manifest(&digest).unwrap())).unwrap();
        assert!(!storage.still(&repository, Some(&tag("t")), &stored).await.unwrap());
    }

    #[tokio::test]
    async fn repositories_see_only_what_is_theirs() {
        let (_dir, storage, repository) = storage().await;
        let digest = put(&storage, &repository, "1", &[]).await;
        let other: Repository = "a".parse().unwrap();
        assert!(storage.manifest(&other, &digest).await.unwrap().is_none());
        let all = [Under::Manifests, Under::Blobs, Under::Either];
        let all = all.map(|under| (digest.clone(), under));
        let children = async |repository| storage.children(repository, &all).await.unwrap();
        assert_eq!(children(&other).await, [None, None, None]);
        let child = |media_type| Some(Child { size: 1, media_type });
        let manifest = || child(Some(MediaType::INDEX));
        assert_eq!(children(&repository).await, [manifest(), None, manifest()]);
        assert!(storage.blob(&repository, &digest, false).await.unwrap().is_none());
        assert!(!storage.home().has_repository(&other).await.unwrap());
        storage.link_blob(&other, &digest).await.unwrap();
        assert_eq!(children(&other).await, [None, child(None), child(None)]);
        assert_eq!(storage.blob(&other, &digest, false).await.unwrap().unwrap().size, 1);
        assert!(storage.unlink_blob(&other, &digest).await.unwrap());
        assert!(storage.blob(&other, &digest, false).await.unwrap().is_none());
    }
}
