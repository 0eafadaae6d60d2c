//! The access log: one event for each request, when the last byte of its answer is gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Uri};

/// One request and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access {
    /// Who asked.
    pub peer: SocketAddr,
    /// The name that the asker proved to have.
    pub user: Option<String>,
    /// Which part of the API was asked for, such as `manifest` or `blob`; `other` where the target
    /// names none.
    pub endpoint: &'static str,
    /// The method.
    pub method: Method,
    /// The target as it was sent, with its query. A stranger's text: escape it before printing.
    pub target: String,
    /// The status of the answer; 499 where the client left before there was one.
    pub status: u16,
    /// The bytes of the request's body that were read.
    pub received: u64,
    /// The bytes of the answer's body that were handed to the connection.
    pub sent: u64,
    /// From the request's head to the end of the answer.
    pub duration: Duration,
    /// What went wrong on the server's side, for the operator.
    pub fault: Option<String>,
}

/// Told of every request, from any thread. Must return at once.
pub trait Log: Send + Sync {
    /// Takes note.
    fn access(&self, access: &Access);

    /// Takes note of what the operator should look at and no request tells.
    fn notice(&self, _text: &str) {}
}

/// Looks away.
impl Log for () {
    fn access(&self, _: &Access) {}
}

/// Measures one request, and tells the log when it is dropped.
pub(crate) struct Meter {
    log: Arc<dyn Log>,
    access: Access,
    started: Instant,
    /// Counted by the reader of the request's body.
    pub(crate) received: Arc<AtomicU64>,
}

impl Meter {
    pub(crate) fn start(
        log: Arc<dyn Log>,
        peer: SocketAddr,
        method: &Method,
        target: &Uri,
    ) -> Self {
        let access = Access {
            peer,
            user: None,
            endpoint: "other",
            method: method.clone(),
            target: target.to_string(),
            status: 499,
            received: 0,
            sent: 0,
            duration: Duration::ZERO,
            fault: None,
        };
        Self { log, access, started: Instant::now(), received: Arc::default() }
    }

    pub(crate) fn asked_for(&mut self, endpoint: &'static str) {
        self.access.endpoint = endpoint;
    }

    pub(crate) fn asked_by(&mut self, user: Option<&str>) {
        self.access.user = user.map(str::to_owned);
    }

    pub(crate) fn answered(&mut self, status: u16, fault: Option<String>) {
        self.access.status = status;
        self.access.fault = fault;
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.access.sent += bytes as u64;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.access.received = self.received.load(Ordering::Relaxed);
        self.access.duration = self.started.elapsed();
        self.log.access(&self.access);
    }
}
