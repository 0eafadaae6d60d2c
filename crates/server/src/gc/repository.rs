//! What goes from one repository.

use std::collections::HashMap;

use bytes::Bytes;
use conex_spec::{Digest, MediaType, Result};

use super::Collection;
use super::keys::{Key, Keys};
use super::report::{Untagged, note};
use crate::inspect::Inspected;
use crate::paths::{self, Repository};
use crate::storage::home::{Aged, Wanted};

/// Links that are listed at once, and manifests that are read or removed at once.
const PAGE: usize = 4096;
const BATCH: usize = 64;

/// A manifest of the repository.
struct Found {
    digest: Digest,
    aged: Aged,
    children: Vec<Key>,
    subject: Option<Digest>,
}

impl Collection<'_> {
    /// Takes from a repository what it does not need, and notes what it has.
    pub(super) async fn repository(&mut self, repository: &Repository) -> Result<()> {
        self.report.repositories += 1;
        let tags = self.retain(repository).await?;
        let untagged = self.removes_untagged(repository);
        let mut needed = self.live.another();
        let (mut found, mut readable) = (Vec::new(), true);
        let (folder, mut last) = (repository.manifests(), String::new());
        loop {
            let page = self.storage.home().aged(&folder, &last, PAGE).await?;
            let more = page.more;
            let Some(end) = page.items.last().map(|aged| aged.name.clone()) else { break };
            for batch in page.items.chunks(BATCH) {
                for manifest in self.read(repository, batch, &mut readable).await? {
                    if untagged {
                        found.push(manifest);
                    } else {
                        self.live.insert(&manifest.digest);
                        manifest.children.iter().for_each(|child| _ = needed.add(*child));
                    }
                }
            }
            if !more {
                break;
            }
            last = end;
        }
        if untagged {
            let roots = tags.iter().filter_map(|tag| tag.digest.as_ref());
            let roots = roots.map(|digest| needed.key(digest)).collect();
            let doomed = self.reach(&found, roots, &mut needed);
            let doomed = if readable { doomed } else { Vec::new() };
            let gone = self.remove_manifests(repository, &found, &doomed).await?;
            for (at, manifest) in found.iter().enumerate() {
                if !gone.contains(&at) {
                    self.live.insert(&manifest.digest);
                    manifest.children.iter().for_each(|child| _ = needed.add(*child));
                }
            }
        }
        if !self.dry_run {
            self.report.swept += self.storage.tidy_notes(repository, PAGE).await?;
        }
        self.blobs(repository, &needed, readable).await
    }

    /// Reads manifests. One that is not what it should be is told, and `readable` says so.
    async fn read(
        &mut self,
        repository: &Repository,
        batch: &[Aged],
        readable: &mut bool,
    ) -> Result<Vec<Found>> {
        let known = batch.iter().filter_map(|aged| Some((paths::linked(&aged.name)?, aged)));
        let known: Vec<(Digest, &Aged)> = known.collect();
        let mut wanted = Vec::new();
        for (digest, _) in &known {
            let links = vec![repository.manifest(digest)?];
            wanted.push(Wanted { digest: digest.clone(), links, bytes: true });
        }
        let contents = self.storage.home().look(wanted).await?;
        let mut found = Vec::new();
        for ((digest, aged), content) in known.into_iter().zip(contents) {
            let mut links = None;
            if let Some(content) = content {
                let media_type = std::str::from_utf8(&content.link).ok().map(MediaType::new);
                let bytes = content.whole(conex_spec::document::LIMIT).await?;
                links = self.children(&bytes, media_type);
            } else if self.storage.manifest_type(repository, &digest).await?.is_none() {
                // Someone deleted it meanwhile.
                continue;
            }
            let Some((children, subject)) = links else {
                *readable = false;
                self.live.insert(&digest);
                let repository = repository.to_string();
                note(&mut self.report.unreadable, Untagged { repository, digest });
                continue;
            };
            found.push(Found { digest, aged: aged.clone(), children, subject });
        }
        Ok(found)
    }

    /// What a manifest needs, and its subject.
    fn children(
        &self,
        bytes: &Bytes,
        media_type: Option<MediaType>,
    ) -> Option<(Vec<Key>, Option<Digest>)> {
        let inspected = Inspected::parse(bytes, media_type).ok()?;
        let needs = inspected.needs(bytes)?;
        let children = needs.iter().map(|(digest, _)| self.live.key(digest)).collect();
        Some((children, inspected.subject.map(|subject| subject.digest)))
    }

    /// Which manifests are not reached from the roots, and are old enough. All that is reached is
    /// put into `needed`.
    fn reach(&self, found: &[Found], roots: Vec<Key>, needed: &mut Keys) -> Vec<usize> {
        let mut places = HashMap::new();
        let mut referrers: HashMap<Key, Vec<Key>> = HashMap::new();
        for (at, manifest) in found.iter().enumerate() {
            let key = needed.key(&manifest.digest);
            places.insert(key, at);
            if let Some(subject) = &manifest.subject {
                referrers.entry(needed.key(subject)).or_default().push(key);
            }
        }
        let young = found.iter().filter(|manifest| manifest.aged.stamp >= self.before);
        let mut left: Vec<_> = young.map(|manifest| needed.key(&manifest.digest)).collect();
        left.extend(roots);
        // Each key is looked at once, however many ways lead to it (rule J6).
        while let Some(key) = left.pop() {
            if !needed.add(key) {
                continue;
            }
            if let Some(at) = places.get(&key) {
                left.extend(&found[*at].children);
                left.extend(referrers.get(&key).into_iter().flatten());
            }
        }
        let unneeded = |(_, manifest): &(usize, &Found)| !needed.contains(&manifest.digest);
        found.iter().enumerate().filter(unneeded).map(|(at, _)| at).collect()
    }

    /// Returns which of the doomed are gone.
    async fn remove_manifests(
        &mut self,
        repository: &Repository,
        found: &[Found],
        doomed: &[usize],
    ) -> Result<Vec<usize>> {
        let mut gone = Vec::new();
        for batch in doomed.chunks(BATCH) {
            if self.dry_run {
                gone.extend(batch);
                continue;
            }
            let changing = self.storage.change(repository).await;
            for at in batch {
                if self.remove_manifest(repository, &found[*at]).await? {
                    gone.push(*at);
                }
            }
            drop(changing);
        }
        if !gone.is_empty() && !self.dry_run {
            // None of them may come back without its blobs.
            self.storage.home().settle().await?;
        }
        for at in &gone {
            self.report.manifests += 1;
            let (repository, digest) = (repository.to_string(), found[*at].digest.clone());
            note(&mut self.report.removed_manifests, Untagged { repository, digest });
        }
        Ok(gone)
    }

    /// The link, if nobody renewed it; then the entry with its subject, if nobody put it again.
    async fn remove_manifest(&self, repository: &Repository, manifest: &Found) -> Result<bool> {
        let home = self.storage.home();
        let entry = match &manifest.subject {
            Some(subject) => {
                let name = repository.referrer(subject, &manifest.digest)?;
                let record = home.read(vec![name.clone()]).await?.pop().flatten();
                record.map(|record| (name, record.version))
            }
            None => None,
        };
        let name = repository.manifest(&manifest.digest)?;
        let swept = home.sweep(vec![Aged { name, ..manifest.aged.clone() }]).await?;
        if !swept.contains(&true) {
            return Ok(false);
        }
        if let Some((name, version)) = entry {
            home.remove(&name, Some(&version)).await?;
        }
        Ok(true)
    }

    async fn blobs(&mut self, repository: &Repository, needed: &Keys, all: bool) -> Result<()> {
        let (folder, mut last) = (repository.blobs(), String::new());
        loop {
            let page = self.storage.home().aged(&folder, &last, PAGE).await?;
            let more = page.more;
            let Some(end) = page.items.last().map(|aged| aged.name.clone()) else { break };
            let mut doomed = Vec::new();
            for aged in page.items {
                let Some(digest) = paths::linked(&aged.name) else { continue };
                if all && aged.stamp < self.before && !needed.contains(&digest) {
                    let name = format!("{folder}/{}", aged.name);
                    doomed.push((digest, Aged { name, ..aged }));
                } else {
                    self.live.insert(&digest);
                }
            }
            let gone = match self.dry_run || doomed.is_empty() {
                true => vec![true; doomed.len()],
                false => {
                    let names = doomed.iter().map(|(_, aged)| aged.clone()).collect();
                    self.storage.home().sweep(names).await?
                }
            };
            for ((digest, _), gone) in doomed.iter().zip(gone) {
                if gone {
                    self.report.blobs += 1;
                } else {
                    self.live.insert(digest);
                }
            }
            if !more {
                break;
            }
            last = end;
        }
        Ok(())
    }
}
