//! `conex du`

use clap::Args;

use conex_ops::Context;
use conex_ops::du::{Report, du};
use conex_ops::open::Keep;
use conex_spec::Result;

use crate::args::typed;
use crate::output::{Output, escape, size};

/// Tell what each image takes up on the disk, alone and shared with others
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex du
  conex du oci:./mirror")]
pub struct Du {
    /// `store:` or `oci:DIR`
    #[arg(value_parser = typed::<Keep>, default_value = "store:")]
    place: Keep,
}

impl Du {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        output.report(&du(context.keep(&self.place)?).await?, text)
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for image in &report.images {
        let (own, shared) = (size(image.own), size(image.shared));
        let note = if image.damaged.is_empty() { "" } else { "  (and what is not known)" };
        let names = escape(&image.names.join(", "));
        text += &format!("{own:>10} own {shared:>10} shared  {names}{note}\n");
    }
    text += &format!("{:>10} in all, in {} blobs\n", size(report.total.bytes), report.total.blobs);
    match &report.unneeded {
        Some(unneeded) if unneeded.blobs > 0 => {
            let unneeded = size(unneeded.bytes);
            text += &format!("{unneeded:>10} of it is needed by no image; `conex gc` removes it\n");
        }
        Some(_) => {}
        None => text += &unknown(report),
    }
    text
}

/// Why nobody knows what is not needed.
fn unknown(report: &Report) -> String {
    let mut damaged: Vec<_> = report.images.iter().flat_map(|image| &image.damaged).collect();
    damaged.sort_unstable();
    damaged.dedup();
    let lines = damaged.iter().map(|digest| format!("warning: manifest {digest} is damaged\n"));
    lines.collect::<String>()
        + "What is not needed is not known; `conex repair --from LOCATION` mends manifests\n"
}
