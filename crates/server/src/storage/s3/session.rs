//! Uploads as multipart uploads, whose state is a record: any process goes on with them.
//!
//! ```text
//! {"length":19000000,"data":UUID,"multipart":ID,"parts":[TAG,TAG],"done":false}
//! the last bytes, too few for a part
//! ```
//! A part is sent when 8 MiB have come, the next ones while it is on its way; what is fewer waits (see
//! `tail`), and lies in the record when a request ends. The record is written again when parts have arrived, so a killed
//! process loses what it had not told of, and no more.
//!
//! Only one process has a session: it writes the record under the condition that it is the one it
//! read, first of all before it sends a part. Who comes later makes the earlier one fail.
//!
//! Parts cannot be read before the upload is complete. So where another process hashed the bytes,
//! the object is completed and read again; it has no name that anyone asks for until its digest is
//! known.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Algorithm, Digest, Error, Kind, Result};
use futures_util::TryStreamExt;
use object_store::PutPayload;
use object_store::multipart::{MultipartStore, PartId};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use super::content::Data;
use super::tail::{Tail, moving};
use super::{Inner, S3Home};
use crate::paths::{self, Repository};
use crate::storage::blocking;
use crate::storage::home::{Hashing, Home, Session, Version, When};

/// The size of each part but the last, in bytes. Some stores want all of one size, and none takes
/// more than [`MAX_PARTS`].
const PART: usize = 8 << 20;
const MAX_PARTS: usize = 10_000;
/// Parts of one session on their way at a time.
const FLYING: usize = 3;

/// The number and the tag of a part that arrived, or did not.
type Landed = std::result::Result<Result<(usize, String)>, JoinError>;

/// How far a session is, as its record says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    /// In bytes, with the last ones that are no part.
    length: u64,
    data: Uuid,
    multipart: Option<String>,
    parts: Vec<String>,
    /// All parts are there: the upload is being completed, or was.
    done: bool,
}

/// See the module.
struct S3Session {
    home: S3Home,
    repository: Repository,
    id: Uuid,
    /// Without what is on its way.
    state: State,
    tail: Tail,
    length: u64,
    version: Option<Version>,
    /// Whether this request wrote the record already.
    claimed: bool,
    start: (State, Tail),
    flying: JoinSet<Result<(usize, String)>>,
    landed: BTreeMap<usize, String>,
    sent: usize,
    single: bool,
}

impl S3Home {
    pub(super) async fn begin_session(
        &self,
        repository: Repository,
        id: Uuid,
        single: bool,
    ) -> Result<Box<dyn Session>> {
        let (data, multipart, parts) = (Uuid::new_v4(), None, Vec::new());
        let state = State { length: 0, data, multipart, parts, done: false };
        let mut session = S3Session::new(self.clone(), repository, id, state, Bytes::new());
        session.single = single;
        session.save().await?;
        Ok(Box::new(session))
    }

    pub(super) async fn resume_session(
        &self,
        repository: Repository,
        id: Uuid,
    ) -> Result<Option<Box<dyn Session>>> {
        let name = repository.upload(id);
        let _moving = moving(PART).await?;
        let Some(record) = self.0.read(&name).await? else { return Ok(None) };
        let (state, tail) = parse(&name, &record.bytes)?;
        let mut session = S3Session::new(self.clone(), repository, id, state, tail);
        session.version = Some(record.version);
        drop(record.bytes);
        session.settle().await?;
        Ok(Some(Box::new(session)))
    }
}

impl Inner {
    /// The object of an upload's bytes.
    pub(super) async fn session_data(
        &self,
        repository: &Repository,
        id: Uuid,
    ) -> Result<Option<Uuid>> {
        let name = repository.upload(id);
        let Some(record) = self.read(&name).await? else { return Ok(None) };
        Ok(Some(parse(&name, &record.bytes)?.0.data))
    }

    pub(super) async fn uploaded(&self, repository: &Repository, id: Uuid) -> Result<Option<u64>> {
        let name = repository.upload(id);
        let _moving = moving(PART).await?;
        let Some(record) = self.read(&name).await? else { return Ok(None) };
        Ok(Some(parse(&name, &record.bytes)?.0.length))
    }
}

#[async_trait]
impl Session for S3Session {
    fn length(&self) -> u64 {
        self.length
    }

    fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    async fn write(&mut self, batch: Vec<Bytes>, hashing: &mut Option<Hashing>) -> Result<()> {
        if self.state.done {
            return Err(Error::new(Kind::Conflict, "the upload is complete already"));
        }
        let (mut running, hashed) = (hashing.take(), batch.clone());
        *hashing = blocking(move || {
            if let Some(running) = &mut running {
                hashed.iter().for_each(|chunk| running.update(chunk));
            }
            Ok(running)
        })
        .await?;
        self.length += batch.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.tail.push(batch);
        self.land_some().await?;
        while self.tail.length() >= PART {
            self.claim().await?;
            self.send(PART).await?;
        }
        self.settle().await
    }

