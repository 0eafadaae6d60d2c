//! Rules of which tags stay.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use conex_spec::{Digest, Glob, Result, Tag};

use super::Collection;
use super::report::{Removed, note};
use crate::paths::Repository;
use crate::storage::home::{Aged, Stamp};

/// Tags that are read at once.
const BATCH: usize = 500;

/// A rule. A tag of which it decides stays if it is one of the newest, or young; without either
/// measure all of them stay.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// The repositories that it is about.
    pub repositories: Vec<Glob>,
    /// The tags there; without any, all.
    pub tags: Vec<Glob>,
    /// How many of these tags stay: those that were put last.
    pub keep_newest: Option<usize>,
    /// How long after it was put last a tag stays.
    pub younger_than: Option<Duration>,
    /// Whether manifests without a tag go from these repositories; without it, what is set for all.
    pub untagged: Option<bool>,
}

/// A tag of a repository.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) tag: String,
    pub(super) digest: Option<Digest>,
    aged: Aged,
}

impl Retention {
    fn names(&self, repository: &Repository) -> bool {
        self.repositories.iter().any(|glob| glob.fits(repository.as_str()))
    }

    fn decides(&self, tag: &str) -> bool {
        self.tags.is_empty() || self.tags.iter().any(|glob| glob.fits(tag))
    }

    /// Why a tag does not stay; nothing where it does. `rank` counts from 0, the newest first.
    fn refuses(&self, rank: usize, stamp: Stamp, now: Stamp) -> Option<String> {
        let age = now.saturating_sub(stamp);
        let newest = self.keep_newest.map(|count| rank < count);
        let young = self.younger_than.map(|time| age <= super::nanoseconds(time));
        match (newest, young) {
            (None, None) | (Some(true), _) | (_, Some(true)) => None,
            (Some(false), None) => Some(format!("{rank} are newer")),
            (newest, Some(false)) => {
                let old = format!("it is {} old", in_words(age));
                Some(newest.map_or(old.clone(), |_| format!("{old}, and {rank} are newer")))
            }
        }
    }
}

impl Collection<'_> {
    /// Whether manifests without a tag go from a repository.
    pub(super) fn removes_untagged(&self, repository: &Repository) -> bool {
        let rules = self.gc.retention.iter().filter(|rule| rule.names(repository));
        rules.filter_map(|rule| rule.untagged).next().unwrap_or(self.gc.untagged)
    }

    /// Removes the tags of a repository that no rule keeps. Returns those that stay, if anyone needs
    /// to know them.
    pub(super) async fn retain(&mut self, repository: &Repository) -> Result<Vec<Found>> {
        let named = self.gc.retention.iter().any(|rule| rule.names(repository));
        if !named && !self.removes_untagged(repository) {
            return Ok(Vec::new());
        }
        let tags = self.tags(repository).await?;
        let reasons = self.judge(repository, &tags);
        let mut doomed: Vec<_> = tags.iter().filter(|tag| reasons.contains_key(&tag.tag)).collect();
        let gone = if self.dry_run || doomed.is_empty() {
            vec![true; doomed.len()]
        } else {
            let folder = repository.tags();
            let name = |tag: &&Found| {
                let name = format!("{folder}/{}", tag.aged.name);
                Aged { name, ..tag.aged.clone() }
            };
            let changing = self.storage.change(repository).await;
            let swept = self.storage.home().sweep(doomed.iter().map(name).collect()).await?;
            drop(changing);
            // A tag must not come back to a manifest that is gone.
            self.storage.home().settle().await?;
            swept
        };
        let mut gone = gone.into_iter();
        doomed.retain(|_| gone.next().unwrap_or_default());
        for tag in &doomed {
            let Some((rule, why)) = reasons.get(&tag.tag).cloned() else { continue };
            self.report.tags += 1;
            let (repository, digest) = (repository.to_string(), tag.digest.clone());
            let tag = tag.tag.clone();
            note(&mut self.report.removed_tags, Removed { repository, tag, digest, rule, why });
        }
        let doomed: Vec<String> = doomed.iter().map(|tag| tag.tag.clone()).collect();
        Ok(tags.into_iter().filter(|tag| !doomed.contains(&tag.tag)).collect())
    }

    /// Which tags go: the number of the rule, counted from 1, and why.
    fn judge(&self, repository: &Repository, tags: &[Found]) -> HashMap<String, (usize, String)> {
        let mut by_age: Vec<_> = tags.iter().collect();
        by_age.sort_by_key(|tag| (Reverse(tag.aged.stamp), &tag.tag));
        let mut ranks = vec![0; self.gc.retention.len()];
        let mut reasons = HashMap::new();
        for tag in by_age {
            // What nobody may delete, no rule removes.
            if self.policies.keeps(repository.as_str(), &tag.tag) {
                continue;
            }
            let mut rules = self.gc.retention.iter().enumerate();
            let decides = |rule: &Retention| rule.names(repository) && rule.decides(&tag.tag);
            let Some((number, rule)) = rules.find(|(_, rule)| decides(rule)) else { continue };
            let rank = ranks[number];
            ranks[number] += 1;
            if let Some(why) = rule.refuses(rank, tag.aged.stamp, self.now) {
                reasons.insert(tag.tag.clone(), (number + 1, why));
            }
        }
        reasons
    }

    async fn tags(&self, repository: &Repository) -> Result<Vec<Found>> {
        let (folder, mut last, mut found) = (repository.tags(), String::new(), Vec::new());
        loop {
            let page = self.storage.home().aged(&folder, &last, BATCH).await?;
            let names = page.items.iter().map(|aged| format!("{folder}/{}", aged.name)).collect();
            let records = self.storage.home().read(names).await?;
            for (aged, record) in page.items.into_iter().zip(records) {
                last.clone_from(&aged.name);
                let text = record.and_then(|record| String::from_utf8(record.bytes.to_vec()).ok());
                let digest = text.and_then(|text| text.parse().ok());
                // What is no tag was not made by us.
                if let Ok(tag) = Tag::registry(&aged.name) {
                    found.push(Found { tag: tag.as_str().to_owned(), digest, aged });
                }
            }
            if !page.more {
                return Ok(found);
            }
        }
    }
}

/// A time in its largest unit.
fn in_words(age: Stamp) -> String {
    let seconds = age / 1_000_000_000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_stays_that_is_new_or_young() {
        let day = 86_400 * 1_000_000_000;
        let rule = |keep_newest, days: Option<u64>| Retention {
            keep_newest,
            younger_than: days.map(|days| Duration::from_secs(days * 86_400)),
            ..Retention::default()
        };
        for (rule, rank, age, why) in [
            (rule(None, None), 9, 9, None),
            (rule(Some(2), None), 1, 9, None),
            (rule(Some(2), None), 2, 0, Some("2 are newer")),
            (rule(None, Some(7)), 0, 7, None),
            (rule(None, Some(7)), 0, 8, Some("it is 8 days old")),
            (rule(Some(2), Some(7)), 1, 8, None),
            (rule(Some(2), Some(7)), 5, 7, None),
            (rule(Some(2), Some(7)), 5, 8, Some("it is 8 days old, and 5 are newer")),
            (rule(Some(0), None), 0, 0, Some("0 are newer")),
        ] {
            assert_eq!(rule.refuses(rank, 100 * day, (100 + age) * day).as_deref(), why);
        }
    }
}
