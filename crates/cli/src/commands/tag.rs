//! `conex tag`

use clap::Args;

use conex_ops::Context;
use conex_ops::tag::tag;
use conex_spec::{Location, Result};

use crate::args::typed;
use crate::output::Output;

/// Give an image more names in the same place
///
/// In a registry only the manifest is sent again, never a blob.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex tag oci:./build:1.2 latest
  conex tag registry.example/team/app:1.2.3 1.2 1 latest
  conex tag store:debian:12 registry.example/team/base:12")]
pub struct Tag {
    /// The image or artifact
    #[arg(value_parser = typed::<Location>)]
    image: Location,
    /// Its new names: tags, or in the local store any references
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Tag {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let report = tag(context, &self.image, &self.names).await?;
        output.report(&report, |report| {
            let names = report.locations.iter().map(|location| format!("tagged {location}\n"));
            names.collect::<String>() + &format!("{}\n", report.root.digest)
        })
    }
}
