//! `/v2/<name>/blobs/<digest>`. distribution-spec, "Pulling blobs", "Deleting Blobs".

use conex_spec::Digest;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::access::rules::Actions;
use crate::app::{App, Asked};
use crate::failure::{Code, Failure};
use crate::inspect::Under;
use crate::paths::Repository;
use crate::range::Wanted;
use crate::reply::{Answer, Body, With, empty, etag, matches_etag};
use crate::storage::home::{Content, Source};

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
        let reads = *asked.method == Method::GET;
        // Who may push and asks whether a blob is there will rely on the answer.
        if !reads && !self.config.read_only && asked.asker.may(&repository).has(Actions::PUSH) {
            self.storage.renew_blob(&repository, &digest).await?;
        }
        let blob = self.storage.blob(&repository, &digest, reads && !known).await?;
        let blob = blob.ok_or_else(|| missing(&repository, &digest))?;
        if known {
            return Ok(empty(StatusCode::NOT_MODIFIED).with_digest(&digest));
        }
        if reads && let Some(address) = address(&blob).await? {
            let answer = empty(StatusCode::TEMPORARY_REDIRECT).with_digest(&digest);
            return Ok(answer.with(header::LOCATION, address));
        }
        send(blob, &digest, range.as_deref(), reads).await
    }

    async fn delete_blob(&self, repository: Repository, digest: Digest) -> Answer {
        // Nobody puts an immutable tag that needs it while this goes on.
        let changing = match self.config.policies.keeps_any(repository.as_str()) {
            true => Some(self.storage.change(&repository).await),
            false => None,
        };
        self.check_unneeded(&repository, &digest, Under::Blobs).await?;
        let removed =
            digest.algorithm().is_ok() && self.storage.unlink_blob(&repository, &digest).await?;
        drop(changing);
        self.quotas.freed(&repository);
        if removed { Ok(empty(StatusCode::ACCEPTED)) } else { Err(missing(&repository, &digest)) }
    }
}

/// Where the client gets the blob itself, if that is wanted. distribution-spec, "Pulling blobs":
/// "registries MAY ... redirect".
async fn address(blob: &Content) -> Result<Option<String>, Failure> {
    match &blob.source {
        Source::Remote(remote) => Ok(remote.address().await?),
        Source::Bytes(_) | Source::File(_) => Ok(None),
    }
}

fn missing(repository: &Repository, digest: &Digest) -> Failure {
    Code::BlobUnknown
        .says(format!("{repository} has no such blob"))
        .detail(serde_json::json!({ "digest": digest }))
}

async fn send(blob: Content, digest: &Digest, range: Option<&str>, reads: bool) -> Answer {
    let size = blob.size;
    let wanted = range.map_or(Wanted::All, |range| Wanted::parse(range, size));
    let (status, part) = match wanted {
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => return Err(unsatisfiable(size)),
    };
    let body = if reads { blob.body(part.clone()).await? } else { Body::default() };
    let mut response = Response::new(body)
        .with(header::CONTENT_TYPE, "application/octet-stream")
        .with(header::ACCEPT_RANGES, "bytes")
        .with_digest(digest);
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        return Ok(response.with(header::CONTENT_RANGE, range));
    }
    // Stated here because an empty body would not state it.
    Ok(response.with(header::CONTENT_LENGTH, size))
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
