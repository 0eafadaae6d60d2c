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
use conex_store::seal;
use uuid::Uuid;

use super::{FolderHome, Inner};
use crate::file_body::{CHUNK, read_at};
use crate::paths::Repository;
use crate::storage::blocking;
use crate::storage::home::{Hashing, Session, Source, Version, Wanted};

/// See the module.
struct FileSession {
    home: Arc<Inner>,
    repository: Repository,
    id: Uuid,
    file: Arc<File>,
    length: u64,
    start: u64,
    /// Nobody else knows of it: it goes with its request.
    single: bool,
}

impl FolderHome {
    pub(super) async fn begin_file(
        &self,
        repository: Repository,
        id: Uuid,
        single: bool,
    ) -> Result<Box<dyn Session>> {
        let name = repository.upload(id);
        let file = self.work(move |inner| inner.folder.create_file(&name)).await?;
        let (home, file) = (Arc::clone(&self.0), Arc::new(file));
        Ok(Box::new(FileSession { home, repository, id, file, length: 0, start: 0, single }))
    }

    pub(super) async fn resume_file(
        &self,
        repository: Repository,
        id: Uuid,
    ) -> Result<Option<Box<dyn Session>>> {
        let name = repository.upload(id);
        let found = self.work(move |inner| {
            let Some(file) = inner.folder.writable_file(&name)? else { return Ok(None) };
            let meta = file.metadata().map_err(|err| super::fault(&name, err))?;
            Ok(Some((file, meta.len())))
        });
        let Some((file, length)) = found.await? else { return Ok(None) };
        let (home, file) = (Arc::clone(&self.0), Arc::new(file));
        let start = length;
        let single = false;
        Ok(Some(Box::new(FileSession { home, repository, id, file, length, start, single })))
    }
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
        let (home, file, digest) = (Arc::clone(&self.home), Arc::clone(&self.file), digest.clone());
        let (from, link) = (self.repository.upload(self.id), self.repository.blob(&digest)?);
        let length = self.length;
        blocking(move || {
            let published = cut(&file, length)
                .map_err(|err| super::fault(&from, err))
                .and_then(|()| home.publish(&file, &from, &digest, &link));
            if published.is_err() {
                // Where syncing failed once it must not be tried again, and on a full disk the
                // space is needed by others.
                let _ = home.folder.remove(&from);
            }
            published
        })
        .await
    }

    async fn discard(&mut self) {
        self.single = false;
        let (home, name) = (Arc::clone(&self.home), self.repository.upload(self.id));
        // What cannot be removed now is left to the expiry of uploads.
        let _ = blocking(move || home.folder.remove(&name)).await;
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
            let _ = self.home.folder.remove(&self.repository.upload(self.id));
        }
    }
}

impl Inner {
    /// The file is gone from its place afterwards.
    fn publish(&self, file: &File, from: &str, digest: &Digest, link: &str) -> Result<()> {
        let path = blobs::path(digest)?;
        let all = Wanted { digest: digest.clone(), links: Vec::new(), bytes: false };
        match self.look(&all)?.map(|content| content.source) {
            Some(Source::File(there)) => {
                // Whoever put it there may not have made it durable yet.
                self.folder.sync(&there, &path)?;
                self.folder.remove(from)?;
            }
            _ => {
                seal::seal(self.folder.key(), file, digest)?;
                self.folder.publish(file, from, &path)?;
            }
        }
        self.folder.touch(link)?;
        self.names.touched(link);
        Ok(())
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
