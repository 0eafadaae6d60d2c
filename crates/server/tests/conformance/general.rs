//! "API": what all endpoints have in common.

use std::collections::BTreeSet;

use crate::context::{Context, MANIFEST, answer, sha256};

/// The codes of "Error Codes".
const CODES: &[&str] = &[
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

pub async fn the_base_is_200(c: Context) {
    for path in ["/v2/", "/v2"] {
        for method in ["GET", "HEAD"] {
            let got = c.send(method, path).await.expect(200);
            assert_eq!(got.header("docker-distribution-api-version"), "registry/2.0");
        }
    }
}

pub async fn errors_have_their_form(c: Context) {
    c.push_image("t", b"layer").await;
    let digest = sha256(b"none");
    let mut seen = BTreeSet::new();
    for (method, path, body) in [
        ("GET", "manifests/none".to_owned(), ""),
        ("GET", format!("blobs/{digest}"), ""),
        ("GET", "blobs/x".into(), ""),
        ("GET", "/v2/A/tags/list".into(), ""),
        ("GET", "/v2/x/y/z".into(), ""),
        ("GET", "/nowhere".into(), ""),
        ("GET", "tags/list?n=x".into(), ""),
        ("PUT", "manifests/t".into(), "{"),
        ("PUT", format!("manifests/{digest}"), "{}"),
        ("POST", format!("blobs/uploads/?digest={digest}"), "x"),
        ("PATCH", "blobs/uploads/00000000-0000-4000-8000-000000000000".into(), "x"),
        ("DELETE", format!("blobs/{digest}"), ""),
        ("POST", "tags/list".into(), ""),
    ] {
        let request = c.request(method, &path).header("content-type", MANIFEST).body(body);
        let got = answer(request).await;
        assert!((400..500).contains(&got.status), "{method} {path}: {}", got.status);
        assert_eq!(got.header("content-type"), "application/json");
        let json = got.json();
        let errors = json["errors"].as_array().unwrap();
        assert!(!errors.is_empty() && json.as_object().unwrap().len() == 1);
        for error in errors {
            let code = error["code"].as_str().unwrap();
            assert!(CODES.contains(&code), "{code}");
            assert!(!error["message"].as_str().unwrap().is_empty());
            let known = |name: &String| ["code", "message", "detail"].contains(&name.as_str());
            assert!(error.as_object().unwrap().keys().all(known));
            seen.insert(code.to_owned());
        }
    }
    assert!(seen.len() >= 7, "{seen:?}");
}

/// RFC 9110, 15.5.6.
pub async fn methods_that_are_not_there_are_405(c: Context) {
    let upload = c.open().await;
    let digest = sha256(b"x");
    for (method, path) in [
        ("POST", "/v2/".to_owned()),
        ("DELETE", "/v2/_catalog".into()),
        ("PUT", "tags/list".into()),
        ("PATCH", "manifests/t".into()),
        ("OPTIONS", "manifests/t".into()),
        ("PUT", format!("blobs/{digest}")),
        ("GET", "blobs/uploads/".into()),
        ("POST", upload),
        ("DELETE", format!("referrers/{digest}")),
        ("TRACE", "/v2/".into()),
        ("ODD", "/v2/".into()),
    ] {
        let got = c.send(method, &path).await.expect(405);
        assert_eq!(got.code(), "UNSUPPORTED");
        assert!(!got.header("allow").is_empty() && !got.header("allow").contains(method));
    }
}

pub async fn warnings_have_their_form(c: Context) {
    assert!(!c.get("/v2/").await.has("warning"));
    let texts = ["This registry moves on Monday.", r#"Ask "ops" \ help."#];
    let c = c.with(|config| config.warnings = texts.map(str::to_owned).into()).await;
    for path in ["/v2/", "manifests/none"] {
        let got = c.get(path).await;
        let told: Vec<_> = got.headers.get_all("warning").iter().collect();
        assert_eq!(told.len(), 2);
        assert!(told.iter().map(|value| value.len()).sum::<usize>() <= 4096);
        assert_eq!(told[0], "299 - \"This registry moves on Monday.\"");
        assert_eq!(told[1], r#"299 - "Ask \"ops\" \\ help.""#);
    }
}

/// "A registry MAY choose to ignore the `ns` query parameter."
pub async fn the_ns_parameter_is_ignored(c: Context) {
    let (_, bytes) = c.push_image("t", b"layer").await;
    let got = c.get("manifests/t?ns=docker.io").await.expect(200);
    assert!(got.body == bytes && !got.has("oci-namespace"));
    let blob = format!("blobs/{}?ns=registry.example:5000", sha256(b"layer"));
    assert_eq!(c.get(&blob).await.expect(200).body, "layer");
}

/// RFC 9112, 9.3: a refusal does not take the requests that follow it with it.
pub async fn a_refused_request_leaves_the_connection_usable(c: Context) {
    for _ in 0..3 {
        let path = format!("blobs/uploads/?digest={}", sha256(b"other"));
        answer(c.request("POST", &path).body(vec![0; 100_000])).await.expect(400);
        answer(c.request("PUT", "manifests/x").body(vec![b'['; 100_000])).await.expect(400);
        c.get("/v2/").await.expect(200);
    }
}
