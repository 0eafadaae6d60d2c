//! Blobs to the registry: whether it has them, mounts, uploads in one piece.
//! distribution-spec, "Pushing blobs".

use std::sync::atomic::Ordering;

use bytes::Bytes;
use conex_spec::{Descriptor, Error, Kind, Name, Result};
use conex_store::source::Place;
use conex_store::{ByteStream, Reopen, verify};
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;

use crate::answer::Answer;
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::origin;
use crate::paths;
use crate::repository::Repository;
use crate::retry::is_transient;
use crate::sessions::Found;

/// Blobs up to this size are held in memory, so that they can be sent again.
const SMALL: u64 = 4 << 20;

/// Blobs up to this size are sent with the request that would open their upload, in bytes. A registry
/// that does not know that has read so few in vain.
const AT_ONCE: u64 = 64 << 10;

/// The size of chunks where a registry refuses one piece and names none itself.
const DEFAULT_CHUNK: u64 = 8 << 20;

const LEAST_CHUNK: HeaderName = HeaderName::from_static("oci-chunk-min-length");

pub(crate) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl Repository {
    /// Whether the registry has a blob or manifest of that digest and size.
    pub(crate) async fn holds(&self, blob: &Descriptor) -> Result<bool> {
        blob.digest.algorithm()?;
        let scope = Scope::push(self.name());
        let answer = if blob.media_type.is_manifest() {
            self.head_manifest(&Name::Digest(blob.digest.clone()), scope).await?
        } else {
            self.head_blob(&blob.digest, scope).await?
        };
        match answer.status().as_u16() {
            200 => Ok(answer.length().is_none_or(|length| length == blob.size)
                && answer.check_digest(&blob.digest).is_ok()),
            // Whether it is there is not told; then it is sent.
            404 | 405 | 501 => Ok(false),
            _ => Err(fault(
                answer,
                format!("cannot look for {} in {}", blob.digest, self.location()),
            )
            .await),
        }
    }

    /// Takes a blob over from another repository of the registry. distribution-spec, "Mounting a
    /// blob from another repository".
    pub(crate) async fn mount(&self, blob: &Descriptor, from: &str) -> Result<bool> {
        let origin = self.origin().await?;
        let url = paths::mount(origin, self.name(), &blob.digest, from)?;
        let ask = Ask::new(Method::POST, url, Scope::mount(self.name(), from));
        let answer = self.registry().send(ask).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(answer.check_digest(&blob.digest).is_ok()),
            // "the registry … MUST return `202 Accepted`" with an upload, which serves for the blob.
            StatusCode::ACCEPTED => {
                self.keep_fresh(blob, &self.session(&answer).await?);
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Uploads a blob, verified on its way.
    pub(crate) async fn push(&self, blob: &Descriptor, mut content: Input<'_>) -> Result<()> {
        let pushed = if blob.size <= SMALL {
            let content = verify::verified(content.open().await?, blob)?;
            let pieces = collect(self.limited(content)).await?;
            self.push_small(blob, pieces).await
        } else {
            self.push_large(blob, content).await
        };
        pushed.map_err(|err| {
            err.context(format_args!("cannot upload {} to {}", blob.digest, self.location()))
        })
    }

    /// In one piece that can be sent again, each time in a new session.
    async fn push_small(&self, blob: &Descriptor, pieces: Vec<Bytes>) -> Result<()> {
        let mut tries = self.registry().tries();
        let mut opened = match self.take_fresh(blob) {
            Some(found) => Some(self.session_at(&found).await?),
            None => match self.post_whole(blob, &pieces).await? {
                Posted::Taken => return Ok(()),
                Posted::Opened(session) => Some(session),
                Posted::Refused => None,
            },
        };
        loop {
            let session = match opened.take() {
                Some(session) => session,
                None => match self.begin(blob).await? {
                    Some(session) => session,
                    None => return Ok(()),
                },
            };
            let ask = self.commit(&session.at, blob).pieces(pieces.clone());
            let err = match self.finish_upload(ask, blob, &session).await {
                Ok(()) => return Ok(()),
                Err(err) => err,
            };
            // The session may have ended with the connection.
            if !matches!(err.kind(), Kind::Network | Kind::NotFound) {
                return Err(err);
            }
            match tries.pause(None) {
                Some(pause) => self.registry().pause(&err, pause).await,
                None => return Err(tries.gave_up(err)),
            }
        }
    }

    /// Offers a small blob in a single request. "Registries MAY opt out of supporting the 'Single POST'
    /// method", and then open an upload, which serves for the blob; one that did is not asked so again.
    async fn post_whole(&self, blob: &Descriptor, pieces: &[Bytes]) -> Result<Posted> {
        let minds = &self.registry().minds_whole;
        if blob.size > AT_ONCE || minds.load(Ordering::Relaxed) {
            return Ok(Posted::Refused);
        }
        let url = paths::whole(self.origin().await?, self.name(), &blob.digest)?;
        let ask = Ask::new(Method::POST, url, Scope::push(self.name()))
            .header(CONTENT_TYPE, OCTETS)
            .wait(self.registry().options().timeouts.commit)
            .pieces(pieces.to_vec());
        // What fails for a passing reason is sent in the way that all registries know.
        let answer = match self.registry().send(ask.once()).await {
            Err(err) if err.kind() == Kind::Network => return Ok(Posted::Refused),
            answer => answer?,
        };
        match answer.status() {
            StatusCode::CREATED if answer.check_digest(&blob.digest).is_ok() => Ok(Posted::Taken),
            StatusCode::ACCEPTED => {
                minds.store(true, Ordering::Relaxed);
                self.session(&answer).await.map(Posted::Opened)
            }
            status => {
                if !is_transient(status) {
                    minds.store(true, Ordering::Relaxed);
                }
                Ok(Posted::Refused)
            }
        }
    }

    /// Sends the last request of an upload. What fails is cancelled.
    async fn finish_upload(&self, ask: Ask, blob: &Descriptor, session: &Session) -> Result<()> {
        let result = match self.registry().send(ask).await {
            Ok(answer) => check_created(answer, blob).await,
            Err(err) => Err(err),
        };
        if result.is_err() {
            self.cancel(&session.at).await;
        }
        result
    }

    /// Opens an upload; nothing where the registry found the blob in another repository and took it
    /// over. That costs nothing to ask, so it is asked of every registry until one minds.
    pub(crate) async fn begin(&self, blob: &Descriptor) -> Result<Option<Session>> {
        let minds = &self.registry().minds_mounts;
        if !minds.load(Ordering::Relaxed) {
            let answer = self.ask_for_upload(blob, true).await?;
            match answer.status() {
                StatusCode::ACCEPTED => return self.session(&answer).await.map(Some),
                StatusCode::CREATED if answer.check_digest(&blob.digest).is_ok() => {
                    return Ok(None);
                }
                // Some want to be told from where.
                _ => minds.store(true, Ordering::Relaxed),
            }
        }
        let answer = self.ask_for_upload(blob, false).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(fault(answer, "no upload begins").await);
        }
        self.session(&answer).await.map(Some)
    }

    async fn ask_for_upload(&self, blob: &Descriptor, mount: bool) -> Result<Answer> {
        let url = paths::uploads(self.origin().await?, self.name(), &blob.digest, mount)?;
        self.registry().send(Ask::new(Method::POST, url, Scope::push(self.name()))).await
    }

    /// The request that ends an upload.
    pub(crate) fn commit(&self, location: &Url, blob: &Descriptor) -> Ask {
        let url = paths::commit(location.clone(), &blob.digest);
        Ask::new(Method::PUT, url, Scope::push(self.name()))
            .header(CONTENT_TYPE, OCTETS)
            .wait(self.registry().options().timeouts.commit)
    }

    /// "Clients SHOULD send this request when aborting a blob upload … Clients SHOULD ignore any
    /// failures" (distribution-spec, "Cancel a blob upload").
    pub(crate) async fn cancel(&self, location: &Url) {
        let ask = Ask::new(Method::DELETE, location.clone(), Scope::push(self.name())).once();
        let _ = self.registry().send(ask).await;
    }
}

impl Repository {
    /// A session that the registry opened earlier.
    pub(crate) async fn session_at(&self, found: &Found) -> Result<Session> {
        let origin = self.origin().await?;
        let at = origin::upload(origin, &paths::root(origin)?, &found.at)?;
        Ok(Session { at, least: found.least })
    }

    /// In pieces of how many bytes blobs are sent; nothing for one piece.
    pub(crate) fn chunk_size(&self) -> Option<u64> {
        let registry = self.registry();
        let wanted = registry.wants_chunks.load(Ordering::Relaxed).then_some(DEFAULT_CHUNK);
        registry.options().chunk_size.or(wanted)
    }

    /// The session that an answer opens or goes on with.
    pub(crate) async fn session(&self, answer: &Answer) -> Result<Session> {
        let at = origin::upload(self.origin().await?, &answer.url, answer.location()?)?;
        let least =
            answer.header(LEAST_CHUNK).and_then(|size| size.parse().ok()).unwrap_or_default();
        Ok(Session { at, least })
    }
}

/// What became of a blob that was offered in a single request.
enum Posted {
    /// The registry has it.
    Taken,
    /// An upload is open for it.
    Opened(Session),
    Refused,
}

/// An open upload.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Where it goes on.
    pub(crate) at: Url,
    /// The least size of a chunk that is not the last.
    pub(crate) least: u64,
}

