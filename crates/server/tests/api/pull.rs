//! distribution-spec, "Pull".

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use common::{Registry, code, header, noise};
use conex_spec::{Algorithm, MediaType};
use serde_json::json;

#[tokio::test]
async fn the_base_tells_that_it_is_a_registry() {
    let registry = Registry::start().await;
    for path in ["/v2/", "/v2"] {
        let answer = registry.send("GET", path).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "docker-distribution-api-version"), "registry/2.0");
        assert_eq!(answer.text().await.unwrap(), "{}");
    }
    assert_eq!(registry.status("POST", "/v2/").await, 405);
}

#[tokio::test]
async fn blobs_are_served_whole() {
    let registry = Registry::start().await;
    for length in [0, 1, 256 << 10, (256 << 10) + 1, 3_000_000] {
        let bytes = noise(length, 1);
        let blob = registry.push_blob("a/b", &bytes).await;
        let path = format!("/v2/a/b/blobs/{}", blob.digest);
        for method in ["GET", "HEAD"] {
            let answer = registry.send(method, &path).await;
            assert_eq!(answer.status(), 200, "{method} {length}");
            assert_eq!(header(&answer, "content-length"), length.to_string(), "{method} {length}");
            assert_eq!(header(&answer, "docker-content-digest"), blob.digest.as_str());
            assert_eq!(header(&answer, "accept-ranges"), "bytes");
            let body = answer.bytes().await.unwrap();
            assert!(body == if method == "GET" { &bytes[..] } else { b"" });
        }
    }
}

