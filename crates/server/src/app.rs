//! One request, from its head to its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conex_spec::Result;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::access::{Asker, Gate};
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::gc::Damage;
use crate::log::{Log, Meter};
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::receive::Receive;
use crate::reply::{API_VERSION, Answer, Body, empty};
use crate::routes::{Query, Route};
use crate::storage::Storage;
use crate::uploads::Uploads;
use crate::warning;
use crate::wire::Peer;

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) gate: Gate,
    pub(crate) storage: Storage,
    pub(crate) quotas: Quotas,
    pub(crate) uploads: Uploads,
    /// Told of every request.
    pub(crate) log: Arc<dyn Log>,
    /// Where the operator wants numbers.
    pub(crate) metrics: Option<Arc<Metrics>>,
    /// Added to every answer of the API.
    warnings: Vec<HeaderValue>,
    /// Held by who collects.
    pub(crate) collecting: tokio::sync::Mutex<()>,
    /// What may be mended.
    pub(crate) damage: Damage,
    stopping: AtomicBool,
    /// Whether those who are not done are cut off.
    cut: AtomicBool,
}

/// A connection that is counted as long as this lives.
pub(crate) struct Connected(Option<Arc<Metrics>>);

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
        let warnings = warning::headers(&config.warnings)?;
        let storage = Storage::open(&config).await?;
        let gate = Gate::new(&config, &storage.secret("access").await?);
        let mut log = Arc::clone(&config.log);
        let metrics = config.operator.map(|_| Arc::new(Metrics::new(Arc::clone(&log))));
        if let Some(metrics) = &metrics {
            log = Arc::<Metrics>::clone(metrics);
        }
        let quotas = Quotas::new(&config.policies.quotas);
        let (uploads, damage) = (Uploads::default(), Damage::default());
        let (stopping, cut) = (AtomicBool::new(false), AtomicBool::new(false));
        let collecting = tokio::sync::Mutex::default();
        Ok(Self {
            config,
            gate,
            storage,
            quotas,
            uploads,
            log,
            metrics,
            warnings,
            collecting,
            damage,
            stopping,
            cut,
        })
    }

    /// Counts a connection.
    pub(crate) fn connected(&self) -> Connected {
        if let Some(metrics) = &self.metrics {
            metrics.connections.inc();
        }
        Connected(self.metrics.clone())
    }

    /// Tells that no more requests are taken.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Tells that whoever is not done is cut off.
    pub(crate) fn cut_off(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let (head, body) = request.into_parts();
        let log = Arc::clone(&self.log);
        let mut meter = Meter::start(log, peer.address, &head.method, &head.uri);
        let received = Arc::clone(&meter.received);
        let mut body = Receive::new(&head, body, &self.config.limits, received);
        let (mut response, fault) = match self.handle(&head, &peer, &mut body, &mut meter).await {
            Ok(response) => (response, None),
            // Nobody is told any more, but the log is.
            Err(_) if body.broke_off() && self.cut.load(Ordering::Relaxed) => {
                let fault =
                    "cut off: the server stopped, and the request was not done in its grace";
                (empty(StatusCode::SERVICE_UNAVAILABLE), Some(fault.to_owned()))
            }
            Err(mut failure) => {
                body.drain().await;
                let fault = failure.take_cause();
                (failure.into_response(), fault)
            }
        };
        let version = HeaderValue::from_static("registry/2.0");
        response.headers_mut().insert(API_VERSION, version);
        for warning in &self.warnings {
            response.headers_mut().append(header::WARNING, warning.clone());
        }
        if head.method == Method::HEAD {
            drop_body(&mut response);
        }
        meter.answered(response.status().as_u16(), fault);
        response.body_mut().measure(meter);
        response
    }

    async fn handle(
        &self,
        head: &Parts,
        peer: &Peer,
        body: &mut Receive,
        meter: &mut Meter,
    ) -> Answer {
        self.check_head(head)?;
        let route = Route::parse(head.uri.path())?;
        meter.asked_for(route.endpoint());
        self.check_policy(&head.method, &route)?;
        let query = Query::parse(head.uri.query())?;
        let asker = self.gate.admit(head, peer.certified.as_deref()).await?;
        meter.asked_by(asker.name());
        asker.check(&head.method, &route)?;
        let home = self.storage.home();
        if let Some(name) =
            route.repository().filter(|name| !head.method.is_safe() && !home.takes(name))
        {
            return Err(Code::NameUnknown.says(format!("there is no repository {name} here")));
        }
        let (method, headers) = (&head.method, &head.headers);
        let asked = Asked { method, headers, asker, query, body };
        match route {
            Route::Base => self.base(&asked),
            Route::Token => self.token(asked).await,
            Route::Health => self.health(&asked),
            Route::Ready => self.ready(&asked).await,
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
        if self.config.read_only && !method.is_safe() && !matches!(route, Route::Token) {
            return Err(Code::Unsupported
                .says("this registry is read-only")
                .header(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        let deletes = matches!(route, Route::Manifest(..) | Route::Blob(..));
        if method == Method::DELETE && deletes && !self.config.deletes {
            return Err(Code::Unsupported
                .says("this registry deletes nothing")
                .header(header::ALLOW, HeaderValue::from_static("GET, HEAD, PUT")));
        }
        Ok(())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(metrics) = &self.0 {
            metrics.connections.dec();
        }
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

    /// Refuses every other method.
    pub(crate) fn only_reads(&self) -> Result<(), Failure> {
        if self.reads() { Ok(()) } else { Err(Failure::method("GET, HEAD")) }
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
