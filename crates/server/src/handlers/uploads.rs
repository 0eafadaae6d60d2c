//! `/v2/<name>/blobs/uploads/` and `<blob-push-location>`. distribution-spec, "Pushing blobs".

use std::time::Instant;

use conex_spec::{Algorithm, Digest};
use http::{HeaderValue, Method, Response, StatusCode, header};
use uuid::Uuid;

use crate::access::rules::Actions;
use crate::app::{App, Asked};
use crate::failure::{Code, Failure};
use crate::paths::Repository;
use crate::quota::{Charge, Room};
use crate::range::{content_range, uploaded};
use crate::reply::{Answer, Body, CHUNK_MIN_LENGTH, CONTENT_DIGEST, UPLOAD_UUID, With, empty};
use crate::routes;
use crate::uploads::Upload;

/// What an address of an upload carries to show whose it is.
const MARK: &str = "by";

impl App {
    pub(crate) async fn start_upload(&self, asked: Asked<'_>, repository: Repository) -> Answer {
        if *asked.method != Method::POST {
            return Err(Failure::method("POST"));
        }
        if let Some(digest) = asked.query.one("mount")? {
            let digest = verifiable(digest)?;
            let named = asked.query.one("from")?;
            let anywhere = named.is_none() && asked.asker.may_everything();
            let from = named.and_then(|from| from.parse().ok());
            // Who may not read it there learns nothing of it: the answer is that of a blob that is
            // not there (rule R1).
            let from = from.filter(|from| asked.asker.may(from).has(Actions::PULL));
            if self.mount(&repository, &digest, from, anywhere).await? {
                return Ok(created(&repository, &digest));
            }
            return self.open_upload(&asked, &repository, digest.algorithm()?).await;
        }
        if let Some(digest) = asked.query.one("digest")? {
            let digest = verifiable(digest)?;
            return self.put_at_once(asked, &repository, &digest).await;
        }
        let algorithm = match asked.query.one("digest-algorithm")? {
            Some(name) => name.parse().map_err(|err| Failure::client(Code::DigestInvalid, &err))?,
            None => Algorithm::Sha256,
        };
        self.open_upload(&asked, &repository, algorithm).await
    }

    pub(crate) async fn upload(
        &self,
        asked: Asked<'_>,
        repository: Repository,
        id: Uuid,
    ) -> Answer {
        if !asked.asker.owns(&repository, id, asked.query.one(MARK)?) {
            return Err(Code::BlobUploadUnknown.says("there is no such upload"));
        }
        match *asked.method {
            Method::PATCH => self.patch(asked, &repository, id).await,
            Method::PUT => self.put(asked, &repository, id).await,
            Method::GET => {
                let length = self.uploads.length(self.storage.home(), &repository, id).await?;
                Ok(underway(StatusCode::NO_CONTENT, &asked, &repository, id, length))
            }
            Method::DELETE => {
                let mut upload = self.uploads.take(self.storage.home(), &repository, id).await?;
                self.uploads.forget(&repository, id);
                upload.discard().await;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(Failure::method("GET, PATCH, PUT, DELETE")),
        }
    }

    /// Without `from`, a blob is mounted from wherever it is, where everyone may read everything:
    /// elsewhere, whether some repository has it is not for everyone to know (rule R1).
    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: Option<Repository>,
        anywhere: bool,
    ) -> Result<bool, Failure> {
        let found = match from {
            Some(from) => self.storage.blob(&from, digest, false).await?,
            None if anywhere => self.storage.content(digest).await?,
            None => None,
        };
        let Some(blob) = found else { return Ok(false) };
        let _charge = self.charge(repository, digest, blob.size).await?;
        Ok(self.storage.link_blob(repository, digest).await?)
    }

