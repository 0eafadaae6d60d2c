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
use crate::inspect::{Inspected, Under, is_foreign};
use crate::paths::Repository;
use crate::storage::Storage;
use crate::storage::home::{Hashing, Home, Wanted};
use crate::storage::manifests::links;

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
    /// The repositories that have it, or lack it.
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
                let damaged = suspect(&item.digest, Problem::Damaged);
                faults.insert(item.digest.clone(), damaged);
            }
        }
        if !page.more {
            break;
        }
    }
    let mut look = Look { home, there: &there, faults: &mut faults };
    for repository in repositories(home).await? {
        look.repository(&repository).await?;
    }
    for (digest, Suspect { mut fault, unlinked }) in faults {
        if fault.problem == Problem::Missing && home.check(&digest).await?.is_some_and(|(ok, _)| ok)
        {
            fault.repositories = still(home, unlinked).await?;
            if fault.repositories.is_empty() {
                continue;
            }
        }
        if fault.problem == Problem::Damaged && !dry_run && home.set_aside(&digest).await? {
            found.set_aside += 1;
        }
        note(&mut found.faults, fault);
    }
    Ok(found)
}

/// A fault, unless it turns out that it is none any more.
struct Suspect {
    fault: Fault,
    /// The repositories that lack it though it may be there, and the records of which one should be.
    unlinked: Vec<(String, Vec<String>)>,
}

fn suspect(digest: &Digest, problem: Problem) -> Suspect {
    let (digest, repositories) = (digest.clone(), Vec::new());
    Suspect { fault: Fault { digest, problem, wanted: None, repositories }, unlinked: Vec::new() }
}

/// The repositories that lack something still: what came while all was looked at is not missing.
async fn still(home: &dyn Home, unlinked: Vec<(String, Vec<String>)>) -> Result<Vec<String>> {
    let mut lacking = Vec::new();
    for (repository, links) in unlinked {
        if !home.present(links).await?.contains(&true) {
            lacking.push(repository);
        }
    }
    Ok(lacking)
}

/// What is known when the repositories are looked at.
struct Look<'a> {
    home: &'a dyn Home,
    /// All content that is sound.
    there: &'a Keys,
    faults: &'a mut BTreeMap<Digest, Suspect>,
}

impl Look<'_> {
    /// Finds what a repository has that is not there, what its manifests say of that, and what they
    /// name that it has not.
    async fn repository(&mut self, repository: &Repository) -> Result<()> {
        let listed = linked(self.home, &repository.manifests()).await?;
        let (mut manifests, mut blobs) = (self.there.another(), self.there.another());
        listed.iter().for_each(|digest| manifests.insert(digest));
        for digest in linked(self.home, &repository.blobs()).await? {
            blobs.insert(&digest);
            self.blame(repository, &digest, None);
        }
        for batch in listed.chunks(BATCH) {
            let wanted = |digest: &Digest| -> Result<Wanted> {
                let links = links(repository, digest, Under::Manifests)?;
                Ok(Wanted { digest: digest.clone(), links, bytes: true })
            };
            let wanted = batch.iter().map(wanted).collect::<Result<_>>()?;
            let contents = self.home.look(wanted).await?;
            for (digest, content) in batch.iter().zip(contents) {
                self.blame(repository, digest, None);
                let Some(content) = content else { continue };
                let media_type = std::str::from_utf8(&content.link).ok().map(MediaType::new);
                let bytes = content.whole(conex_spec::document::LIMIT).await?;
                let Ok(inspected) = Inspected::parse(&bytes, media_type) else { continue };
                for child in inspected.children.iter().filter(|child| !is_foreign(child)) {
                    let under = inspected.under(child);
                    let (is_manifest, is_blob) =
                        (manifests.contains(&child.digest), blobs.contains(&child.digest));
                    let linked = match under {
                        Under::Manifests => is_manifest,
                        Under::Blobs => is_blob,
                        Under::Either => is_manifest || is_blob,
                    };
                    // A manifest below may have been deleted.
                    if linked || under != Under::Manifests {
                        self.blame(repository, &child.digest, Some(child));
                    }
                    if !linked && under != Under::Manifests {
                        self.lacks(repository, child, under)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Content that a repository has, unless it is there.
    fn blame(&mut self, repository: &Repository, digest: &Digest, wanted: Option<&Descriptor>) {
        if !self.there.contains(digest) && digest.algorithm().is_ok() {
            self.note(repository, digest, wanted);
        }
    }

    /// Content that a repository has not.
    fn lacks(&mut self, repository: &Repository, wanted: &Descriptor, under: Under) -> Result<()> {
        if wanted.digest.algorithm().is_err() {
            return Ok(());
        }
        let links = links(repository, &wanted.digest, under)?;
        let suspect = self.note(repository, &wanted.digest, Some(wanted));
        let name = repository.to_string();
        if !suspect.unlinked.iter().any(|(known, _)| *known == name) {
            suspect.unlinked.push((name, links));
        }
        Ok(())
    }

    fn note(
        &mut self,
        repository: &Repository,
        digest: &Digest,
        wanted: Option<&Descriptor>,
    ) -> &mut Suspect {
        let known = self.faults.entry(digest.clone());
        let suspect = known.or_insert_with(|| suspect(digest, Problem::Missing));
        let (fault, name) = (&mut suspect.fault, repository.to_string());
        if !fault.repositories.contains(&name) {
            fault.repositories.push(name);
        }
        fault.wanted = fault.wanted.take().or_else(|| wanted.map(Descriptor::bare));
        suspect
    }
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
