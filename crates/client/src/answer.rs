//! An answer of a server, whose body is bounded and must not stall.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use conex_spec::{Digest, Error, Kind, MediaType, Result};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, StatusCode};
use reqwest::{Response, Url};

use crate::credentials::Shown;
use crate::hosts::failure;
use crate::options::Timeouts;
use crate::origin::shown;

/// distribution-spec calls this header by Docker's name.
pub(crate) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The head of an answer, with its body still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Who answered, after all redirects.
    pub(crate) url: Url,
    /// Whether a redirect has left the registry.
    pub(crate) elsewhere: bool,
    pub(crate) timeouts: Timeouts,
    /// Whether a login was sent, and whose; an anonymous token is nobody's.
    pub(crate) sent: Option<Option<Shown>>,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header's text, if it is text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The length that the head tells; for HEAD that of the content.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    pub(crate) fn media_type(&self) -> Option<MediaType> {
        self.header(CONTENT_TYPE).map(MediaType::from_content_type)
    }

    /// `Docker-Content-Digest`. A malformed one is a fault.
    pub(crate) fn digest(&self) -> Result<Option<Digest>> {
        let Some(value) = self.headers().get(DIGEST) else { return Ok(None) };
        let text = String::from_utf8_lossy(value.as_bytes());
        let digest = text
            .parse()
            .map_err(|err: Error| err.context(format_args!("{DIGEST} of {}", shown(&self.url))))?;
        Ok(Some(digest))
    }

    /// Fails if the header names other content than `expected`. "If the digest does differ, it MAY be
    /// the case that the hashing algorithms used do not match" (distribution-spec, "Pulling
    /// manifests"): then nothing is known.
    pub(crate) fn check_digest(&self, expected: &Digest) -> Result<()> {
        match self.digest()? {
            Some(found) if found.algorithm_name() == expected.algorithm_name() => expected
                .check(&found, || format!("{} answers with other content", shown(&self.url))),
            _ => Ok(()),
        }
    }

    /// `Location`, which must be there.
    pub(crate) fn location(&self) -> Result<&str> {
        self.header(LOCATION).filter(|location| !location.is_empty()).ok_or_else(|| {
            Error::invalid(format!(
                "{} answers {} without a location",
                shown(&self.url),
                self.status()
            ))
            .expected("a Location header")
            .found("none")
        })
    }

    /// The whole body, which may have `limit` bytes.
    pub(crate) async fn read(mut self, limit: usize, what: &str) -> Result<Bytes> {
        let too_large = |found: u64| {
            Error::new(Kind::Limit, format!("{what} is too large"))
                .expected(format!("at most {limit} bytes"))
                .found(format!("{found} bytes or more"))
        };
        if let Some(length) = self.length().filter(|length| *length > limit as u64) {
            return Err(too_large(length));
        }
        let mut pace = Pace::new(self.timeouts);
        let mut body = BytesMut::new();
        while let Some(chunk) = pace.next(&mut self).await? {
            if chunk.len() > limit - body.len() {
                return Err(too_large(limit as u64 + 1));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Watches that a body brings enough bytes. Only the time spent waiting for the server counts, so
/// that a slow reader is no reason to give up.
#[derive(Debug)]
pub(crate) struct Pace {
    timeouts: Timeouts,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, waited: Duration::ZERO, bytes: 0 }
    }

    /// The next piece of the body.
    pub(crate) async fn next(&mut self, answer: &mut Answer) -> Result<Option<Bytes>> {
        let left = self.timeouts.stall.saturating_sub(self.waited);
        let started = Instant::now();
        let next = tokio::time::timeout(left, answer.response.chunk()).await;
        self.waited += started.elapsed();
        let chunk = match next {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(err)) => {
                return Err(failure::fault(err, &answer.url).context("the body broke off"));
            }
            Err(_) => return Err(self.stalled(answer)),
        };
        self.bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.bytes >= self.timeouts.least {
            *self = Self::new(self.timeouts);
        } else if self.waited >= self.timeouts.stall && chunk.is_some() {
            return Err(self.stalled(answer));
        }
        Ok(chunk)
    }

    fn stalled(&self, answer: &Answer) -> Error {
        Error::new(Kind::Network, format!("{} sends too slowly", shown(&answer.url)))
            .expected(format!("{} bytes in {:?}", self.timeouts.least, self.timeouts.stall))
            .found(format!("{} bytes", self.bytes))
    }
}
