//! Upload sessions: blobs on their way in.
//!
//! A session is a file in its repository's folder; that it lies there binds it to the repository,
//! and its random name is what its client knows (CVE-2026-32589: sessions were taken over through
//! other repositories). In memory there is only its hash so far: after a restart, or when too many
//! sessions are open, the file is hashed again at the end. So no file is held open between requests.
//!
//! A session is not durable until it becomes a blob: after a power cut its client begins anew.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use conex_spec::{Algorithm, Digest, Error, Hasher, Kind, Result};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use uuid::Uuid;

use crate::failure::{Code, Failure};
use crate::file_body::{CHUNK, read_at};
use crate::paths::Repository;
use crate::receive::Receive;
use crate::storage::{Storage, blocking};

/// What is collected before it is hashed and written, in bytes.
const BATCH: usize = 1 << 20;
/// Sessions whose hash is kept in memory.
const MAX_KEPT: usize = 4096;
/// How long a request waits for another one on the same session, which may be a connection that
/// broke without the server having noticed yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sessions that are known without a look at the disk.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<Kept>);

type Kept = HashMap<(Repository, Uuid), Arc<tokio::sync::Mutex<Progress>>>;

/// How far a session is.
#[derive(Debug)]
struct Progress {
    /// The bytes received; what the file has beyond them was never acknowledged.
    /// Unknown until the file was looked at.
    length: Option<u64>,
    /// Over just these bytes; nothing where they must be hashed again.
    hasher: Option<(Algorithm, Hasher)>,
    /// The session became a blob or was cancelled.
    over: bool,
}

/// A session that this request alone has.
pub(crate) struct Upload {
    storage: Arc<Storage>,
    repository: Repository,
    pub(crate) id: Uuid,
    file: File,
    pub(crate) length: u64,
    progress: OwnedMutexGuard<Progress>,
    /// Nobody else knows of it: it goes with this request.
    single: bool,
}

/// Where a session stood, to go back there.
pub(crate) struct Mark {
    length: u64,
    hasher: Option<(Algorithm, Hasher)>,
}

impl Uploads {
    /// Opens a new session. One that is `single` is gone when it is dropped unfinished.
    pub(crate) async fn start(
        &self,
        storage: &Arc<Storage>,
        repository: &Repository,
        algorithm: Algorithm,
        single: bool,
    ) -> Result<Upload, Failure> {
        let id = Uuid::new_v4();
        let hasher = Some((algorithm, algorithm.hasher()));
        let progress = Progress { length: Some(0), hasher, over: false };
        let progress = Arc::new(tokio::sync::Mutex::new(progress));
        let guard = Arc::clone(&progress).lock_owned().await;
        if !single {
            self.keep(repository, id, progress);
        }
        let (storage, repository) = (Arc::clone(storage), repository.clone());
        blocking(move || {
            let file = storage.folder().create_file(&repository.upload(id))?;
            Ok(Upload { storage, repository, id, file, length: 0, progress: guard, single })
        })
        .await
    }

    /// Takes an open session for this request.
    pub(crate) async fn take(
        &self,
        storage: &Arc<Storage>,
        repository: &Repository,
        id: Uuid,
    ) -> Result<Upload, Failure> {
        let progress = self.find(repository, id);
        let Ok(mut progress) = timeout(PATIENCE, progress.lock_owned()).await else {
            return Err(Code::BlobUploadInvalid
                .says("another request is writing to this upload")
                .status(http::StatusCode::CONFLICT));
        };
        let (storage, owned) = (Arc::clone(storage), repository.clone());
        let taken = blocking(move || {
            let repository = owned;
            let file = storage.folder().writable_file(&repository.upload(id))?;
            let Some(file) = file.filter(|_| !progress.over) else { return Err(unknown()) };
            let found = file.metadata().map_err(|err| fault(&repository, id, err))?.len();
            let length = *progress.length.get_or_insert(found);
            if found < length {
                progress.over = true;
                return Err(unknown());
            }
            Ok(Upload { storage, repository, id, file, length, progress, single: false })
        })
        .await;
        if taken.is_err() {
            // Made-up names must not crowd out the real ones.
            self.forget(repository, id);
        }
        taken
    }

    /// Forgets a session that is over.
    pub(crate) fn forget(&self, repository: &Repository, id: Uuid) {
        self.kept().remove(&(repository.clone(), id));
    }

    fn find(&self, repository: &Repository, id: Uuid) -> Arc<tokio::sync::Mutex<Progress>> {
        if let Some(progress) = self.kept().get(&(repository.clone(), id)) {
            return Arc::clone(progress);
        }
        let progress = Progress { length: None, hasher: None, over: false };
        self.keep(repository, id, Arc::new(tokio::sync::Mutex::new(progress)))
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
    /// Adds a body at the end. The next bytes are received while the last ones are hashed and
    /// written. What came before the body broke off stays.
    pub(crate) async fn receive(self, body: &mut Receive) -> (Option<Self>, Result<(), Failure>) {
        let mut upload = Some(self);
        let mut working = None;
        loop {
            let (batch, end) = collect(body).await;
            if let Some(work) = working.take() {
                match finished(work).await {
                    (back, Ok(())) => upload = back,
                    failed => return failed,
                }
            }
            let Some(mut ready) = upload.take() else { return (None, Err(lost())) };
            if batch.is_empty() {
                return (Some(ready), end.map(drop));
            }
            working = Some(tokio::task::spawn_blocking(move || {
                let written = ready.write(&batch);
                (ready, written)
            }));
            if let Err(err) = end {
                let (upload, written) = match working.take() {
                    Some(work) => finished(work).await,
                    None => (None, Ok(())),
                };
                return (upload, written.and(Err(err)));
            }
        }
    }

    /// Where the session stands.
    pub(crate) fn mark(&self) -> Mark {
        Mark { length: self.length, hasher: self.progress.hasher.clone() }
    }

    /// Goes back to where the session stood. Blocks.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.length = mark.length;
        self.progress.length = Some(mark.length);
        self.progress.hasher = mark.hasher;
        // Where this fails the bytes are cut at the end.
        let _ = self.file.set_len(mark.length);
    }

