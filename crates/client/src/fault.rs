//! What a registry's error means. distribution-spec, "Error Codes".

use conex_spec::{Error, Kind};
use http::StatusCode;
use serde::Deserialize;

use crate::answer::Answer;
use crate::credentials::Shown;
use crate::origin::shown;
use crate::paths;

/// The longest body of an error that is read, in bytes.
const MAX_BODY: usize = 1 << 20;
/// How many errors of one answer are shown, and how many characters of each.
const MAX_SHOWN: (usize, usize) = (5, 300);

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Item>,
    /// RFC 6749, 5.2: what a token server says.
    #[serde(default)]
    error: serde_json::Value,
    #[serde(default)]
    error_description: serde_json::Value,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: serde_json::Value,
    #[serde(default)]
    message: serde_json::Value,
}

/// The fault of an answer that is none of those expected; `what` says what failed.
pub(crate) async fn fault(answer: Answer, what: impl std::fmt::Display) -> Error {
    let (status, place) = (answer.status(), shown(&answer.url));
    let host = escaped(&paths::registry_at(&answer.url));
    let (sent, elsewhere) = (answer.sent.clone().flatten(), answer.elsewhere);
    let body = answer.read(MAX_BODY, "error").await.unwrap_or_default();
    let told = explain(&body);
    let told = if told.is_empty() { String::new() } else { format!(": {told}") };
    let kind = if lacks_content(&body) { Kind::NotFound } else { kind(status) };
    let err = Error::new(kind, format!("{what}: {place} answers {status}{told}"));
    match status.as_u16() {
        // No login goes along when a redirect leaves the registry.
        401 | 403 if elsewhere => err.found("no credentials").hint(format!(
            "the registry sends whoever asks to {host}, which refuses; no login helps there"
        )),
        401 | 403 => match sent {
            Some(Shown { by, advice }) => {
                err.found(by).hint(format!("the user may not do this, or not here; {advice}"))
            }
            None => err.found("no credentials").hint(format!("`conex login {host}` keeps a login")),
        },
        404 => err.hint("check the name of the registry, the repository and the tag or digest"),
        429 => err.hint("the registry limits how often it is asked; a login may raise the limit"),
        _ => err,
    }
}

/// Whether the registry says that it lacks what a manifest lists, which comes with several statuses.
fn lacks_content(body: &[u8]) -> bool {
    serde_json::from_slice::<Body>(body).is_ok_and(|body| {
        body.errors.iter().any(|item| item.code.as_str() == Some("MANIFEST_BLOB_UNKNOWN"))
    })
}

/// What an answer's status means for the one who asked.
pub(crate) fn kind(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 => Kind::Unauthorized,
        403 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        405 | 501 => Kind::Unsupported,
        408 | 429 => Kind::Network,
        409 | 412 => Kind::Conflict,
        413 => Kind::Limit,
        507 => Kind::NoSpace,
        500.. => Kind::Network,
        _ => Kind::Invalid,
    }
}

/// Codes and messages of the body on one line, escaped: they come from a stranger.
fn explain(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Body>(body) else {
        return String::new();
    };
    let mut told: Vec<String> = body
        .errors
        .iter()
        .take(MAX_SHOWN.0)
        .map(|item| joined(&item.code, &item.message))
        .collect();
    told.push(joined(&body.error, &body.error_description));
    told.retain(|text| !text.is_empty());
    told.join("; ")
}

fn joined(code: &serde_json::Value, message: &serde_json::Value) -> String {
    let parts = [code, message].map(|value| escaped(value.as_str().unwrap_or_default()));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// A stranger's text, fit for a terminal.
pub(crate) fn escaped(text: &str) -> String {
    let clean = |c: char| {
        if conex_spec::shown::is_obeyed(c) { c.escape_unicode().to_string() } else { c.to_string() }
    };
    text.trim().chars().take(MAX_SHOWN.1).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told() {
        for (body, told) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"a":1}}]}"#,
                "MANIFEST_UNKNOWN: manifest unknown",
            ),
            (r#"{"errors":[{"code":"A"},{"message":"b"},{}]}"#, "A; b"),
            (r#"{"errors":[{"code":1,"message":null}]}"#, ""),
            (
                r#"{"error":"invalid_grant","error_description":"expired"}"#,
                "invalid_grant: expired",
            ),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(explain(body.as_bytes()), told, "{body}");
        }
    }

    #[test]
    fn a_manifest_without_its_blobs_is_told_from_a_bad_one() {
        let body = |code: &str| format!(r#"{{"errors":[{{"code":"A"}},{{"code":"{code}"}}]}}"#);
        assert!(lacks_content(body("MANIFEST_BLOB_UNKNOWN").as_bytes()));
        assert!(!lacks_content(body("MANIFEST_INVALID").as_bytes()));
        assert!(!lacks_content(b"<html>"));
    }

    #[test]
    fn errors_cannot_write_on_the_terminal() {
        let body = r#"{"errors":[{"code":"A\u001b[2J","message":"\r\nx\u202e"}]}"#;
        assert_eq!(explain(body.as_bytes()), "A\\u{1b}[2J: x\\u{202e}");
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(100_000));
        assert_eq!(explain(long.as_bytes()).len(), MAX_SHOWN.1);
    }

    #[test]
    fn kinds() {
        for (status, expected) in [
            (401, Kind::Unauthorized),
            (403, Kind::Denied),
            (404, Kind::NotFound),
            (405, Kind::Unsupported),
            (413, Kind::Limit),
            (429, Kind::Network),
            (503, Kind::Network),
            (507, Kind::NoSpace),
            (400, Kind::Invalid),
            (418, Kind::Invalid),
        ] {
            assert_eq!(kind(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }
}
