//! What an archive that is there already goes on holding when it is written anew.
//!
//! A tar has one order, so that each change is a new file. It holds what the old one held: all of it
//! where something is attached; where names are given, all but what had these names. An image
//! without a name takes the place of the whole archive, and it is told which names go.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use conex_spec::{Descriptor, Digest, Error, Kind, Manifest, MediaType, Result, Tag};

use super::choice::{names, tags};
use super::input::{Archive, Input, in_place};
use super::oci::{self, readable};
use crate::blobs::BLOBS;
use crate::observer::{Event, Observer};

/// How many names of a lost archive are told.
const MAX_SHOWN: usize = 5;

/// What a new archive takes over.
#[derive(Clone)]
pub struct Keep {
    /// Whether all of it stays, also beside a root without a name.
    pub all: bool,
    /// Told of images that are lost with their names.
    pub observer: Arc<dyn Observer>,
    /// The folder for the nameless file of an archive that cannot be read in place.
    pub spool: PathBuf,
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").field("all", &self.all).finish_non_exhaustive()
    }
}

/// An archive that is replaced, and what of it stays.
pub(super) struct Kept {
    pub(super) archive: Archive,
    pub(super) roots: Vec<Descriptor>,
    /// Whether all of its content stays, and not just what the roots need.
    whole: bool,
}

impl Keep {
    /// Whether anything of an old archive may stay beside new roots.
    pub(super) fn anything_beside(&self, new: &[Descriptor]) -> bool {
        self.all || new.iter().any(|root| !is_nameless(root))
    }

    /// Looks what stays of an old archive beside new roots; nothing where it is an empty file.
    ///
    /// # Errors
    /// `Usage` for a file that is no OCI archive: it would be lost.
    pub(super) fn of(&self, old: File, new: &[Descriptor]) -> Result<Option<Kept>> {
        if old.metadata().is_ok_and(|meta| meta.len() == 0) {
            return Ok(None);
        }
        let archive = Archive::read(Input::File(old), &self.spool).map_err(no_archive)?;
        let roots = oci::roots(&archive).map_err(no_archive)?;
        let count = roots.len();
        let roots = staying(roots, new, |root| readable(&archive, root))?;
        Ok(Some(Kept { whole: roots.len() == count, roots, archive }))
    }

    /// Tells of the names of an archive that is replaced whole, as far as they can be had for little.
    pub(super) fn tell_lost(&self, old: File) {
        if !in_place(&old).unwrap_or_default() {
            return;
        }
        let archive = Archive::read(Input::File(old), &self.spool);
        let names = archive.and_then(|archive| oci::roots(&archive)).map(|roots| tags(&roots));
        let names = names.unwrap_or_default();
        if names.is_empty() {
            return;
        }
        let shown: Vec<_> = names.iter().take(MAX_SHOWN).map(Tag::as_str).collect();
        let more = if names.len() > MAX_SHOWN { ", …" } else { "" };
        self.observer.event(Event::Warning(&format!(
            "an image without a name takes the place of all that the archive held: {}{more}",
            shown.join(", ")
        )));
    }
}

impl Kept {
    /// All content that stays.
    pub(super) fn blobs(&self) -> Result<Vec<Descriptor>> {
        if self.whole { self.all() } else { self.needed() }
    }

    fn all(&self) -> Result<Vec<Descriptor>> {
        let (mut blobs, mut is_odd) = (Vec::new(), false);
        for name in self.archive.members().names() {
            let name = std::str::from_utf8(name).unwrap_or_default();
            let digest = name.strip_prefix(BLOBS).and_then(|name| name.strip_prefix('/'));
            let digest = digest.and_then(|it| it.replacen('/', ":", 1).parse::<Digest>().ok());
            let Some(digest) = digest else { continue };
            match self.archive.members().find(name) {
                Ok(Some(part)) if digest.algorithm().is_ok() => {
                    blobs.push(Descriptor::new(MediaType::OCTETS, digest, part.size));
                }
                _ => is_odd = true,
            }
        }
        if is_odd {
            // What cannot be verified or read is a fault only where a root needs it.
            blobs.extend(self.needed()?);
        }
        blobs.sort_by(|a: &Descriptor, b| a.digest.cmp(&b.digest));
        Ok(blobs)
    }

    fn needed(&self) -> Result<Vec<Descriptor>> {
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        let mut left = self.roots.clone();
        while let Some(blob) = left.pop() {
            // Of a sparse index not all is there.
            if !seen.insert(blob.digest.clone()) || oci::blob(&self.archive, &blob)?.is_none() {
                continue;
            }
            if blob.media_type.is_manifest()
                && let Some(manifest) = oci::manifest(&self.archive, &blob)?
            {
                left.extend(manifest.children().into_iter().cloned());
            }
            found.push(blob.bare());
        }
        Ok(found)
    }
}

