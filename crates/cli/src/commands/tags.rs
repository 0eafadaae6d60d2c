//! `conex tags`

use clap::{Args, ValueEnum};

use conex_ops::Context;
use conex_ops::glob::Glob;
use conex_ops::tags::{Details, Options, Place, Row, Sort, tags};
use conex_spec::{Location, Platform, Result, Tag};

use crate::args::typed;
use crate::output::{Output, escape, size};

/// List the tags of a repository, a layout, an archive or the local store
///
/// Date, size, digest and platforms are shown with each name where that costs no requests. For a
/// repository of a registry they cost some for each tag, and are shown with --details, or where
/// the list is sorted by them; that holds for --format json too. The size is that of all content as it is stored, for all platforms.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex tags alpine
  conex tags --filter '3.*' --sort version --limit 5 alpine
  conex tags --details --filter '3.2?' alpine
  conex tags oci:./mirror --sort date
  conex tags store:
  conex tags --format '{{.name}} {{.digest}}' oci:./mirror

A pattern is a shell's: `*`, `?`, `[0-9]`.")]
pub struct Tags {
    /// REGISTRY/REPOSITORY, oci:DIR, oci-archive:FILE, docker-archive:FILE, store:NAME or store:
    #[arg(value_parser = typed::<Place>, value_name = "LOCATION")]
    place: Place,
    /// Show date, size, digest and platforms too, in text and in JSON
    #[arg(short, long, conflicts_with = "quiet")]
    details: bool,
    /// Show names only
    #[arg(short, long)]
    quiet: bool,
    /// The order; without it that of the place. Version, date: the newest first; size: the largest
    #[arg(long, value_enum, value_name = "BY")]
    sort: Option<SortBy>,
    /// Turn the order round
    #[arg(long)]
    reverse: bool,
    /// List only the names that fit this pattern
    #[arg(long, value_name = "PATTERN", value_parser = typed::<Glob>)]
    filter: Option<Glob>,
    /// List at most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Begin after this name, in the order of the place
    #[arg(long, value_name = "TAG", value_parser = typed::<Tag>)]
    last: Option<Tag>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SortBy {
    Name,
    Version,
    Date,
    Size,
}

impl Tags {
    pub async fn run(&self, context: &Context, jobs: usize, output: &Output) -> Result<()> {
        let free =
            !matches!(self.place, Place::At(Location::Registry(_) | Location::DockerDaemon(_)));
        let options = Options {
            details: (free || self.details) && !self.quiet,
            sort: self.sort.map(|sort| match sort {
                SortBy::Name => Sort::Name,
                SortBy::Version => Sort::Version,
                SortBy::Date => Sort::Date,
                SortBy::Size => Sort::Size,
            }),
            reverse: self.reverse,
            filter: self.filter.clone(),
            limit: self.limit,
            last: self.last.clone(),
            jobs,
        };
        let rows = tags(context, &self.place, &options).await?;
        output.report(&rows, |rows| if self.quiet { names(rows) } else { text(rows) })
    }
}

fn names(rows: &[Row]) -> String {
    rows.iter().map(|row| escape(&row.name) + "\n").collect()
}

fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    let line = |row: &Row| match &row.details {
        None => escape(&row.name) + "\n",
        Some(details) => format!("{:width$}  {}\n", escape(&row.name), about(details)),
    };
    rows.iter().map(line).collect()
}

fn about(details: &Details) -> String {
    let created = details.created.as_deref().unwrap_or_default();
    // The day is enough for people; the whole is in the JSON.
    let day = escape(created.split('T').next().unwrap_or_default());
    let size = details.size.map(size).unwrap_or_default();
    let platforms: Vec<_> = details.platforms.iter().map(Platform::to_string).collect();
    let what = details.fault.clone().unwrap_or_else(|| platforms.join(", "));
    let line = format!("{day:10.10}  {size:>10}  {}  {}", details.digest.short(), escape(&what));
    line.trim_end().to_owned()
}
