//! Which platforms of an index are copied: one image alone, an index that lists fewer, or the
//! index as it is with only some of its entries beside it.

use std::collections::{HashMap, HashSet};

use futures_util::future::BoxFuture;

use conex_spec::{Descriptor, Digest, Document, ImageIndex, Platform, Result};
use conex_store::SourceExt;

use super::remembered::Remembered;
use crate::choose::choose;

/// The entry that an attestation of BuildKit's is about, by its digest. BuildKit,
/// docs/attestations/attestation-storage.md.
const ABOUT: &str = "vnd.docker.reference.digest";

/// What is copied of a root.
#[derive(Clone, Debug)]
pub struct Selection {
    /// What the destination gets as its root.
    pub root: Descriptor,
    /// Of an index that stays as it is, the manifests that are copied with it.
    pub only: Option<HashSet<Digest>>,
}

/// Chooses images by their platforms. Without platforms all is copied. One platform chooses the
/// image itself; several make an index with fewer entries, which keeps all else that the index says,
/// and the attestations of the chosen images. `sparse` keeps the index to the last byte instead,
/// and copies only the chosen entries.
///
/// # Errors
/// `NotFound` where nothing suits one of the platforms.
pub(crate) async fn select(
    from: &Remembered<'_>,
    root: &Descriptor,
    platforms: &[Platform],
    sparse: bool,
) -> Result<Selection> {
    let mut chosen = Vec::new();
    for platform in platforms {
        chosen.push(choose(from, root, platform).await?);
    }
    let whole = Selection { root: root.clone(), only: None };
    match chosen.as_slice() {
        [] => Ok(whole),
        [image] if !sparse => Ok(Selection { root: image.clone(), only: None }),
        _ if !root.media_type.is_index() => Ok(whole),
        _ => {
            let mut trim = Trim { from, chosen: &chosen, sparse, made: HashMap::new() };
            let made = trim.index(root).await?.unwrap_or_else(|| root.clone());
            let kept = trim.made.into_iter().filter(|(_, made)| made.is_some());
            let mut only: HashSet<_> = kept.map(|(digest, _)| digest).collect();
            only.extend(trim.chosen.iter().map(|image| image.digest.clone()));
            Ok(Selection { root: made, only: sparse.then_some(only) })
        }
    }
}

struct Trim<'a> {
    from: &'a Remembered<'a>,
    chosen: &'a [Descriptor],
    sparse: bool,
    /// Indexes and attestations that were met, and what became of them; nothing where it goes.
    made: HashMap<Digest, Option<Descriptor>>,
}

impl Trim<'_> {
    /// The index with the entries that stay; nothing where none does. No deeper than `choose`
    /// goes, which was here before.
    fn index<'b>(&'b mut self, index: &'b Descriptor) -> BoxFuture<'b, Result<Option<Descriptor>>> {
        Box::pin(async move {
            if let Some(made) = self.made.get(&index.digest) {
                return Ok(made.as_ref().map(|made| describe(index, made)));
            }
            let document = Document::<ImageIndex>::parse(self.from.read(index).await?)?;
            let mut kept = Vec::new();
            for entry in &document.manifests {
                kept.extend(self.entry(entry).await?);
            }
            let made = (!kept.is_empty()).then_some(kept);
            let made = match made {
                Some(_) if self.sparse => Some(index.clone()),
                Some(kept) => {
                    let edited = document.edit(|document| document.manifests = kept)?;
                    let made = edited.descriptor(index.media_type.clone());
                    self.from.add(&made.digest, edited.bytes().clone());
                    Some(describe(index, &made))
                }
                None => None,
            };
            self.made.insert(index.digest.clone(), made.clone());
            Ok(made)
        })
    }

    async fn entry(&mut self, entry: &Descriptor) -> Result<Option<Descriptor>> {
        if entry.media_type.is_index() {
            return self.index(entry).await;
        }
        if self.chosen.contains(entry) {
            return Ok(Some(entry.clone()));
        }
        let about = entry.annotations.get(ABOUT);
        let belongs =
            self.chosen.iter().any(|image| about.is_some_and(|a| image.digest.as_str() == a));
        if belongs {
            self.made.insert(entry.digest.clone(), Some(entry.clone()));
        }
        Ok(belongs.then(|| entry.clone()))
    }
}

/// What an entry says of an index stays true of the edited one, but for its bytes.
fn describe(entry: &Descriptor, made: &Descriptor) -> Descriptor {
    if entry.digest == made.digest {
        return entry.clone();
    }
    let (digest, size) = (made.digest.clone(), made.size);
    Descriptor { digest, size, data: None, ..entry.clone() }
}

#[cfg(test)]
mod tests;