/// The content of an upload.
pub(crate) enum Input<'a> {
    /// It can be read once.
    Once(Option<ByteStream>),
    Often(&'a dyn Reopen),
}

impl Input<'_> {
    /// All of it, unless it was read before and cannot be read again.
    pub(crate) async fn open(&mut self) -> Result<ByteStream> {
        let again = || Error::new(Kind::Io, "content cannot be read again");
        match self {
            Self::Once(content) => content.take().ok_or_else(again),
            Self::Often(content) => content.open(0).await,
        }
    }

    /// Whether it was read, and cannot be read again.
    pub(crate) fn is_spent(&self) -> bool {
        matches!(self, Self::Once(None))
    }

    /// Tells how much the registry has from an earlier time.
    pub(crate) fn resumed(&self, bytes: u64) {
        if let Self::Often(content) = self {
            content.resumed(bytes);
        }
    }

    /// Tells that what the registry had is of no use.
    pub(crate) fn anew(&self, why: &Error) {
        if let Self::Often(content) = self {
            content.anew(why);
        }
    }
}

/// Holds each piece back until the next one is sound. The verdict on the whole comes with the
/// end, so wrong content never makes a whole body, whatever the registry would say to it.
pub(crate) fn held_back(content: ByteStream) -> ByteStream {
    let held = stream::unfold((content.fuse(), None), |(mut content, mut held)| async move {
        loop {
            match (content.next().await, held.take()) {
                (Some(Ok(piece)), Some(ready)) => return Some((Ok(ready), (content, Some(piece)))),
                (Some(Ok(piece)), None) => held = Some(piece),
                (Some(Err(err)), _) => return Some((Err(err), (content, None))),
                (None, ready) => return ready.map(|ready| (Ok(ready), (content, None))),
            }
        }
    });
    held.boxed()
}

/// All of a small blob, as it came.
async fn collect(mut content: ByteStream) -> Result<Vec<Bytes>> {
    let mut pieces = Vec::new();
    while let Some(chunk) = content.next().await {
        pieces.push(chunk?);
    }
    Ok(pieces)
}

/// "Upon successful completion of the request, the response MUST have code `201 Created`".
pub(crate) async fn check_created(answer: Answer, blob: &Descriptor) -> Result<()> {
    match answer.status() {
        StatusCode::CREATED => answer.check_digest(&blob.digest),
        status => {
            let err = fault(answer, "the upload is not taken").await;
            let algorithm = blob.digest.algorithm_name();
            // The content was verified on its way.
            Err(match status {
                StatusCode::BAD_REQUEST if algorithm != "sha256" => {
                    err.hint(format!("the registry may be one that knows no {algorithm}"))
                }
                _ => err,
            })
        }
    }
}
