//! `conex pack`

use std::path::PathBuf;

use clap::Args;

use conex_layer::pack::{Options, Owners};
use conex_ops::pack::{Recipe, Report, pack};
use conex_ops::{Context, CopyOptions};
use conex_spec::config::Execution;
use conex_spec::{Error, Kind, Location, Platform, Result};

use super::layers::{FilterArgs, LayerArgs};
use crate::args::typed;
use crate::environment;
use crate::output::{Output, size, warnings};

/// Make an image of folders, one layer for each
///
/// With --base the layers go on top of an image, which keeps its config and history, but for what the
/// options say.
#[derive(Debug, Args)]
#[command(override_usage = "conex pack [OPTIONS] <DIR>... <LOCATION>")]
#[command(after_help = "\
The same folders give the same image, whoever packs them and when. Patterns are those of a `.dockerignore`: `*`, `?`, `[a-z]`, `**` for any
number of folders, the last one that fits decides; no file of that name is read unless it is named.

Examples:
  conex pack ./rootfs oci:./build:1.2
  conex pack ./base ./app registry.example/team/app:1.2 --entrypoint /app/run --env MODE=fast
  conex pack ./app oci:./build:app --base debian:12 --entrypoint /app/run
  conex pack ./base ./patches oci:./build:flat --one-layer
  conex pack ./rootfs store:app --platform linux/arm64 --compression zstd --long
  conex unpack --rootless debian:12 ./rootfs && conex pack --rootless ./rootfs oci:./build:mine
  conex pack . oci:./build:src --ignore-file .dockerignore --exclude .git --owner 0:0")]
pub struct Pack {
    /// The folders, base first, and last where the image goes
    // One list, since options may stand between the folders and the location.
    #[arg(required = true, num_args = 1.., value_name = "DIR… LOCATION")]
    places: Vec<String>,
    /// The image that the layers go on top of; of several, the one for the platform
    #[arg(long, value_name = "LOCATION", value_parser = typed::<Location>)]
    base: Option<Location>,
    /// Make one layer of all folders: what a later one has replaces what earlier ones have
    #[arg(long)]
    one_layer: bool,
    /// A file `.wh.NAME` deletes NAME of the folders before, and of the base; without this no file may
    /// have such a name
    #[arg(long)]
    whiteouts: bool,
    /// What the image runs on; this machine without it: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// The folders were unpacked with `--rootless`: whoever owns one is root in its layer. Owners that are
    /// noted there count without this too
    #[arg(long, conflicts_with_all = ["owner", "uid_map"])]
    rootless: bool,
    #[command(flatten)]
    layer: LayerArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// A word of the command that a container runs; give it again for each word
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// A word of the default arguments; give it again for each word
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// A variable of the environment
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// A label
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Whom a container runs as
    #[arg(long, value_name = "USER[:GROUP]", default_value = "")]
    user: String,
    /// Where a container starts
    #[arg(long, value_name = "DIR", default_value = "")]
    workdir: String,
}

impl Pack {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let (folders, location) = self.places()?;
        let report = pack(context, &self.recipe(folders)?, &location, options).await?;
        output.beside(&location).report(&report, text)
    }

    fn places(&self) -> Result<(Vec<PathBuf>, Location)> {
        match self.places.split_last() {
            Some((location, folders)) if !folders.is_empty() => {
                let location = location.parse();
                let location = location.map_err(|err: Error| err.with_kind(Kind::Usage))?;
                Ok((folders.iter().map(PathBuf::from).collect(), location))
            }
            _ => Err(Error::new(Kind::Usage, "`conex pack` needs a folder and a location")
                .expected("DIR… LOCATION")
                .found(self.places.join(" "))),
        }
    }

    fn recipe(&self, folders: Vec<PathBuf>) -> Result<Recipe> {
        let epoch = environment::source_date_epoch()?;
        let mut layer = self.layer.options(epoch)?;
        if self.rootless {
            layer.owners = Owners::Rootless;
        }
        Ok(Recipe {
            folders,
            one_layer: self.one_layer,
            base: self.base.clone(),
            platform: super::platform_or_host(self.platform.as_ref()),
            execution: self.execution(),
            created: epoch.map(super::rfc3339),
            layer: Options { whiteouts: self.whiteouts, filter: self.filter.filter()?, ..layer },
        })
    }

    fn execution(&self) -> Execution {
        Execution {
            user: self.user.clone(),
            env: self.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            entrypoint: self.entrypoint.clone(),
            cmd: self.cmd.clone(),
            working_dir: self.workdir.clone(),
            labels: self.label.iter().cloned().collect(),
            ..Execution::default()
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("not of the form NAME=VALUE".into()),
    }
}

fn text(report: &Report) -> String {
    let mut text = warnings(&report.warnings, report.warnings.len() as u64);
    text += &format!("packed {}\n", report.location);
    for layer in &report.layers {
        text += &format!("  {}  {:>10}\n", layer.digest, size(layer.size));
    }
    text + &format!("{}\n{}\n", super::summary(&report.summary), report.root.digest)
}
