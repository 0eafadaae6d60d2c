//! Why a request was refused, as the client is told. distribution-spec, "Error Codes".

use conex_spec::{Error, Kind};
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::reply::Body;

/// The most faults that one answer lists.
const MAX_FAULTS: usize = 100;

/// The codes of the specification, and one of our own for the server's own trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    Toomanyrequests,
    Unknown,
}

/// A refused request. Wide, so it travels in a box.
#[derive(Debug)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    faults: Vec<Fault>,
    headers: HeaderMap,
    /// For the operator only: it may name paths of this machine.
    cause: Option<Error>,
}

#[derive(Debug, Serialize)]
struct Fault {
    code: Code,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<serde_json::Value>,
}

impl Code {
    /// A failure with the usual status of this code.
    pub(crate) fn says(self, message: impl Into<String>) -> Failure {
        Failure::new(self.status(), self, message.into())
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::Toomanyrequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl Failure {
    fn new(status: StatusCode, code: Code, message: String) -> Self {
        let faults = vec![Fault { code, message, detail: None }];
        Self(Box::new(Parts { status, faults, headers: HeaderMap::new(), cause: None }))
    }

    /// A fault of what the client sent, told as it is.
    pub(crate) fn client(code: Code, err: &Error) -> Self {
        code.says(err.to_string())
    }

    /// A method that this path does not have. RFC 9110, 15.5.6.
    pub(crate) fn method(allowed: &'static str) -> Self {
        Code::Unsupported
            .says(format!("this path has only the methods {allowed}"))
            .header(ALLOW, HeaderValue::from_static(allowed))
    }

    #[must_use]
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    #[must_use]
    pub(crate) fn detail(mut self, detail: serde_json::Value) -> Self {
        if let Some(fault) = self.0.faults.last_mut() {
            fault.detail = Some(detail);
        }
        self
    }

    /// Both failures in one answer.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        let room = MAX_FAULTS.saturating_sub(self.0.faults.len());
        self.0.faults.extend(other.0.faults.into_iter().take(room));
        self
    }

    /// Whether it is the server's own trouble, and not what a client did wrong.
    pub(crate) fn is_own(&self) -> bool {
        self.0.cause.is_some()
    }

    /// What the operator should know of it.
    pub(crate) fn take_cause(&mut self) -> Option<String> {
        self.0.cause.take().map(|cause| cause.to_string())
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        #[derive(Serialize)]
        struct Answer {
            errors: Vec<Fault>,
        }
        let Parts { status, faults, headers, .. } = *self.0;
        let json = serde_json::to_vec(&Answer { errors: faults }).unwrap_or_default();
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = wait(status) {
            headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static(seconds));
        }
        response
    }
}

/// When it is worth while to come again. RFC 9110, 10.2.3.
fn wait(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some("1"),
        // Somebody has to make room first.
        StatusCode::INSUFFICIENT_STORAGE => Some("30"),
        _ => None,
    }
}

/// The server's own trouble. What a client did wrong is told by [`Failure::client`].
impl From<Error> for Failure {
    fn from(err: Error) -> Self {
        let (status, code, message) = match err.kind() {
            // RFC 4918, 11.5. Clients print the message beside DENIED.
            Kind::NoSpace => (
                StatusCode::INSUFFICIENT_STORAGE,
                Code::Denied,
                "the registry's disk is full; try again when its operator has made space",
            ),
            Kind::Network => (
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unknown,
                "the registry's storage does not answer; try again later",
            ),
            Kind::Unsupported => {
                (StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, "this registry is only read")
            }
            Kind::Conflict => (
                StatusCode::CONFLICT,
                Code::BlobUploadInvalid,
                "another request changes the same thing",
            ),
            _ if is_exhausted(&err) => (
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Toomanyrequests,
                "the registry is out of files, threads or memory; try again later",
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::Unknown,
                "the registry's storage failed; its log says more",
            ),
        };
        let mut failure = Self::new(status, code, message.to_owned());
        failure.0.cause = Some(err);
        failure
    }
}

fn is_exhausted(err: &Error) -> bool {
    use rustix::io::Errno;
    let mut cause = std::error::Error::source(err);
    while let Some(err) = cause {
        let code = err.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
        if code.is_some_and(|code| short.contains(&code)) {
            return true;
        }
        cause = err.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::Path;

    #[test]
    fn codes_are_spelled_as_the_specification_spells_them() {
        let spelled = |code: Code| serde_json::to_string(&code).unwrap();
        assert_eq!(spelled(Code::ManifestBlobUnknown), "\"MANIFEST_BLOB_UNKNOWN\"");
        assert_eq!(spelled(Code::Toomanyrequests), "\"TOOMANYREQUESTS\"");
    }

    /// "A 429 Too Many Requests response SHOULD include a Retry-After header".
    #[test]
    fn who_should_come_again_is_told_when() {
        for (status, told) in [(429, true), (503, true), (404, false), (507, true)] {
            let status = StatusCode::from_u16(status).unwrap();
            let response = Code::Toomanyrequests.says("later").status(status).into_response();
            assert_eq!(response.headers().contains_key(RETRY_AFTER), told, "{status}");
        }
    }

    #[test]
    fn the_servers_own_trouble_names_no_path() {
        let status = |err: io::Error| {
            let err = Error::io("cannot write", Path::new("/secret"), err);
            let mut failure = Failure::from(err);
            assert!(failure.take_cause().unwrap().contains("/secret"));
            assert!(!format!("{failure:?}").contains("/secret"));
            failure.0.status.as_u16()
        };
        assert_eq!(status(io::ErrorKind::StorageFull.into()), 507);
        assert_eq!(status(rustix::io::Errno::MFILE.into()), 503);
        assert_eq!(status(rustix::io::Errno::IO.into()), 500);
    }
}
