//! `conex artifact attach`

use clap::Args;

use conex_ops::artifact::attach::{Subject, attach};
use conex_ops::{Context, CopyOptions};
use conex_spec::{Error, Kind, Location, MediaType, Platform, Result};

use super::packages::Sort;
use super::{Packaging, text};
use crate::args::typed;
use crate::output::Output;

/// Attach files to an image, an index or an artifact, as something said about it
///
/// It gets no name: `conex discover` finds it, and `conex copy` brings it along. What it is attached to
/// need not be there yet, nor the layout or archive that it will be in.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex artifact attach --to registry.example/team/app:1.2 app.spdx.json
  conex artifact attach --to oci:./build:1.2 --platform linux/arm64 scan.sarif --created now
  conex artifact attach --to registry.example/team/app@sha256:… --subject-size 1024 app.cdx.json")]
pub struct Attach {
    /// What it is attached to: the index itself where there is one
    #[arg(long, value_name = "LOCATION", value_parser = typed::<Location>)]
    to: Location,
    /// Of an index, the image for this platform: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// How long a manifest is that is not there yet, and is named by its digest
    #[arg(long, value_name = "BYTES", conflicts_with = "platform", value_parser = clap::value_parser!(u64).range(1..))]
    subject_size: Option<u64>,
    /// What such a manifest is
    #[arg(long, value_name = "TYPE", default_value = "application/vnd.oci.image.manifest.v1+json")]
    subject_type: String,
    /// Files and folders
    #[arg(value_name = "FILE[:TYPE]")]
    files: Vec<String>,
    #[command(flatten)]
    packaging: Packaging,
}

impl Attach {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        if let Some(sort @ (Sort::Chart | Sort::Bundle)) = self.packaging.kind {
            return Err(Error::new(
                Kind::Usage,
                format!("{} is pushed, not attached", sort.noun()),
            )
            .expected("`--as files`, or the kind of a document that says something about another")
            .hint("`conex artifact push` puts it where others look for it, under its version"));
        }
        let media_type = MediaType::new(self.subject_type.clone());
        if !media_type.is_manifest() {
            return Err(Error::new(Kind::Usage, "--subject-type: not the type of a manifest")
                .expected("an image manifest or an index")
                .found(media_type));
        }
        let subject = Subject {
            location: self.to.clone(),
            platform: self.platform.clone(),
            expected: self.subject_size.map(|size| (media_type, size)),
        };
        let recipe = self.packaging.recipe(&self.files)?;
        let stored = attach(context, &recipe, &subject, options).await?;
        output.report(&stored, |stored| {
            let subject = stored.subject.as_ref().map(|subject| subject.digest.to_string());
            text("attached in", stored) + &format!("to {}\n", subject.unwrap_or_default())
        })
    }
}
