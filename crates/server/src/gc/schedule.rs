//! When a server collects: by itself every so often, and when its operator says so.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use conex_spec::Result;
use tokio::time::sleep;

use super::{Collection, Report, nanoseconds};
use crate::app::App;
use crate::config::Place;

/// How often a server looks at least whether it is time.
const LOOK: Duration = Duration::from_secs(600);

impl App {
    /// Collects everything once. One collection of this process at a time.
    pub(crate) async fn collect(&self, dry_run: bool) -> Result<Report> {
        let _alone = self.collecting.lock().await;
        let rules = (&self.config.gc, &self.config.policies);
        Collection::run(&self.storage, &self.uploads, rules, dry_run).await
    }

    /// Whether the last collection, also of another process, is long enough ago.
    async fn is_due(&self, interval: Duration) -> Result<bool> {
        let home = self.storage.home();
        let now = home.now().await?;
        let passed = home.last().await?.map(|last| now.saturating_sub(last));
        // The clock may have been put back.
        Ok(passed.is_none_or(|passed| passed < 0 || passed >= nanoseconds(interval)))
    }
}

/// Collects until it is dropped.
pub(crate) async fn serve(app: Arc<App>) -> Infallible {
    let config = &app.config;
    let collectable = !config.read_only && !matches!(config.storage, Place::Layout { .. });
    let Some(interval) = config.gc.interval.filter(|_| collectable) else { return pending().await };
    loop {
        sleep(interval.min(LOOK)).await;
        let told = match app.is_due(interval).await {
            Ok(false) => continue,
            Ok(true) => app.collect(false).await,
            Err(err) => Err(err),
        };
        match told {
            Ok(report) => {
                if let Some(text) = notice(&report) {
                    app.log.notice(&text);
                }
            }
            Err(err) => app.log.notice(&format!("nothing was collected: {err}")),
        }
    }
}

/// What the operator should know of it.
fn notice(report: &Report) -> Option<String> {
    let mut text = String::new();
    let removed = &report.removed;
    for (count, what) in [
        (report.tags, "tags"),
        (report.manifests, "manifests without a tag"),
        (removed.blobs, "blobs"),
        (report.uploads, "uploads"),
    ] {
        if count > 0 {
            let start = if text.is_empty() { "collected" } else { "," };
            // Nothing fails while a text is written into memory.
            let _ = write!(text, "{start} {count} {what}");
        }
    }
    if removed.blobs > 0 {
        let _ = write!(text, ", {} bytes", removed.bytes);
    }
    if let Some(first) = report.unreadable.first() {
        let (count, repository) = (report.unreadable.len(), &first.repository);
        let start = if text.is_empty() { "" } else { "; " };
        let digest = &first.digest;
        let _ = write!(
            text,
            "{start}{count} manifests cannot be read, so nothing of their repositories is collected, the first {digest} in {repository}"
        );
    }
    (!text.is_empty()).then_some(text)
}
