//! `conex index`

use clap::{Args, Subcommand};

use conex_ops::index::{Report, create};
use conex_ops::{Context, CopyOptions};
use conex_spec::{Location, Result};

use crate::args::typed;
use crate::output::Output;

/// Work on image indexes
#[derive(Debug, Subcommand)]
pub enum Index {
    Create(Create),
}

/// Give images of several platforms one name
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex index create registry.example/team/app:1.2 oci:./build:amd64 oci:./build:arm64")]
pub struct Create {
    /// Where the index goes
    #[arg(value_parser = typed::<Location>)]
    to: Location,
    /// The images, in the order of preference
    #[arg(required = true, value_parser = typed::<Location>)]
    images: Vec<Location>,
}

impl Index {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        match self {
            Self::Create(command) => {
                let report = create(context, &command.to, &command.images, options).await?;
                output.beside(&command.to).report(&report, text)
            }
        }
    }
}

fn text(report: &Report) -> String {
    let mut text = format!("made {}\n", report.location);
    for entry in &report.entries {
        let platform = entry.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        text += &format!("  {platform:<16} {}\n", entry.digest);
    }
    text + &format!("{}\n{}\n", super::summary(&report.summary), report.root.digest)
}
