//! How a layer is written: what `conex pack` and `conex repack` have in common.

use std::path::PathBuf;

use clap::Args;

use conex_layer::pack::{Filter, IdRange, Options, Owners, Patterns};
use conex_spec::{Compression, Error, Kind, Result};
use conex_tar::{Time, compression::Settings};

/// The options of a layer that is written.
#[derive(Debug, Args)]
pub struct LayerArgs {
    /// How the layers are compressed
    #[arg(long, value_parser = ["gzip", "zstd", "none"], default_value = "gzip", value_name = "HOW")]
    compression: String,
    /// How hard: 0 to 12 for gzip, 5 without this option; 1 to 22 for zstd, 3 without it
    #[arg(long, value_name = "N")]
    level: Option<u32>,
    /// Find repetitions that are far apart, with zstd: a window of 2^N bytes, which readers need as
    /// memory; 27, their limit, without N
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "27", require_equals = true)]
    long: Option<u32>,
    /// Whom all files belong to; without it they keep their owners
    #[arg(long, value_name = "UID:GID", value_parser = owner)]
    owner: Option<(u32, u32)>,
    /// Users of the folder as others in the layer, COUNT of them; may be repeated
    #[arg(long, value_name = "FROM:TO:COUNT", value_parser = range, conflicts_with = "owner")]
    uid_map: Vec<IdRange>,
    /// The same for groups; without it as for users
    #[arg(long, value_name = "FROM:TO:COUNT", value_parser = range, requires = "uid_map")]
    gid_map: Vec<IdRange>,
}

/// What of a folder is packed.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Pack only what fits, with what is below it; may be repeated
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave out what fits, with what is below it; `!PATTERN` makes an exception; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// A file of such patterns, read before them; `.dockerignore` has this form
    #[arg(long, value_name = "FILE")]
    ignore_file: Option<PathBuf>,
}

impl LayerArgs {
    /// Later times than `epoch` are written as that.
    pub fn options(&self, epoch: Option<u64>) -> Result<Options> {
        if let (Compression::None, Some(level)) = (self.compression(), self.level) {
            return Err(Error::new(Kind::Usage, "without compression there are no levels")
                .expected("`--level` beside `--compression gzip` or `zstd`")
                .found(level));
        }
        let settings =
            Settings { compression: self.compression(), level: self.level, window: self.long };
        let latest =
            epoch.map(|epoch| Time { secs: epoch.try_into().unwrap_or(i64::MAX), nanos: 0 });
        Ok(Options { settings, owners: self.owners(), latest, ..Options::default() })
    }

    fn owners(&self) -> Owners {
        match self.owner {
            Some((uid, gid)) => Owners::Set { uid, gid },
            None if self.uid_map.is_empty() => Owners::Keep,
            None => {
                let gids = if self.gid_map.is_empty() { &self.uid_map } else { &self.gid_map };
                Owners::Map { uids: self.uid_map.clone(), gids: gids.clone() }
            }
        }
    }

    fn compression(&self) -> Compression {
        match self.compression.as_str() {
            "zstd" => Compression::Zstd,
            "none" => Compression::None,
            _ => Compression::Gzip,
        }
    }
}

impl FilterArgs {
    pub fn filter(&self) -> Result<Filter> {
        let mut exclude = Patterns::default();
        if let Some(file) = &self.ignore_file {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|err| Error::io("cannot read", file, err))?;
            exclude = Patterns::dockerignore(&text)?;
        }
        self.exclude.iter().try_for_each(|pattern| exclude.add(pattern))?;
        let mut include = Patterns::default();
        self.include.iter().try_for_each(|pattern| include.add(pattern))?;
        Ok(Filter { include, exclude })
    }
}

fn owner(text: &str) -> Result<(u32, u32), String> {
    let ids =
        text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    ids.ok_or_else(|| "not of the form UID:GID, in numbers".into())
}

fn range(text: &str) -> Result<IdRange, String> {
    let numbers: Result<Vec<u32>, _> = text.split(':').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[from, to, count]) if count > 0 => Ok(IdRange { from, to, count }),
        _ => Err("not of the form FROM:TO:COUNT, in numbers".into()),
    }
}
