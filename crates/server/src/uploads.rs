//! Upload sessions: blobs on their way in.
//!
//! A session lies with its repository ([`Session`]); that binds it to the repository, and its random
//! name is what its client knows (CVE-2026-32589: sessions were taken over through other
//! repositories). In memory there is only its hash so far: after a restart, when another process
//! went on with it, or when too many sessions are open, it is hashed again at the end. So nothing is
//! held open between requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use conex_spec::{Algorithm, Digest, Kind};
use futures_util::future::join;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use uuid::Uuid;

use crate::failure::{Code, Failure};
use crate::memory::{Held, Memory};
use crate::paths::Repository;
use crate::quota::Room;
use crate::receive::Receive;
use crate::storage::home::{Hashing, Home, Session, Version};

/// What is collected before it is hashed and written, in bytes.
const BATCH: usize = 1 << 20;
/// What was collected for all uploads and is not written yet.
static MEMORY: Memory = Memory::new(32 << 20, 16 << 10, BATCH);
/// Sessions whose hash is kept in memory.
const MAX_KEPT: usize = 4096;
/// How long a request waits for another one on the same session, which may be a connection that
/// broke without the server having noticed yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sessions that are known without a look at the storage.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<Kept>);

type Kept = HashMap<(Repository, Uuid), Arc<tokio::sync::Mutex<Progress>>>;

/// What is known of a session.
#[derive(Debug, Default)]
struct Progress {
    /// Nothing where all must be hashed again.
    hashing: Option<Hashing>,
    /// The session as it was left, where another process may have had it since.
    version: Option<Version>,
    /// The session became a blob or was cancelled.
    over: bool,
}

/// A session that this request alone has.
pub(crate) struct Upload {
    pub(crate) id: Uuid,
    session: Box<dyn Session>,
    progress: OwnedMutexGuard<Progress>,
    /// The hash when the session was taken.
    before: Option<Hashing>,
}

impl Uploads {
    /// Opens a new session. One that is `single` is gone when it is dropped unfinished.
    pub(crate) async fn start(
        &self,
        home: &dyn Home,
        repository: &Repository,
        algorithm: Algorithm,
        single: bool,
    ) -> Result<Upload, Failure> {
        let id = Uuid::new_v4();
        let session = home.begin(repository, id, single).await?;
        let hashing = Some(Hashing::new(algorithm));
        let version = session.version().cloned();
        let progress =
            Arc::new(tokio::sync::Mutex::new(Progress { hashing, version, over: false }));
        let guard = Arc::clone(&progress).lock_owned().await;
        if !single {
            self.keep(repository, id, progress);
        }
        let before = guard.hashing.clone();
        Ok(Upload { id, session, progress: guard, before })
    }

    /// Takes an open session for this request.
    pub(crate) async fn take(
        &self,
        home: &dyn Home,
        repository: &Repository,
        id: Uuid,
    ) -> Result<Upload, Failure> {
        let mut progress = self.lock(repository, id).await?;
        let found = if progress.over { Ok(None) } else { home.resume(repository, id).await };
        match found {
            Ok(Some(session)) => {
                let length = progress.hashing.as_ref().map(|hashing| hashing.length);
                let same = progress.version.as_ref() == session.version();
                if length != Some(session.length()) || !same {
                    progress.hashing = None;
                }
                let before = progress.hashing.clone();
                Ok(Upload { id, session, progress, before })
            }
            other => {
                // Made-up names must not crowd out the real ones.
                self.forget(repository, id);
                Err(other.err().map_or_else(unknown, Failure::from))
            }
        }
    }

    /// The bytes that a session has, once whoever writes to it is done.
    pub(crate) async fn length(
        &self,
        home: &dyn Home,
        repository: &Repository,
        id: Uuid,
    ) -> Result<u64, Failure> {
        let progress = self.lock(repository, id).await?;
        let found = if progress.over { None } else { home.uploaded(repository, id).await? };
        if found.is_none() {
            self.forget(repository, id);
        }
        found.ok_or_else(unknown)
    }

    /// Forgets a session that is over.
    pub(crate) fn forget(&self, repository: &Repository, id: Uuid) {
        self.kept().remove(&(repository.clone(), id));
    }

    async fn lock(
        &self,
        repository: &Repository,
        id: Uuid,
    ) -> Result<OwnedMutexGuard<Progress>, Failure> {
        let known = self.kept().get(&(repository.clone(), id)).map(Arc::clone);
        let progress = known.unwrap_or_else(|| self.keep(repository, id, Arc::default()));
        timeout(PATIENCE, progress.lock_owned()).await.map_err(|_| {
            Code::BlobUploadInvalid
                .says("another request is writing to this upload")
                .status(http::StatusCode::CONFLICT)
        })
    }

