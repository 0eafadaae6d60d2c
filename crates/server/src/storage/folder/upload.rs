//! Sessions as files: `_uploads/UUID` in the folder of their repository.
//!
//! A session is not durable until it becomes a blob: after a power cut its client begins anew.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Algorithm, Digest, Error, Kind, Result};
use conex_store::blobs;
use conex_store::commit::Folder;
use conex_store::seal;
use uuid::Uuid;

use super::Inner;
use crate::file_body::{CHUNK, read_at};
use crate::paths::Repository;
use crate::storage::blocking;
use crate::storage::home::{Hashing, Session, Source, Version, Wanted};

/// See the module.
struct FileSession {
    shelf: Arc<dyn Shelf>,
    repository: Repository,
    id: Uuid,
    place: String,
    file: Arc<File>,
    length: u64,
    start: u64,
    /// Nobody else knows of it: it goes with its request.
    single: bool,
}

/// A place that sessions lie in as files.
pub(crate) trait Shelf: Send + Sync {
    fn folder(&self) -> Result<&Folder>;

    /// The file of a session.
    fn place(&self, repository: &Repository, id: Uuid) -> String;

    /// Makes the file of a session, which was found to be what the digest says, a blob of its
    /// repository. The file is gone from its place afterwards.
    fn publish(
        &self,
        file: &File,
        from: &str,
        digest: &Digest,
        repository: &Repository,
    ) -> Result<()>;
}

/// Begins a session; see [`crate::storage::home::Home::begin`].
pub(crate) async fn begin(
    shelf: Arc<dyn Shelf>,
    repository: Repository,
    id: Uuid,
    single: bool,
) -> Result<Box<dyn Session>> {
    let place = shelf.place(&repository, id);
    let opened = blocking(move || {
        let file = shelf.folder()?.create_file(&place)?;
        Ok((shelf, place, Arc::new(file)))
    });
    let (shelf, place, file) = opened.await?;
    Ok(Box::new(FileSession { shelf, repository, id, place, file, length: 0, start: 0, single }))
}

/// Goes on with a session; nothing where there is none.
pub(crate) async fn resume(
    shelf: Arc<dyn Shelf>,
    repository: Repository,
    id: Uuid,
) -> Result<Option<Box<dyn Session>>> {
    let place = shelf.place(&repository, id);
    let found = blocking(move || {
        let Some(file) = shelf.folder()?.writable_file(&place)? else { return Ok(None) };
        let meta = file.metadata().map_err(|err| super::fault(&place, err))?;
        Ok(Some((shelf, place, Arc::new(file), meta.len())))
    });
    let Some((shelf, place, file, length)) = found.await? else { return Ok(None) };
    let (start, single) = (length, false);
    Ok(Some(Box::new(FileSession { shelf, repository, id, place, file, length, start, single })))
}

/// How many bytes a session has; nothing where there is none.
pub(crate) async fn uploaded(
    shelf: Arc<dyn Shelf>,
    repository: &Repository,
    id: Uuid,
) -> Result<Option<u64>> {
    let place = shelf.place(repository, id);
    blocking(move || {
        let Some(file) = shelf.folder()?.file(&place)? else { return Ok(None) };
        let meta = file.metadata().map_err(|err| super::fault(&place, err))?;
        Ok(Some(meta.len()))
    })
    .await
}

#[async_trait]
impl Session for FileSession {
    fn length(&self) -> u64 {
        self.length
    }

    fn version(&self) -> Option<&Version> {
        None
    }

    async fn write(&mut self, batch: Vec<Bytes>, hashing: &mut Option<Hashing>) -> Result<()> {
        let (file, start, mut running) = (Arc::clone(&self.file), self.length, hashing.take());
        let written = blocking(move || {
            let mut at = start;
            let written = batch.iter().try_for_each(|chunk| {
                file.write_all_at(chunk, at)?;
                at += chunk.len() as u64;
                if let Some(running) = &mut running {
                    running.update(chunk);
                }
                Ok(())
            });
            if written.is_err() {
                // What was not told to anyone must not count for the next request.
                let _ = file.set_len(at);
            }
            Ok((at, running, written))
        });
        let (length, running, written) = written.await?;
        *hashing = running;
        self.length = length;
        written.map_err(|err| self.fault(err))
    }

