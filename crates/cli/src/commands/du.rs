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
        text +=
            &format!("{own:>10} own {shared:>10} shared  {}\n", escape(&image.names.join(", ")));
    }
    text += &format!("{:>10} in all, in {} blobs\n", size(report.total.bytes), report.total.blobs);
    if report.unneeded.blobs > 0 {
        let unneeded = size(report.unneeded.bytes);
        text += &format!("{unneeded:>10} of it is needed by no image; `conex gc` removes it\n");
    }
    text
}
