//! `conex repair`: what is damaged or missing is fetched anew from a place that has it.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use conex_spec::{Digest, Kind, Result};
use conex_store::{Collection, Observer, Source, bridge};

use crate::copy::{Count, put};
use crate::fsck::{Fault, check};

/// What was mended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was fetched.
    pub mended: Count,
    /// Its digests.
    pub digests: Vec<Digest>,
    /// What the other place does not have, or has damaged too.
    pub left: Vec<Fault>,
}

/// Mends what images of a place need, as far as `from` has it sound. A manifest that comes back
/// may show that more is missing, so it looks again until nothing changes.
pub async fn repair(
    collection: Arc<dyn Collection>,
    from: &dyn Source,
    observer: &Arc<dyn Observer>,
) -> Result<Report> {
    let mut report = Report::default();
    let mut tried = HashSet::new();
    loop {
        let checked = Arc::clone(&collection);
        let faults = bridge::blocking(move || check(checked.as_ref())).await?.faults;
        let new: Vec<_> = faults
            .iter()
            .filter_map(|fault| fault.wanted.as_ref())
            .filter(|blob| !tried.contains(&blob.digest))
            .cloned()
            .collect();
        if new.is_empty() {
            report.left = faults;
            return Ok(report);
        }
        for blob in new {
            tried.insert(blob.digest.clone());
            match put(from, &blob, collection.as_ref(), observer).await {
                Ok(()) => {
                    report.mended.add_bytes(blob.size);
                    report.digests.push(blob.digest);
                }
                Err(err) if matches!(err.kind(), Kind::NotFound | Kind::Mismatch) => {}
                Err(err) => return Err(err),
            }
        }
    }
}
