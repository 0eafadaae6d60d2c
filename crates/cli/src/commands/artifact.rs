//! `conex artifact`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use conex_layer::pack::Options;
use conex_ops::artifact::annotate::{self, Sheet};
use conex_ops::artifact::push::{Folders, Input, Recipe};
use conex_ops::artifact::{Stored, draft};
use conex_ops::{Context, CopyOptions};
use conex_spec::annotations::{CREATED, TITLE};
use conex_spec::{Annotations, Error, Kind, Location, MediaType, Result};
use conex_tar::Time;

use super::{MAX_SHOWN_FILES, raw};
use crate::args::typed;
use crate::environment;
use crate::output::{Output, escape, size, warnings};

mod attach;
mod packages;
mod pull;
mod push;

/// Push, pull and attach files that are no images
#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    Push(push::Push),
    Pull(pull::Pull),
    Attach(attach::Attach),
}

impl ArtifactCommand {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        match self {
            Self::Push(command) => command.run(context, options, output).await,
            Self::Pull(command) => command.run(context, options, output).await,
            Self::Attach(command) => command.run(context, options, output).await,
        }
    }
}

/// What is packaged, and as what.
#[derive(Debug, Args)]
struct Packaging {
    /// What sort of artifact it is: a media type. Without it, what the content tells; else
    /// application/vnd.unknown.artifact.v1, or nothing beside a config
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// The kind that it is: spdx, cyclonedx, in-toto, wasm, model, helm or cnab; `files` for nothing but
    /// files. Without it what the content tells, of a model only where its folder is pushed alone and
    /// without --folder
    #[arg(long = "as", value_name = "KIND", value_parser = typed::<packages::Sort>)]
    kind: Option<packages::Sort>,
    /// A file with metadata of the artifact's own, and what it is
    #[arg(long, value_name = "FILE[:TYPE]")]
    config: Option<String>,
    /// An annotation of the manifest; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    /// A JSON file with annotations of `$manifest`, `$config` and of files by their titles; of the
    /// manifest, what --annotation and --created say counts for more
    #[arg(long, value_name = "FILE")]
    annotation_file: Option<PathBuf>,
    /// What becomes of a folder: one layer that keeps modes and links, or one for each file. Without it
    /// the first, but for a model
    #[arg(long, value_enum, value_name = "HOW")]
    folder: Option<Folder>,
    /// Pack a file of a folder that has several names once for each, as oras does: it unpacks no hard
    /// links with `-o`
    #[arg(long)]
    no_hard_links: bool,
    /// Take the names of files alone as titles, not the paths that were typed
    #[arg(long)]
    flat: bool,
    /// Say when it was made: `now`, or a time as RFC 3339 writes it. Without it nothing is said, so
    /// that the same files are the same artifact; SOURCE_DATE_EPOCH says it too
    #[arg(long, value_name = "TIME")]
    created: Option<String>,
}

/// What becomes of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Folder {
    /// One layer
    Tar,
    /// A layer for each file
    Files,
}

impl Packaging {
    fn recipe(&self, files: &[String]) -> Result<Recipe> {
        let sheet = match &self.annotation_file {
            Some(path) => Some(Sheet::parse(&raw::read(path)?, path.display())?),
            None => None,
        };
        Ok(Recipe {
            files: files.iter().map(|text| Input::parse(text)).collect(),
            artifact_type: self.artifact_type.clone().map(MediaType::new),
            kind: match self.kind {
                Some(packages::Sort::Known(kind)) => Some(kind),
                _ => None,
            },
            plain: self.kind == Some(packages::Sort::Files),
            config: self.config.as_deref().map(Input::parse),
            annotations: self.annotations(sheet.as_ref())?,
            sheet,
            folders: self.folder.map(|folder| match folder {
                Folder::Tar => Folders::Tar,
                Folder::Files => Folders::Files,
            }),
            packing: Some(Options { names_apart: self.no_hard_links, ..packing()? }),
            flat: self.flat,
        })
    }

    /// What is typed. The time of the environment counts where neither that nor the sheet says one.
    fn annotations(&self, sheet: Option<&Sheet>) -> Result<Annotations> {
        let mut annotations = Annotations::new();
        let said = sheet.and_then(|sheet| sheet.of_manifest(CREATED));
        let created = match (said, &self.created) {
            (Some(said), None) => Some(said.to_owned()),
            _ => self.created()?,
        };
        if let Some(created) = created {
            annotations.insert(CREATED.to_owned(), created);
        }
        for text in &self.annotation {
            let (key, value) = annotate::pair(text).map_err(|err| err.context("--annotation"))?;
            let once = self
                .annotation
                .iter()
                .filter(|other| annotate::pair(other).is_ok_and(|(other, _)| other == key));
            if once.count() > 1 {
                return Err(
                    Error::new(Kind::Usage, "--annotation: a key is there twice").found(key)
                );
            }
            annotations.insert(key, value);
        }
        Ok(annotations)
    }

    fn created(&self) -> Result<Option<String>> {
        match self.created.as_deref() {
            None => Ok(environment::source_date_epoch()?.map(super::rfc3339)),
            Some("now") => {
                let now = environment::now().duration_since(std::time::UNIX_EPOCH);
                Ok(now.ok().map(|now| super::rfc3339(now.as_secs())))
            }
            Some(text) if conex_spec::date::rfc3339(text).is_some() => Ok(Some(text.to_owned())),
            Some(text) => Err(Error::new(Kind::Usage, "--created: not a time")
                .expected("`now`, or a time such as 2026-01-31T12:00:00Z")
                .found(text.escape_debug())),
        }
    }
}

fn packing() -> Result<Options> {
    let epoch = environment::source_date_epoch()?;
    let latest = epoch.map(|epoch| Time { secs: epoch.try_into().unwrap_or(i64::MAX), nanos: 0 });
    Ok(Options { latest, ..draft::folder_options() })
}

/// Splits `FILE… LOCATION`.
fn files_and_location(places: &[String]) -> Result<(&[String], Location)> {
    let missing = || Error::new(Kind::Usage, "no location").expected("[FILE[:TYPE]]… LOCATION");
    let (location, files) = places.split_last().ok_or_else(missing)?;
    let parsed = location.parse().map_err(|err: Error| err.with_kind(Kind::Usage))?;
    // Whoever forgets it would push to Docker's registry.
    if matches!(parsed, Location::Registry(_)) && std::path::Path::new(location).exists() {
        return Err(Error::new(Kind::Usage, format!("{location} is a file or folder here"))
            .expected("a location, which stands last")
            .found(location)
            .hint(format!("`docker://{location}` is one all the same")));
    }
    Ok((files, parsed))
}

fn text(what: &str, stored: &Stored) -> String {
    let told = stored.warnings.len().min(MAX_SHOWN_FILES);
    let mut text = warnings(&stored.warnings[..told], stored.warnings.len() as u64);
    text += &format!("{what} {}\n", stored.location);
    if let Some(kind) = &stored.root.artifact_type {
        text += &format!("  type {kind}\n");
    }
    for layer in stored.layers.iter().take(MAX_SHOWN_FILES) {
        let title = layer.annotations.get(TITLE).map_or("", String::as_str);
        let shown = if title.is_empty() { layer.digest.short() } else { title };
        text += &format!("  {:>10}  {}  {}\n", size(layer.size), escape(shown), layer.media_type);
    }
    if stored.layers.len() > MAX_SHOWN_FILES {
        text += &format!("  and {} more\n", stored.layers.len() - MAX_SHOWN_FILES);
    }
    text + &format!("{}\n{}\n", super::summary(&stored.summary), stored.root.digest)
}
