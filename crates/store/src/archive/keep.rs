//! What an archive that is there already goes on holding when it is written anew.
//!
//! A tar has one order, so that each change is a new file. It holds what the old one held: all of it
//! where something is attached; where names are given, all but what had these names. An image
//! without a name takes the place of the whole archive, and it is told which names go.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use conex_spec::{Descriptor, Digest, Error, Kind, MediaType, Result, Tag};

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
    /// `Usage` for a file that is no archive: it would be lost.
    pub(super) fn of(&self, old: File, new: &[Descriptor]) -> Result<Option<Kept>> {
        if old.metadata().is_ok_and(|meta| meta.len() == 0) {
            return Ok(None);
        }
        let no_archive = |err: Error| {
            let message = "it would be written over, and is no OCI archive";
            Error::new(Kind::Usage, message).expected("an OCI archive, or no file").source(err)
        };
        let archive = Archive::read(Input::File(old), &self.spool).map_err(no_archive)?;
        let roots = oci::roots(&archive).map_err(no_archive)?;
        let count = roots.len();
        let roots = staying(roots, new, &archive)?;
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
    /// All content that stays: children are told before their parents.
    pub(super) fn blobs(&self) -> Result<Vec<Descriptor>> {
        if self.whole { self.all() } else { self.needed() }
    }

    fn all(&self) -> Result<Vec<Descriptor>> {
        let mut blobs = Vec::new();
        for name in self.archive.members().names() {
            let name = std::str::from_utf8(name).unwrap_or_default();
            let digest = name.strip_prefix(BLOBS).and_then(|name| name.strip_prefix('/'));
            let Some(digest) = digest.and_then(|it| it.replacen('/', ":", 1).parse().ok()) else {
                continue;
            };
            if let Some(part) = self.archive.members().find(name)? {
                blobs.push(Descriptor::new(MediaType::OCTETS, digest, part.size));
            }
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
        found.reverse();
        Ok(found)
    }
}

fn is_nameless(root: &Descriptor) -> bool {
    names(root).next().is_none()
}

/// The old roots but those whose names are given anew, and what belongs to nothing else.
fn staying(
    roots: Vec<Descriptor>,
    new: &[Descriptor],
    archive: &Archive,
) -> Result<Vec<Descriptor>> {
    let given: HashSet<&str> = new.iter().flat_map(names).collect();
    let is_new = |root: &Descriptor| {
        let again = names(root).next().is_none() && new.iter().any(|it| it.digest == root.digest);
        again || names(root).any(|name| given.contains(name))
    };
    let (lost, mut kept): (Vec<_>, Vec<_>) = roots.into_iter().partition(is_new);
    let stands = |digest: &Digest, kept: &[Descriptor]| {
        new.iter().chain(kept).any(|root| root.digest == *digest)
    };
    let mut gone: HashSet<Digest> = lost.into_iter().map(|root| root.digest).collect();
    gone.retain(|digest| !stands(digest, &kept));
    loop {
        let mut subjects = Vec::new();
        for root in &kept {
            let belongs = names(root).next().is_none() && root.media_type.is_manifest();
            let manifest = if belongs { readable(archive, root)? } else { None };
            let subject = manifest.and_then(|manifest| manifest.subject().cloned());
            subjects.push(subject.is_some_and(|subject| gone.contains(&subject.digest)));
        }
        if !subjects.contains(&true) {
            return Ok(kept);
        }
        let mut follows = subjects.into_iter();
        kept.retain(|root| {
            let follows = follows.next() == Some(true);
            if follows {
                gone.insert(root.digest.clone());
            }
            !follows
        });
    }
}
