//! `[limits]`

use std::time::Duration;

use conex_spec::{Result, document};
use serde::Deserialize;

use super::within;
use crate::config::Limits;

/// A year, in seconds: so far ahead every clock can count.
const LONGEST: u64 = 31_536_000;
/// More than a process can have files.
const MOST_CONNECTIONS: usize = 1 << 20;

/// `[limits]`: sizes in bytes, times in seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct LimitTable {
    manifest: Option<usize>,
    header: Option<usize>,
    header_time: Option<u64>,
    body_time: Option<u64>,
    body_bytes: Option<u64>,
    connections: Option<usize>,
    grace: Option<u64>,
    cache: Option<usize>,
}

impl LimitTable {
    pub(super) fn apply(&self, limits: &mut Limits) -> Result<()> {
        let seconds = |name: &str, given, least, usual| -> Result<Duration> {
            let given = within(name, given, least..=LONGEST)?;
            Ok(given.map_or(usual, Duration::from_secs))
        };
        let manifest = within("manifest", self.manifest, 0..=document::LIMIT)?;
        let connections = within("connections", self.connections, 1..=MOST_CONNECTIONS)?;
        limits.manifest = manifest.unwrap_or(limits.manifest);
        limits.header = self.header.unwrap_or(limits.header);
        limits.header_time = seconds("header-time", self.header_time, 1, limits.header_time)?;
        limits.body_time = seconds("body-time", self.body_time, 1, limits.body_time)?;
        limits.body_bytes = self.body_bytes.unwrap_or(limits.body_bytes);
        limits.connections = connections.unwrap_or(limits.connections);
        limits.grace = seconds("grace", self.grace, 0, limits.grace)?;
        limits.cache = self.cache.unwrap_or(limits.cache);
        Ok(())
    }
}
