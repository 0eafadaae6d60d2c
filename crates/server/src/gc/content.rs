//! What no repository has any more.

use conex_spec::{Digest, Result};
use futures_util::{StreamExt, stream};

use super::Collection;
use super::report::note;
use crate::storage::home::{Surveyed, Wanted};

/// Content that is listed, and removed, at once.
const PAGE: usize = 2000;
const AT_ONCE: usize = 16;

impl Collection<'_> {
    pub(super) async fn content(&mut self) -> Result<()> {
        let mut last: Option<Digest> = None;
        loop {
            let page = self.storage.home().survey(last.as_ref(), PAGE).await?;
            let more = page.more;
            let Some(end) = page.items.last().map(|item| item.digest.clone()) else { break };
            let mut doomed = Vec::new();
            for item in page.items {
                if self.live.contains(&item.digest) {
                    self.report.needed.add(item.size.unwrap_or_default());
                } else if item.stamp >= self.before {
                    self.report.young.add(item.size.unwrap_or_default());
                } else {
                    doomed.push(item);
                }
            }
            let removing: Vec<_> = doomed.iter().map(|item| self.forget(item)).collect();
            let gone: Vec<_> = stream::iter(removing).buffered(AT_ONCE).collect().await;
            for (item, gone) in doomed.into_iter().zip(gone) {
                if let Some(size) = gone? {
                    self.report.removed.add(size);
                    note(&mut self.report.digests, item.digest);
                }
            }
            if !more {
                break;
            }
            last = Some(end);
        }
        if !self.dry_run {
            self.report.swept = self.storage.home().tidy(self.before).await?;
        }
        Ok(())
    }

    /// How many bytes went; nothing where someone wants them again.
    async fn forget(&self, item: &Surveyed) -> Result<Option<u64>> {
        let home = self.storage.home();
        let size = match item.size {
            Some(size) => size,
            None => {
                let links = Vec::new();
                let wanted = Wanted { digest: item.digest.clone(), links, bytes: false };
                let found = home.look(vec![wanted]).await?.pop().flatten();
                found.map_or(0, |content| content.size)
            }
        };
        let gone = self.dry_run || home.forget(item).await?;
        Ok(gone.then_some(size))
    }
}
