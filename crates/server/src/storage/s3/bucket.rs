//! Requests to a bucket, below a prefix.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use conex_spec::{Error, Kind, Result};
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error as Fault, GetOptions, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};

use crate::config::S3;
use crate::storage::home::{Page, Stamp};

/// How long a request is tried again, and how long a store may say nothing.
const PATIENCE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);
/// How long a connection is kept for the next request: less than stores keep theirs, since a request
/// on one that is ending is lost.
const IDLE: Duration = Duration::from_secs(4);
/// The most names that a store lists at once.
const MAX_LIST: usize = 1000;

/// See the module.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) store: AmazonS3,
    name: String,
    /// Empty, or ends in a slash.
    prefix: String,
}

/// An object that was read whole.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) tag: String,
}

/// An object that was listed.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Below the bucket's prefix.
    pub(super) name: String,
    /// Its last change.
    pub(super) stamp: Stamp,
    /// What the store calls its version; empty where the listing does not tell.
    pub(super) tag: String,
    /// In bytes.
    pub(super) size: u64,
}

impl Bucket {
    pub(super) fn open(config: &S3) -> Result<Self> {
        // There may be one already, and then it serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(Duration::from_secs(5))
            .with_read_timeout(SILENCE)
            .with_pool_idle_timeout(IDLE);
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        };
        let retry = RetryConfig { backoff, max_retries: 12, retry_timeout: PATIENCE };
        let mut builder = AmazonS3Builder::new().with_client_options(client).with_retry(retry);
        let mut plain = false;
        for (key, value) in &config.options {
            let known: AmazonS3ConfigKey = key.parse().map_err(|err: Fault| {
                Error::invalid(format!("{key} is no option of a bucket")).source(err)
            })?;
            plain |= key.contains("endpoint") && value.starts_with("http://");
            builder = builder.with_config(known, value);
        }
        let store = builder
            .with_allow_http(plain)
            .with_bucket_name(&config.bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()
            .map_err(|err| {
                let message = format!("the bucket {} cannot be used", config.bucket);
                Error::new(Kind::Usage, message).source(err)
            })?;
        let prefix = config.prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { store, name: config.bucket.clone(), prefix })
    }

    /// The path of an object.
    pub(super) fn path(&self, name: &str) -> Result<Path> {
        Path::parse(format!("{}{name}", self.prefix))
            .map_err(|err| Error::invalid(format!("{name} cannot name an object")).source(err))
    }

    /// A whole object of at most `limit` bytes; nothing if there is none.
    pub(super) async fn get(&self, name: &str, limit: usize) -> Result<Option<Object>> {
        let fault = |err| self.fault("read", name, err);
        let found = match self.store.get_opts(&self.path(name)?, GetOptions::default()).await {
            Ok(found) => found,
            Err(Fault::NotFound { .. }) => return Ok(None),
            Err(err) => return Err(fault(err)),
        };
        let tag = found.meta.e_tag.clone().unwrap_or_default();
        let mut stream = found.into_stream();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.next().await.transpose().map_err(fault)? {
            if bytes.len() + chunk.len() > limit {
                return Err(Error::new(Kind::Limit, format!("{name} in {self} is too large"))
                    .expected(format!("at most {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(Object { bytes: bytes.freeze(), tag }))
    }

    /// How many bytes an object has; nothing if there is none.
    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>> {
        match self.store.head(&self.path(name)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Fault::NotFound { .. }) => Ok(None),
            Err(err) => Err(self.fault("look at", name, err)),
        }
    }

    /// When an object was written last; nothing if there is none.
    pub(super) async fn stamp(&self, name: &str) -> Result<Option<Stamp>> {
        match self.store.head(&self.path(name)?).await {
            Ok(meta) => Ok(Some(stamp(&meta))),
            Err(Fault::NotFound { .. }) => Ok(None),
            Err(err) => Err(self.fault("look at", name, err)),
        }
    }

    /// Writes an object. Returns its tag.
    pub(super) async fn put(
        &self,
        name: &str,
        bytes: Bytes,
        mode: PutMode,
    ) -> Result<String, Refused> {
        let path = self.path(name).map_err(Refused::Fault)?;
        let put = self.store.put_opts(&path, PutPayload::from(bytes), PutOptions::from(mode));
        match put.await {
            Ok(put) => Ok(put.e_tag.unwrap_or_default()),
            Err(Fault::AlreadyExists { .. } | Fault::Precondition { .. }) => {
                Err(Refused::Condition)
            }
            Err(err) => Err(Refused::Fault(self.fault("write", name, err))),
        }
    }

    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.path(name)?).await {
            Ok(()) | Err(Fault::NotFound { .. }) => Ok(()),
            Err(err) => Err(self.fault("delete", name, err)),
        }
    }

    /// The objects below a folder, which ends in a slash, after the one of that whole name, at most
    /// `count`, in the order of their bytes. Empty ones are left out: they stand for what was
    /// removed.
    pub(super) async fn list(
        &self,
        folder: &str,
        after: &str,
        count: usize,
    ) -> Result<Page<Listed>> {
        let prefix = format!("{}{folder}", self.prefix);
        let mut page = Page { items: Vec::new(), more: false };
        let mut offset = Some(after).filter(|after| !after.is_empty());
        let mut offset = offset.take().map(|after| format!("{}{after}", self.prefix));
        loop {
            let wanted = (count + 1 - page.items.len()).min(MAX_LIST);
            let options = PaginatedListOptions {
                offset: offset.clone(),
                max_keys: Some(wanted),
                ..PaginatedListOptions::default()
            };
            let found = self.store.list_paginated(Some(&prefix), options).await;
            let found = found.map_err(|err| self.fault("list", folder, err))?;
            let mut objects = found.result.objects;
            objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
            let last = objects.last().map(|object| object.location.to_string());
            for object in objects.into_iter().filter(|object| object.size > 0) {
                let Some(name) = object.location.as_ref().strip_prefix(&self.prefix) else {
                    continue;
                };
                if page.items.len() == count {
                    page.more = true;
                    return Ok(page);
                }
                let (name, stamp) = (name.to_owned(), stamp(&object));
                let (tag, size) = (object.e_tag.unwrap_or_default(), object.size);
                page.items.push(Listed { name, stamp, tag, size });
            }
            match last.filter(|_| found.page_token.is_some()) {
                Some(last) => offset = Some(last),
                None => return Ok(page),
            }
        }
    }

    /// The same, by the names below the folder alone.
    pub(super) async fn names(
        &self,
        folder: &str,
        after: &str,
        count: usize,
    ) -> Result<Page<String>> {
        let after = if after.is_empty() { String::new() } else { format!("{folder}{after}") };
        let page = self.list(folder, &after, count).await?;
        let names = page.items.into_iter();
        let items = names.map(|object| object.name[folder.len()..].to_owned()).collect();
        Ok(Page { items, more: page.more })
    }

    pub(super) fn fault(&self, action: &str, name: &str, err: Fault) -> Error {
        let kind = match &err {
            Fault::NotFound { .. } => Kind::NotFound,
            Fault::PermissionDenied { .. } | Fault::Unauthenticated { .. } => Kind::Denied,
            _ => Kind::Network,
        };
        Error::new(kind, format!("cannot {action} {name} in {self}: {err}"))
    }
}

/// Why nothing was written.
#[derive(Debug)]
pub(super) enum Refused {
    /// The store says that the condition does not hold. It may have been our own write, in an
    /// earlier try, that made it so.
    Condition,
    /// Also here it may have been taken.
    Fault(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Condition => Self::new(Kind::Conflict, "someone else changed the same thing"),
            Refused::Fault(err) => err,
        }
    }
}

/// In whole seconds: some stores tell no less when they are asked for one object alone.
fn stamp(object: &ObjectMeta) -> Stamp {
    object.last_modified.timestamp().saturating_mul(1_000_000_000)
}

/// The write replaces just this version.
pub(super) fn unchanged(tag: &str) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag: Some(tag.to_owned()), version: None })
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.name, self.prefix.trim_end_matches('/'))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
