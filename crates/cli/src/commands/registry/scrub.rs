//! `conex registry scrub`

use std::process::ExitCode;

use clap::Args;

use conex_server::gc::{Fault, Scrub as Report};
use conex_spec::Result;

use super::Which;
use crate::commands::UNSOUND;
use crate::output::{Output, escape, size};

/// Hash everything in a registry; list what is damaged or missing, and set aside what is damaged
///
/// What is set aside is not there for clients any more, so that they push it again. In a folder it lies
/// in `.conex/damaged`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex registry scrub --dry-run
  conex registry scrub /srv/registry
  conex registry scrub http://127.0.0.1:9000 --format json

The exit code is 4 where anything is damaged or missing.")]
pub struct Scrub {
    #[command(flatten)]
    which: Which,
    /// Leave what is damaged where it is
    #[arg(long)]
    dry_run: bool,
}

impl Scrub {
    pub async fn run(&self, output: &Output) -> Result<ExitCode> {
        let keeper = self.which.keeper(false, |_| ()).await?;
        let report = keeper.scrub(self.dry_run).await;
        keeper.close().await;
        let report = report?;
        output.report(&report, text)?;
        Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
    }
}

fn text(report: &Report) -> String {
    let mut text = faults(&report.faults);
    let checked = &report.checked;
    text += &format!("{} blobs, {}: ", checked.blobs, size(checked.bytes));
    text += &match report.faults.len() {
        0 => "all sound\n".to_owned(),
        1 => "1 fault\n".to_owned(),
        more => format!("{more} faults\n"),
    };
    if report.set_aside > 0 {
        text += &format!("set aside {}\n", report.set_aside);
    }
    if !report.faults.is_empty() {
        text += "`conex registry repair --from LOCATION` fetches them anew\n";
    }
    text
}

/// Each fault on a line, and the repositories that it breaks.
pub fn faults(faults: &[Fault]) -> String {
    let line = |fault: &Fault| {
        let repositories = match fault.repositories.len() {
            0 => "in no repository".to_owned(),
            _ => escape(&fault.repositories.join(", ")),
        };
        format!("{}  {}  {repositories}\n", fault.problem, fault.digest)
    };
    faults.iter().map(line).collect()
}
