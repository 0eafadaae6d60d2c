//! `conex charts`

use clap::Args;

use conex_ops::Context;
use conex_ops::helm::versions::{Row, Wanted, versions};
use conex_spec::{Location, Result};

use crate::args::typed;
use crate::output::{Output, escape};

/// List the versions of a Helm chart in a repository or a layout, the newest first
///
/// Tags that are no versions are passed over, and so is what is no chart. `_` in a tag stands for the `+`
/// of its version, as Helm has it.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
#[command(after_help = "\
Examples:
  conex charts registry.example/charts/wordpress
  conex charts --version '^1.2' registry.example/charts/wordpress
  conex charts --version '>=1 <2' --limit 1 --format '{{.tag}}' oci:./charts
  conex charts --releases oci:./charts --format json

Ranges are Helm's: `^1.2`, `~1.2.3`, `>=1 <2`, `1.x`, `1.2 - 1.4`, joined by `||`. They mean prereleases only
where they name one: `>=1.2-0`.")]
pub struct Charts {
    /// REGISTRY/REPOSITORY, oci:DIR, oci-archive:FILE or store:NAME
    #[arg(value_parser = typed::<Location>, value_name = "LOCATION")]
    place: Location,
    /// List only one version, or those in a range
    #[arg(long, value_name = "RANGE", value_parser = typed::<Wanted>, conflicts_with = "releases")]
    version: Option<Wanted>,
    /// List no prereleases
    #[arg(long)]
    releases: bool,
    /// List at most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Charts {
    pub async fn run(&self, context: &Context, jobs: usize, output: &Output) -> Result<()> {
        let all = if self.releases { Wanted::Releases } else { Wanted::All };
        let wanted = self.version.clone().unwrap_or(all);
        let rows = versions(context, &self.place, &wanted, self.limit, jobs).await?;
        output.report(&rows, |rows| text(rows))
    }
}

fn text(rows: &[Row]) -> String {
    let width = |column: fn(&Row) -> &str| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or_default()
    };
    let (versions, apps) = (width(|row| &row.version), width(|row| &row.app_version));
    let line = |row: &Row| {
        // The day is enough for people; the whole is in the JSON.
        let day =
            row.created.as_deref().and_then(|date| date.split('T').next()).unwrap_or_default();
        let mut notes = vec![escape(&row.description)];
        notes.extend(row.fault.as_ref().map(|fault| format!("cannot be used: {}", escape(fault))));
        notes.extend(row.signed.then(|| "signed".to_owned()));
        notes.extend(row.deprecated.then(|| "deprecated".to_owned()));
        notes.retain(|note| !note.is_empty());
        let line = format!(
            "{:versions$}  {:apps$}  {:10.10}  {}  {}",
            escape(&row.version),
            escape(&row.app_version),
            escape(day),
            row.digest.short(),
            notes.join("; ")
        );
        line.trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