    /// Makes the session a blob of its repository if it is what `digest` names. Either way the
    /// session is over. Blocks.
    pub(crate) fn finish(mut self, digest: &Digest) -> Result<(), Failure> {
        let found = self.digest(digest.algorithm()?)?;
        if let Err(err) = digest.check(&found, || "the uploaded content has another digest".into())
        {
            self.discard();
            return Err(Failure::client(Code::DigestInvalid, &err));
        }
        let published = self.publish(digest);
        if published.is_err() {
            // Where syncing failed once it must not be tried again, and on a full disk the space is
            // needed by others.
            self.discard();
        } else {
            self.over();
        }
        Ok(published?)
    }

    /// Ends the session; nothing of it is left. Blocks.
    pub(crate) fn discard(mut self) {
        // What cannot be removed now is left to the expiry of uploads.
        let _ = self.storage.folder().remove(&self.repository.upload(self.id));
        self.over();
    }

    fn publish(&self, digest: &Digest) -> Result<()> {
        self.cut()?;
        let name = self.repository.upload(self.id);
        self.storage.publish(&self.repository, digest, &self.file, &name)
    }

    fn over(&mut self) {
        self.progress.over = true;
        self.single = false;
    }

    fn write(&mut self, batch: &[Bytes]) -> Result<()> {
        for chunk in batch {
            self.file
                .write_all_at(chunk, self.length)
                .map_err(|err| fault(&self.repository, self.id, err))?;
            if let Some((_, hasher)) = &mut self.progress.hasher {
                hasher.update(chunk);
            }
            self.length += chunk.len() as u64;
            self.progress.length = Some(self.length);
        }
        Ok(())
    }

    fn digest(&mut self, algorithm: Algorithm) -> Result<Digest> {
        match self.progress.hasher.take() {
            Some((hashed, hasher)) if hashed == algorithm => Ok(hasher.finish()),
            _ => self.hash(algorithm),
        }
    }

    fn hash(&self, algorithm: Algorithm) -> Result<Digest> {
        let mut hasher = algorithm.hasher();
        let mut at = 0;
        while at < self.length {
            let length = usize::try_from(self.length - at).unwrap_or(CHUNK).min(CHUNK);
            let chunk = read_at(&self.file, at, length)
                .map_err(|err| fault(&self.repository, self.id, err))?;
            if chunk.is_empty() {
                break;
            }
            hasher.update(&chunk);
            at += chunk.len() as u64;
        }
        Ok(hasher.finish())
    }

    /// Drops bytes of the file that were written but never counted.
    fn cut(&self) -> Result<()> {
        let fault = |err| fault(&self.repository, self.id, err);
        if self.file.metadata().map_err(fault)?.len() > self.length {
            self.file.set_len(self.length).map_err(fault)?;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.single {
            let _ = self.storage.folder().remove(&self.repository.upload(self.id));
        }
    }
}

/// At least one batch of the body, or all that is left of it, and whether it broke off.
async fn collect(body: &mut Receive) -> (Vec<Bytes>, Result<(), Failure>) {
    let (mut batch, mut length) = (Vec::new(), 0);
    while length < BATCH {
        match body.next().await {
            Ok(Some(chunk)) => {
                length += chunk.len();
                batch.push(chunk);
            }
            Ok(None) => break,
            Err(err) => return (batch, Err(err)),
        }
    }
    (batch, Ok(()))
}

type Work = tokio::task::JoinHandle<(Upload, Result<()>)>;

/// The session after its work. On a full disk it is dropped, so that others have the space.
async fn finished(work: Work) -> (Option<Upload>, Result<(), Failure>) {
    match work.await {
        Ok((upload, Ok(()))) => (Some(upload), Ok(())),
        Ok((upload, Err(err))) if err.kind() == Kind::NoSpace => {
            let _ = blocking(move || {
                upload.discard();
                Ok(())
            })
            .await;
            (None, Err(err.into()))
        }
        Ok((upload, Err(err))) => (Some(upload), Err(err.into())),
        Err(_) => (None, Err(lost())),
    }
}

fn lost() -> Failure {
    Error::new(Kind::Io, "a worker thread failed").into()
}

fn unknown() -> Failure {
    Code::BlobUploadUnknown.says("there is no such upload")
}

fn fault(repository: &Repository, id: Uuid, err: std::io::Error) -> Error {
    Error::from_io(err, || format!("upload {id} of {repository} failed"))
}
