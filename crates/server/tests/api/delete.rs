//! distribution-spec, "Content Management".

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use common::{Registry, code, header, manifest};
use conex_spec::{Descriptor, MediaType};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn a_deleted_tag_leaves_its_manifest() {
    let registry = Registry::start().await;
    let image = registry.push_image("a", "t", b"layer").await;
    assert_eq!(registry.status("GET", "/v2/a/manifests/t").await, 200);
    assert_eq!(registry.status("DELETE", "/v2/a/manifests/t").await, 202);
    assert_eq!(registry.status("GET", "/v2/a/manifests/t").await, 404);
    assert_eq!(registry.status("DELETE", "/v2/a/manifests/t").await, 404);
    assert_eq!(registry.status("GET", &format!("/v2/a/manifests/{}", image.digest)).await, 200);
    assert_eq!(registry.json("/v2/a/tags/list").await["tags"], json!([]));
}

/// Rule R2 and L4: not from a cache, not after a restart, not when the bytes come again.
#[tokio::test]
async fn a_deleted_manifest_takes_its_tags_and_stays_away() {
    let registry = Registry::start().await;
    let image = registry.push_image("a", "t", b"layer").await;
    registry.push_image("a", "u", b"layer").await;
    registry.push_image("a", "other", b"other").await;
    registry.push_image("b", "t", b"layer").await;
    let path = format!("/v2/a/manifests/{}", image.digest);
    for name in ["t", "u", image.digest.as_str()] {
        assert_eq!(registry.status("GET", &format!("/v2/a/manifests/{name}")).await, 200);
    }
    assert_eq!(registry.status("DELETE", &path).await, 202);
    assert_eq!(code(registry.send("DELETE", &path).await).await, "MANIFEST_UNKNOWN");
    let registry = registry.restart().await;
    for name in ["t", "u", image.digest.as_str()] {
        assert_eq!(registry.status("GET", &format!("/v2/a/manifests/{name}")).await, 404, "{name}");
        assert_eq!(
            registry.status("GET", &format!("/v2/b/manifests/{name}")).await,
            if name == "u" { 404 } else { 200 }
        );
    }
    assert_eq!(registry.json("/v2/a/tags/list").await["tags"], json!(["other"]));
    let bytes = registry.image("a", b"layer").await;
    assert_eq!(registry.put(&path, MANIFEST, bytes).await.status(), 201);
    assert_eq!(registry.status("GET", &path).await, 200);
    assert_eq!(registry.status("GET", "/v2/a/manifests/t").await, 404);
}

#[tokio::test]
async fn a_deleted_referrer_is_not_listed() {
    let registry = Registry::start().await;
    let config = registry.push_blob("a", b"{}").await;
    let subject = Descriptor::of(MediaType::MANIFEST, b"subject");
    let bodies = ["1", "2"].map(|i| manifest(&config, &[], json!({ "subject": subject, "x": i })));
    for body in &bodies {
        let path = format!("/v2/a/manifests/{}", common::sha256(body));
        assert_eq!(registry.put(&path, MANIFEST, body.clone()).await.status(), 201);
    }
    let gone = format!("/v2/a/manifests/{}", common::sha256(&bodies[0]));
    assert_eq!(registry.status("DELETE", &gone).await, 202);
    let list = registry.json(&format!("/v2/a/referrers/{}", subject.digest)).await;
    let left = list["manifests"].as_array().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["digest"], common::sha256(&bodies[1]).as_str());
}

#[tokio::test]
async fn a_deleted_blob_is_gone_from_its_repository_alone() {
    let registry = Registry::start().await;
    let blob = registry.push_blob("a", b"shared").await;
    registry.push_blob("b", b"shared").await;
    let path = |name: &str| format!("/v2/{name}/blobs/{}", blob.digest);
    assert_eq!(registry.status("DELETE", &path("a")).await, 202);
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!(registry.status(method, &path("a")).await, 404);
    }
    assert_eq!(registry.status("GET", &path("b")).await, 200);
    let mount = format!("/v2/c/blobs/uploads/?mount={}&from=a", blob.digest);
    assert_eq!(registry.status("POST", &mount).await, 202);
    registry.push_blob("a", b"shared").await;
    assert_eq!(registry.status("GET", &path("a")).await, 200);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_deleted() {
    let registry = Registry::start().await;
    registry.push_blob("a", b"x").await;
    let digest = common::sha256(b"none");
    for (path, expected) in [
        (format!("/v2/a/blobs/{digest}"), "BLOB_UNKNOWN"),
        ("/v2/a/blobs/x:y".into(), "BLOB_UNKNOWN"),
        (format!("/v2/none/blobs/{digest}"), "BLOB_UNKNOWN"),
        (format!("/v2/a/manifests/{digest}"), "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/x:y".into(), "MANIFEST_UNKNOWN"),
        ("/v2/none/manifests/t".into(), "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/-x".into(), "MANIFEST_UNKNOWN"),
    ] {
        let answer = registry.send("DELETE", &path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(code(answer).await, expected);
    }
}

/// Rule R5: one gate under all handlers; cancelling an upload is no deletion.
#[tokio::test]
async fn deletes_can_be_switched_off() {
    let registry = Registry::with(|config| config.deletes = false).await;
    let image = registry.push_image("a", "t", b"layer").await;
    for path in [
        "/v2/a/manifests/t".to_owned(),
        "/v2/a/manifests/none".into(),
        format!("/v2/a/manifests/{}", image.digest),
        format!("/v2/a%2Fb/manifests/{}", image.digest),
        format!("/v2/a/blobs/{}", common::sha256(b"layer")),
    ] {
        let answer = registry.send("DELETE", &path).await;
        assert_eq!(answer.status(), 405, "{path}");
        assert_eq!(header(&answer, "allow"), "GET, HEAD, PUT");
    }
    assert_eq!(registry.status("GET", "/v2/a/manifests/t").await, 200);
    let upload = registry.open("a").await;
    assert_eq!(registry.status("DELETE", &upload).await, 204);
}