    async fn undo(&mut self) -> Result<()> {
        // What is on its way must not arrive after what takes its place.
        let landed = self.land_all().await;
        let (state, tail) = &self.start;
        let multipart = self.state.multipart.take();
        self.state = State { multipart, ..state.clone() };
        self.length = self.state.length;
        self.tail = tail.copy().await?;
        self.sent = self.state.parts.len();
        self.landed.clear();
        landed
    }

    async fn pause(&mut self) -> Result<()> {
        self.land_all().await?;
        self.save().await
    }

    async fn hash(&mut self, algorithm: Algorithm) -> Result<Digest> {
        let mut hasher = algorithm.hasher();
        if self.state.multipart.is_none() {
            let _moving = moving(self.tail.length()).await?;
            self.tail.chunks().await?.iter().for_each(|chunk| hasher.update(chunk));
            return Ok(hasher.finish());
        }
        self.complete().await?;
        let mut stream = self.home.0.stream(self.state.data, 0..self.length).await?;
        let fault = |err| Error::from_io(err, || "cannot read an upload".into());
        while let Some(chunk) = stream.try_next().await.map_err(fault)? {
            hasher.update(&chunk);
        }
        Ok(hasher.finish())
    }

    async fn publish(&mut self, digest: &Digest) -> Result<()> {
        if self.state.multipart.is_none() {
            let _moving = moving(self.tail.length()).await?;
            let content = self.tail.chunks().await?.concat();
            self.home.0.put(digest, content.into()).await?;
        } else {
            self.complete().await?;
            let data = Data { id: self.state.data, size: self.length };
            self.home.0.enter_data(digest, data).await?;
        }
        self.home.enrol(&self.repository).await?;
        self.home.0.write(&self.repository.blob(digest)?, Bytes::new(), When::Always).await?;
        if !self.single {
            // One that stays is collected later; nothing of it can become another blob.
            let _ = self.home.0.bucket.delete(&self.repository.upload(self.id)).await;
        }
        Ok(())
    }

    async fn discard(&mut self) {
        // Not broken off: see `land`.
        while self.flying.join_next().await.is_some() {}
        let bucket = &self.home.0.bucket;
        if let (Some(id), Ok(path)) =
            (&self.state.multipart, bucket.path(&paths::data(self.state.data)))
        {
            let _ = bucket.store.abort_multipart(&path, id).await;
            if self.state.done {
                let _ = bucket.delete(&paths::data(self.state.data)).await;
            }
        }
        if !self.single {
            let _ = bucket.delete(&self.repository.upload(self.id)).await;
        }
    }
}

impl S3Session {
    fn new(home: S3Home, repository: Repository, id: Uuid, state: State, tail: Bytes) -> Self {
        let tail = if tail.is_empty() { Vec::new() } else { vec![tail] };
        let start = (state.clone(), Tail::new(tail.clone()));
        Self {
            home,
            repository,
            id,
            length: state.length,
            sent: state.parts.len(),
            start,
            state,
            tail: Tail::new(tail),
            version: None,
            claimed: false,
            flying: JoinSet::new(),
            landed: BTreeMap::new(),
            single: false,
        }
    }

    /// Makes room for other uploads where memory is short.
    async fn settle(&mut self) -> Result<()> {
        let folder = self.home.0.spool.as_deref();
        self.start.1.settle(folder).await?;
        self.tail.settle(folder).await
    }

    /// Makes this request the one that has the session, and begins the multipart upload.
    async fn claim(&mut self) -> Result<()> {
        if self.state.multipart.is_none() {
            let bucket = &self.home.0.bucket;
            let name = paths::data(self.state.data);
            let begun = bucket.store.create_multipart(&bucket.path(&name)?).await;
            let begun = begun.map_err(|err| bucket.fault("begin", &name, err))?;
            self.state.multipart = Some(begun);
        }
        if !self.claimed {
            // As it was when the request began: the bytes of now are not there yet.
            let (start, tail) = &self.start;
            let claim = State { multipart: self.state.multipart.clone(), ..start.clone() };
            let _moving = moving(tail.length()).await?;
            let record = print(&claim, &tail.chunks().await?)?;
            self.write_record(record).await?;
        }
        Ok(())
    }

    /// Sends the first bytes of the tail as the next part.
    async fn send(&mut self, length: usize) -> Result<()> {
        while self.flying.len() >= FLYING {
            self.land_one().await?;
        }
        let number = self.sent;
        if number >= MAX_PARTS {
            let most = format!("at most {} bytes", MAX_PARTS as u64 * PART as u64);
            return Err(Error::new(Kind::Limit, "the blob is too large").expected(most));
        }
        let moving = moving(length).await?;
        let payload = PutPayload::from_iter(self.tail.take(length).await?);
        let (home, data) = (Arc::clone(&self.home.0), self.state.data);
        let multipart = self.state.multipart.clone().unwrap_or_default();
        self.sent += 1;
        self.flying.spawn(async move {
            let name = paths::data(data);
            let path = home.bucket.path(&name)?;
            let put = home.bucket.store.put_part(&path, &multipart, number, payload).await;
            drop(moving);
            let part = put.map_err(|err| home.bucket.fault("write a part of", &name, err))?;
            Ok((number, part.content_id))
        });
        Ok(())
    }

