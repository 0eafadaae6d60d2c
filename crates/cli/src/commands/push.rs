//! `conex push`

use clap::Args;

use conex_ops::push::{Report, push};
use conex_ops::{Context, CopyOptions};
use conex_spec::{Location, Result};

use crate::args::typed;
use crate::commands::copy::Company;
use crate::commands::pull::registry_reference;
use crate::output::Output;

/// Push an image from this machine to a registry, with what belongs to it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex push registry.example/team/app:1.2
  conex push registry.example/team/app:1.2 --from oci:./build:latest")]
pub struct Push {
    /// The image in a registry
    #[arg(value_parser = typed::<Location>)]
    image: Location,
    /// Where the image is now; without it the local store, under the same name
    #[arg(long, value_name = "LOCATION", value_parser = typed::<Location>)]
    from: Option<Location>,
    #[command(flatten)]
    company: Company,
}

impl Push {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let reference = registry_reference(&self.image)?;
        let from = self.from.clone().unwrap_or_else(|| Location::Store(reference.clone()));
        let options = CopyOptions { with: self.company.chosen(), ..*options };
        let report = push(context, &from, reference, &options).await?;
        output.report(&report, text)
    }
}

fn text(report: &Report) -> String {
    format!(
        "pushed {}\n{}\n{}\n",
        report.location,
        super::summary(&report.summary),
        report.root.digest
    )
}
