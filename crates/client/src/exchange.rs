//! One request with its redirects, its login and its repetitions.

use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use conex_spec::{Error, Kind, Result};
use conex_store::ByteStream;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Body, Request, Response, Url};

use crate::answer::Answer;
use crate::auth::{Scope, Sent};
use crate::origin::{self, Reach, may_see_secrets, shown};
use crate::registry::{Registry, no_answer};
use crate::retry::{is_transient, retry_after};

/// How many redirects are followed.
const MAX_HOPS: usize = 10;

/// A request in the making.
#[derive(Debug)]
pub(crate) struct Ask {
    method: Method,
    url: Url,
    headers: HeaderMap,
    payload: Payload,
    scope: Scope,
    wait: Option<Duration>,
    once: bool,
}

enum Payload {
    Nothing,
    /// Pieces at hand, which can be sent again.
    Pieces(Vec<Bytes>),
    /// A stream of so many bytes, which can be sent once.
    Stream(Option<ByteStream>, u64),
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payload")
    }
}

impl Ask {
    pub(crate) fn new(method: Method, url: Url, scope: Scope) -> Self {
        let mut headers = HeaderMap::new();
        // A blob is called by the digest of its bytes as they are stored.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self { method, url, headers, payload: Payload::Nothing, scope, wait: None, once: false }
    }

    pub(crate) fn get(url: Url, scope: Scope) -> Self {
        Self::new(Method::GET, url, scope)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn pieces(mut self, pieces: Vec<Bytes>) -> Self {
        self.payload = Payload::Pieces(pieces);
        self
    }

    pub(crate) fn stream(mut self, content: ByteStream, length: u64) -> Self {
        self.payload = Payload::Stream(Some(content), length);
        self
    }

    /// How long the answer may take once all is sent.
    pub(crate) fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// A passing failure is not mended here.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    fn is_stream(&self) -> bool {
        matches!(self.payload, Payload::Stream(..))
    }

    fn reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

impl Registry {
    /// Sends a request until it is answered with something else than a passing failure, or until
    /// the tries are used up; then the failure is the answer.
    pub(crate) async fn send(&self, mut ask: Ask) -> Result<Answer> {
        let mut tries = self.tries();
        loop {
            let result = self.send_logged_in(&mut ask).await;
            let asked = match &result {
                Ok(answer) if is_transient(answer.status()) => retry_after(answer.headers()),
                Err(err) if err.kind() == Kind::Network => None,
                _ => return result,
            };
            let pause = if ask.once || ask.is_stream() { None } else { tries.pause(asked) };
            let Some(pause) = pause else { return result.map_err(|err| tries.gave_up(err)) };
            let fault = match result {
                Ok(answer) => {
                    let told = format!("{} answers {}", shown(&answer.url), answer.status());
                    Error::new(Kind::Network, told)
                }
                Err(err) => err,
            };
            self.pause(&fault, pause).await;
        }
    }

    /// Sends a request, and once more if the registry then wants another login.
    async fn send_logged_in(&self, ask: &mut Ask) -> Result<Answer> {
        let origin = self.origin().await?;
        let own = may_see_secrets(origin, &ask.url);
        for last in [false, true] {
            let sent = if own { self.authorize(&ask.scope, ask.is_stream()).await? } else { None };
            let mut answer = self.follow(ask, sent.as_ref()).await?;
            let tried = sent.as_ref().map(|sent| sent.header.clone());
            answer.sent = sent.map(|sent| sent.by);
            // The target of a redirect has no say in our logins (rule C2).
            if answer.status() != StatusCode::UNAUTHORIZED || answer.elsewhere || !own {
                return Ok(answer);
            }
            if last {
                return Err(self.refused(answer).await);
            }
            self.challenged(&answer, &ask.scope, tried.as_ref())?;
            if ask.is_stream() {
                let what = format!("{} no longer knows who uploads", self.name);
                return Err(Error::new(Kind::Network, what));
            }
        }
        Err(Error::new(Kind::Unauthorized, format!("{} refuses the login", self.name)))
    }

    /// Sends a request and follows its redirects.
    async fn follow(&self, ask: &mut Ask, sent: Option<&Sent>) -> Result<Answer> {
        let origin = self.origin().await?;
        let (mut url, mut method) = (ask.url.clone(), ask.method.clone());
        let mut elsewhere = false;
        for _ in 0..=MAX_HOPS {
            let own = may_see_secrets(origin, &url);
            elsewhere |= !own;
            let authorization = sent.filter(|_| !elsewhere).map(|sent| sent.header.clone());
            let ceiling = match () {
                () if own => Reach::Special,
                () if ask.reads() => self.reach().max(Reach::Private),
                () => self.reach(),
            };
            let request = ask.request(&method, &url, authorization)?;
            let response = self.execute(ask.wait, request, ceiling, own && !elsewhere).await?;
            if own {
                self.note_reach(&url, &response).await;
                self.note_warnings(response.headers());
            }
            let timeouts = self.options().timeouts;
            let answer = Answer { response, url, elsewhere, timeouts, sent: None };
            if !is_redirect(answer.status()) {
                return Ok(answer);
            }
            url = origin::redirect(&answer.url, answer.location()?)?;
            if answer.status() == StatusCode::SEE_OTHER && method != Method::HEAD {
                // RFC 9110, 15.4.4; the other codes keep the method, which the API relies on.
                method = Method::GET;
            }
        }
        Err(Error::new(Kind::Limit, format!("{} redirects without an end", shown(&ask.url)))
            .expected(format!("at most {MAX_HOPS} redirects")))
    }