    async fn charge(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
    ) -> Result<Charge<'_>, Failure> {
        self.quotas.charge(self.storage.home(), repository, digest, size).await
    }

    async fn open_upload(
        &self,
        asked: &Asked<'_>,
        repository: &Repository,
        algorithm: Algorithm,
    ) -> Answer {
        let home = self.storage.home();
        self.quotas.room(home, repository, 0).await?;
        let upload = self.uploads.start(home, repository, algorithm, false).await?;
        let answer = underway(StatusCode::ACCEPTED, asked, repository, upload.id, 0);
        // "Registries MAY include ... the OCI-Chunk-Min-Length header" where small chunks cost much.
        Ok(match home.least_chunk() {
            Some(least) => answer.with(CHUNK_MIN_LENGTH, least),
            None => answer,
        })
    }

    /// "Single POST".
    async fn put_at_once(
        &self,
        asked: Asked<'_>,
        repository: &Repository,
        digest: &Digest,
    ) -> Answer {
        let algorithm = digest.algorithm()?;
        let home = self.storage.home();
        let coming = asked.body.declared().unwrap_or_default();
        let room = self.quotas.room(home, repository, coming).await?;
        let mut upload = self.uploads.start(home, repository, algorithm, true).await?;
        if let Err(failure) = upload.receive(asked.body, &room).await {
            upload.discard().await;
            return Err(failure);
        }
        self.finish(repository, &mut upload, digest).await?;
        Ok(created(repository, digest))
    }

    async fn patch(&self, mut asked: Asked<'_>, repository: &Repository, id: Uuid) -> Answer {
        let home = self.storage.home();
        let mut upload = self.uploads.take(home, repository, id).await?;
        let room = self.room(&asked, repository, &mut upload).await?;
        append(&mut asked, repository, &mut upload, &room).await?;
        upload.pause().await?;
        Ok(underway(StatusCode::ACCEPTED, &asked, repository, id, upload.length()))
    }

    async fn put(&self, mut asked: Asked<'_>, repository: &Repository, id: Uuid) -> Answer {
        let digest = asked
            .query
            .one("digest")?
            .ok_or_else(|| Code::DigestInvalid.says("the digest of the whole blob is missing"))?;
        let digest = verifiable(digest)?;
        let home = self.storage.home();
        let mut upload = self.uploads.take(home, repository, id).await?;
        let room = self.room(&asked, repository, &mut upload).await?;
        append(&mut asked, repository, &mut upload, &room).await?;
        let finished = self.finish(repository, &mut upload, &digest).await;
        self.uploads.forget(repository, id);
        finished.map(|()| created(repository, &digest))
    }

    /// Nothing is kept of an upload that a quota has no room for.
    async fn room(
        &self,
        asked: &Asked<'_>,
        repository: &Repository,
        upload: &mut Upload,
    ) -> Result<Room<'_>, Failure> {
        let declared = asked.body.declared().unwrap_or_default();
        let coming = upload.length().saturating_add(declared);
        let room = self.quotas.room(self.storage.home(), repository, coming).await;
        if room.is_err() {
            upload.discard().await;
            self.uploads.forget(repository, upload.id);
        }
        room
    }

    async fn finish(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        digest: &Digest,
    ) -> Result<(), Failure> {
        let charged = self.charge(repository, digest, upload.length()).await;
        if charged.is_err() {
            upload.discard().await;
        }
        let _charge = charged?;
        let since = Instant::now();
        upload.finish(digest).await?;
        self.storage.leased(&repository.blob(digest)?, since);
        // Nobody collects it for a while.
        Ok(self.storage.confirm(digest, since).await?)
    }
}

/// Adds the request's body to the session. A body that breaks off leaves what came; one that is
/// not what its head says leaves nothing.
async fn append(
    asked: &mut Asked<'_>,
    repository: &Repository,
    upload: &mut Upload,
    room: &Room<'_>,
) -> Result<(), Failure> {
    let stated = stated_length(asked, repository, upload)?;
    let start = upload.length();
    if let Err(failure) = upload.receive(asked.body, room).await {
        upload.pause().await?;
        return Err(failure);
    }
    let found = upload.length() - start;
    match stated.filter(|stated| *stated != found) {
        Some(stated) => {
            upload.undo().await?;
            Err(wrong_length(stated, found))
        }
        None => Ok(()),
    }
}

/// The bytes that the body must have. "Chunks MUST be uploaded in order, with the first byte of a
/// chunk being the last chunk's `<end-of-range>` plus one. If a chunk is uploaded out of order, the
/// registry MUST respond with a 416".
fn stated_length(
    asked: &Asked<'_>,
    repository: &Repository,
    upload: &Upload,
) -> Result<Option<u64>, Failure> {
    let Some(header) = asked.header(&header::CONTENT_RANGE) else { return Ok(None) };
    let range = content_range(header)
        .ok_or_else(|| Code::BlobUploadInvalid.says("the Content-Range is not of the form 0-99"))?;
    if range.start != upload.length() {
        return Err(out_of_order(asked, repository, upload, range.start));
    }
    let length = range.end - range.start;
    match asked.body.declared() {
        Some(declared) if declared != length => Err(wrong_length(length, declared)),
        _ => Ok(Some(length)),
    }
}

fn wrong_length(expected: u64, found: u64) -> Failure {
    Code::SizeInvalid.says(format!(
        "the body is not what its head says (expected {expected} bytes, found {found})"
    ))
}

fn out_of_order(
    asked: &Asked<'_>,
    repository: &Repository,
    upload: &Upload,
    start: u64,
) -> Failure {
    let failure = Code::BlobUploadInvalid
        .says(format!("the chunk is out of order (expected {}, found {start})", upload.length()))
        .status(StatusCode::RANGE_NOT_SATISFIABLE);
    let headers = [
        (header::LOCATION, location(asked, repository, upload.id)),
        (header::RANGE, uploaded(upload.length())),
    ];
    headers.into_iter().fold(failure, |failure, (name, value)| match HeaderValue::try_from(value) {
        Ok(value) => failure.header(name, value),
        Err(_) => failure,
    })
}

fn verifiable(text: &str) -> Result<Digest, Failure> {
    let digest = routes::digest(text)?;
    match digest.algorithm() {
        Ok(_) => Ok(digest),
        Err(err) => Err(Failure::client(Code::DigestInvalid, &err)),
    }
}

fn location(asked: &Asked<'_>, repository: &Repository, id: Uuid) -> String {
    let mark = asked.asker.mark(repository, id);
    let mark = mark.map(|mark| format!("?{MARK}={mark}")).unwrap_or_default();
    format!("/v2/{repository}/blobs/uploads/{id}{mark}")
}

fn underway(
    status: StatusCode,
    asked: &Asked<'_>,
    repository: &Repository,
    id: Uuid,
    length: u64,
) -> Response<Body> {
    empty(status)
        .with(header::LOCATION, location(asked, repository, id))
        .with(header::RANGE, uploaded(length))
        .with(UPLOAD_UUID, id.to_string())
}

fn created(repository: &Repository, digest: &Digest) -> Response<Body> {
    empty(StatusCode::CREATED)
        .with(header::LOCATION, format!("/v2/{repository}/blobs/{digest}"))
        .with(CONTENT_DIGEST, digest.as_str())
}
