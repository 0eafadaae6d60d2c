//! How much repositories hold, and may hold.
//!
//! The truth is the storage: what a quota counts is found by going through the links of its
//! repositories, each content once, and from then on by adding what is pushed. Whatever takes away,
//! here, in another process or by hand, is found by counting again, which happens before anything
//! is refused. So nothing has to be kept, and nothing can drift.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use conex_spec::{Algorithm, Digest, Result};
use http::StatusCode;
use tokio::time::Instant;

use crate::failure::{Code, Failure};
use crate::paths::Repository;
use crate::policy::Quota;
use crate::storage::home::{Home, Wanted};

/// Names and content that are looked at in one go.
const NAMES: usize = 10_000;
const BATCH: usize = 500;
/// Counting again takes at most one part in so many of the time.
const SHARE: u32 = 10;
/// After this long what other processes pushed is counted.
const OTHERS: Duration = Duration::from_secs(60);

/// All quotas of a registry.
#[derive(Debug)]
pub(crate) struct Quotas(Vec<Budget>);

/// One quota and what is known of it.
#[derive(Debug)]
struct Budget {
    quota: Quota,
    counted: tokio::sync::Mutex<Option<Counted>>,
    /// What is being pushed, and so may not be found by who counts: sizes, and by how many.
    pending: Mutex<HashMap<u64, (u64, usize)>>,
    /// Something was taken away since the last count.
    stale: AtomicBool,
    /// Digests are remembered as 64 bits that nobody outside can foresee.
    hash: RandomState,
}

#[derive(Debug)]
struct Counted {
    known: HashSet<u64>,
    used: u64,
    at: Instant,
    took: Duration,
}

/// How much may still come, by the tightest quota.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    left: u64,
    quota: Option<&'a Quota>,
}

/// Content that is counted and is about to be there. Dropped once it is, or will not be.
#[derive(Debug)]
#[must_use]
pub(crate) struct Charge<'a>(Vec<(&'a Budget, u64)>);

impl Quotas {
    pub(crate) fn new(quotas: &[Quota]) -> Self {
        let budget = |quota: &Quota| Budget {
            quota: quota.clone(),
            counted: tokio::sync::Mutex::default(),
            pending: Mutex::default(),
            stale: AtomicBool::new(false),
            hash: RandomState::new(),
        };
        Self(quotas.iter().map(budget).collect())
    }

    /// How much a repository may still take, where so many bytes are known to come.
    pub(crate) async fn room(
        &self,
        home: &dyn Home,
        repository: &Repository,
        coming: u64,
    ) -> Result<Room<'_>, Failure> {
        let mut room = Room { left: u64::MAX, quota: None };
        for budget in self.of(repository) {
            let left = budget.left(home, coming).await?;
            if left < room.left {
                room = Room { left, quota: Some(&budget.quota) };
            }
        }
        room.check(coming.max(1))?;
        Ok(room)
    }

    /// Counts content that a repository is about to have; refuses it where there is no room.
    pub(crate) async fn charge(
        &self,
        home: &dyn Home,
        repository: &Repository,
        digest: &Digest,
        size: u64,
    ) -> Result<Charge<'_>, Failure> {
        let mut charge = Charge(Vec::new());
        for budget in self.of(repository) {
            let key = budget.take(home, digest, size).await?;
            charge.0.push((budget, key));
        }
        Ok(charge)
    }

    /// Something of a repository was deleted.
    pub(crate) fn freed(&self, repository: &Repository) {
        for budget in self.of(repository) {
            budget.stale.store(true, Ordering::Relaxed);
        }
    }

    fn of(&self, repository: &Repository) -> impl Iterator<Item = &Budget> {
        self.0.iter().filter(|budget| budget.quota.covers(repository.as_str()))
    }
}

impl Room<'_> {
    /// Refuses more than there is room for.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), Failure> {
        match self.quota.filter(|_| bytes > self.left) {
            Some(quota) => Err(exceeded(quota, self.left)),
            None => Ok(()),
        }
    }
}

impl Budget {
    async fn left(&self, home: &dyn Home, coming: u64) -> Result<u64> {
        let mut guard = self.counted.lock().await;
        let counted = self.current(&mut guard, home).await?;
        let all = counted.used.saturating_add(coming.max(1));
        let tight = all > self.quota.bytes() || self.stale.load(Ordering::Relaxed);
        if tight && self.worth_counting(counted) {
            *counted = self.count(home).await?;
        }
        Ok(self.quota.bytes().saturating_sub(counted.used))
    }

