//! `conex gc`

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;

use conex_ops::Context;
use conex_ops::gc::{Options, Report, gc};
use conex_ops::open::Keep;
use conex_spec::Result;

use crate::args::typed;
use crate::environment;
use crate::output::{Output, size};

/// Remove content that no image needs, from the local store or a layout
#[derive(Debug, Args)]
#[command(after_help = "\
Content that came within the grace period stays, since its name may be still to come. While
another conex uses the place, nothing is removed.

Examples:
  conex gc
  conex gc --dry-run
  conex gc oci:./mirror --grace 0s")]
pub struct Gc {
    /// `store:` or `oci:DIR`
    #[arg(value_parser = typed::<Keep>, default_value = "store:")]
    place: Keep,
    /// How old content must be
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "24h")]
    grace: Duration,
    /// How long to wait until no other conex uses the place
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    wait: Duration,
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let options = Options {
            before: self.before(),
            dry_run: self.dry_run,
            patience: u32::try_from(self.wait.as_millis() / 10).unwrap_or(u32::MAX),
        };
        let collection = context.keep(&self.place)?;
        output.report(&gc(collection, options).await?, text)
    }

    /// The end of the time whose content may go; without grace all of it may, whatever the clock says.
    fn before(&self) -> i64 {
        if self.grace.is_zero() {
            return i64::MAX;
        }
        let now = environment::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.saturating_sub(self.grace).as_secs()).unwrap_or(i64::MAX)
    }
}

fn text(report: &Report) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let mut text = String::new();
    if report.dry_run {
        text.extend(report.digests.iter().map(|digest| format!("{digest}\n")));
    }
    let removed = &report.removed;
    text += &format!("{verb} {}", super::size_in(removed.bytes, removed.blobs));
    if report.young.blobs > 0 {
        let young = &report.young;
        text += &format!(", {} in {} are too young", size(young.bytes), young.blobs);
    }
    let needed = &report.needed;
    text += &format!(", {} in {} are needed\n", size(needed.bytes), needed.blobs);
    if report.swept > 0 {
        text += &format!("swept {} unfinished files\n", report.swept);
    }
    text
}
