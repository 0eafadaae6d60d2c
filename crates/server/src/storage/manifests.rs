//! Manifests, tags and referrers of a repository.

use bytes::Bytes;
use conex_spec::{Descriptor, Digest, Error, MediaType, Result, Tag};
use conex_store::blobs::Blobs;

use super::Storage;
use crate::file_body::read_at;
use crate::paths::Repository;

/// The longest link, in bytes: a digest or a media type.
const MAX_LINK: usize = 1024;

/// A manifest of a repository. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) bytes: Bytes,
}

impl Storage {
    /// The digest that a tag stands for.
    pub(crate) fn tag(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>> {
        self.tag_at(&repository.tag(tag)?)
    }

    /// A manifest by its digest.
    pub(crate) fn manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<Stored>> {
        let Some(media_type) = self.manifest_type(repository, digest)? else { return Ok(None) };
        let Some(content) = self.content(digest)? else { return Ok(None) };
        let length = usize::try_from(content.size).unwrap_or(usize::MAX);
        let bytes = read_at(&content.file, 0, length.min(conex_spec::document::LIMIT))
            .map_err(|err| Error::from_io(err, || format!("cannot read {digest}")))?;
        Ok(Some(Stored { digest: digest.clone(), media_type, bytes }))
    }

    /// The media type of a manifest; nothing if the repository does not have it.
    pub(crate) fn manifest_type(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<MediaType>> {
        if digest.algorithm().is_err() {
            return Ok(None);
        }
        let link = self.link(&repository.manifest(digest)?)?;
        Ok(link.map(MediaType::new))
    }

    /// The size in bytes of a blob or manifest that the repository has, whole. What its parent
    /// calls a manifest must be there as one: only then are its own children there too.
    pub(crate) fn child_size(
        &self,
        repository: &Repository,
        digest: &Digest,
        is_manifest: bool,
    ) -> Result<Option<u64>> {
        if digest.algorithm().is_err() {
            return Ok(None);
        }
        let folder = self.folder();
        let as_blob = !is_manifest && folder.has(&repository.blob(digest)?)?;
        if !as_blob && !folder.has(&repository.manifest(digest)?)? {
            return Ok(None);
        }
        Ok(self.content(digest)?.map(|blob| blob.size))
    }

    /// Adds a manifest: content, then its entry with its subject, then its link. `referrer` is that
    /// entry and the subject. The caller holds [`Storage::change`].
    pub(crate) fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
        bytes: &[u8],
        referrer: Option<(&Digest, &Descriptor)>,
    ) -> Result<()> {
        match self.content(&manifest.digest)? {
            Some(there) => {
                self.folder().sync(&there.file, &conex_store::blobs::path(&manifest.digest)?)?;
            }
            None => Blobs(self.folder()).put_bytes(manifest, bytes)?,
        }
        if let Some((subject, entry)) = referrer {
            let path = repository.referrer(subject, &manifest.digest)?;
            let json = serde_json::to_vec(entry)
                .map_err(|err| Error::invalid("descriptor cannot be printed").source(err))?;
            self.folder().replace(&path, &json)?;
        }
        let link = repository.manifest(&manifest.digest)?;
        self.folder().replace(&link, manifest.media_type.as_str().as_bytes())
    }

    /// Lets a tag stand for a manifest that is there. The caller holds [`Storage::change`].
    pub(crate) fn put_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<()> {
        self.folder().replace(&repository.tag(tag)?, digest.as_str().as_bytes())
    }

    /// Removes a tag. Returns whether it was there. The caller holds [`Storage::change`].
    pub(crate) fn remove_tag(&self, repository: &Repository, tag: &Tag) -> Result<bool> {
        self.folder().remove(&repository.tag(tag)?)
    }

    /// Removes a manifest: first what names it, so that nothing of it comes back when the same
    /// bytes are pushed again. The caller holds [`Storage::change`].
    pub(crate) fn remove_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        subject: Option<&Digest>,
    ) -> Result<bool> {
        for name in self.folder().list(&repository.tags())? {
            let path = format!("{}/{name}", repository.tags());
            if self.tag_at(&path)?.as_ref() == Some(digest) {
                self.folder().remove(&path)?;
            }
        }
        if let Some(subject) = subject {
            self.folder().remove(&repository.referrer(subject, digest)?)?;
        }
        self.folder().remove(&repository.manifest(digest)?)
    }

