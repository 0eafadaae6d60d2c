//! `conex registry repair`

use std::collections::HashSet;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use conex_ops::Context;
use conex_server::gc::{Fault, Keeper, Scrub};
use conex_spec::{Descriptor, Digest, Kind, Location, Name, Result};
use conex_store::{Source, SourceExt};

use super::{Which, scrub};
use crate::args::typed;
use crate::commands::{UNSOUND, size_in};
use crate::output::Output;

/// Fetch what is damaged or missing in a registry from a place that has it
///
/// A registry may be served meanwhile: then its server takes what is fetched. Blobs that no manifest
/// names are not fetched: nobody knows how long they should be.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex registry repair /srv/registry --from mirror.example/team/app
  conex registry repair /srv/registry --from oci:/backup/app --dry-run
  conex registry repair http://127.0.0.1:9000 --from oci:/backup/app

The exit code is 4 where anything is left damaged or missing.")]
pub struct Repair {
    #[command(flatten)]
    which: Which,
    /// Where sound content is; all of its blobs are looked among, whatever is named there
    #[arg(long, value_name = "LOCATION", value_parser = typed::<Location>)]
    from: Location,
    /// Only tell what is damaged or missing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    /// How many blobs were fetched, and their bytes.
    blobs: u64,
    bytes: u64,
    digests: Vec<Digest>,
    left: Vec<Fault>,
}

impl Repair {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<ExitCode> {
        let source = context.source(&self.from)?;
        let keeper = self.which.keeper(false, |_| ()).await?;
        let report = self.repair(&keeper, source.as_ref()).await;
        keeper.close().await;
        let report = report?;
        output.report(&report, text)?;
        Ok(if report.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
    }

    /// A manifest that comes back may show that more is missing.
    async fn repair(&self, keeper: &Keeper, source: &dyn Source) -> Result<Report> {
        let mut report = Report { dry_run: self.dry_run, ..Report::default() };
        let mut tried = HashSet::new();
        loop {
            let Scrub { faults, .. } = keeper.scrub(self.dry_run).await?;
            let new = |fault: &&Fault| tried.insert(fault.digest.clone());
            let new: Vec<_> = faults.iter().filter(new).cloned().collect();
            if new.is_empty() || self.dry_run {
                report.left = faults;
                return Ok(report);
            }
            for fault in new.iter().filter(|fault| !fault.repositories.is_empty()) {
                let Some(blob) = describe(source, fault).await? else { continue };
                let mended = match source.fetch(&blob).await {
                    Ok(content) => keeper.mend(fault, content).await,
                    Err(err) => Err(err),
                };
                match mended {
                    Ok(bytes) => {
                        report.blobs += 1;
                        report.bytes += bytes;
                        report.digests.push(fault.digest.clone());
                    }
                    Err(err) if matches!(err.kind(), Kind::NotFound | Kind::Mismatch) => {}
                    Err(err) => return Err(err),
                }
            }
        }
    }
}

/// What manifests say of it; else it may be a manifest itself, of which the source knows.
async fn describe(source: &dyn Source, fault: &Fault) -> Result<Option<Descriptor>> {
    if let Some(wanted) = &fault.wanted {
        return Ok(Some(wanted.clone()));
    }
    match source.resolve(Some(&Name::Digest(fault.digest.clone()))).await {
        Ok(root) => Ok(Some(root)),
        Err(err) if matches!(err.kind(), Kind::NotFound | Kind::Mismatch | Kind::Invalid) => {
            Ok(None)
        }
        Err(err) => Err(err),
    }
}

fn text(report: &Report) -> String {
    let mended = report.digests.iter().map(|digest| format!("mended   {digest}\n"));
    let mut text: String = mended.collect();
    text += &scrub::faults(&report.left);
    text += &format!("mended {}", size_in(report.bytes, report.blobs));
    text += &match report.left.len() {
        0 => String::new(),
        1 => "; 1 fault is left".into(),
        more => format!("; {more} faults are left"),
    };
    text + "\n"
}
