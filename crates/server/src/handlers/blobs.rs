//! `/v2/<name>/blobs/<digest>`. distribution-spec, "Pulling blobs", "Deleting Blobs".

use std::ops::Range;
use std::sync::Arc;

use conex_spec::Digest;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::app::{App, Asked};
use crate::failure::{Code, Failure};
use crate::file_body::{CHUNK, FileBody, read_at};
use crate::paths::Repository;
use crate::range::Wanted;
use crate::reply::{Answer, Body, With, empty, etag, matches_etag};
use crate::storage::{Blob, Storage, blocking};

impl App {
    pub(crate) async fn blob(
        &self,
        asked: &Asked<'_>,
        repository: Repository,
        digest: Digest,
    ) -> Answer {
        if *asked.method == Method::DELETE {
            return self.delete_blob(repository, digest).await;
        }
        if !asked.reads() {
            return Err(Failure::method("GET, HEAD, DELETE"));
        }
        let matches = |name| asked.header(name).is_some_and(|tags| matches_etag(tags, &digest));
        let known = matches(&header::IF_NONE_MATCH);
        let range = asked.header(&header::RANGE).filter(|_| *asked.method == Method::GET);
        // RFC 9110, 13.1.5: a range of other content than the client has is of no use to it.
        let same = asked.header(&header::IF_RANGE).is_none_or(|tag| tag == etag(&digest));
        let range = range.filter(|_| same).map(str::to_owned);
        let storage = Arc::clone(&self.storage);
        blocking(move || {
            let blob = find(&storage, &repository, &digest)?;
            if known {
                return Ok(empty(StatusCode::NOT_MODIFIED).with_digest(&digest));
            }
            send(blob, &digest, range.as_deref())
        })
        .await
    }

    async fn delete_blob(&self, repository: Repository, digest: Digest) -> Answer {
        let storage = Arc::clone(&self.storage);
        blocking(move || {
            if digest.algorithm().is_err() || !storage.unlink_blob(&repository, &digest)? {
                return Err(missing(&repository, &digest));
            }
            Ok(empty(StatusCode::ACCEPTED))
        })
        .await
    }
}

fn find(storage: &Storage, repository: &Repository, digest: &Digest) -> Result<Blob, Failure> {
    storage.blob(repository, digest)?.ok_or_else(|| missing(repository, digest))
}

fn missing(repository: &Repository, digest: &Digest) -> Failure {
    Code::BlobUnknown
        .says(format!("{repository} has no such blob"))
        .detail(serde_json::json!({ "digest": digest }))
}

fn send(blob: Blob, digest: &Digest, range: Option<&str>) -> Answer {
    let size = blob.size;
    let wanted = range.map_or(Wanted::All, |range| Wanted::parse(range, size));
    let (status, part) = match wanted {
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => return Err(unsatisfiable(size)),
    };
    let mut response = Response::new(body(blob, part.clone())?)
        .with(header::CONTENT_TYPE, "application/octet-stream")
        .with(header::ACCEPT_RANGES, "bytes")
        .with_digest(digest);
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        return Ok(response.with(header::CONTENT_RANGE, range));
    }
    // Stated here because an empty body would not state it for a HEAD.
    Ok(response.with(header::CONTENT_LENGTH, size))
}

/// Small content is read at once, by the thread that opened it.
fn body(blob: Blob, part: Range<u64>) -> Result<Body, Failure> {
    let length = part.end - part.start;
    if length > CHUNK as u64 {
        return Ok(Body::file(FileBody::new(blob.file, part)));
    }
    let length = usize::try_from(length).unwrap_or(CHUNK);
    let fault = |err| conex_spec::Error::from_io(err, || "cannot read a blob".into());
    let bytes = read_at(&blob.file, part.start, length).map_err(fault)?;
    if bytes.len() < length {
        return Err(fault(std::io::ErrorKind::UnexpectedEof.into()).into());
    }
    Ok(bytes.into())
}

/// RFC 9110, 15.5.17.
fn unsatisfiable(size: u64) -> Failure {
    let failure = Code::SizeInvalid
        .says(format!("the blob has {size} bytes"))
        .status(StatusCode::RANGE_NOT_SATISFIABLE);
    match HeaderValue::try_from(format!("bytes */{size}")) {
        Ok(range) => failure.header(header::CONTENT_RANGE, range),
        Err(_) => failure,
    }
}
