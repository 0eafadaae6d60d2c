//! `conex du`: what each image takes up, alone and shared with others.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use conex_spec::{Digest, Result};
use conex_store::{Collection, bridge};

use crate::copy::Count;
use crate::reach::{add_referrers, kept, reach_all};

/// What a place takes up. All sizes are in bytes, of what is there in fact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Each root, the largest first.
    pub images: Vec<Usage>,
    /// Everything that is there.
    pub total: Count,
    /// What no root needs: `conex gc` collects it. Nothing where that is not known, since a
    /// manifest is damaged.
    pub unneeded: Option<Count>,
}

/// What a root takes up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// All of its names.
    pub names: Vec<String>,
    /// The root.
    pub digest: Digest,
    /// What would go with it.
    pub own: u64,
    /// What other images need as well.
    pub shared: u64,
    /// The damaged manifests below it: nobody knows what else they need.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Digest>,
}

/// What the images of a place take up.
pub async fn du(collection: Arc<dyn Collection>) -> Result<Report> {
    bridge::blocking(move || measure(collection.as_ref())).await
}

fn nothing() -> Report {
    Report { unneeded: Some(Count::default()), ..Report::default() }
}

fn measure(collection: &dyn Collection) -> Result<Report> {
    let Some(folder) = collection.folder() else { return Ok(nothing()) };
    let mut roots: HashMap<Digest, (Vec<String>, _)> = HashMap::new();
    for (entry, reach) in reach_all(collection)? {
        roots.entry(entry.root.digest).or_insert_with(|| (Vec::new(), reach)).0.push(entry.name);
    }
    let mut users: HashMap<&Digest, usize> = HashMap::new();
    for digest in roots.values().flat_map(|(_, reach)| reach.content.keys()) {
        *users.entry(digest).or_default() += 1;
    }
    let mut report = Report::default();
    let mut sizes = HashMap::new();
    let mut unneeded = Count::default();
    let kept = kept(folder)?;
    let mut needed = users.keys().map(|digest| (*digest).clone()).collect();
    add_referrers(folder, &kept, &mut needed)?;
    for blob in kept {
        report.total.add_bytes(blob.size);
        if !needed.contains(&blob.digest) {
            unneeded.add_bytes(blob.size);
        }
        sizes.insert(blob.digest, blob.size);
    }
    let all_known = roots.values().all(|(_, reach)| reach.unreadable.is_empty());
    report.unneeded = all_known.then_some(unneeded);
    let sum = |reach: &crate::reach::Reach, alone: bool| {
        let blobs = reach.content.keys().filter(|digest| (users[digest] == 1) == alone);
        blobs
            .filter_map(|digest| sizes.get(digest))
            .fold(0, |sum: u64, size| sum.saturating_add(*size))
    };
    report.images = roots
        .iter()
        .map(|(digest, (names, reach))| Usage {
            names: names.clone(),
            digest: digest.clone(),
            own: sum(reach, true),
            shared: sum(reach, false),
            damaged: reach.unreadable.iter().map(|blob| blob.digest.clone()).collect(),
        })
        .collect();
    report.images.sort_by(|a, b| (b.own, &a.names).cmp(&(a.own, &b.names)));
    Ok(report)
}
