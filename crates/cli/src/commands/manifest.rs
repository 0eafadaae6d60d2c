//! `conex manifest`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use conex_ops::{Context, manifest};
use conex_spec::{Location, MediaType, Platform, Result};
use conex_store::bridge::bytes_stream;

use super::raw;
use crate::args::typed;
use crate::output::Output;

/// Get, put or delete a manifest or an index, byte for byte
#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    Get(Get),
    Put(Put),
    Delete(Delete),
}

/// Write the exact bytes of a manifest, verified
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex manifest get alpine
  conex manifest get --platform linux/arm64 alpine | jq .config
  conex manifest get oci:./build:1.2 --output manifest.json")]
pub struct Get {
    /// The image, index or artifact
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// Of an index, the image for this platform: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Write to this file in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Put a manifest under a tag or its digest, byte for byte
///
/// What it lists must be there already. Its media type is the one that it says or shows.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex manifest put registry.example/team/app:1.2 manifest.json
  jq … manifest.json | conex manifest put oci:./build:1.3 -")]
pub struct Put {
    /// Where to: a name, or the digest that it has
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// The manifest; `-` is standard input
    file: PathBuf,
    /// What it is, where it does not say so itself
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
}

/// Delete a manifest by its digest, with all of its tags and nothing else
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex manifest delete registry.example/team/app@sha256:…")]
pub struct Delete {
    /// LOCATION@DIGEST
    #[arg(value_parser = typed::<Location>)]
    location: Location,
}

impl ManifestCommand {
    pub async fn run(&self, context: &Context, durable: bool, output: &Output) -> Result<()> {
        match self {
            Self::Get(get) => get.run(context, durable, output).await,
            Self::Put(put) => put.run(context, output).await,
            Self::Delete(delete) => {
                let report = manifest::delete(context, &delete.location).await?;
                output.report(&report, |report| format!("deleted {}\n", report.digest))
            }
        }
    }
}

impl Get {
    async fn run(&self, context: &Context, durable: bool, output: &Output) -> Result<()> {
        let (root, bytes) = manifest::get(context, &self.location, self.platform.as_ref()).await?;
        let content = bytes_stream(bytes, 0..root.size);
        raw::write(content, self.output.as_deref(), durable, output).await.map(drop)
    }
}

impl Put {
    async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let bytes = raw::read(&self.file)?;
        let media_type = self.media_type.as_ref().map(|text| MediaType::new(text.clone()));
        let report = manifest::put(context, &self.location, bytes, media_type.as_ref()).await?;
        output.report(&report, |report| {
            format!(
                "put {} as {}\n{}\n",
                report.location, report.root.media_type, report.root.digest
            )
        })
    }
}
