//! `conex pack`

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;

use conex_layer::pack::{Options, Owners};
use conex_ops::pack::{Recipe, Report, pack};
use conex_ops::{Context, CopyOptions};
use conex_spec::config::Execution;
use conex_spec::{Compression, Error, Kind, Location, Platform, Result};
use conex_tar::{Time, compression::Settings};

use crate::args::typed;
use crate::environment;
use crate::output::{Output, escape, size};

/// Make an image of folders, one layer for each
#[derive(Debug, Args)]
#[command(override_usage = "conex pack [OPTIONS] <DIR>... <LOCATION>")]
#[command(after_help = "\
The same folders give the same image, whoever packs them and when. A file `.wh.NAME` in a later
folder deletes NAME of the earlier ones.

Examples:
  conex pack ./rootfs oci:./build:1.2
  conex pack ./base ./app registry.example/team/app:1.2 --entrypoint /app/run --env MODE=fast
  conex pack ./rootfs store:app --platform linux/arm64 --compression zstd")]
pub struct Pack {
    /// The folders, base first, and last where the image goes
    // One list, since options may stand between the folders and the location.
    #[arg(required = true, num_args = 1.., value_name = "DIR… LOCATION")]
    places: Vec<String>,
    /// What the image runs on; this machine without it: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// How the layers are compressed
    #[arg(long, value_parser = ["gzip", "zstd", "none"], default_value = "gzip", value_name = "HOW")]
    compression: String,
    /// How hard: 0 to 9 for gzip, 1 to 22 for zstd
    #[arg(long, value_name = "N")]
    level: Option<u32>,
    /// Whom all files belong to; without it they keep their owners
    #[arg(long, value_name = "UID:GID", value_parser = owner)]
    owner: Option<(u32, u32)>,
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
        Ok(Recipe {
            folders,
            platform: super::platform_or_host(self.platform.as_ref()),
            execution: self.execution(),
            created: epoch.map(rfc3339),
            layer: self.layer_options(epoch)?,
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

    fn layer_options(&self, epoch: Option<u64>) -> Result<Options> {
        if let (Compression::None, Some(level)) = (self.compression(), self.level) {
            return Err(Error::new(Kind::Usage, "without compression there are no levels")
                .expected("`--level` beside `--compression gzip` or `zstd`")
                .found(level));
        }
        Ok(Options {
            settings: Settings { compression: self.compression(), level: self.level },
            owners: self.owner.map_or(Owners::Keep, |(uid, gid)| Owners::Set { uid, gid }),
            latest: epoch
                .map(|epoch| Time { secs: epoch.try_into().unwrap_or(i64::MAX), nanos: 0 }),
            whiteouts: true,
        })
    }

    fn compression(&self) -> Compression {
        match self.compression.as_str() {
            "zstd" => Compression::Zstd,
            "none" => Compression::None,
            _ => Compression::Gzip,
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("not of the form NAME=VALUE".into()),
    }
}

fn owner(text: &str) -> Result<(u32, u32), String> {
    let ids =
        text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    ids.ok_or_else(|| "not of the form UID:GID, in numbers".into())
}

fn text(report: &Report) -> String {
    let mut text: String =
        report.warnings.iter().map(|warning| format!("warning: {}\n", escape(warning))).collect();
    text += &format!("packed {}\n", report.location);
    for layer in &report.layers {
        text += &format!("  {}  {:>10}\n", layer.digest, size(layer.size));
    }
    text + &format!("{}\n{}\n", super::summary(&report.summary), report.root.digest)
}

/// Seconds since 1970 as RFC 3339 writes them, in UTC.
fn rfc3339(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}
