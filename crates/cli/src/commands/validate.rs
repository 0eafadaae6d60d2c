//! `conex validate`

use std::process::ExitCode;

use clap::Args;

use conex_ops::Context;
use conex_ops::validate::{Report, validate};
use conex_spec::{Location, Result};

use crate::args::typed;
use crate::output::{Output, escape, size};

/// Check that all content of an image is there and sound: digests, sizes, diff IDs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex validate oci:./build:1.2
  conex validate registry.example/team/app:1.2

The exit code is 4 where something is not sound.")]
pub struct Validate {
    /// What to check
    #[arg(value_parser = typed::<Location>)]
    location: Location,
}

impl Validate {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<ExitCode> {
        let report = validate(context, &self.location).await?;
        let sound = report.findings.is_empty();
        output.report(&report, text)?;
        Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(4) })
    }
}

fn text(report: &Report) -> String {
    let findings = report.findings.iter();
    let findings: String = findings
        .map(|finding| format!("{}: {}\n", finding.digest, escape(&finding.message)))
        .collect();
    let verdict = match report.findings.len() {
        0 => "sound".into(),
        1 => "1 fault".into(),
        count => format!("{count} faults"),
    };
    format!(
        "{findings}{}: {verdict}; read {} in {} blobs and manifests\n",
        report.location,
        size(report.bytes),
        report.checked
    )
}
