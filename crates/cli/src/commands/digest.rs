//! `conex digest`

use clap::Args;

use conex_ops::Context;
use conex_ops::digest::digest;
use conex_spec::{Location, Platform, Result};

use crate::args::typed;
use crate::output::Output;

/// Print the digest that a name stands for, and nothing else
///
/// A registry is asked by one HEAD request.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex digest alpine
  conex digest --platform linux/arm64 alpine:3
  conex digest oci:./build:1.2")]
pub struct Digest {
    /// The image or artifact
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// Of an index, the image for this platform: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
}

impl Digest {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let report = digest(context, &self.location, self.platform.as_ref()).await?;
        output.report(&report, |report| format!("{}\n", report.digest))
    }
}
