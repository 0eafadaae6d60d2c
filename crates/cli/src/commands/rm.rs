//! `conex rm`

use clap::Args;

use conex_ops::Context;
use conex_ops::rm::rm;
use conex_spec::{Location, Result};

use crate::args::typed;
use crate::output::Output;

/// Take names away from the local store or a layout; `conex gc` removes the content
///
/// In a layout a digest stands for all names of its image. Several only go with --force, and each
/// that goes is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex rm store:debian:12 store:alpine
  conex rm oci:./mirror:debian-12
  conex rm --force oci:./mirror@sha256:…")]
pub struct Rm {
    /// The names: `store:NAME`, `oci:DIR:TAG` or `oci:DIR@DIGEST`
    #[arg(required = true, value_name = "NAME", value_parser = typed::<Location>)]
    names: Vec<Location>,
    /// Let a digest take all of its names with it, where it has several
    #[arg(long)]
    force: bool,
}

impl Rm {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        output.report(&rm(context, &self.names, self.force).await?, |report| {
            report.removed.iter().map(|name| format!("removed {name}\n")).collect()
        })
    }
}