/// A fault of what is no archive; any other stays what it is, as that of a disk.
fn no_archive(err: Error) -> Error {
    if !matches!(err.kind(), Kind::Invalid | Kind::NotFound | Kind::Unsupported) {
        return err;
    }
    let message = "it would be written over, and is no OCI archive";
    Error::new(Kind::Usage, message).expected("an OCI archive, or no file").source(err)
}

fn is_nameless(root: &Descriptor) -> bool {
    names(root).next().is_none()
}

/// The old roots but those whose names are given anew, and what belongs to nothing else (rule J6). `read`
/// gives the manifest of a root, nothing where it is missing or damaged.
fn staying(
    roots: Vec<Descriptor>,
    new: &[Descriptor],
    read: impl Fn(&Descriptor) -> Result<Option<Manifest>>,
) -> Result<Vec<Descriptor>> {
    let given: HashSet<&str> = new.iter().flat_map(names).collect();
    let mut stand: HashSet<Digest> = new.iter().map(|root| root.digest.clone()).collect();
    let (lost, mut kept): (Vec<_>, Vec<_>) = roots.into_iter().partition(|root| {
        is_nameless(root) && stand.contains(&root.digest)
            || names(root).any(|name| given.contains(name))
    });
    stand.extend(kept.iter().filter(|root| !is_nameless(root)).map(|root| root.digest.clone()));
    let (nameless, mut gone) = (digests(&kept), HashSet::new());
    let mut left: Vec<Digest> = lost.into_iter().map(|root| root.digest).collect();
    // What stands by itself does not go with the name that it had, but may go with its subject.
    left.retain(|digest| !stand.contains(digest) && !nameless.contains(digest));
    if left.is_empty() {
        return Ok(kept);
    }
    let belongs = referrers(&kept, read)?;
    while let Some(digest) = left.pop() {
        let found = belongs.get(&digest).into_iter().flatten();
        left.extend(found.filter(|it| !stand.contains(it) && gone.insert((*it).clone())).cloned());
    }
    kept.retain(|root| !gone.contains(&root.digest));
    Ok(kept)
}

fn digests(roots: &[Descriptor]) -> HashSet<Digest> {
    roots.iter().map(|root| root.digest.clone()).collect()
}

/// Which nameless roots belong to which subject. Each is read once.
fn referrers(
    roots: &[Descriptor],
    read: impl Fn(&Descriptor) -> Result<Option<Manifest>>,
) -> Result<HashMap<Digest, Vec<Digest>>> {
    let mut referrers = HashMap::<_, Vec<_>>::new();
    for root in roots.iter().filter(|root| is_nameless(root) && root.media_type.is_manifest()) {
        if let Some(subject) = read(root)?.as_ref().and_then(Manifest::subject) {
            referrers.entry(subject.digest.clone()).or_default().push(root.digest.clone());
        }
    }
    Ok(referrers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    use conex_spec::descriptor::REF_NAME;
    use conex_spec::{Document, ImageManifest};

    /// A root that belongs to another, and its content.
    fn about(subject: &Descriptor) -> (Descriptor, ImageManifest) {
        let empty = Descriptor::of(MediaType::EMPTY, b"{}");
        let mut manifest = ImageManifest::new(empty.clone(), vec![empty]);
        manifest.subject = Some(subject.bare());
        let document = Document::new(manifest.clone()).unwrap();
        (Descriptor::of(MediaType::MANIFEST, document.bytes()), manifest)
    }

    fn named(root: &Descriptor, name: &str) -> Descriptor {
        let mut root = root.clone();
        root.annotations.insert(REF_NAME.into(), name.into());
        root
    }

    #[test]
    fn of_a_long_chain_each_is_read_once_and_none_where_nothing_goes() {
        let image = |text: &str| Descriptor::of(MediaType::MANIFEST, text.as_bytes());
        let (mut last, mut manifests) = (image("first"), HashMap::new());
        let mut roots = vec![named(&last, "a"), named(&image("other"), "b")];
        for _ in 0..50 {
            let (root, manifest) = about(&last);
            manifests.insert(root.digest.clone(), Manifest::Image(manifest));
            roots.push(root.clone());
            last = root;
        }
        let reads = RefCell::new(HashMap::<Digest, usize>::new());
        let staying = |roots: &[Descriptor], new: &[Descriptor]| {
            reads.borrow_mut().clear();
            staying(roots.to_vec(), new, |root| {
                *reads.borrow_mut().entry(root.digest.clone()).or_default() += 1;
                Ok(manifests.get(&root.digest).cloned())
            })
            .unwrap()
        };
        let new = [named(&image("new"), "a")];
        assert_eq!(staying(&roots, &new), roots[1..2]);
        assert_eq!(reads.borrow().len(), 50);
        assert!(reads.borrow().values().all(|reads| *reads == 1));
        assert_eq!(staying(&roots, &[named(&image("new"), "c")]), roots);
        assert!(reads.borrow().is_empty());
        // What has another name stays, and what belongs to it.
        roots.push(named(&roots[10], "c"));
        assert_eq!(staying(&roots, &new), [&roots[1..2], &roots[10..]].concat());
    }
}
