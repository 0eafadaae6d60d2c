//! `[gc]` and `[[retention]]`

use std::time::Duration;

use conex_spec::{Error, Glob, Result};
use serde::Deserialize;

use super::each;
use crate::config::Place;
use crate::gc::{Gc, Retention};

/// Processes of a bucket rely on it that none of them has a shorter grace.
const LEAST_GRACE: Duration = Duration::from_secs(3600);

/// `[gc]`: times as `24h` or `30days`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct GcTable {
    interval: Option<String>,
    grace: Option<String>,
    untagged: Option<bool>,
    uploads: Option<String>,
}

/// `[[retention]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RetentionTable {
    repositories: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    keep_newest: Option<usize>,
    younger_than: Option<String>,
    untagged: Option<bool>,
}

impl GcTable {
    pub(super) fn apply(&self, gc: &mut Gc, place: &Place) -> Result<()> {
        match self.interval.as_deref() {
            Some("never") => gc.interval = None,
            Some(text) => gc.interval = Some(time("interval", text)?),
            None => {}
        }
        if let Some(text) = &self.grace {
            gc.grace = time("grace", text)?;
        }
        if matches!(place, Place::S3(_)) && gc.grace < LEAST_GRACE {
            return Err(Error::invalid("`grace` in `[gc]` is too short for a bucket")
                .expected("at least 1h"));
        }
        if let Some(text) = &self.uploads {
            gc.uploads = time("uploads", text)?;
        }
        gc.untagged = self.untagged.unwrap_or(gc.untagged);
        Ok(())
    }
}

impl RetentionTable {
    fn rule(&self) -> Result<Retention> {
        if self.repositories.is_empty() {
            return Err(Error::invalid("`repositories` is empty"));
        }
        let younger_than = self.younger_than.as_ref();
        Ok(Retention {
            repositories: each::<Glob>(&self.repositories)?,
            tags: each::<Glob>(&self.tags)?,
            keep_newest: self.keep_newest,
            younger_than: younger_than.map(|text| time("younger-than", text)).transpose()?,
            untagged: self.untagged,
        })
    }
}

/// All rules, in their order.
pub(super) fn rules(tables: &[RetentionTable]) -> Result<Vec<Retention>> {
    let numbered = tables.iter().enumerate();
    let rule = |(number, table): (usize, &RetentionTable)| {
        table.rule().map_err(|err| err.context(format_args!("retention {}", number + 1)))
    };
    numbered.map(rule).collect()
}

fn time(name: &str, text: &str) -> Result<Duration> {
    humantime::parse_duration(text).map_err(|err| {
        Error::invalid(format!("`{name}` is no time: {err}"))
            .expected("such as 24h or 30days")
            .found(text.escape_debug())
    })
}
