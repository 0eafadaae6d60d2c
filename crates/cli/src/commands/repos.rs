//! `conex repos`

use clap::Args;

use conex_ops::Context;
use conex_ops::glob::Glob;
use conex_ops::repos::{Holder, repos};
use conex_spec::Result;

use crate::args::typed;
use crate::output::{Output, escape};

/// List the repositories of a registry or of the local store
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex repos registry.example
  conex repos localhost:5000 --filter 'team/*'
  conex repos store:

Many registries have no such list, or show it to administrators only.")]
pub struct Repos {
    /// A registry as HOST[:PORT], or `store:`
    #[arg(value_parser = typed::<Holder>, value_name = "REGISTRY")]
    holder: Holder,
    /// List only the names that fit this pattern
    #[arg(long, value_name = "PATTERN", value_parser = typed::<Glob>)]
    filter: Option<Glob>,
    /// List at most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Repos {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let rows = repos(context, &self.holder, self.filter.as_ref(), self.limit).await?;
        output.report(&rows, |rows| rows.iter().map(|row| escape(&row.name) + "\n").collect())
    }
}
