//! One request, from its head to its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use conex_spec::Result;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::access::{Asker, Gate};
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::log::Meter;
use crate::receive::Receive;
use crate::reply::{API_VERSION, Answer, Body};
use crate::routes::{Query, Route};
use crate::storage::Storage;
use crate::uploads::Uploads;

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) gate: Gate,
    pub(crate) storage: Storage,
    pub(crate) uploads: Uploads,
}

/// A request's head and the way to its body.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    headers: &'a HeaderMap,
    /// Who sent it, and what that one may do.
    pub(crate) asker: Asker<'a>,
    pub(crate) query: Query,
    pub(crate) body: &'a mut Receive,
}

impl App {
    /// Opens the storage.
    pub(crate) async fn open(config: Config) -> Result<Self> {
        let storage = Storage::open(&config).await?;
        let gate = Gate::new(config.access.clone(), &storage.secret("access").await?);
        Ok(Self { config, gate, storage, uploads: Uploads::default() })
    }

    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut meter = Meter::start(Arc::clone(&self.config.log), peer, &head.method, &head.uri);
        let received = Arc::clone(&meter.received);
        let mut body = Receive::new(&head, body, &self.config.limits, received);
        let (mut response, fault) = match self.handle(&head, &mut body, &mut meter).await {
            Ok(response) => (response, None),
            Err(mut failure) => {
                body.drain().await;
                let fault = failure.take_cause();
                (failure.into_response(), fault)
            }
        };
        let version = HeaderValue::from_static("registry/2.0");
        response.headers_mut().insert(API_VERSION, version);
        if head.method == Method::HEAD {
            drop_body(&mut response);
        }
        meter.answered(response.status().as_u16(), fault);
        response.body_mut().measure(meter);
        response
    }

    async fn handle(&self, head: &Parts, body: &mut Receive, meter: &mut Meter) -> Answer {
        self.check_head(head)?;
        let route = Route::parse(head.uri.path())?;
        self.check_policy(&head.method, &route)?;
        let query = Query::parse(head.uri.query())?;
        let asker = self.gate.admit(head).await?;
        meter.asked_by(asker.name());
        asker.check(&head.method, &route)?;
        let (method, headers) = (&head.method, &head.headers);
        let asked = Asked { method, headers, asker, query, body };
        match route {
            Route::Base => self.base(&asked),
            Route::Token => self.token(asked).await,
            Route::Catalog => self.catalog(&asked).await,
            Route::Tags(repository) => self.tags(&asked, repository).await,
            Route::Manifest(repository, name) => self.manifest(asked, repository, name).await,
            Route::Referrers(repository, subject) => {
                self.referrers(&asked, repository, subject).await
            }
            Route::Blob(repository, digest) => self.blob(&asked, repository, digest).await,
            Route::Uploads(repository) => self.start_upload(asked, repository).await,
            Route::Upload(repository, id) => self.upload(asked, repository, id).await,
        }
    }

    fn check_head(&self, head: &Parts) -> Result<(), Failure> {
        // A name, its value, and what stands between and after them.
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        let length: usize = head.headers.iter().map(line).sum();
        if length > self.config.limits.header {
            return Err(Code::Unsupported
                .says(format!("the head is larger than {} bytes", self.config.limits.header))
                .status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        Ok(())
    }

    /// The one gate before all handlers: what the operator does not allow is refused here
    /// (CVE-2026-41888: one handler had forgotten to ask).
    fn check_policy(&self, method: &Method, route: &Route) -> Result<(), Failure> {
        let deletes = matches!(route, Route::Manifest(..) | Route::Blob(..));
        if method == Method::DELETE && deletes && !self.config.deletes {
            return Err(Code::Unsupported
                .says("this registry deletes nothing")
                .header(header::ALLOW, HeaderValue::from_static("GET, HEAD, PUT")));
        }
        Ok(())
    }
}

impl Asked<'_> {
    /// A header as text; nothing where it is missing or not ASCII.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the method only reads.
    pub(crate) fn reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }
}

/// The answer to a HEAD has the headers of that to a GET, also the length (RFC 9110, 9.3.2).
fn drop_body(response: &mut Response<Body>) {
    use hyper::body::Body as _;
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    *response.body_mut() = Body::default();
}
