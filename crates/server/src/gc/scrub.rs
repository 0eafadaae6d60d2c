//! Looking for what is damaged or missing, and mending it.

use std::collections::BTreeMap;
use std::time::Instant;

use conex_spec::{Descriptor, Digest, Error, Kind, MediaType, Result};
use conex_store::{ByteStream, Problem};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::Keys;
use super::report::{Count, note};
use super::usage::{linked, repositories};
use crate::inspect::Inspected;
use crate::paths::Repository;
use crate::storage::Storage;
use crate::storage::home::{Hashing, Home, Wanted};

/// Content that is listed, and hashed, at once.
const PAGE: usize = 2000;
const AT_ONCE: usize = 2;
/// Manifests that are read at once.
const BATCH: usize = 64;
/// What is written at once, in bytes.
const WRITE: usize = 1 << 20;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scrub {
    /// Whether what is damaged was left where it is.
    pub dry_run: bool,
    /// What was hashed.
    pub checked: Count,
    /// What is damaged or missing: the first 10,000.
    pub faults: Vec<Fault>,
    /// How much of it was set aside, so that nobody is told any more that it is there.
    pub set_aside: u64,
}

/// Content that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Its digest.
    pub digest: Digest,
    /// What is wrong.
    pub problem: Problem,
    /// What manifests say of it, if any names it.
    pub wanted: Option<Descriptor>,
    /// The repositories that have it.
    pub repositories: Vec<String>,
}

/// Hashes everything, and sets aside what is damaged unless it is a `dry_run`.
///
/// # Errors
/// Those of the storage.
pub(crate) async fn scrub(storage: &Storage, dry_run: bool) -> Result<Scrub> {
    let home = storage.home();
    let mut found = Scrub { dry_run, ..Scrub::default() };
    let (mut there, mut faults) = (Keys::default(), BTreeMap::new());
    let mut last = None;
    loop {
        let page = home.survey(last.as_ref(), PAGE).await?;
        last = page.items.last().map(|item| item.digest.clone());
        let checking = page.items.iter().map(|item| home.check(&item.digest));
        let checking: Vec<_> = checking.collect();
        let checked: Vec<_> = stream::iter(checking).buffered(AT_ONCE).try_collect().await?;
        for (item, checked) in page.items.into_iter().zip(checked) {
            let Some((sound, size)) = checked else { continue };
            found.checked.add(size);
            if sound {
                there.insert(&item.digest);
            } else {
                faults.insert(item.digest.clone(), fault(&item.digest, Problem::Damaged));
            }
        }
        if !page.more {
            break;
        }
    }
    for repository in repositories(home).await? {
        look(home, &repository, &there, &mut faults).await?;
    }
    for (digest, fault) in faults {
        // What came while this went on is not missing.
        if fault.problem == Problem::Missing && home.check(&digest).await?.is_some_and(|(ok, _)| ok)
        {
            continue;
        }
        if fault.problem == Problem::Damaged && !dry_run && home.set_aside(&digest).await? {
            found.set_aside += 1;
        }
        note(&mut found.faults, fault);
    }
    Ok(found)
}

fn fault(digest: &Digest, problem: Problem) -> Fault {
    Fault { digest: digest.clone(), problem, wanted: None, repositories: Vec::new() }
}

/// What a repository has that is not there, and what its manifests say of that.
async fn look(
    home: &dyn Home,
    repository: &Repository,
    there: &Keys,
    faults: &mut BTreeMap<Digest, Fault>,
) -> Result<()> {
    let manifests = linked(home, &repository.manifests()).await?;
    let mut blame = |digest: &Digest, wanted: Option<Descriptor>| {
        if there.contains(digest) || digest.algorithm().is_err() {
            return;
        }
        let fault = faults.entry(digest.clone()).or_insert_with(|| fault(digest, Problem::Missing));
        let name = repository.to_string();
        if !fault.repositories.contains(&name) {
            fault.repositories.push(name);
        }
        fault.wanted = fault.wanted.take().or(wanted);
    };
    for digest in linked(home, &repository.blobs()).await? {
        blame(&digest, None);
    }
    for batch in manifests.chunks(BATCH) {
        let wanted = |digest: &Digest| -> Result<Wanted> {
            let links = vec![repository.manifest(digest)?];
            Ok(Wanted { digest: digest.clone(), links, bytes: true })
        };
        let wanted = batch.iter().map(wanted).collect::<Result<_>>()?;
        let contents = home.look(wanted).await?;
        for (digest, content) in batch.iter().zip(contents) {
            blame(digest, None);
            let Some(content) = content else { continue };
            let media_type = std::str::from_utf8(&content.link).ok().map(MediaType::new);
            let bytes = content.whole(conex_spec::document::LIMIT).await?;
            let Ok(inspected) = Inspected::parse(&bytes, media_type) else { continue };
            // A manifest below may have been deleted, and a foreign layer lies elsewhere.
            for child in &inspected.children {
                let known = manifests.contains(&child.digest);
                if (known || !child.media_type.is_manifest()) && child.urls.is_empty() {
                    blame(&child.digest, Some(child.bare()));
                }
            }
        }
    }
    Ok(())
}

/// Puts content in the place of what is damaged or missing; what is not it is refused.
///
/// # Errors
/// Those of the content and of the storage; `Usage` where no repository has it.
pub(crate) async fn mend(
    storage: &Storage,
    fault: &Fault,
    content: &mut ByteStream,
) -> Result<u64> {
    let (home, since) = (storage.home(), Instant::now());
    let names = fault.repositories.iter().map(|name| name.parse::<Repository>());
    let names = names.collect::<Result<Vec<_>>>()?;
    let first = names.first().ok_or_else(|| {
        Error::new(Kind::Usage, format!("no repository has {}", fault.digest.short()))
    })?;
    let mut session = home.begin(first, Uuid::new_v4(), true).await?;
    let mut hashing = Some(Hashing::new(fault.digest.algorithm()?));
    let (mut batch, mut length) = (Vec::new(), 0);
    while let Some(chunk) = content.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(err) => {
                session.discard().await;
                return Err(err);
            }
        };
        length += chunk.len();
        batch.push(chunk);
        if length >= WRITE {
            session.write(std::mem::take(&mut batch), &mut hashing).await?;
            length = 0;
        }
    }
    session.write(batch, &mut hashing).await?;
    let found = hashing.map(Hashing::finish);
    if found.as_ref() != Some(&fault.digest) {
        session.discard().await;
        return Err(Error::new(Kind::Mismatch, "content has another digest")
            .expected(&fault.digest)
            .found(found.map_or_else(String::new, |found| found.to_string())));
    }
    let size = session.length();
    session.publish(&fault.digest).await?;
    storage.leased(&first.blob(&fault.digest)?, since);
    for repository in &names[1..] {
        storage.link_blob(repository, &fault.digest).await?;
    }
    storage.confirm(&fault.digest, since).await?;
    Ok(size)
}
