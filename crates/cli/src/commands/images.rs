//! `conex images`

use clap::Args;

use conex_ops::Context;
use conex_ops::images::{Image, images};
use conex_spec::{Platform, Result};

use crate::output::{Output, escape, size};

/// List the images of the local store
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex images
  conex images --format json")]
pub struct Images {}

impl Images {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        output.report(&images(&context.store).await?, |images| text(images))
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
            format!("{:width$}  {digest}  {size:>10}  {}\n", image.name, escape(&what))
        })
        .collect()
}
