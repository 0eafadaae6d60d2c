//! `conex images`

use clap::Args;

use conex_ops::Context;
use conex_ops::images::{Image, images};
use conex_ops::open::Keep;
use conex_spec::{Platform, Result};

use crate::args::typed;
use crate::output::{Output, escape, size};

/// List the images of the local store or of a layout
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex images
  conex images oci:./mirror
  conex images --format json")]
pub struct Images {
    /// `store:` or `oci:DIR`
    #[arg(value_parser = typed::<Keep>, default_value = "store:")]
    place: Keep,
}

impl Images {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let collection = context.keep(&self.place)?;
        output.report(&images(collection.as_ref()).await?, |images| text(images))
    }
}

fn text(images: &[Image]) -> String {
    let width = images.iter().map(|image| image.name.len()).max().unwrap_or_default();
    images
        .iter()
        .map(|image| {
            let platforms: Vec<_> = image.platforms.iter().map(Platform::to_string).collect();
            let (digest, size) = (image.digest.short(), size(image.size));
            let what = image.fault.clone().unwrap_or_else(|| platforms.join(", "));
            let created = image.created.as_deref().unwrap_or_default();
            // The day is enough for people; the whole is in the JSON.
            let day = escape(created.split('T').next().unwrap_or_default());
            let name = escape(&image.name);
            format!("{name:width$}  {digest}  {size:>10}  {day:10.10}  {}\n", escape(&what))
        })
        .collect()
}
