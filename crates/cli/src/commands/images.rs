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
    let names: Vec<_> = images.iter().map(|image| escape(&typed_as(image))).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (image, name) in images.iter().zip(&names) {
        let platforms: Vec<_> = image.platforms.iter().map(Platform::to_string).collect();
        let (digest, size) = (image.digest.short(), size(image.size));
        let what = match (&image.fault, image.missing) {
            (None, _) => platforms.join(", "),
            (Some(_), true) => "missing".into(),
            (Some(_), false) => "unreadable".into(),
        };
        let created = image.created.as_deref().unwrap_or_default();
        // The day is enough for people; the whole is in the JSON.
        let day = escape(created.split('T').next().unwrap_or_default());
        text += &format!("{name:width$}  {digest}  {size:>10}  {day:10.10}  {}\n", escape(&what));
    }
    for image in images {
        if let Some(fault) = &image.fault {
            text += &format!("warning: {}: {}\n", escape(&typed_as(image)), escape(fault));
        }
    }
    text
}

/// What can be pasted into another command.
fn typed_as(image: &Image) -> String {
    image.location.as_ref().map_or_else(|| image.name.clone(), ToString::to_string)
}
