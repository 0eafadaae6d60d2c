//! What an `index.json` tells: the records of a repository.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use conex_spec::document::LIMIT;
use conex_spec::layout::INDEX_FILE;
use conex_spec::{Descriptor, Digest, Document, Error, ImageIndex, MediaType, Result, Tag};
use conex_store::blobs;
use conex_store::commit::Identity;

use super::{Inner, Shelf as _, fault};
use crate::inspect::Inspected;

/// Manifests by their digests, which are read once: bytes under a digest never change.
pub(super) type Known = HashMap<Digest, Arc<Inspected>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Told {
    index: Identity,
    pub(super) records: BTreeMap<String, Bytes>,
    pub(super) known: Known,
}

impl Inner {
    /// What `index.json` tells now.
    pub(super) fn told(&self) -> Result<Arc<Told>> {
        let (folder, missing) =
            (self.folder()?, || Error::not_found(format!("{INDEX_FILE} is gone")));
        let file = folder.file(INDEX_FILE)?.ok_or_else(missing)?;
        let now = Identity::of(&file).map_err(|err| fault(INDEX_FILE, err))?;
        let mut kept = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = kept.as_ref().filter(|told| told.index == now) {
            return Ok(Arc::clone(told));
        }
        let (bytes, index) = folder.read_seen(INDEX_FILE, LIMIT)?.ok_or_else(missing)?;
        let roots = Document::<ImageIndex>::parse(bytes)?.into_value().manifests;
        let before = kept.as_ref().map(|told| told.known.clone()).unwrap_or_default();
        let (records, known) = self.records(roots, before)?;
        let told = Arc::new(Told { index, records, known });
        *kept = Some(Arc::clone(&told));
        Ok(told)
    }

    /// What was told must be worked out again, though `index.json` is the same.
    pub(super) fn forget(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The records of these roots, and the manifests that they lead to.
    pub(super) fn records(
        &self,
        roots: Vec<Descriptor>,
        before: Known,
    ) -> Result<(BTreeMap<String, Bytes>, Known)> {
        let (mut records, repository) = (BTreeMap::new(), &self.repository);
        let (mut known, text) =
            (Known::new(), |text: &str| Bytes::copy_from_slice(text.as_bytes()));
        for root in &roots {
            // The first one of a name is meant; names that are no tags are for other tools.
            if let Some(tag) = root.ref_name().and_then(|name| Tag::registry(name).ok()) {
                records.entry(repository.tag(&tag)?).or_insert_with(|| text(root.digest.as_str()));
            }
        }
        // A root is a manifest, whatever its type, unless it turns out to be none.
        let mut left: Vec<_> = roots.into_iter().map(|root| (root, true)).collect();
        while let Some((next, is_root)) = left.pop() {
            if next.digest.algorithm().is_err() {
                continue;
            }
            let certain = next.media_type.is_manifest();
            let link = repository.manifest(&next.digest)?;
            if records.contains_key(&link) && (certain || is_root) {
                continue;
            }
            let inspected = match before.get(&next.digest) {
                Some(known) if certain || is_root => Some(Arc::clone(known)),
                None if certain || is_root => self.inspect(&next)?.map(Arc::new),
                _ => None,
            };
            let Some(inspected) = inspected else {
                // What is missing or damaged is not there, and so is what only it leads to.
                if !certain {
                    records.entry(repository.blob(&next.digest)?).or_insert_with(Bytes::new);
                }
                continue;
            };
            records.insert(link, text(next.media_type.as_str()));
            if let Some(subject) = &inspected.subject {
                let entry = inspected.as_referrer(&next.bare());
                let json = serde_json::to_vec(&entry)
                    .map_err(|err| Error::invalid("descriptor cannot be printed").source(err))?;
                records.insert(repository.referrer(&subject.digest, &next.digest)?, json.into());
            }
            left.extend(inspected.children.iter().map(|child| (child.clone(), false)));
            known.insert(next.digest, inspected);
        }
        Ok((records, known))
    }

    fn inspect(&self, manifest: &Descriptor) -> Result<Option<Inspected>> {
        let path = blobs::path(&manifest.digest)?;
        let folder = self.folder()?;
        // A root of an unknown type may be anything, of any length.
        let length = folder.file(&path)?.map(|file| file.metadata().map(|meta| meta.len()));
        if !length.is_some_and(|length| length.is_ok_and(|length| length <= LIMIT as u64)) {
            return Ok(None);
        }
        let Some(bytes) = folder.read(&path, LIMIT)? else { return Ok(None) };
        let sound = manifest.verify(&bytes).is_ok();
        let media_type: MediaType = manifest.media_type.clone();
        let inspected = Inspected::parse(&bytes.into(), Some(media_type));
        Ok(inspected.ok().filter(|_| sound))
    }
}
