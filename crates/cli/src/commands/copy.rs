//! `conex copy`

use clap::Args;
use serde::Serialize;

use conex_ops::choose::choose;
use conex_ops::copy::copy_to;
use conex_ops::{Context, CopyOptions, Summary};
use conex_spec::{Descriptor, Location, Platform, Result};

use crate::args::typed;
use crate::output::Output;

/// Copy an image or artifact, with all platforms of an index, from anywhere to anywhere
///
/// An archive file is replaced as a whole, once the new one is complete; nothing is added to
/// the old one. An archive `-` is standard input or standard output; the report then goes to
/// standard error. docker-archive and docker-daemon take a single image: choose one with
/// --platform.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex copy alpine oci:./alpine:latest
  conex copy oci:./app:1.2 registry.example/team/app:1.2
  conex copy --platform linux/arm64 debian:12 store:debian:12
  conex copy store:debian:12 oci-archive:debian.tar:12
  conex copy --platform linux/amd64 alpine docker-archive:-:alpine:latest | docker load
  conex copy docker-daemon:app:dev registry.example/team/app:dev")]
pub struct Copy {
    /// What to copy
    #[arg(value_parser = typed::<Location>)]
    from: Location,
    /// Where to
    #[arg(value_parser = typed::<Location>)]
    to: Location,
    /// Copy only the image for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
}

#[derive(Serialize)]
struct Report {
    from: Location,
    to: Location,
    root: Descriptor,
    images: usize,
    summary: Summary,
}

impl Copy {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let (source, mut root) = context.resolve(&self.from).await?;
        if let Some(platform) = &self.platform {
            root = choose(source.as_ref(), &root, platform).await?;
        }
        let images = conex_ops::choose::images(source.as_ref(), &root).await?.len();
        let summary = copy_to(context, source.as_ref(), &root, &self.to, options).await?;
        let report = Report { from: self.from.clone(), to: self.to.clone(), root, images, summary };
        output.beside(&self.to).report(&report, text)
    }
}

fn text(report: &Report) -> String {
    let what = if report.root.media_type.is_index() {
        format!("the whole index of {} images (`--platform` narrows it)", report.images)
    } else {
        "one image".into()
    };
    format!(
        "copied {what} from {} to {}\n{}\n{}\n",
        report.from,
        report.to,
        super::summary(&report.summary),
        report.root.digest
    )
}
