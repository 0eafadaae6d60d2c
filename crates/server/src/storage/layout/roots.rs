//! Changes of a repository as changes of the roots in `index.json`.
//!
//! A registry forgets no manifest by itself: one whose tag moved on, or whose parent was deleted,
//! stays, here as a root without a name.

use bytes::Bytes;
use conex_spec::descriptor::REF_NAME;
use conex_spec::{Descriptor, Digest, Error, MediaType, Result, Tag};
use conex_store::blobs::{self, Blobs};

use super::told::Known;
use super::{Inner, Shelf as _, version};
use crate::storage::home::{Version, When};

impl Inner {
    /// Lists a manifest as a root, unless it is known already. Returns false, and changes nothing,
    /// where the condition does not hold.
    pub(super) fn put_root(
        &self,
        name: &str,
        digest: &Digest,
        media_type: &Bytes,
        when: &When,
    ) -> Result<bool> {
        let now = self.told()?.records.get(name).cloned();
        if !holds(when, now.as_ref()) {
            return Ok(false);
        }
        if now.as_ref() == Some(media_type) {
            return Ok(true);
        }
        let text = String::from_utf8_lossy(media_type).into_owned();
        let size = Blobs(self.folder()?).look(digest)?.map(|(size, _)| size);
        let size = size.ok_or_else(|| Error::not_found(format!("{digest} is not there")))?;
        let root = Descriptor::new(MediaType::new(text), digest.clone(), size);
        let below = self.below(&root)?;
        self.change(|roots, known| {
            let mut new: Vec<_> = roots.to_vec();
            for other in new.iter_mut().filter(|other| other.digest == *digest) {
                other.media_type = root.media_type.clone();
            }
            // What is below it needs no entry of its own; a referrer keeps it for other tools.
            new.retain(|other| {
                let refers = known.get(&other.digest).is_some_and(|known| known.subject.is_some());
                other.ref_name().is_some() || refers || !below.contains(&other.digest)
            });
            if !new.iter().any(|other| other.digest == *digest) {
                new.push(root.clone());
            }
            Ok(new)
        })?;
        Ok(true)
    }

    /// Lets a tag stand for a manifest that is there.
    pub(super) fn put_tag(&self, tag: &Tag, digest: &Bytes, when: &When) -> Result<bool> {
        let digest: Digest = String::from_utf8_lossy(digest).parse()?;
        let told = self.told()?;
        let link = told.records.get(&self.repository.manifest(&digest)?).cloned();
        let link = link.ok_or_else(|| Error::not_found(format!("{digest} is not there")))?;
        let media_type = MediaType::new(String::from_utf8_lossy(&link).into_owned());
        let size = Blobs(self.folder()?).look(&digest)?.map_or(0, |(size, _)| size);
        let mut done = true;
        self.change(|roots, _| {
            let now = roots.iter().find(|root| root.ref_name() == Some(tag.as_str()));
            let seen = now.map(|root| Bytes::copy_from_slice(root.digest.as_str().as_bytes()));
            done = holds(when, seen.as_ref());
            if !done || now.is_some_and(|root| root.digest == digest) {
                return Ok(roots.to_vec());
            }
            let mut new = unnamed(roots, tag);
            let spare = |root: &Descriptor| root.digest == digest && root.ref_name().is_none();
            let mut root = match new.iter().position(spare) {
                Some(at) => new.remove(at),
                None => Descriptor::new(media_type.clone(), digest.clone(), size),
            };
            root.annotations.insert(REF_NAME.into(), tag.to_string());
            new.push(root);
            Ok(new)
        })?;
        Ok(done)
    }

    /// Takes a tag away, if it still is what was read.
    pub(super) fn remove_tag(&self, tag: &Tag, expected: Option<&Version>) -> Result<bool> {
        let mut done = false;
        self.change(|roots, _| {
            let now = roots.iter().find(|root| root.ref_name() == Some(tag.as_str()));
            let seen = now.map(|root| Bytes::copy_from_slice(root.digest.as_str().as_bytes()));
            done = seen.is_some_and(|seen| expected.is_none_or(|old| *old == version(&seen)));
            Ok(if done { unnamed(roots, tag) } else { roots.to_vec() })
        })?;
        Ok(done)
    }

    /// Takes a manifest away, with its file: another manifest may still have it below itself.
    pub(super) fn remove_root(&self, name: &str, digest: &Digest) -> Result<bool> {
        let told = self.told()?;
        let there = told.records.contains_key(name) && self.folder()?.has(&blobs::path(digest)?)?;
        if !there {
            return Ok(false);
        }
        let children = told.known.get(digest).map(|known| known.children.clone());
        self.change(|roots, known| {
            let kept = roots.iter().filter(|root| root.digest != *digest);
            let mut new: Vec<_> = kept.cloned().collect();
            let mut left = known.clone();
            left.remove(digest);
            for child in children.iter().flatten() {
                let (reached, _) = self.records(new.clone(), left.clone())?;
                let link = self.repository.manifest(&child.digest)?;
                if left.contains_key(&child.digest) && !reached.contains_key(&link) {
                    new.push(child.bare());
                }
            }
            Ok(new)
        })?;
        self.drop_file(digest)?;
        self.forget();
        Ok(true)
    }

    /// The digests of the manifests that one names.
    fn below(&self, root: &Descriptor) -> Result<Vec<Digest>> {
        let (_, known) = self.records(vec![root.clone()], Known::new())?;
        let children = known.get(&root.digest).map(|known| known.children.clone());
        let manifests =
            children.into_iter().flatten().filter(|child| child.media_type.is_manifest());
        Ok(manifests.map(|child| child.digest).collect())
    }

    fn change(
        &self,
        mut change: impl FnMut(&[Descriptor], &Known) -> Result<Vec<Descriptor>>,
    ) -> Result<()> {
        let told = self.told()?;
        self.layout.change_roots(|roots| {
            let new = change(roots, &told.known)?;
            Ok((new != roots).then_some(new))
        })?;
        Ok(())
    }
}

/// The roots without a tag. What it stood for stays, without a name where it has no other.
fn unnamed(roots: &[Descriptor], tag: &Tag) -> Vec<Descriptor> {
    let named = |root: &Descriptor| root.ref_name() == Some(tag.as_str());
    let mut new: Vec<_> = roots.iter().filter(|root| !named(root)).cloned().collect();
    for root in roots.iter().filter(|root| named(root)) {
        if !new.iter().any(|other| other.digest == root.digest) {
            let mut nameless = root.clone();
            nameless.annotations.shift_remove(REF_NAME);
            new.push(nameless);
        }
    }
    new
}

fn holds(when: &When, now: Option<&Bytes>) -> bool {
    match when {
        When::Always => true,
        When::Absent => now.is_none(),
        When::Unchanged(seen) => now.is_some_and(|now| version(now) == *seen),
    }
}
