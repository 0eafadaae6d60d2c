//! `conex blob`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use conex_ops::{Context, blob};
use conex_spec::{Location, MediaType, Result};

use super::raw;
use crate::args::typed;
use crate::failure::READER_GONE;
use crate::output::Output;

/// Get, put, look for or delete a single blob
#[derive(Debug, Subcommand)]
pub enum BlobCommand {
    Get(Get),
    Put(Put),
    Head(Head),
    Delete(Delete),
}

/// Write the bytes of a blob, verified
///
/// Standard output gets them as they come; where they turn out not to be those of the digest, the
/// command fails. A file is replaced only when all are there and sound. Where the reader has enough,
/// as `head` has, no more is fetched and the exit code is 141.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex blob get alpine@sha256:… | tar tz
  conex blob get oci:./build@sha256:… --output layer.tar.gz")]
pub struct Get {
    /// LOCATION@DIGEST
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// Write to this file in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Put a file into a place as a blob
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex blob put registry.example/team/app layer.tar.gz
  tar cz files | conex blob put oci:./build -
  conex blob put registry.example/team/app@sha256:… layer.tar.gz")]
pub struct Put {
    /// Where to: REGISTRY/REPOSITORY, oci:DIR or store:NAME, perhaps with the digest that it has
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// The file; `-` is standard input
    file: PathBuf,
    /// What the descriptor says that it is
    #[arg(long, value_name = "TYPE", default_value = "application/octet-stream")]
    media_type: String,
}

/// Tell whether a blob is there, and its size
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex blob head registry.example/team/app@sha256:…
  conex blob head --format '{{.blob.size}}' oci:./build@sha256:…")]
pub struct Head {
    /// LOCATION@DIGEST
    #[arg(value_parser = typed::<Location>)]
    location: Location,
}

/// Delete a blob of a registry, whatever needs it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex blob delete registry.example/team/app@sha256:…")]
pub struct Delete {
    /// REGISTRY/REPOSITORY@DIGEST
    #[arg(value_parser = typed::<Location>)]
    location: Location,
}

impl BlobCommand {
    pub async fn run(&self, context: &Context, durable: bool, output: &Output) -> Result<ExitCode> {
        match self {
            Self::Get(get) => {
                let (_, content) = blob::get(context, &get.location).await?;
                if !raw::write(content, get.output.as_deref(), durable, output).await? {
                    return Ok(ExitCode::from(READER_GONE));
                }
            }
            Self::Put(put) => {
                let file = raw::open(&put.file)?;
                let media_type = MediaType::new(put.media_type.clone());
                let report = blob::put(context, &put.location, file, media_type).await?;
                output.report(&report, |report| format!("{}\n", report.blob.digest))?;
            }
            Self::Head(head) => {
                let report = blob::head(context, &head.location).await?;
                output.report(&report, |report| {
                    format!("{} {}\n", report.blob.digest, report.blob.size)
                })?;
            }
            Self::Delete(delete) => {
                let report = blob::delete(context, &delete.location).await?;
                output.report(&report, |report| format!("deleted {}\n", report.blob.digest))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