#[tokio::test]
async fn blobs_are_served_in_ranges() {
    let registry = Registry::start().await;
    let bytes = noise(1_000_000, 2);
    let blob = registry.push_blob("a", &bytes).await;
    let path = format!("/v2/a/blobs/{}", blob.digest);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=999999-", 999_999, 1_000_000),
        ("bytes=-5", 999_995, 1_000_000),
        ("bytes=100-9999999", 100, 1_000_000),
        ("bytes=5-700004", 5, 700_005),
    ] {
        let answer = registry.request("GET", &path).header("range", range).send().await.unwrap();
        assert_eq!(answer.status(), 206, "{range}");
        let expected = format!("bytes {start}-{}/1000000", end - 1);
        assert_eq!(header(&answer, "content-range"), expected, "{range}");
        assert_eq!(header(&answer, "content-length"), (end - start).to_string());
        assert!(answer.bytes().await.unwrap() == bytes[start..end], "{range}");
    }
    for range in ["bytes=0-1,5-6", "lines=1-2", "bytes=x"] {
        let answer = registry.request("GET", &path).header("range", range).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{range}");
        assert_eq!(answer.bytes().await.unwrap().len(), bytes.len());
    }
    for range in ["bytes=1000000-", "bytes=-0", "bytes=2000000-2000001", "bytes=9-1"] {
        let answer = registry.request("GET", &path).header("range", range).send().await.unwrap();
        assert_eq!(answer.status(), 416, "{range}");
        assert_eq!(header(&answer, "content-range"), "bytes */1000000");
    }
    let other =
        registry.request("GET", &path).header("range", "bytes=1-2").header("if-range", "\"x\"");
    assert_eq!(other.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let registry = Registry::start().await;
    let image = registry.push_image("a", "t", b"layer").await;
    let blob = common::sha256(b"layer");
    for (path, digest) in
        [("/v2/a/manifests/t".to_owned(), &image.digest), (format!("/v2/a/blobs/{blob}"), &blob)]
    {
        let tag = header(&registry.send("GET", &path).await, "etag");
        assert_eq!(tag, format!("\"{digest}\""));
        for method in ["GET", "HEAD"] {
            let again = registry.request(method, &path).header("if-none-match", &tag);
            assert_eq!(again.send().await.unwrap().status(), 304, "{method} {path}");
            let other = registry.request(method, &path).header("if-none-match", "\"x\"");
            assert_eq!(other.send().await.unwrap().status(), 200, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn manifests_are_served_as_they_came() {
    let registry = Registry::start().await;
    let mut bytes = registry.image("a", b"layer").await;
    // Rule R12 and case 76: every byte counts, white space too.
    bytes.splice(0..0, *b" \n");
    bytes.extend_from_slice(b"\n\t ");
    let media_type = MediaType::MANIFEST.to_string();
    let answer = registry.put("/v2/a/manifests/t", &media_type, bytes.clone()).await;
    assert_eq!(answer.status(), 201);
    let digest = common::sha256(&bytes);
    assert_eq!(header(&answer, "location"), format!("/v2/a/manifests/{digest}"));
    assert_eq!(header(&answer, "docker-content-digest"), digest.as_str());
    for name in ["t", digest.as_str()] {
        for method in ["GET", "HEAD", "GET"] {
            let answer = registry.send(method, &format!("/v2/a/manifests/{name}")).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(header(&answer, "content-type"), media_type);
            assert_eq!(header(&answer, "docker-content-digest"), digest.as_str());
            assert_eq!(header(&answer, "content-length"), bytes.len().to_string());
            let body = answer.bytes().await.unwrap();
            assert!(body == if method == "GET" { &bytes[..] } else { b"" });
        }
    }
}

#[tokio::test]
async fn every_registered_algorithm_is_served() {
    let registry = Registry::start().await;
    for algorithm in Algorithm::ALL {
        let bytes = noise(1000, 3);
        let digest = algorithm.digest(&bytes);
        let path = format!("/v2/a/blobs/uploads/?digest={digest}");
        let answer = registry.request("POST", &path).body(bytes.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let answer = registry.send("GET", &format!("/v2/a/blobs/{digest}")).await;
        assert_eq!(answer.bytes().await.unwrap(), bytes);

        let image = registry.image("a", b"layer").await;
        let digest = algorithm.digest(&image);
        let path = format!("/v2/a/manifests/{digest}");
        assert_eq!(registry.put(&path, MediaType::MANIFEST.as_str(), image).await.status(), 201);
        let answer = registry.send("GET", &path).await;
        assert_eq!(header(&answer, "docker-content-digest"), digest.as_str());
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let registry = Registry::start().await;
    registry.push_image("a", "t", b"layer").await;
    let digest = common::sha256(b"nothing");
    let hex = digest.encoded();
    for (path, status, expected) in [
        (format!("/v2/a/blobs/{digest}"), 404, "BLOB_UNKNOWN"),
        (format!("/v2/b/blobs/{}", common::sha256(b"layer")), 404, "BLOB_UNKNOWN"),
        (format!("/v2/a/blobs/md5:{hex}"), 404, "BLOB_UNKNOWN"),
        (format!("/v2/a/manifests/{digest}"), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/a/manifests/x+y:{hex}"), 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/none".into(), 404, "MANIFEST_UNKNOWN"),
        ("/v2/none/manifests/t".into(), 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/.INVALID".into(), 404, "MANIFEST_UNKNOWN"),
        ("/v2/none/tags/list".into(), 404, "NAME_UNKNOWN"),
        ("/v2/a/blobs/sha256:abc".into(), 400, "DIGEST_INVALID"),
        (format!("/v2/a/blobs/SHA256:{hex}"), 400, "DIGEST_INVALID"),
        (format!("/v2/a/blobs/sha256:{}", hex.to_uppercase()), 400, "DIGEST_INVALID"),
        (format!("/v2/a/blobs/sha256:{hex}0"), 400, "DIGEST_INVALID"),
        (format!("/v2/A/blobs/{digest}"), 400, "NAME_INVALID"),
        ("/nothing".into(), 404, "NAME_UNKNOWN"),
    ] {
        let answer = registry.send("GET", &path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(code(answer).await, expected, "{path}");
        let head = registry.send("HEAD", &path).await;
        assert_eq!(head.status(), status, "HEAD {path}");
        assert_eq!(head.bytes().await.unwrap(), "");
    }
}

/// A blob that was changed where it lies is not served, and can be pushed again.
#[tokio::test]
async fn damaged_blobs_are_not_served() {
    let registry = Registry::start().await;
    let bytes = noise(700_000, 4);
    let blob = registry.push_blob("a", &bytes).await;
    let path = registry.root().join("blobs/sha256").join(blob.digest.encoded());
    for damage in [&bytes[1..], &bytes.iter().map(|b| b ^ 1).collect::<Vec<_>>()[..]] {
        std::fs::write(&path, damage).unwrap();
        for method in ["GET", "HEAD"] {
            assert_eq!(registry.status(method, &format!("/v2/a/blobs/{}", blob.digest)).await, 404);
        }
        registry.push_blob("a", &bytes).await;
        let answer = registry.send("GET", &format!("/v2/a/blobs/{}", blob.digest)).await;
        assert!(answer.bytes().await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn the_log_counts_every_byte() {
    let registry = Registry::start().await;
    let blob = registry.push_blob("a", &noise(300_000, 5)).await;
    let path = format!("/v2/a/blobs/{}", blob.digest);
    registry.send("GET", &path).await.bytes().await.unwrap();
    registry.send("HEAD", &path).await;
    registry.send("GET", "/v2/a/manifests/none?x=1").await.bytes().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let log = registry.log.0.lock().unwrap();
    let told: Vec<_> = log
        .iter()
        .map(|a| json!([a.method.as_str(), a.target, a.status, a.received, a.sent]))
        .collect();
    let upload = format!("/v2/a/blobs/uploads/?digest={}", blob.digest);
    assert_eq!(told[0], json!(["POST", upload, 201, 300_000, 0]));
    assert_eq!(told[1], json!(["GET", path, 200, 0, 300_000]));
    assert_eq!(told[2], json!(["HEAD", path, 200, 0, 0]));
    assert_eq!(told[3][2], 404);
    assert!(told[3][4].as_u64().unwrap() > 0 && log.iter().all(|a| a.fault.is_none()));
}
