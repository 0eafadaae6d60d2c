//! The body of a request as it arrives, never faster than it is used and never too slowly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::Limits;
use crate::failure::{Code, Failure};
use crate::memory::Memory;
use crate::range::number;

/// What of a refused request is still read, so that its client reads the answer instead of
/// finding the connection reset.
const DRAIN_BYTES: u64 = 16 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// All manifests that are on their way. Whoever has sent so much is told to come again where the rest
/// is taken.
static MEMORY: Memory = Memory::new(48 << 20, 64 << 10, 64 << 10);

/// See the module.
pub(crate) struct Receive {
    body: Incoming,
    declared: Option<u64>,
    /// The client sends nothing before it is told to go on. RFC 9110, 10.1.1.
    waits: bool,
    seen: Arc<AtomicU64>,
    window: Option<(Instant, u64)>,
    broke_off: bool,
    time: Duration,
    least: u64,
}

impl Receive {
    pub(crate) fn new(head: &Parts, body: Incoming, limits: &Limits, seen: Arc<AtomicU64>) -> Self {
        let declared = head.headers.get(header::CONTENT_LENGTH);
        Self {
            body,
            declared: declared.and_then(|value| number(value.to_str().ok()?)),
            waits: head.headers.contains_key(header::EXPECT),
            seen,
            window: None,
            broke_off: false,
            time: limits.body_time,
            least: limits.body_bytes,
        }
    }

    /// The length that the client stated, in bytes.
    pub(crate) fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Whether the connection ended before the body did.
    pub(crate) fn broke_off(&self) -> bool {
        self.broke_off
    }

    /// The next bytes; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.waits = false;
        loop {
            let (start, bytes) = *self.window.get_or_insert_with(|| (Instant::now(), 0));
            let deadline = start + self.time;
            let Ok(frame) = timeout_at(deadline, self.body.frame()).await else {
                if bytes < self.least {
                    return Err(too_slow());
                }
                self.window = None;
                continue;
            };
            match frame {
                None => {
                    let whole = self.check_length();
                    self.broke_off = whole.is_err();
                    return whole.map(|()| None);
                }
                Some(Err(err)) => {
                    self.broke_off = true;
                    return Err(broken(&err.to_string()));
                }
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    self.seen.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    self.window = Some((start, bytes + chunk.len() as u64));
                    return Ok(Some(chunk));
                }
            }
        }
    }

    /// A connection that is dropped ends a body as if it were whole.
    fn check_length(&self) -> Result<(), Failure> {
        let found = self.seen.load(Ordering::Relaxed);
        match self.declared.filter(|declared| *declared != found) {
            Some(declared) => Err(broken(&format!("expected {declared} bytes, found {found}"))),
            None => Ok(()),
        }
    }

    /// All of a small body. Memory grows with what comes, not with what was declared.
    pub(crate) async fn whole(&mut self, limit: usize) -> Result<Bytes, Failure> {
        if self.declared.is_some_and(|length| length > limit as u64) {
            return Err(too_large(limit));
        }
        let (mut whole, mut held) = (BytesMut::new(), MEMORY.hold(0));
        while let Some(chunk) = self.next().await? {
            if whole.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            held.grow(chunk.len());
            if MEMORY.is_full() && whole.len() > MEMORY.fair() {
                return Err(too_many());
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Reads the rest of a refused request, within bounds.
    pub(crate) async fn drain(&mut self) {
        if self.waits || self.body.is_end_stream() {
            return;
        }
        let mut left = DRAIN_BYTES;
        let drained = timeout(DRAIN_TIME, async {
            while let Some(Ok(frame)) = self.body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                if left == 0 {
                    break;
                }
            }
        });
        // Whatever is still on its way meets a closed connection.
        let _ = drained.await;
    }
}

fn too_slow() -> Failure {
    Code::BlobUploadInvalid.says("the body comes too slowly").status(StatusCode::REQUEST_TIMEOUT)
}

fn too_many() -> Failure {
    Code::Toomanyrequests
        .says("too many manifests come at once; try again later")
        .status(StatusCode::SERVICE_UNAVAILABLE)
}

fn too_large(limit: usize) -> Failure {
    Code::SizeInvalid
        .says(format!("the body is too large (expected at most {limit} bytes)"))
        .status(StatusCode::PAYLOAD_TOO_LARGE)
}

fn broken(how: &str) -> Failure {
    Code::SizeInvalid.says(format!("the body broke off: {how}"))
}
