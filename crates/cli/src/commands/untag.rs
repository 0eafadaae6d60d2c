//! `conex untag`

use clap::Args;

use conex_ops::Context;
use conex_ops::untag::untag;
use conex_spec::{Location, Result};

use crate::args::typed;
use crate::output::Output;

/// Remove tags, and nothing else: what they stand for stays, under its digest
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex untag registry.example/team/app:old
  conex untag oci:./mirror:debian-11 oci:./mirror:debian-12

`conex delete` deletes the manifest, `conex rm` also the last name that a layout or the local store
has for it, so that `conex gc` collects it.")]
pub struct Untag {
    /// The tags
    #[arg(required = true, value_name = "LOCATION", value_parser = typed::<Location>)]
    locations: Vec<Location>,
}

impl Untag {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        output.report(&untag(context, &self.locations).await?, |rows| {
            rows.iter()
                .map(|row| format!("untagged {} ({})\n", row.location, row.root.digest))
                .collect()
        })
    }
}
