//! Answers: their bodies, and the headers that many share.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use conex_spec::Digest;
use futures_util::stream::BoxStream;
use http::header::{HeaderName, LINK};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use crate::failure::Failure;
use crate::file_body::FileBody;
use crate::log::Meter;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(crate) const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// What a handler returns.
pub(crate) type Answer = Result<Response<Body>, Failure>;

/// The body of an answer.
#[derive(Default)]
pub(crate) struct Body {
    content: Content,
    meter: Option<Meter>,
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Bytes(Bytes),
    File(FileBody),
    /// And the bytes that are still to come.
    Stream(BoxStream<'static, io::Result<Bytes>>, u64),
}

impl Body {
    /// A body of so many bytes. It breaks off where the stream fails or is shorter or longer.
    pub(crate) fn stream(stream: BoxStream<'static, io::Result<Bytes>>, length: u64) -> Self {
        let content = if length == 0 { Content::Empty } else { Content::Stream(stream, length) };
        Self { content, meter: None }
    }

    pub(crate) fn file(file: FileBody) -> Self {
        Self { content: Content::File(file), meter: None }
    }

    pub(crate) fn measure(&mut self, meter: Meter) {
        self.meter = Some(meter);
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match &mut self.content {
            Content::Empty => Poll::Ready(None),
            Content::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Empty;
                Poll::Ready(Some(Ok(bytes)))
            }
            Content::File(file) => file.poll_next(cx),
            Content::Stream(stream, left) => {
                let polled = stream.as_mut().poll_next(cx);
                polled.map(|chunk| next_of(chunk, left))
            }
        }
    }
}

fn next_of(chunk: Option<io::Result<Bytes>>, left: &mut u64) -> Option<io::Result<Bytes>> {
    match chunk {
        None if *left == 0 => None,
        None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        Some(Err(err)) => Some(Err(err)),
        Some(Ok(bytes)) => match left.checked_sub(bytes.len() as u64) {
            Some(rest) => {
                *left = rest;
                Some(Ok(bytes))
            }
            None => Some(Err(io::Error::other("content is longer than it was"))),
        },
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes: Bytes = bytes.into();
        let content = if bytes.is_empty() { Content::Empty } else { Content::Bytes(bytes) };
        Self { content, meter: None }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = self.poll_content(cx);
        if let (Poll::Ready(Some(Ok(bytes))), Some(meter)) = (&polled, &mut self.meter) {
            meter.sent(bytes.len());
        }
        polled.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.content {
            Content::Empty => 0,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(file) => file.remaining(),
            Content::Stream(_, left) => *left,
        })
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

/// A JSON document.
pub(crate) fn json(value: &impl Serialize, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    let header = HeaderValue::from_static(media_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, header);
    response
}

/// An answer with one more header. What we put into headers is ASCII; anything else is left out.
pub(crate) trait With: Sized {
    fn with(self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self;

    /// The digest of the content, which also is its strong validator (RFC 9110, 8.8.3).
    fn with_digest(self, digest: &Digest) -> Self {
        self.with(CONTENT_DIGEST, digest.as_str()).with(http::header::ETAG, etag(digest))
    }

    /// Where the list goes on. RFC 8288.
    fn with_next(self, target: &str) -> Self {
        self.with(LINK, format!("<{target}>; rel=\"next\""))
    }
}

impl With for Response<Body> {
    fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers_mut().append(name, value);
        }
        self
    }
}

pub(crate) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether one of the entity tags in an `If-None-Match` or `If-Match` names this content.
/// RFC 9110, 13.1.
pub(crate) fn matches_etag(header: &str, digest: &Digest) -> bool {
    header.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*"
            || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(digest.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_match_as_a_list() {
        let digest = Digest::sha256(b"");
        for header in [etag(&digest), format!("\"x\", W/\"{digest}\""), "*".into()] {
            assert!(matches_etag(&header, &digest), "{header}");
        }
        for header in ["", "\"x\"", digest.as_str(), "\"", "W/"] {
            assert!(!matches_etag(header, &digest), "{header}");
        }
    }
}
