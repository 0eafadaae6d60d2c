//! What the operator asks at an address of its own, `/metrics`, `/healthz` and `/readyz`, and what it
//! orders there or at a socket in the folder: `POST /gc`, `/du`, `/scrub`, `/mend`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use conex_spec::{Digest, Error, Kind};
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::app::App;
use crate::gc::usage::usage;
use crate::metrics;

/// The most connections at a time; others wait.
const CONNECTIONS: usize = 16;
/// How long nobody is let in after that failed.
const REST: Duration = Duration::from_millis(50);

/// Answers until it is dropped. Also while the server stops, so that this can be seen.
pub(crate) async fn serve(app: Arc<App>, listener: TcpListener) -> Infallible {
    serve_all(app, |cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream)).await
}

/// The same at the socket in the folder that is served.
pub(crate) async fn take_orders(app: Arc<App>, listener: UnixListener) -> Infallible {
    serve_all(app, |cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream)).await
}

async fn serve_all<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    app: Arc<App>,
    accept: impl Fn(&mut Context<'_>) -> Poll<std::io::Result<S>>,
) -> Infallible {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        match poll_fn(&accept).await {
            Ok(stream) => drop(tokio::spawn(connection(Arc::clone(&app), stream, permit))),
            Err(_) => sleep(REST).await,
        }
    }
}

async fn connection(
    app: Arc<App>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    permit: Result<OwnedSemaphorePermit, AcquireError>,
) {
    let time = app.config.limits.header_time;
    let service = service_fn(|request| answer(Arc::clone(&app), request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(time);
    // Errors of a connection are its client's.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    drop(permit);
}

async fn answer(
    app: Arc<App>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, text) = match request.uri().path() {
        "/gc" => {
            ordered(&request, "application/json", async |dry_run| {
                app.collect(dry_run).await.and_then(|report| text(&report))
            })
            .await
        }
        "/du" => {
            ordered(&request, "application/json", async |_| {
                usage(app.storage.home()).await.and_then(|report| text(&report))
            })
            .await
        }
        "/scrub" => {
            ordered(&request, "application/json", async |dry_run| {
                app.scrub(dry_run).await.and_then(|report| text(&report))
            })
            .await
        }
        "/mend" => mend(&app, request).await,
        "/metrics" => {
            let text = app.metrics.as_ref().map(|metrics| metrics.text()).unwrap_or_default();
            (StatusCode::OK, metrics::TYPE, text)
        }
        "/healthz" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => match app.is_ready().await {
            Ok(()) => (StatusCode::OK, "text/plain", "ready\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n")),
        },
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "see /metrics, /healthz, /readyz; /gc, /du, /scrub and /mend\n".into(),
        ),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// Follows an order; `?dry-run=true` is one to tell only.
async fn ordered(
    request: &Request<Incoming>,
    kind: &'static str,
    work: impl AsyncFnOnce(bool) -> conex_spec::Result<String>,
) -> (StatusCode, &'static str, String) {
    if let Some(refused) = refused(request) {
        return refused;
    }
    let dry_run = match request.uri().query() {
        None | Some("dry-run=false") => false,
        Some("dry-run=true") => true,
        Some(_) => {
            let text = "the query may be dry-run=true\n".to_owned();
            return (StatusCode::BAD_REQUEST, "text/plain", text);
        }
    };
    told(work(dry_run).await, kind)
}

/// Takes the content in the body for what a scrub has found, `?digest=DIGEST`.
async fn mend(app: &App, request: Request<Incoming>) -> (StatusCode, &'static str, String) {
    if let Some(refused) = refused(&request) {
        return refused;
    }
    let query = request.uri().query().and_then(|query| query.strip_prefix("digest="));
    let Some(digest) = query.and_then(|text| text.parse::<Digest>().ok()) else {
        let text = "the query must be digest=DIGEST\n".to_owned();
        return (StatusCode::BAD_REQUEST, "text/plain", text);
    };
    let broken = |err| Error::new(Kind::Network, "the content broke off").source(err);
    let content = request.into_body().into_data_stream().map_err(broken).boxed();
    told(app.mend(&digest, content).await.and_then(|size| text(&size)), "application/json")
}

/// A page that a browser shows can send no order of another kind unasked, but it says where it is from.
fn refused(request: &Request<Incoming>) -> Option<(StatusCode, &'static str, String)> {
    let fits = request.method() == Method::POST && !request.headers().contains_key(header::ORIGIN);
    let text = || "orders are sent with POST, and not by pages\n".to_owned();
    (!fits).then(|| (StatusCode::METHOD_NOT_ALLOWED, "text/plain", text()))
}

fn told(
    result: conex_spec::Result<String>,
    kind: &'static str,
) -> (StatusCode, &'static str, String) {
    match result {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(err) => {
            let (error, hint) = (err.to_string(), err.hint_text());
            let told = json!({ "error": error, "kind": format!("{:?}", err.kind()), "hint": hint });
            (StatusCode::INTERNAL_SERVER_ERROR, kind, told.to_string())
        }
    }
}

fn text<T: serde::Serialize>(report: &T) -> conex_spec::Result<String> {
    serde_json::to_string(report)
        .map_err(|err| Error::invalid("report cannot be printed").source(err))
}
