//! Collecting what nobody needs, while the registry serves.
//!
//! | step | what goes |
//! |---|---|
//! | `retention` | tags that the rules do not keep |
//! | `repository` | where that is wanted, manifests without a tag; then blobs that no manifest of their repository needs |
//! | `content` | what no repository has any more |
//! | `uploads` | uploads that nobody goes on with |
//!
//! What is needed: every tag and, unless untagged manifests are to go, every manifest; all that these
//! list; and referrers of what is needed. A referrer keeps no subject (image-spec, manifest.md,
//! "`subject`", is a weak link).
//!
//! Nothing goes that came, or that a client was told of, within the grace period. Why that holds
//! whatever happens meanwhile stands in `storage/leases`; each step removes only what was not touched
//! since it was listed, so that pushes never wait for a collection. What a step removed is durable
//! before the next one begins, so that a power cut brings nothing back without what it needs.
//!
//! A manifest that cannot be read may need anything: then nothing of its repository goes.

mod content;
pub(crate) mod control;
mod keeper;
mod keys;
mod mending;
mod report;
mod repository;
mod retention;
pub(crate) mod schedule;
pub(crate) mod scrub;
mod uploads;
pub(crate) mod usage;

use std::time::Duration;

use conex_spec::Result;

pub use self::keeper::Keeper;
pub(crate) use self::mending::Damage;
pub use self::report::{Count, Removed, Report, Untagged};
pub use self::retention::Retention;
pub use self::scrub::{Fault, Scrub};
pub use self::usage::{Share, Usage};

use self::keys::Keys;
use crate::paths::Repository;
use crate::policy::Policies;
use crate::storage::Storage;
use crate::storage::home::Stamp;
use crate::uploads::Uploads;

/// Repositories that are listed at once.
const PAGE: usize = 1000;

/// What is collected, and when.
#[derive(Clone, Debug)]
pub struct Gc {
    /// How often; never where there is none.
    pub interval: Option<Duration>,
    /// How long whatever came or was asked for stays in any case. The same in all processes of a
    /// bucket, or at least an hour.
    pub grace: Duration,
    /// Whether manifests go that have no tag, and are in no index and no referrer of what stays.
    pub untagged: bool,
    /// How long an upload stays that nobody goes on with.
    pub uploads: Duration,
    /// Which tags stay. The first rule that names repository and tag decides.
    pub retention: Vec<Retention>,
}

impl Default for Gc {
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        let retention = Vec::new();
        Self { interval: Some(day), grace: day, untagged: false, uploads: day, retention }
    }
}

impl Gc {
    /// Whether manifests may go that nobody deleted.
    pub(crate) fn removes_manifests(&self) -> bool {
        self.untagged || self.retention.iter().any(|rule| rule.untagged == Some(true))
    }
}

/// One collection.
pub(crate) struct Collection<'a> {
    storage: &'a Storage,
    gc: &'a Gc,
    policies: &'a Policies,
    /// Only tell what would go.
    dry_run: bool,
    /// When it began.
    now: Stamp,
    /// What has a later stamp stays.
    before: Stamp,
    /// Content that repositories have.
    live: Keys,
    report: Report,
}

impl<'a> Collection<'a> {
    /// Collects everything once.
    ///
    /// # Errors
    /// Those of the storage; `Unsupported` where nothing is collected there.
    pub(crate) async fn run(
        storage: &'a Storage,
        uploads: &Uploads,
        (gc, policies): (&'a Gc, &'a Policies),
        dry_run: bool,
    ) -> Result<Report> {
        let now = storage.home().now().await?;
        if !dry_run {
            storage.home().begin_collection().await?;
        }
        let before = storage.before(now, gc.grace);
        let report = Report { dry_run, ..Report::default() };
        let live = Keys::default();
        let mut collection = Self { storage, gc, policies, dry_run, now, before, live, report };
        let mut last = String::new();
        loop {
            let page = storage.home().repositories(&last, PAGE).await?;
            for name in &page.items {
                collection.repository(&name.parse::<Repository>()?).await?;
            }
            match page.items.last().filter(|_| page.more) {
                Some(name) => last.clone_from(name),
                None => break,
            }
        }
        if !dry_run {
            storage.home().settle().await?;
        }
        collection.content().await?;
        collection.uploads(uploads).await?;
        Ok(collection.report)
    }

    /// A moment so long before this collection.
    fn ago(&self, time: Duration) -> Stamp {
        self.now.saturating_sub(nanoseconds(time))
    }
}

impl Storage {
    /// The moment before which all is old enough. Where the clock of the storage has leapt ahead
    /// since this process began, nothing grew old by that.
    fn before(&self, now: Stamp, grace: Duration) -> Stamp {
        let (then, began) = *self.began.get_or_init(|| (now, std::time::Instant::now()));
        let leap = now.saturating_sub(then).saturating_sub(nanoseconds(began.elapsed()));
        now.saturating_sub(nanoseconds(grace)).saturating_sub(leap.max(0))
    }
}

fn nanoseconds(time: Duration) -> Stamp {
    Stamp::try_from(time.as_nanos()).unwrap_or(Stamp::MAX)
}

#[cfg(test)]
mod tests;
