//! One request with its redirects, its login and its repetitions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conex_spec::{Error, Kind, Result};
use conex_store::ByteStream;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Body, Request, Response, Url};

use crate::answer::Answer;
use crate::auth::{Scope, Sent};
use crate::hosts::failure;
use crate::options::Timeouts;
use crate::origin::{self, Reach, may_see_secrets, shown};
use crate::registry::Registry;
use crate::retry::{is_transient, retry_after};
use crate::sending::{Rate, SLICE, Sending};

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
                Err(err) if err.kind() == Kind::Network && !failure::is_lasting(err) => None,
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
            let request = ask.request(&method, &url, authorization, self.options().timeouts)?;
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
        let rate = Rate::of(timeouts);
        let (url, method) = (request.url().clone(), request.method().clone());
        let line = self.line(&request, ceiling, own).await?;
        let answer = self.execute_in(&line.pool, request);
        let answer = upload.watch(answer, &url, rate, wait).await?;
        // A source that broke off is the true cause.
        let unanswered = |err| upload.fault().unwrap_or_else(|| self.unanswered(err, &url));
        let mut response = answer.map_err(unanswered)?;
        line.pass.until_read(&method, &mut response);
        Ok(response)
    }
}

struct Sendable {
    request: Request,
    upload: Option<Arc<Sending>>,
}

impl Ask {
    fn request(
        &mut self,
        method: &Method,
        url: &Url,
        authorization: Option<HeaderValue>,
        timeouts: Timeouts,
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
        let mut watched = |content: ByteStream, length| {
            let sending = upload.insert(Arc::new(Sending::new(length))).clone();
            Body::wrap_stream(sending.pass(content, Rate::of(timeouts).least))
        };
        let length = match &mut self.payload {
            Payload::Nothing if self.method == Method::GET || self.method == Method::HEAD => {
                return Ok(Sendable { request, upload: None });
            }
            Payload::Nothing => 0,
            Payload::Pieces(pieces) => {
                let length = pieces.iter().map(|piece| piece.len() as u64).sum();
                *request.body_mut() = Some(match &pieces[..] {
                    [] => Body::from(Bytes::new()),
                    [piece] if piece.len() <= SLICE => Body::from(piece.clone()),
                    many => watched(stream::iter(many.to_vec()).map(Ok).boxed(), length),
                });
                length
            }
            Payload::Stream(content, length) => {
                let content = content.take().ok_or_else(|| {
                    Error::new(
                        Kind::Network,
                        format!("{} leads elsewhere after the upload", shown(url)),
                    )
                })?;
                *request.body_mut() = Some(watched(content, *length));
                *length
            }
        };
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(Sendable { request, upload })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