    async fn take(&self, home: &dyn Home, digest: &Digest, size: u64) -> Result<u64, Failure> {
        let key = self.hash.hash_one(digest);
        let mut guard = self.counted.lock().await;
        let counted = self.current(&mut guard, home).await?;
        let fits = |counted: &Counted| {
            let all = counted.used.saturating_add(size);
            counted.known.contains(&key) || all <= self.quota.bytes()
        };
        if !fits(counted) && self.worth_counting(counted) {
            *counted = self.count(home).await?;
        }
        if !fits(counted) {
            return Err(exceeded(&self.quota, self.quota.bytes().saturating_sub(counted.used)));
        }
        if counted.known.insert(key) {
            counted.used = counted.used.saturating_add(size);
        }
        self.pending().entry(key).or_insert((size, 0)).1 += 1;
        Ok(key)
    }

    /// The last count; a new one where there is none, or where others may have added much.
    async fn current<'a>(
        &self,
        guard: &'a mut Option<Counted>,
        home: &dyn Home,
    ) -> Result<&'a mut Counted> {
        let old = guard.as_ref().is_some_and(|counted| counted.at.elapsed() > OTHERS);
        match guard.take().filter(|_| !(old && home.is_shared())) {
            Some(counted) => Ok(guard.insert(counted)),
            None => Ok(guard.insert(self.count(home).await?)),
        }
    }

    fn worth_counting(&self, counted: &Counted) -> bool {
        self.stale.load(Ordering::Relaxed) || counted.at.elapsed() > counted.took * SHARE
    }

    /// Goes through all that the repositories have.
    async fn count(&self, home: &dyn Home) -> Result<Counted> {
        let start = Instant::now();
        self.stale.store(false, Ordering::Relaxed);
        // First, since what is settled meanwhile is found below.
        let pending: Vec<_> = self.pending().iter().map(|(key, (size, _))| (*key, *size)).collect();
        let mut count = Count { budget: self, home, known: HashSet::new(), used: 0 };
        let prefix = self.quota.prefix();
        if let Ok(repository) = prefix.parse::<Repository>() {
            count.repository(&repository).await?;
        }
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let mut last = below.clone();
        loop {
            let page = home.repositories(&last, NAMES).await?;
            for name in page.items.iter().take_while(|name| name.starts_with(&below)) {
                count.repository(&name.parse()?).await?;
            }
            match page.items.last().filter(|name| page.more && name.starts_with(&below)) {
                Some(name) => last.clone_from(name),
                None => break,
            }
        }
        let Count { mut known, mut used, .. } = count;
        used +=
            pending.iter().filter(|(key, _)| known.insert(*key)).map(|(_, size)| size).sum::<u64>();
        Ok(Counted { known, used, at: Instant::now(), took: start.elapsed() })
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (u64, usize)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A count underway.
struct Count<'a> {
    budget: &'a Budget,
    home: &'a dyn Home,
    known: HashSet<u64>,
    used: u64,
}

impl Count<'_> {
    async fn repository(&mut self, repository: &Repository) -> Result<()> {
        for folder in [repository.blobs(), repository.manifests()] {
            for algorithm in Algorithm::ALL {
                self.folder(&format!("{folder}/{algorithm}"), algorithm).await?;
            }
        }
        Ok(())
    }

    async fn folder(&mut self, folder: &str, algorithm: Algorithm) -> Result<()> {
        let mut last = String::new();
        loop {
            let page = self.home.list(folder, &last, NAMES).await?;
            let digests = page.items.iter().map(|name| format!("{algorithm}:{name}").parse());
            // What is no digest is none of ours.
            let digests: Vec<Digest> = digests.filter_map(Result::ok).collect();
            for batch in digests.chunks(BATCH) {
                self.content(batch).await?;
            }
            match page.items.last().filter(|_| page.more) {
                Some(name) => last.clone_from(name),
                None => return Ok(()),
            }
        }
    }

    async fn content(&mut self, digests: &[Digest]) -> Result<()> {
        let new =
            digests.iter().filter(|digest| self.known.insert(self.budget.hash.hash_one(digest)));
        let wanted =
            |digest: &Digest| Wanted { digest: digest.clone(), links: Vec::new(), bytes: false };
        let wanted: Vec<_> = new.map(wanted).collect();
        let found = self.home.look(wanted).await?;
        self.used += found.iter().flatten().map(|content| content.size).sum::<u64>();
        Ok(())
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        for (budget, key) in &self.0 {
            let mut pending = budget.pending();
            if let Some((_, count)) = pending.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    pending.remove(key);
                }
            }
            // Whether it came about is only known to who counts.
        }
    }
}

/// Of the codes that the specification has, others use DENIED for this as well, and clients print
/// its message.
fn exceeded(quota: &Quota, left: u64) -> Failure {
    let whose = match quota.prefix() {
        "" => "this registry".to_owned(),
        prefix => prefix.to_owned(),
    };
    Code::Denied
        .says(format!(
            "the quota of {whose} is used up (at most {} bytes, {left} left)",
            quota.bytes()
        ))
        .status(StatusCode::FORBIDDEN)
        .detail(serde_json::json!({ "quota": quota.bytes(), "left": left }))
}
