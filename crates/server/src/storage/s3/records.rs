//! Records as objects: what they say, then a line with a mark that no other write has.
//!
//! ```text
//! sha256:2c26…
//! 6f1c0b5e4f8c4f0e8c7a3b9d1e2f3a4b
//! ```
//! By the mark a write is known again whose answer was lost; and since it changes the store's tag
//! of the object, a version is never there twice. An empty object is a record that was removed: S3
//! deletes under no condition, but it writes under one.

use std::time::Duration;

use bytes::Bytes;
use conex_spec::{Error, Kind, Result};
use object_store::PutMode;
use uuid::Uuid;

use super::Inner;
use super::bucket::{Object, Refused, unchanged};
use crate::storage::home::{MAX_RECORD, Record, Version, When};

/// How long a mark is, with the end of the line before it.
const MARK: usize = 33;
/// How often a write is tried whose fate is not clear.
const TRIES: u32 = 8;

impl Inner {
    pub(super) async fn read(&self, name: &str) -> Result<Option<Record>> {
        let found = self.bucket.get(name, MAX_RECORD + MARK).await?;
        Ok(found.and_then(|object| record(&object)))
    }

    pub(super) async fn write(
        &self,
        name: &str,
        bytes: Bytes,
        when: When,
    ) -> Result<Option<Version>> {
        let mark = format!("\n{}", Uuid::new_v4().simple());
        let body = Bytes::from([&bytes[..], mark.as_bytes()].concat());
        let mark = body.slice(bytes.len()..);
        match &self.lease {
            Some(lease) => {
                lease.check()?;
                self.write_alone(name, body, mark, when).await
            }
            None => self.write_among(name, body, mark, when).await,
        }
    }

    async fn write_among(
        &self,
        name: &str,
        body: Bytes,
        mark: Bytes,
        when: When,
    ) -> Result<Option<Version>> {
        let mut mode = match &when {
            When::Always => PutMode::Overwrite,
            When::Absent => PutMode::Create,
            When::Unchanged(version) => unchanged(tag(version)),
        };
        let mut told = None;
        for tries in 0..TRIES {
            rest_before(tries).await;
            match self.bucket.put(name, body.clone(), mode.clone()).await {
                Ok(tag) => return Ok(Some(Version::Object { mark, tag })),
                Err(refused) => told = Some(Error::from(refused)),
            }
            let found = self.bucket.get(name, MAX_RECORD + MARK).await?;
            if let Some(ours) = found.as_ref().filter(|found| found.bytes.ends_with(&mark)) {
                return Ok(Some(Version::Object { mark, tag: ours.tag.clone() }));
            }
            match (&when, &found) {
                (When::Absent, Some(there)) if there.bytes.is_empty() => {
                    mode = unchanged(&there.tag);
                }
                (When::Absent, Some(_)) => return Ok(None),
                (When::Absent, None) => mode = PutMode::Create,
                (When::Unchanged(version), Some(there)) if there.tag == tag(version) => {}
                (When::Unchanged(_), _) => return Ok(None),
                (When::Always, _) => {}
            }
        }
        Err(told.unwrap_or_else(|| lost(name)))
    }

    /// Where nobody else writes, looking before writing is enough.
    async fn write_alone(
        &self,
        name: &str,
        body: Bytes,
        mark: Bytes,
        when: When,
    ) -> Result<Option<Version>> {
        let _guard = self.alone.lock().await;
        let holds = match &when {
            When::Always => true,
            When::Absent => self.read(name).await?.is_none(),
            When::Unchanged(version) => {
                self.read(name).await?.is_some_and(|found| found.version == *version)
            }
        };
        if !holds {
            return Ok(None);
        }
        let tag = self.bucket.put(name, body, PutMode::Overwrite).await?;
        Ok(Some(Version::Object { mark, tag }))
    }

    pub(super) async fn remove(&self, name: &str, version: Option<&Version>) -> Result<bool> {
        let guard = match &self.lease {
            Some(lease) => {
                lease.check()?;
                Some(self.alone.lock().await)
            }
            None => None,
        };
        let Some(found) = self.read(name).await? else { return Ok(false) };
        if version.is_some_and(|version| *version != found.version) {
            return Ok(false);
        }
        match version {
            Some(version) if guard.is_none() => self.empty(name, version).await,
            _ => self.bucket.delete(name).await.map(|()| true),
        }
    }

    /// Removes just this version of a record.
    async fn empty(&self, name: &str, version: &Version) -> Result<bool> {
        let mut told = None;
        for tries in 0..TRIES {
            rest_before(tries).await;
            match self.bucket.put(name, Bytes::new(), unchanged(tag(version))).await {
                Ok(_) => return Ok(true),
                Err(Refused::Condition) => {}
                Err(Refused::Fault(err)) => told = Some(err),
            }
            match self.bucket.get(name, MAX_RECORD + MARK).await? {
                // By us, or by someone else just before.
                Some(found) if found.bytes.is_empty() => return Ok(true),
                Some(found) if found.tag == tag(version) => {}
                _ => return Ok(false),
            }
        }
        Err(told.unwrap_or_else(|| lost(name)))
    }
}

/// The first try waits for nothing.
async fn rest_before(tries: u32) {
    if tries > 0 {
        tokio::time::sleep(Duration::from_millis(20 << tries)).await;
    }
}

fn record(object: &Object) -> Option<Record> {
    let length = object.bytes.len().checked_sub(MARK)?;
    let version = Version::Object { mark: object.bytes.slice(length..), tag: object.tag.clone() };
    Some(Record { bytes: object.bytes.slice(..length), version })
}

/// That of a file fits no object.
pub(super) fn tag(version: &Version) -> &str {
    match version {
        Version::Object { tag, .. } => tag,
        Version::File(_) => "",
    }
}

fn lost(name: &str) -> Error {
    Error::new(Kind::Network, format!("{name} cannot be written: the store does not settle"))
}