    async fn execute(
        &self,
        wait: Option<Duration>,
        request: Sendable,
        ceiling: Reach,
        own: bool,
    ) -> Result<Response> {
        let Sendable { request, upload } = request;
        let timeouts = self.options().timeouts;
        let wait = wait.unwrap_or(timeouts.answer);
        let Some(upload) = upload else { return self.dispatch(request, wait, ceiling, own).await };
        let (url, method) = (request.url().clone(), request.method().clone());
        let line = self.line(&request, ceiling, own).await?;
        let answer = self.execute_in(&line.pool, request);
        let answer = upload.watch(answer, &url, timeouts.stall * 4, wait).await?;
        // A source that broke off is the true cause.
        let unanswered = |err| upload.fault().unwrap_or_else(|| self.unanswered(err, &url));
        let mut response = answer.map_err(unanswered)?;
        line.pass.until_read(&method, &mut response);
        Ok(response)
    }
}

struct Sendable {
    request: Request,
    upload: Option<Arc<Upload>>,
}

impl Ask {
    fn request(
        &mut self,
        method: &Method,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Sendable> {
        let mut request = Request::new(method.clone(), url.clone());
        *request.headers_mut() = self.headers.clone();
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        if *method != self.method {
            return Ok(Sendable { request, upload: None });
        }
        let mut upload = None;
        let length = match &mut self.payload {
            Payload::Nothing if self.method == Method::GET || self.method == Method::HEAD => {
                return Ok(Sendable { request, upload });
            }
            Payload::Nothing => 0,
            Payload::Pieces(pieces) => {
                *request.body_mut() = Some(body_of(pieces));
                pieces.iter().map(|piece| piece.len() as u64).sum()
            }
            Payload::Stream(content, length) => {
                let content = content.take().ok_or_else(|| {
                    Error::new(
                        Kind::Network,
                        format!("{} leads elsewhere after the upload", shown(url)),
                    )
                })?;
                let watched = Arc::new(Upload::default());
                *request.body_mut() = Some(Body::wrap_stream(watched.clone().pass(content)));
                upload = Some(watched);
                *length
            }
        };
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(Sendable { request, upload })
    }
}

fn body_of(pieces: &[Bytes]) -> Body {
    match pieces {
        [] => Body::from(Bytes::new()),
        [piece] => Body::from(piece.clone()),
        many => Body::wrap_stream(stream::iter(many.to_vec()).map(Ok::<_, Error>)),
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Watches a stream on its way to the registry: whether it moves, and what broke it.
#[derive(Debug, Default)]
struct Upload {
    taken: AtomicU64,
    state: AtomicU8,
    fault: Mutex<Option<Error>>,
}

/// What the upload waits for.
const FOR_REGISTRY: u8 = 0;
const FOR_SOURCE: u8 = 1;
const FOR_ANSWER: u8 = 2;

impl Upload {
    fn pass(
        self: Arc<Self>,
        content: ByteStream,
    ) -> impl futures_util::Stream<Item = Result<Bytes>> {
        stream::unfold((self, content), |(upload, mut content)| async move {
            upload.state.store(FOR_SOURCE, Ordering::Relaxed);
            let next = content.next().await;
            upload.taken.fetch_add(1, Ordering::Relaxed);
            let state = if next.is_some() { FOR_REGISTRY } else { FOR_ANSWER };
            upload.state.store(state, Ordering::Relaxed);
            let item = match next? {
                Ok(chunk) => Ok(chunk),
                Err(err) => {
                    *upload.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(err);
                    Err(Error::new(Kind::Io, "the source of an upload broke off"))
                }
            };
            Some((item, (upload, content)))
        })
    }

    fn fault(&self) -> Option<Error> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the answer as long as the upload moves, then for at most `wait`.
    async fn watch<T>(
        &self,
        answer: impl Future<Output = T>,
        url: &Url,
        stall: Duration,
        wait: Duration,
    ) -> Result<T> {
        let mut answer = pin!(answer);
        let mut seen = (0, Instant::now());
        let tick = stall.min(wait) / 4;
        loop {
            if let Ok(answer) = tokio::time::timeout(tick, &mut answer).await {
                return Ok(answer);
            }
            let taken = self.taken.load(Ordering::Relaxed);
            let state = self.state.load(Ordering::Relaxed);
            if taken != seen.0 || state == FOR_SOURCE {
                seen = (taken, Instant::now());
                continue;
            }
            let limit = if state == FOR_ANSWER { wait } else { stall };
            if seen.1.elapsed() >= limit {
                return Err(no_answer(url, limit));
            }
        }
    }
}
