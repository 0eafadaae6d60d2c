//! `conex tag`

use clap::Args;

use conex_ops::Context;
use conex_ops::tag::tag;
use conex_spec::{Location, Result};

use crate::args::typed;
use crate::output::Output;

/// Give an image another name in the same place
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex tag oci:./build:1.2 latest
  conex tag registry.example/team/app:1.2 stable
  conex tag store:debian:12 registry.example/team/base:12")]
pub struct Tag {
    /// The image or artifact
    #[arg(value_parser = typed::<Location>)]
    image: Location,
    /// Its new name: a tag, or in the local store any reference
    #[arg(value_name = "NAME")]
    name: String,
}

impl Tag {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let report = tag(context, &self.image, &self.name).await?;
        output.report(&report, |report| {
            format!("tagged {}\n{}\n", report.location, report.root.digest)
        })
    }
}