    async fn undo(&mut self) -> Result<()> {
        let (file, start) = (Arc::clone(&self.file), self.start);
        let cut = blocking(move || Ok(file.set_len(start))).await?;
        cut.map_err(|err| self.fault(err))?;
        self.length = start;
        Ok(())
    }

    /// It lies in its file already.
    async fn pause(&mut self) -> Result<()> {
        Ok(())
    }

    async fn hash(&mut self, algorithm: Algorithm) -> Result<Digest> {
        let (file, length) = (Arc::clone(&self.file), self.length);
        let hashed = blocking(move || Ok(hash(&file, length, algorithm))).await?;
        hashed.map_err(|err| self.fault(err))
    }

    async fn publish(&mut self, digest: &Digest) -> Result<()> {
        self.single = false;
        let (shelf, file) = (Arc::clone(&self.shelf), Arc::clone(&self.file));
        let (from, repository) = (self.place.clone(), self.repository.clone());
        let digest = digest.clone();
        let length = self.length;
        blocking(move || {
            let published = cut(&file, length)
                .map_err(|err| super::fault(&from, err))
                .and_then(|()| shelf.publish(&file, &from, &digest, &repository));
            if published.is_err() {
                // Where syncing failed once it must not be tried again, and on a full disk the
                // space is needed by others.
                let _ = shelf.folder().and_then(|folder| folder.remove(&from));
            }
            published
        })
        .await
    }

    async fn discard(&mut self) {
        self.single = false;
        let (shelf, place) = (Arc::clone(&self.shelf), self.place.clone());
        // What cannot be removed now is left to the expiry of uploads.
        let _ = blocking(move || shelf.folder()?.remove(&place)).await;
    }
}

impl FileSession {
    fn fault(&self, err: std::io::Error) -> Error {
        let (id, repository) = (self.id, &self.repository);
        Error::from_io(err, || format!("upload {id} of {repository} failed"))
    }
}

impl Drop for FileSession {
    fn drop(&mut self) {
        if self.single {
            let _ = self.shelf.folder().and_then(|folder| folder.remove(&self.place));
        }
    }
}

impl Shelf for Inner {
    fn folder(&self) -> Result<&Folder> {
        Ok(&self.folder)
    }

    fn place(&self, repository: &Repository, id: Uuid) -> String {
        repository.upload(id)
    }

    fn publish(
        &self,
        file: &File,
        from: &str,
        digest: &Digest,
        repository: &Repository,
    ) -> Result<()> {
        let link = repository.blob(digest)?;
        let path = blobs::path(digest)?;
        let all = Wanted { digest: digest.clone(), links: Vec::new(), bytes: false };
        match self.look(&all)?.map(|content| content.source) {
            Some(Source::File(there)) if self.hold(digest)? => {
                // Whoever put it there may not have made it durable yet.
                self.folder.sync(&there, &path)?;
                self.folder.remove(from)?;
            }
            _ => {
                let _arriving = self.arriving(digest);
                seal::seal(self.folder.key(), file, digest)?;
                self.folder.publish(file, from, &path)?;
            }
        }
        let _guard = self.lock(&link);
        self.touch(&link)
    }
}

/// Drops bytes that were written but never counted.
fn cut(file: &File, length: u64) -> std::io::Result<()> {
    if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
}

fn hash(file: &File, length: u64, algorithm: Algorithm) -> std::io::Result<Digest> {
    let mut hasher = algorithm.hasher();
    let mut at = 0;
    while at < length {
        let wanted = usize::try_from(length - at).unwrap_or(CHUNK).min(CHUNK);
        let chunk = read_at(file, at, wanted)?;
        if chunk.is_empty() {
            return Err(std::io::Error::other(Error::new(Kind::Io, "an upload became shorter")));
        }
        hasher.update(&chunk);
        at += chunk.len() as u64;
    }
    Ok(hasher.finish())
}
