//! `conex registry gc`

use std::time::Duration;

use clap::Args;

use conex_server::gc::Report;
use conex_spec::Result;

use super::Which;
use crate::commands::size_in;
use crate::output::{Output, escape, size};

/// Remove what nobody needs from a registry: tags by the rules of its settings, uploads and blobs
///
/// A blob stays while a manifest of its repository needs it, content while a repository has it.
/// Whatever was pushed, mounted or asked for within the grace period stays. A registry may be served
/// meanwhile: then its server does it, by its own settings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex registry gc --dry-run
  conex registry gc /srv/registry --grace 0s
  conex registry gc --config registry.toml --format json
  conex registry gc s3://bucket/registry --untagged
  conex registry gc http://127.0.0.1:9000")]
pub struct Gc {
    #[command(flatten)]
    which: Which,
    /// Only tell what would be removed, and why
    #[arg(long)]
    dry_run: bool,
    /// How long ago something must have been pushed or asked for last; for a bucket that is being
    /// served at least 1h [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    grace: Option<Duration>,
    /// Remove manifests that have no tag, and are in no index and no referrer of what stays
    #[arg(long)]
    untagged: bool,
}

impl Gc {
    pub async fn run(&self, output: &Output) -> Result<()> {
        let says = self.grace.is_some() || self.untagged;
        let keeper = self.which.keeper(says, |config| {
            config.gc.grace = self.grace.unwrap_or(config.gc.grace);
            config.gc.untagged |= self.untagged;
        });
        let keeper = keeper.await?;
        let report = keeper.gc(self.dry_run).await;
        keeper.close().await;
        output.report(&report?, text)
    }
}

fn text(report: &Report) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let mut text = String::new();
    for tag in &report.removed_tags {
        let (repository, name) = (escape(&tag.repository), escape(&tag.tag));
        text += &format!("{verb} {repository}:{name}  rule {}: {}\n", tag.rule, escape(&tag.why));
    }
    for manifest in &report.removed_manifests {
        let (repository, digest) = (escape(&manifest.repository), &manifest.digest);
        text += &format!("{verb} {repository}@{digest}  untagged\n");
    }
    if report.dry_run {
        text.extend(report.digests.iter().map(|digest| format!("{verb} {digest}\n")));
    }
    for manifest in &report.unreadable {
        let (repository, digest) = (escape(&manifest.repository), &manifest.digest);
        text += &format!("warning: {repository}@{digest} cannot be read: its repository is left\n");
    }
    for (count, what) in [
        (report.tags, "tags"),
        (report.manifests, "manifests without a tag"),
        (report.uploads, "unfinished uploads"),
        (report.swept, "leftovers"),
    ] {
        if count > 0 {
            text += &format!("{verb} {count} {what}\n");
        }
    }
    let (removed, young) = (&report.removed, &report.young);
    text += &format!("{verb} {}", size_in(removed.bytes, removed.blobs));
    if young.blobs > 0 {
        text += &format!(", {} in {} are too young", size(young.bytes), young.blobs);
    }
    // The size is not known where it would have to be asked for.
    match (report.needed.bytes, report.needed.blobs) {
        (0, needed) => text += &format!(", {needed} are needed\n"),
        (bytes, needed) => text += &format!(", {} in {needed} are needed\n", size(bytes)),
    }
    text
}
