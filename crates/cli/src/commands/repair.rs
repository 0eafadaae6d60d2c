//! `conex repair`

use std::process::ExitCode;

use clap::Args;

use conex_ops::Context;
use conex_ops::open::Keep;
use conex_ops::repair::{Report, repair};
use conex_spec::{Location, Result};

use super::UNSOUND;
use crate::args::typed;
use crate::output::Output;

/// Fetch what is damaged or missing in the local store or a layout from a place that has it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex repair --from registry.example/team/app:1.2
  conex repair oci:./mirror --from oci:/backup/mirror")]
pub struct Repair {
    /// `store:` or `oci:DIR`
    #[arg(value_parser = typed::<Keep>, default_value = "store:")]
    place: Keep,
    /// Where sound content is; all of its blobs are looked among, whatever is named there
    #[arg(long, value_name = "LOCATION", value_parser = typed::<Location>)]
    from: Location,
}

impl Repair {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<ExitCode> {
        let source = context.source(&self.from)?;
        let collection = context.keep(&self.place)?;
        let observer = &context.observer;
        let report = repair(collection, source.as_ref(), observer).await?;
        output.report(&report, text)?;
        Ok(if report.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
    }
}

fn text(report: &Report) -> String {
    let mended = &report.mended;
    let mut text: String =
        report.digests.iter().map(|digest| format!("mended   {digest}\n")).collect();
    text += &super::fsck::faults(&report.left);
    text += &format!("mended {}", super::size_in(mended.bytes, mended.blobs));
    text += &match report.left.len() {
        0 => String::new(),
        1 => "; 1 fault is left".into(),
        more => format!("; {more} faults are left"),
    };
    text + "\n"
}
