//! `conex gc`: content that no root needs any more is removed.
//!
//! First everything is marked that a root needs, and all referrers of that: a referrer stays while
//! its subject stays (image-spec, manifest.md, "`subject`", is a weak link: it keeps no subject). Then what is not marked, and is older than the
//! grace period, is removed. Nobody else uses the place meanwhile: whoever reads or writes it with
//! conex has a share in it (see `conex_store::commit`). The grace period is for the others, who
//! put blobs first and name them later.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use conex_spec::{Digest, Error, Kind, Result};
use conex_store::blobs::Blobs;
use conex_store::commit::Folder;
use conex_store::{Collection, bridge};

use crate::copy::Count;
use crate::reach::{Kept, add_referrers, kept, reach_all};

/// How often all is marked anew where another tool keeps changing the roots.
const ATTEMPTS: usize = 5;

/// What to collect.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Content that came or changed later stays; in seconds since 1970.
    pub before: i64,
    /// Only tell what would be removed.
    pub dry_run: bool,
    /// For how many hundredths of a second to wait until nobody else uses the place.
    pub patience: u32,
}

/// What was collected. All sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether nothing was removed in fact.
    pub dry_run: bool,
    /// What was removed.
    pub removed: Count,
    /// What no root needs, but is too young.
    pub young: Count,
    /// What the roots need.
    pub needed: Count,
    /// How many files that killed writers left behind.
    pub swept: usize,
    /// The blobs that were removed.
    pub digests: Vec<Digest>,
}

/// Collects what no root of a place needs.
///
/// # Errors
/// `Conflict` where another process uses the place for longer than the patience lasts;
/// `Mismatch` where a manifest is damaged, so that nobody knows what it needs.
pub async fn gc(collection: Arc<dyn Collection>, options: Options) -> Result<Report> {
    bridge::blocking(move || match collection.folder() {
        Some(folder) => collect(collection.as_ref(), folder, options),
        None => Ok(Report { dry_run: options.dry_run, ..Report::default() }),
    })
    .await
}

fn collect(collection: &dyn Collection, folder: &Folder, options: Options) -> Result<Report> {
    if options.dry_run {
        return Ok(plan(collection, folder, options)?.0);
    }
    let _claim = folder.claim(options.patience)?;
    let (mut report, garbage) = plan(collection, folder, options)?;
    if !garbage.is_empty() {
        // A reference that another tool took away must not come back after a power cut, when its
        // content is gone.
        folder.sync_all()?;
    }
    for blob in garbage {
        Blobs(folder).remove(&blob.digest)?;
    }
    report.swept = folder.sweep() + Blobs(folder).sweep(options.before);
    Ok(report)
}

/// What to remove, by roots that stayed the same while they were walked.
fn plan(
    collection: &dyn Collection,
    folder: &Folder,
    options: Options,
) -> Result<(Report, Vec<Kept>)> {
    for _ in 0..ATTEMPTS {
        let before = collection.entries()?;
        let plan = mark(collection, folder, options)?;
        if collection.entries()? == before {
            return Ok(plan);
        }
    }
    Err(Error::new(Kind::Conflict, "another program keeps changing what there is"))
}

fn mark(
    collection: &dyn Collection,
    folder: &Folder,
    options: Options,
) -> Result<(Report, Vec<Kept>)> {
    let reached = reach_all(collection)?;
    for (entry, reach) in &reached {
        if let Some(manifest) = reach.unreadable.first() {
            let message = format!("nobody knows what {} needs", entry.name);
            return Err(Error::new(Kind::Mismatch, message)
                .expected(format!("a sound manifest {}", manifest.digest))
                .found(match manifest.digest.algorithm() {
                    Ok(_) if Blobs(folder).look(&manifest.digest)?.is_none() => "none",
                    _ => "one that cannot be read",
                })
                .hint("`conex repair --from LOCATION` mends it; `conex rm` gives the image up"));
        }
    }
    let needed = reached.iter().flat_map(|(_, reach)| reach.content.keys());
    let mut needed: HashSet<Digest> = needed.cloned().collect();
    let kept = kept(folder)?;
    add_referrers(folder, &kept, &mut needed)?;
    let mut report = Report { dry_run: options.dry_run, ..Report::default() };
    let mut garbage = Vec::new();
    for blob in kept {
        if needed.contains(&blob.digest) {
            report.needed.add_bytes(blob.size);
        } else if blob.changed >= options.before {
            report.young.add_bytes(blob.size);
        } else {
            report.removed.add_bytes(blob.size);
            report.digests.push(blob.digest.clone());
            garbage.push(blob);
        }
    }
    Ok((report, garbage))
}