    fn tag_at(&self, path: &str) -> Result<Option<Digest>> {
        let Some(text) = self.link(path)? else { return Ok(None) };
        let parsed = text.parse::<Digest>();
        parsed.map(Some).map_err(|err| err.context(format_args!("the tag in {path}")))
    }

    fn link(&self, path: &str) -> Result<Option<String>> {
        let Some(bytes) = self.folder().read(path, MAX_LINK)? else { return Ok(None) };
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|err| Error::invalid(format!("{path} is damaged")).source(err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> (tempfile::TempDir, Storage, Repository) {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(&dir.path().join("root"), 0).unwrap();
        (dir, storage, "a/b".parse().unwrap())
    }

    fn put(storage: &Storage, repository: &Repository, bytes: &[u8]) -> Descriptor {
        let manifest = Descriptor::of(MediaType::INDEX, bytes);
        storage.put_manifest(repository, &manifest, bytes, None).unwrap();
        manifest
    }

    #[test]
    fn a_removed_manifest_takes_its_tags_with_it() {
        let (_dir, storage, repository) = storage();
        let (one, two) = (put(&storage, &repository, b"1"), put(&storage, &repository, b"2"));
        let tag = |text: &str| Tag::registry(text).unwrap();
        for (name, manifest) in [("a", &one), ("b", &two), ("c", &one)] {
            storage.put_tag(&repository, &tag(name), &manifest.digest).unwrap();
        }
        assert!(storage.remove_manifest(&repository, &one.digest, None).unwrap());
        assert!(!storage.remove_manifest(&repository, &one.digest, None).unwrap());
        assert!(storage.manifest(&repository, &one.digest).unwrap().is_none());
        put(&storage, &repository, b"1");
        assert_eq!(storage.tag(&repository, &tag("a")).unwrap(), None);
        assert_eq!(storage.tag(&repository, &tag("b")).unwrap(), Some(two.digest));
    }

    #[test]
    fn damaged_content_is_not_there_and_can_be_pushed_again() {
        let (dir, storage, repository) = storage();
        let manifest = put(&storage, &repository, b"good");
        let path =
            dir.path().join("root").join(conex_store::blobs::path(&manifest.digest).unwrap());
        std::fs::write(&path, b"evil").unwrap();
        assert!(storage.manifest(&repository, &manifest.digest).unwrap().is_none());
        assert_eq!(storage.child_size(&repository, &manifest.digest, true).unwrap(), None);
        put(&storage, &repository, b"good");
        let stored = storage.manifest(&repository, &manifest.digest).unwrap().unwrap();
        assert_eq!(stored.bytes, "good");
    }

    #[test]
    fn repositories_see_only_what_is_theirs() {
        let (_dir, storage, repository) = storage();
        let manifest = put(&storage, &repository, b"1");
        let other: Repository = "a".parse().unwrap();
        assert!(storage.manifest(&other, &manifest.digest).unwrap().is_none());
        assert!(storage.child_size(&other, &manifest.digest, true).unwrap().is_none());
        assert!(storage.blob(&repository, &manifest.digest).unwrap().is_none());
        assert!(!storage.has_repository(&other).unwrap());
        storage.link_blob(&other, &manifest.digest).unwrap();
        assert_eq!(storage.blob(&other, &manifest.digest).unwrap().unwrap().size, 1);
        assert!(storage.unlink_blob(&other, &manifest.digest).unwrap());
        assert!(storage.blob(&other, &manifest.digest).unwrap().is_none());
    }
}