    /// Waits for a part to arrive, and tells of those that have arrived without a gap.
    async fn land_one(&mut self) -> Result<()> {
        match self.flying.join_next().await {
            Some(landed) => self.land(landed).await,
            None => Ok(()),
        }
    }

    /// Where a part has failed, waits for the others before that is told: none may arrive after
    /// what takes its place.
    async fn land(&mut self, landed: Landed) -> Result<()> {
        let told = self.note(landed).await;
        if told.is_err() {
            while let Some(other) = self.flying.join_next().await {
                // Of several faults the first is told.
                let _ = self.note(other).await;
            }
        }
        told
    }

    async fn note(&mut self, landed: Landed) -> Result<()> {
        let lost = |err| Error::new(Kind::Io, "a worker failed").source(err);
        let (number, tag) = landed.map_err(lost)??;
        self.landed.insert(number, tag);
        let before = self.state.parts.len();
        while let Some(tag) = self.landed.remove(&self.state.parts.len()) {
            self.state.parts.push(tag);
        }
        if self.state.parts.len() > before {
            self.state.length = (self.state.parts.len() * PART) as u64;
            let record = print(&self.state, &[])?;
            self.write_record(record).await?;
        }
        Ok(())
    }

    /// Tells of the parts that have arrived meanwhile.
    async fn land_some(&mut self) -> Result<()> {
        while let Some(landed) = self.flying.try_join_next() {
            self.land(landed).await?;
        }
        Ok(())
    }

    async fn land_all(&mut self) -> Result<()> {
        while !self.flying.is_empty() {
            self.land_one().await?;
        }
        Ok(())
    }

    /// Writes the record with all that came. Nothing may be on its way.
    async fn save(&mut self) -> Result<()> {
        if self.state.parts.len() < self.sent {
            // What the record told last stays, and the client goes on from there.
            return Err(Error::new(Kind::Network, "a part of the upload did not arrive"));
        }
        self.state.length = self.length;
        let _moving = moving(self.tail.length()).await?;
        let record = print(&self.state, &self.tail.chunks().await?)?;
        self.write_record(record).await
    }

    async fn write_record(&mut self, record: Bytes) -> Result<()> {
        if self.single {
            return Ok(());
        }
        let when = match &self.version {
            Some(version) => When::Unchanged(version.clone()),
            None => When::Absent,
        };
        let name = self.repository.upload(self.id);
        let written = self.home.0.write(&name, record, when).await?;
        self.version = Some(written.ok_or_else(|| {
            Error::new(Kind::Conflict, "another request goes on with this upload")
        })?);
        self.claimed = true;
        Ok(())
    }

    /// Makes one object of all parts.
    async fn complete(&mut self) -> Result<()> {
        let name = paths::data(self.state.data);
        if !self.state.done {
            self.claim().await?;
            let rest = self.tail.length();
            if rest > 0 {
                self.send(rest).await?;
            }
            self.land_all().await?;
            self.state.done = true;
            self.save().await?;
        } else if self.home.0.bucket.size(&name).await? == Some(self.length) {
            return Ok(());
        }
        let bucket = &self.home.0.bucket;
        let parts = self.state.parts.iter().map(|tag| PartId { content_id: tag.clone() });
        let multipart = self.state.multipart.clone().unwrap_or_default();
        let path = bucket.path(&name)?;
        let completed = bucket.store.complete_multipart(&path, &multipart, parts.collect()).await;
        match completed {
            Ok(_) => Ok(()),
            // It may have been taken although its answer was lost.
            Err(_) if bucket.size(&name).await? == Some(self.length) => Ok(()),
            Err(err) => Err(bucket.fault("complete", &name, err)),
        }
    }
}

fn print(state: &State, tail: &[Bytes]) -> Result<Bytes> {
    let mut record = serde_json::to_vec(state)
        .map_err(|err| Error::invalid("upload cannot be printed").source(err))?;
    record.push(b'\n');
    tail.iter().for_each(|chunk| record.extend_from_slice(chunk));
    Ok(record.into())
}

fn parse(name: &str, record: &Bytes) -> Result<(State, Bytes)> {
    let damaged = || Error::invalid(format!("{name} is damaged"));
    let end = record.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let state = serde_json::from_slice(&record[..end]).map_err(|err| damaged().source(err))?;
    Ok((state, record.slice(end + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let (data, parts) = (Uuid::new_v4(), vec!["\"x\"".to_owned()]);
        let state = State { length: 9, data, multipart: Some("m\n".into()), parts, done: false };
        let record = print(&state, &[Bytes::from("a\nb"), Bytes::from("\n")]).unwrap();
        let (found, tail) = parse("x", &record).unwrap();
        assert_eq!((found.length, found.multipart.as_deref()), (9, Some("m\n")));
        assert_eq!(tail, "a\nb\n");
        assert!(parse("x", &Bytes::from("{}")).is_err());
    }
}
