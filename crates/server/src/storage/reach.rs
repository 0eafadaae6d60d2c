//! Which tags need some content.

use std::collections::HashSet;

use conex_spec::{Digest, MediaType, Result, Tag};

use super::Storage;
use super::home::{Content, Wanted};
use super::manifests::{links, tagged};
use crate::inspect::{Inspected, Under};
use crate::paths::Repository;

/// Manifests that are read at once.
const BATCH: usize = 64;

/// Content that is to be looked at, and the tag, counted from 0, that leads there.
type Reached = (Digest, usize);

impl Storage {
    /// Whether a repository has something, whole or not.
    pub(crate) async fn has(
        &self,
        repository: &Repository,
        digest: &Digest,
        under: Under,
    ) -> Result<bool> {
        if digest.algorithm().is_err() {
            return Ok(false);
        }
        let there = self.home().present(links(repository, digest, under)?).await?;
        Ok(there.contains(&true))
    }

    /// One of the tags with such a name that cannot be without some content: it stands for it, or
    /// for a manifest that has it somewhere below itself. What refers to a manifest is not below it.
    /// A manifest that is there and cannot be read may need anything.
    pub(crate) async fn needed_by(
        &self,
        repository: &Repository,
        digest: &Digest,
        named: impl Fn(&str) -> bool,
    ) -> Result<Option<Tag>> {
        let tags = self.tags_that(repository, named, |_| true).await?;
        let named = |at: usize| tags[at].0.rsplit('/').next().map(Tag::registry).transpose();
        // Each is looked at once, however many ways lead to it (rule J6).
        let (mut left, mut seen) = (Vec::new(), HashSet::new());
        for (at, (name, record)) in tags.iter().enumerate() {
            let tagged = tagged(name, Some(record.clone()))?;
            let new = tagged.filter(|tagged| seen.insert(tagged.digest.clone()));
            left.extend(new.map(|tagged| (tagged.digest, at)));
        }
        if let Some((_, at)) = left.iter().find(|(root, _)| root == digest) {
            return named(*at);
        }
        while !left.is_empty() {
            let batch = left.split_off(left.len().saturating_sub(BATCH));
            let contents = self.manifests(repository, &batch).await?;
            for ((manifest, at), content) in batch.into_iter().zip(contents) {
                let Some(content) = content else {
                    if self.has(repository, &manifest, Under::Manifests).await? {
                        return named(at);
                    }
                    continue;
                };
                let Some(needs) = needs(content).await? else { return named(at) };
                if needs.iter().any(|(needed, _)| needed == digest) {
                    return named(at);
                }
                let below = needs.into_iter().filter(|(_, under)| *under != Under::Blobs);
                let new = below.filter(|(needed, _)| seen.insert(needed.clone()));
                left.extend(new.map(|(needed, _)| (needed, at)));
            }
        }
        Ok(None)
    }

    async fn manifests(
        &self,
        repository: &Repository,
        batch: &[Reached],
    ) -> Result<Vec<Option<Content>>> {
        let verifiable = |(digest, _): &&Reached| digest.algorithm().is_ok();
        let wanted = |(digest, _): &Reached| -> Result<Wanted> {
            let links = links(repository, digest, Under::Manifests)?;
            Ok(Wanted { digest: digest.clone(), links, bytes: true })
        };
        let wanted = batch.iter().filter(verifiable).map(wanted).collect::<Result<_>>()?;
        let mut found = self.home().look(wanted).await?.into_iter();
        let content = |of: &Reached| if verifiable(&of) { found.next().flatten() } else { None };
        Ok(batch.iter().map(content).collect())
    }
}

/// What a manifest needs; nothing where it cannot be understood.
async fn needs(content: Content) -> Result<Option<Vec<(Digest, Under)>>> {
    let media_type = std::str::from_utf8(&content.link).ok().map(MediaType::new);
    let bytes = content.whole(conex_spec::document::LIMIT).await?;
    let inspected = Inspected::parse(&bytes, media_type).ok();
    Ok(inspected.and_then(|inspected| inspected.needs(&bytes)))
}
