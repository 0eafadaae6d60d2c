//! `conex fsck`

use std::process::ExitCode;

use clap::Args;

use conex_ops::Context;
use conex_ops::fsck::{Fault, Report, fsck};
use conex_ops::open::Keep;
use conex_spec::Result;

use super::UNSOUND;
use crate::args::typed;
use crate::output::{Output, escape, size};

/// Hash everything in the local store or a layout; list what is damaged or missing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex fsck
  conex fsck oci:./mirror")]
pub struct Fsck {
    /// `store:` or `oci:DIR`
    #[arg(value_parser = typed::<Keep>, default_value = "store:")]
    place: Keep,
}

impl Fsck {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<ExitCode> {
        let report = fsck(context.keep(&self.place)?).await?;
        output.report(&report, |report| text(report, &self.place))?;
        Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
    }
}

fn text(report: &Report, place: &Keep) -> String {
    let (blobs, bytes) = (report.checked.blobs, size(report.checked.bytes));
    let mut text = faults(&report.faults);
    text += &match report.faults.len() {
        0 => format!("{blobs} blobs, {bytes}: all sound\n"),
        1 => format!("{blobs} blobs, {bytes}: 1 fault\n"),
        more => format!("{blobs} blobs, {bytes}: {more} faults\n"),
    };
    if report.faults.iter().any(|fault| !fault.images.is_empty()) {
        text += &format!("`conex repair {place} --from LOCATION` fetches them anew\n");
    }
    text
}

/// Each fault on a line, and what it breaks.
pub fn faults(faults: &[Fault]) -> String {
    let line = |fault: &Fault| {
        let images = match fault.images.len() {
            0 => "needed by no image".into(),
            _ => escape(&fault.images.join(", ")),
        };
        format!("{}  {}  {images}\n", fault.problem, fault.digest)
    };
    faults.iter().map(line).collect()
}
