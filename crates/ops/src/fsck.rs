//! `conex fsck`: every byte of a place is hashed, whatever its seal says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use serde::Serialize;

use conex_spec::{Descriptor, Digest, Result};
use conex_store::blobs::{BLOBS, Blobs};
use conex_store::commit::Folder;
use conex_store::{Collection, Problem, bridge};

use crate::copy::Count;
use crate::reach::{self, Kept, kept, reach_all};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was hashed.
    pub checked: Count,
    /// What is not as it should be, in the order of the digests.
    pub faults: Vec<Fault>,
}

/// Content that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What is the matter.
    pub problem: Problem,
    /// Which content.
    pub digest: Digest,
    /// The names of the images that need it.
    pub images: Vec<String>,
    /// How they describe it; nothing where none needs it.
    #[serde(skip)]
    pub wanted: Option<Descriptor>,
}

/// Hashes everything that a place holds, on as many threads as the machine has cores.
pub async fn fsck(collection: Arc<dyn Collection>) -> Result<Report> {
    bridge::blocking(move || check(collection.as_ref())).await
}

pub(crate) fn check(collection: &dyn Collection) -> Result<Report> {
    let Some(folder) = collection.folder() else { return Ok(Report::default()) };
    let mut report = Report::default();
    let mut problems = BTreeMap::new();
    let there = kept(folder)?;
    for (blob, sound) in hash_all(folder, &there)? {
        report.checked.add_bytes(blob.size);
        if !sound {
            problems.insert(blob.digest.clone(), Problem::Damaged);
        }
    }
    let there: HashMap<_, _> = there.iter().map(|blob| (&blob.digest, blob.size)).collect();
    let mut needed: HashMap<Digest, (Descriptor, Vec<String>)> = HashMap::new();
    for (entry, reach) in reach_all(collection)? {
        for (digest, blob) in &reach.content {
            // What cannot be verified may be there. Layers that may not be distributed lie elsewhere.
            let found = there.contains_key(digest) || lies(folder, digest)?;
            if !found && blob.media_type.is_distributable() {
                problems.insert(digest.clone(), Problem::Missing);
            }
            let wanted = needed.entry(digest.clone());
            wanted.or_insert_with(|| (blob.clone(), Vec::new())).1.push(entry.name.clone());
        }
    }
    for (digest, problem) in problems {
        let (wanted, images) =
            needed.remove(&digest).map(|(a, b)| (Some(a), b)).unwrap_or_default();
        report.faults.push(Fault { problem, digest, images, wanted });
    }
    Ok(report)
}

/// Whether there is a file for a digest that cannot be verified.
fn lies(folder: &Folder, digest: &Digest) -> Result<bool> {
    if digest.algorithm().is_ok() {
        return Ok(false);
    }
    let names = folder.list(&format!("{BLOBS}/{}", digest.algorithm_name()));
    Ok(reach::there(names)?.is_some_and(|names| names.iter().any(|name| name == digest.encoded())))
}

/// Whether each blob is sound.
fn hash_all<'a>(folder: &Folder, blobs: &'a [Kept]) -> Result<Vec<(&'a Kept, bool)>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = Mutex::new(blobs.iter());
    let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<Vec<_>> {
        let mut done = Vec::new();
        while let Some(blob) = take() {
            // What went away meanwhile is not damaged.
            done.push((blob, Blobs(folder).check(&blob.digest)?.unwrap_or(true)));
        }
        Ok(done)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().unwrap_or_else(|_| Err(died()))?);
        }
        Ok(all)
    })
}

fn died() -> conex_spec::Error {
    conex_spec::Error::new(conex_spec::Kind::Io, "a thread that hashes failed")
}