    /// Keeps a session unless it is there; makes room where it is needed.
    fn keep(
        &self,
        repository: &Repository,
        id: Uuid,
        progress: Arc<tokio::sync::Mutex<Progress>>,
    ) -> Arc<tokio::sync::Mutex<Progress>> {
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            // Whoever works on one holds a second count.
            let mut surplus = kept.len() / 2;
            kept.retain(|_, progress| {
                let drop = surplus > 0 && Arc::strong_count(progress) == 1;
                surplus -= usize::from(drop);
                !drop
            });
        }
        Arc::clone(kept.entry((repository.clone(), id)).or_insert(progress))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    /// The bytes received.
    pub(crate) fn length(&self) -> u64 {
        self.session.length()
    }

    /// Adds a body at the end. The next bytes are received while the last ones are hashed and
    /// written. What came before the body broke off stays.
    pub(crate) async fn receive(
        &mut self,
        body: &mut Receive,
        room: &Room<'_>,
    ) -> Result<(), Failure> {
        self.check_room(body.declared().unwrap_or_default(), room).await?;
        let (mut batch, mut end) = collect(body).await;
        while !batch.chunks.is_empty() {
            self.check_room(batch.chunks.iter().map(|chunk| chunk.len() as u64).sum(), room)
                .await?;
            let Batch { chunks: now, held } = std::mem::replace(&mut batch, Batch::new());
            let written = self.session.write(now, &mut self.progress.hashing);
            let written = if end.is_ok() {
                let (written, next) = join(written, collect(body)).await;
                (batch, end) = next;
                written
            } else {
                written.await
            };
            drop(held);
            if let Err(err) = written {
                // What was told to be there stays for when there is room again; others have the rest.
                if err.kind() == Kind::NoSpace && self.undo().await.is_err() {
                    self.discard().await;
                }
                return Err(err.into());
            }
        }
        end
    }

    /// Nothing is kept of an upload that has no room.
    async fn check_room(&mut self, more: u64, room: &Room<'_>) -> Result<(), Failure> {
        let checked = room.check(self.length().saturating_add(more));
        if checked.is_err() {
            self.discard().await;
        }
        checked
    }

    /// Goes back to where the session stood when it was taken.
    pub(crate) async fn undo(&mut self) -> Result<(), Failure> {
        self.progress.hashing.clone_from(&self.before);
        self.session.undo().await?;
        self.pause().await
    }

    /// Keeps what came for the next request.
    pub(crate) async fn pause(&mut self) -> Result<(), Failure> {
        if self.progress.over {
            return Ok(());
        }
        self.session.pause().await?;
        self.progress.version = self.session.version().cloned();
        Ok(())
    }

    /// Makes the session a blob of its repository if it is what `digest` names. Either way the
    /// session is over.
    pub(crate) async fn finish(&mut self, digest: &Digest) -> Result<(), Failure> {
        let algorithm = digest.algorithm()?;
        let found = match self.progress.hashing.take() {
            Some(hashing) if hashing.algorithm == algorithm => hashing.finish(),
            _ => self.session.hash(algorithm).await?,
        };
        if let Err(err) = digest.check(&found, || "the uploaded content has another digest".into())
        {
            self.discard().await;
            return Err(Failure::client(Code::DigestInvalid, &err));
        }
        self.session.publish(digest).await?;
        self.progress.over = true;
        Ok(())
    }

    /// Ends the session; nothing of it is left.
    pub(crate) async fn discard(&mut self) {
        self.session.discard().await;
        self.progress.over = true;
    }
}

/// What came of a body and is not written yet.
struct Batch {
    chunks: Vec<Bytes>,
    held: Held,
}

impl Batch {
    fn new() -> Self {
        Self { chunks: Vec::new(), held: MEMORY.hold(0) }
    }
}

/// At least one batch of the body, or all that is left of it, and whether it broke off.
async fn collect(body: &mut Receive) -> (Batch, Result<(), Failure>) {
    let (mut batch, mut length) = (Batch::new(), 0);
    while length < MEMORY.fair() {
        match body.next().await {
            Ok(Some(chunk)) => {
                length += chunk.len();
                batch.held.grow(chunk.len());
                batch.chunks.push(chunk);
            }
            Ok(None) => break,
            Err(err) => return (batch, Err(err)),
        }
    }
    (batch, Ok(()))
}

fn unknown() -> Failure {
    Code::BlobUploadUnknown.says("there is no such upload")
}
