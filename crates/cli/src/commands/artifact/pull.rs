//! `conex artifact pull`

use std::path::PathBuf;

use clap::Args;

use conex_ops::artifact::pull::{Pulled, WITHOUT_TITLE, Wanted, find, pull_found};
use conex_ops::helm::versions;
use conex_ops::{Context, CopyOptions};
use conex_spec::{Error, Glob, Kind, Location, Platform, Result};

use super::super::MAX_SHOWN_FILES;
use super::packages;
use crate::args::typed;
use crate::output::{Output, escape, size};

/// Pull the files of an artifact into a folder
///
/// Either all files get their names or none does. What broke off is gone on with next time.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
#[command(after_help = "\
No title leads out of the folder, and no file is replaced unless --overwrite says so. Folders that were
packed as one layer are unpacked, also those of oras. Of a chart come its .tgz and its .prov, of a bundle
its bundle.json and where its images are.

Examples:
  conex artifact pull registry.example/team/site:1
  conex artifact pull oci:./build:latest ./model --overwrite
  conex artifact pull registry.example/team/report:1.2 ./out --title '*.md'
  conex artifact pull registry.example/charts/wordpress --version '^1.2'
  conex artifact pull registry.example/team/app@sha256:… ./sbom --type 'application/spdx*'")]
pub struct Pull {
    /// The artifact
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// The folder; made where there is none
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Of an index, the artifact for this platform: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Only layers of this type, in which `*` is any text; may be repeated
    #[arg(long = "type", value_name = "GLOB", value_parser = typed::<Glob>)]
    types: Vec<Glob>,
    /// Only files with such a title; may be repeated
    #[arg(long = "title", value_name = "GLOB", value_parser = typed::<Glob>)]
    titles: Vec<Glob>,
    /// Replace files and links that are there; folders only where nothing in them is lost by it
    #[arg(long)]
    overwrite: bool,
    /// Pull layers without a title too, under their digests
    #[arg(long)]
    untitled: bool,
    /// Leave packed folders packed
    #[arg(long)]
    packed: bool,
    /// Of a chart's repository the newest version in this range, as `conex charts` lists them
    #[arg(
        long, value_name = "RANGE", value_parser = typed::<versions::Wanted>, conflicts_with = "platform"
    )]
    version: Option<versions::Wanted>,
}

impl Pull {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let all = self.types.is_empty() && self.titles.is_empty();
        let mut found = match &self.version {
            Some(range) => versions::find(context, &self.location, range).await?,
            None => {
                let found = find(context, &self.location, self.platform.as_ref()).await;
                found.map_err(|err| advise(err, &self.location))?
            }
        };
        if all {
            let other = packages::pull(context, found, &self.dir, self.overwrite, output).await?;
            let Some(other) = other else { return Ok(()) };
            found = other;
        }
        let wanted = Wanted {
            types: self.types.clone(),
            titles: self.titles.clone(),
            overwrite: self.overwrite,
            untitled: self.untitled,
            packed: self.packed,
        };
        let pulled = pull_found(context, found, &self.dir, &wanted, options).await?;
        output.report(&pulled, text)
    }
}

/// The versions of a chart are its tags, and none of them is `latest`.
fn advise(err: Error, location: &Location) -> Error {
    match (err.kind(), location.name(), location) {
        (Kind::NotFound, None, Location::Registry(_)) => {
            err.hint("name a tag; of a chart `--version '*'` takes the newest")
        }
        _ => err,
    }
}

fn text(pulled: &Pulled) -> String {
    let mut text = format!(
        "pulled {} to {}\n  type {}\n",
        pulled.location,
        escape(&pulled.dir.display().to_string()),
        pulled.artifact_type
    );
    for file in pulled.files.iter().take(MAX_SHOWN_FILES) {
        let slash = if file.folder { "/" } else { "" };
        let title = escape(&file.title);
        text += &format!("  {:>10}  {title}{slash}\n", size(file.layer.size));
    }
    if pulled.files.len() > MAX_SHOWN_FILES {
        text += &format!("  and {} more\n", pulled.files.len() - MAX_SHOWN_FILES);
    }
    let untitled = pulled.skipped.iter().filter(|skipped| skipped.why == WITHOUT_TITLE);
    for skipped in untitled.take(MAX_SHOWN_FILES) {
        text += &format!(
            "skipped {} ({}): it has no title; `--untitled` pulls it\n",
            skipped.layer.digest, skipped.layer.media_type
        );
    }
    text + &format!("{}\n", pulled.root.digest)
}
