//! Leases: what a client was told is there is not collected for a while.
//!
//! A lease is the stamp of a record, which every home keeps with it, so that any process respects it,
//! also one that collects after a restart. Who is told that a blob is there (by a HEAD, a 201, a mount)
//! and who builds upon it (a manifest that is put) gives its link a new stamp. What was renewed a
//! moment ago is remembered here and not renewed again; that is all that is kept in memory.
//!
//! # Why no acknowledged manifest loses a blob
//! A collection at the moment T removes a link only if its stamp is before T less the grace, no
//! manifest that it saw needs it, and nobody renewed it since it was listed. A manifest that it did
//! not see was linked after T. Whoever put that one had looked at its children at most a renewal (a
//! quarter of the grace) before it was linked, else they are looked at once more; and their links were
//! renewed then, or at most two renewals before. So they have stamps that are young enough, or the
//! renewal came after the listing and the removal fails, or the removal came first and the child was
//! found missing. The same holds for content and the links to it. No lock is held anywhere, so it
//! holds between processes too.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use conex_spec::{Digest, Error, Kind, Result};

use super::Storage;
use super::home::{Version, When};
use crate::paths::Repository;

/// What was renewed is remembered no longer, however long the grace is: all processes of a bucket
/// can rely on it.
pub(crate) const LONGEST_RENEWAL: Duration = Duration::from_secs(900);
/// Stamps are coarser than clocks: below this nothing is remembered.
const SHORTEST_RENEWAL: Duration = Duration::from_millis(20);
/// How much is remembered, in entries of each generation.
const REMEMBERED: usize = 1 << 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Leases {
    renewal: Duration,
    hash: [RandomState; 2],
    lately: Mutex<Lately>,
}

/// Two generations of keys, each remembered for half of the time at least.
#[derive(Debug)]
struct Lately {
    young: HashSet<u128>,
    old: HashSet<u128>,
    turned: Instant,
}

impl Leases {
    pub(crate) fn new(grace: Duration) -> Self {
        let renewal = (grace / 4).min(LONGEST_RENEWAL);
        let renewal = if renewal < SHORTEST_RENEWAL { Duration::ZERO } else { renewal };
        let lately = Lately { young: HashSet::new(), old: HashSet::new(), turned: Instant::now() };
        let hash = [RandomState::new(), RandomState::new()];
        Self { renewal, hash, lately: Mutex::new(lately) }
    }

    /// Whether it is so long ago that leases which were good then may be over.
    pub(crate) fn is_over(&self, since: Instant) -> bool {
        since.elapsed() >= self.renewal
    }

    fn is_renewed(&self, name: &str) -> bool {
        let key = self.key(name);
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.turn(self.renewal);
        lately.young.contains(&key) || lately.old.contains(&key)
    }

    /// Remembers what was renewed since a moment.
    fn remember(&self, name: &str, since: Instant) {
        if since.elapsed() >= self.renewal / 2 {
            return;
        }
        let key = self.key(name);
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.turn(self.renewal);
        lately.young.insert(key);
    }

    fn key(&self, name: &str) -> u128 {
        let half = |at: usize| {
            let mut hasher = self.hash[at].build_hasher();
            name.hash(&mut hasher);
            std::hash::Hasher::finish(&hasher)
        };
        u128::from(half(0)) << 64 | u128::from(half(1))
    }
}

impl Lately {
    fn turn(&mut self, renewal: Duration) {
        let age = self.turned.elapsed();
        if age < renewal / 2 && self.young.len() < REMEMBERED {
            return;
        }
        let young = std::mem::take(&mut self.young);
        // Where nobody asked for long, all of it is too old.
        self.old = if age < renewal { young } else { HashSet::new() };
        self.turned = Instant::now();
    }
}

impl Storage {
    /// Renews the leases of links, and tells which are there. To be called before one looks at what
    /// they lead to.
    pub(crate) async fn renew(&self, links: &[String]) -> Result<Vec<bool>> {
        let mut there: Vec<_> = links.iter().map(|link| self.leases.is_renewed(link)).collect();
        let old = || links.iter().zip(&there).filter(|(_, lately)| !**lately);
        let asked: Vec<_> = old().map(|(link, _)| link.clone()).collect();
        if asked.is_empty() {
            return Ok(there);
        }
        let since = Instant::now();
        let mut versions = self.home().renew(asked).await?.into_iter();
        for (link, there) in links.iter().zip(&mut there).filter(|(_, there)| !**there) {
            *there = versions.next().flatten().is_some();
            if *there {
                self.leases.remember(link, since);
            }
        }
        Ok(there)
    }

    /// Renews the lease of one link, and tells its version then. Without `lately`, which is the
    /// version that was just read, it is renewed in any case.
    pub(crate) async fn renew_link(
        &self,
        link: &str,
        lately: Option<Version>,
    ) -> Result<Option<Version>> {
        if let Some(version) = lately.filter(|_| self.leases.is_renewed(link)) {
            return Ok(Some(version));
        }
        let since = Instant::now();
        let version = self.home().renew(vec![link.to_owned()]).await?.pop().flatten();
        if version.is_some() {
            self.leases.remember(link, since);
        }
        Ok(version)
    }

    /// Renews the lease of a repository's blob, if it is there.
    pub(crate) async fn renew_blob(&self, repository: &Repository, digest: &Digest) -> Result<()> {
        if digest.algorithm().is_ok() {
            self.renew(&[repository.blob(digest)?]).await?;
        }
        Ok(())
    }

    /// A link that was written since a moment needs no renewal.
    pub(crate) fn leased(&self, link: &str, since: Instant) {
        self.leases.remember(link, since);
    }

    /// Makes content that is there a blob of a repository. Returns whether it did.
    pub(crate) async fn link_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool> {
        let since = Instant::now();
        if !self.home().hold(digest).await? {
            return Ok(false);
        }
        self.home().enrol(repository).await?;
        let link = repository.blob(digest)?;
        self.home().write(&link, Bytes::new(), When::Always).await?;
        self.leased(&link, since);
        Ok(!self.leases.is_over(since) || self.home().hold(digest).await?)
    }

    /// Whether leases that were good at a moment may be over.
    pub(crate) fn is_over(&self, since: Instant) -> bool {
        self.leases.is_over(since)
    }

    /// To be called after content was linked: fails where that took so long that the content may
    /// have been collected before, and was.
    pub(crate) async fn confirm(&self, digest: &Digest, since: Instant) -> Result<()> {
        if !self.leases.is_over(since) || self.home().hold(digest).await? {
            return Ok(());
        }
        let message = format!("{} was collected before it was linked", digest.short());
        Err(Error::new(Kind::Network, message).hint("push it again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_renewed_is_remembered_for_a_while() {
        let leases = Leases::new(Duration::from_secs(3600));
        assert_eq!(leases.renewal, LONGEST_RENEWAL);
        assert!(!leases.is_renewed("a"));
        leases.remember("a", Instant::now());
        assert!(leases.is_renewed("a") && !leases.is_renewed("b"));
        let back = |seconds| {
            leases.lately.lock().unwrap().turned =
                Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        };
        back(500);
        assert!(leases.is_renewed("a"));
        back(500);
        assert!(!leases.is_renewed("a"));
        leases.remember("a", Instant::now());
        back(1000);
        assert!(!leases.is_renewed("a"));
    }

    #[test]
    fn without_grace_nothing_is_remembered() {
        for grace in [Duration::ZERO, Duration::from_millis(50)] {
            let leases = Leases::new(grace);
            leases.remember("a", Instant::now());
            assert!(!leases.is_renewed("a") && leases.is_over(Instant::now()));
        }
    }
}
