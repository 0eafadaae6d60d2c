//! Listening, connections and shutdown.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use conex_spec::{Error, Result};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::app::App;
use crate::config::{Config, Limits, Place};
use crate::gc::{control, schedule};
use crate::operator;
use crate::patience::Patience;
use crate::reply::{Body, empty};
use crate::wire::{Peer, Wire};

/// How a connection of HTTP/2 begins. RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a connection buffers of what comes in, in bytes.
const BUFFER: usize = 256 << 10;
/// The most requests at a time on one connection, and the most that its client may take back
/// before we saw them (CVE-2023-44487).
const STREAMS: u32 = 128;
const RESETS: usize = 64;
/// The window of a stream and of a connection of HTTP/2, in bytes.
const WINDOW: u32 = 1 << 20;

/// A registry that listens.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    /// Where the operator asks.
    operator: Option<TcpListener>,
    /// Where the operator gives orders, in the folder that is served.
    control: Option<UnixListener>,
}

impl Server {
    /// Opens the storage and listens. Requests wait until [`Server::run`].
    ///
    /// # Errors
    /// `Conflict` where another process serves the folder; `Invalid` where it holds something else;
    /// `Unsupported` where its format is of another version.
    pub async fn bind(config: Config) -> Result<Self> {
        // First, since an address that cannot be had must leave no folder behind.
        let (listener, address) = listen(config.listen).await?;
        let operator = match config.operator {
            Some(address) => Some(listen(address).await?.0),
            None => None,
        };
        let app = App::open(config).await?;
        let control = match &app.config.storage {
            Place::Folder(root) => Some(control::listen(root)?),
            Place::S3(_) | Place::Layout { .. } => None,
        };
        Ok(Self { app: Arc::new(app), listener, address, operator, control })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells its operator how it is.
    pub fn operator_addr(&self) -> Option<SocketAddr> {
        self.operator.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown` is done; then takes no more requests and gives those underway
    /// [`Limits::grace`] to end.
    pub async fn run(self, shutdown: impl Future) -> Result<()> {
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        // Every request that writes has a clone of it, also where its connection is gone.
        let (writing, mut written) = mpsc::channel::<()>(1);
        let room = Arc::new(Semaphore::new(self.app.config.limits.connections));
        let mut shutdown = pin!(shutdown);
        let mut aside = JoinSet::new();
        if let Some(listener) = self.operator {
            aside.spawn(operator::serve(Arc::clone(&self.app), listener));
        }
        if let Some(listener) = self.control {
            aside.spawn(operator::take_orders(Arc::clone(&self.app), listener));
        }
        let mut collecting = JoinSet::new();
        collecting.spawn(schedule::serve(Arc::clone(&self.app)));
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.listener, &room) => accepted,
            };
            let Some((permit, stream, peer)) = accepted else { continue };
            let (app, stopping) = (Arc::clone(&self.app), stopping.clone());
            let writing = writing.clone();
            connections.spawn(async move {
                connection(app, stream, peer, stopping, writing).await;
                drop(permit);
            });
        }
        drop(self.listener);
        self.app.stop();
        collecting.shutdown().await;
        let _ = stop.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        // Whoever is not done then is cut off; uploads can be resumed.
        if timeout(self.app.config.limits.grace, all).await.is_err() {
            self.app.cut_off();
        }
        connections.shutdown().await;
        drop(writing);
        // What has come by then is written before the folder is someone else's.
        written.recv().await;
        self.app.storage.home().close().await;
        drop(aside);
        Ok(())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let fault = |err| Error::from_io(err, || format!("cannot listen on {address}"));
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    Ok((listener, address))
}

type Accepted = (tokio::sync::OwnedSemaphorePermit, TcpStream, SocketAddr);

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((permit, stream, peer)),
        Err(_) => {
            // Out of files, most likely: some will be closed soon.
            sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn connection(
    app: Arc<App>,
    stream: TcpStream,
    address: SocketAddr,
    mut stopping: watch::Receiver<bool>,
    writing: mpsc::Sender<()>,
) {
    let limits = app.config.limits.clone();
    let _counted = app.connected();
    // Answers are written whole; waiting for more of them only delays.
    let _ = stream.set_nodelay(true);
    let Some((wire, is_http2)) = open(&app, stream, &mut stopping).await else { return };
    let peer = Peer { address, certified: wire.certified() };
    let service =
        service_fn(move |request| answer(Arc::clone(&app), request, peer.clone(), writing.clone()));
    let io = Patience::new(TokioIo::new(wire), limits.body_time);
    // Errors of a connection are its client's; the access log has told of its requests.
    if is_http2 {
        let served = pin!(http2_builder(&limits).serve_connection(io, service));
        let _ = until_stopped(served, |served| served.graceful_shutdown(), stopping).await;
    } else {
        let served = pin!(http1_builder(&limits).serve_connection(io, service));
        let _ = until_stopped(served, |served| served.graceful_shutdown(), stopping).await;
    }
}

/// What comes before the first request: the handshake of TLS, and which HTTP the client speaks.
/// Nothing where the client says too little for too long.
async fn open(
    app: &App,
    stream: TcpStream,
    stopping: &mut watch::Receiver<bool>,
) -> Option<(Wire, bool)> {
    let time = app.config.limits.header_time;
    let Some(tls) = &app.config.tls else {
        let is_http2 = first_bytes(&stream, time, stopping).await?;
        return Some((Wire::Plain(stream), is_http2));
    };
    let (config, fault) = tls.current();
    if let Some(err) = fault {
        app.log.notice(&err.to_string());
    }
    let wire = tokio::select! {
        shaken = timeout(time, Wire::secure(stream, config)) => shaken.ok()??,
        _ = stopping.wait_for(|stopping| *stopping) => return None,
    };
    let is_http2 = wire.is_http2().unwrap_or_default();
    Some((wire, is_http2))
}

/// What only reads ends with its connection. What writes does not, and begins at once: all that came
/// is written, also where the client is gone before it was told so, and then goes on from there.
fn answer(
    app: Arc<App>,
    request: Request<Incoming>,
    peer: Peer,
    writing: mpsc::Sender<()>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> {
    let begun = if request.method().is_safe() {
        Err((app, request, peer))
    } else {
        Ok(tokio::spawn(async move {
            let answer = app.answer(request, peer).await;
            drop((app, writing));
            answer
        }))
    };
    async move {
        Ok(match begun {
            Ok(task) => task.await.unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR)),
            Err((app, request, peer)) => app.answer(request, peer).await,
        })
    }
}

/// Runs a connection; when the server stops, lets it end what it has begun.
async fn until_stopped<C: Future>(
    mut connection: Pin<&mut C>,
    end: impl FnOnce(Pin<&mut C>),
    mut stopping: watch::Receiver<bool>,
) -> C::Output {
    tokio::select! {
        output = connection.as_mut() => return output,
        _ = stopping.wait_for(|stopping| *stopping) => end(connection.as_mut()),
    }
    poll_fn(|cx| connection.as_mut().poll(cx)).await
}

/// Whether the client speaks HTTP/2 at once; nothing if it says too little for too long.
async fn first_bytes(
    stream: &TcpStream,
    time: Duration,
    stopping: &mut watch::Receiver<bool>,
) -> Option<bool> {
    let deadline = Instant::now() + time;
    let mut start = [0; PREFACE.len()];
    while Instant::now() < deadline {
        let count = tokio::select! {
            peeked = timeout(time, stream.peek(&mut start)) => peeked.ok()?.ok()?,
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        };
        let found = &start[..count];
        if count == 0 {
            return None;
        }
        if !PREFACE.starts_with(found) {
            return Some(false);
        }
        if count == PREFACE.len() {
            return Some(true);
        }
        sleep(Duration::from_millis(10)).await;
    }
    None
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_time);
    builder.max_buf_size(BUFFER.max(limits.header));
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .max_header_list_size(u32::try_from(limits.header).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .keep_alive_interval(limits.body_time)
        .keep_alive_timeout(limits.header_time);
    builder
}
