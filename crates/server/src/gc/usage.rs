//! What each repository takes up, alone and shared with others.

use std::collections::HashMap;

use conex_spec::{Digest, Result};
use serde::{Deserialize, Serialize};

use super::keys::{Key, Keys};
use super::report::Count;
use crate::paths::{self, Repository};
use crate::storage::home::{Home, Wanted};

/// Names and content that are listed, and content that is looked at, at once.
const PAGE: usize = 4096;
const BATCH: usize = 64;

/// What a registry takes up. All sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// What each repository has, by name.
    pub repositories: Vec<Share>,
    /// All content.
    pub total: Count,
    /// Content that no repository has.
    pub unneeded: Count,
}

/// What one repository has: blobs and manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Share {
    /// Its name.
    pub repository: String,
    /// How many tags, manifests and blobs it has.
    pub tags: u64,
    /// See `tags`.
    pub manifests: u64,
    /// See `tags`.
    pub blobs: u64,
    /// The size of what only this repository has.
    pub own: u64,
    /// The size of what others have too.
    pub shared: u64,
}

/// Content, and in how many repositories it is.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    size: u64,
    count: u32,
}

/// Looks at everything.
///
/// # Errors
/// Those of the storage.
pub(crate) async fn usage(home: &dyn Home) -> Result<Usage> {
    let (keys, mut usage) = (Keys::default(), Usage::default());
    let mut all = sizes(home, &keys, &mut usage.total).await?;
    let names = repositories(home).await?;
    for name in &names {
        for digest in has(home, name).await?.0 {
            if let Some(known) = all.get_mut(&keys.key(&digest)) {
                known.count += 1;
            }
        }
    }
    for name in names {
        let (digests, mut share) = has(home, &name).await?;
        for digest in digests {
            let Some(known) = all.get(&keys.key(&digest)) else { continue };
            match known.count {
                0 | 1 => share.own += known.size,
                _ => share.shared += known.size,
            }
        }
        usage.repositories.push(share);
    }
    for known in all.values().filter(|known| known.count == 0) {
        usage.unneeded.add(known.size);
    }
    Ok(usage)
}

/// All repositories, in the order of their names.
pub(super) async fn repositories(home: &dyn Home) -> Result<Vec<Repository>> {
    let (mut found, mut last) = (Vec::new(), String::new());
    loop {
        let page = home.repositories(&last, super::PAGE).await?;
        for name in &page.items {
            found.push(name.parse()?);
        }
        match page.items.into_iter().last().filter(|_| page.more) {
            Some(name) => last = name,
            None => return Ok(found),
        }
    }
}

/// The digests that the links in a folder name.
pub(super) async fn linked(home: &dyn Home, folder: &str) -> Result<Vec<Digest>> {
    let (mut found, mut last) = (Vec::new(), String::new());
    loop {
        let page = home.aged(folder, &last, PAGE).await?;
        found.extend(page.items.iter().filter_map(|aged| paths::linked(&aged.name)));
        match page.items.into_iter().last().filter(|_| page.more) {
            Some(aged) => last = aged.name,
            None => return Ok(found),
        }
    }
}

/// What a repository has, each once, and how much of each sort.
async fn has(home: &dyn Home, repository: &Repository) -> Result<(Vec<Digest>, Share)> {
    let blobs = linked(home, &repository.blobs()).await?;
    let manifests = linked(home, &repository.manifests()).await?;
    let (mut tags, mut last) = (0, String::new());
    loop {
        let page = home.list(&repository.tags(), &last, PAGE).await?;
        tags += page.items.len() as u64;
        match page.items.into_iter().last().filter(|_| page.more) {
            Some(tag) => last = tag,
            None => break,
        }
    }
    let (repository, own, shared) = (repository.to_string(), 0, 0);
    let (count, of) = (blobs.len() as u64, manifests.len() as u64);
    let share = Share { repository, tags, manifests: of, blobs: count, own, shared };
    let mut digests = [blobs, manifests].concat();
    digests.sort_unstable();
    digests.dedup();
    Ok((digests, share))
}

async fn sizes(home: &dyn Home, keys: &Keys, total: &mut Count) -> Result<HashMap<Key, Known>> {
    let (mut all, mut last) = (HashMap::new(), None);
    loop {
        let page = home.survey(last.as_ref(), PAGE).await?;
        last = page.items.last().map(|item| item.digest.clone());
        for batch in page.items.chunks(BATCH) {
            let unknown = batch.iter().filter(|item| item.size.is_none());
            let wanted = |digest: &Digest| Wanted {
                digest: digest.clone(),
                links: Vec::new(),
                bytes: false,
            };
            let wanted: Vec<_> = unknown.map(|item| wanted(&item.digest)).collect();
            let mut found = match wanted.is_empty() {
                true => Vec::new().into_iter(),
                false => home.look(wanted).await?.into_iter(),
            };
            for item in batch {
                let looked = || found.next().flatten().map(|content| content.size);
                let size = item.size.or_else(looked).unwrap_or_default();
                total.add(size);
                all.insert(keys.key(&item.digest), Known { size, count: 0 });
            }
        }
        if !page.more {
            return Ok(all);
        }
    }
}
