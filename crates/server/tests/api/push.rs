//! distribution-spec, "Pushing blobs".

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use common::{Registry, code, files, header, noise};
use conex_spec::Algorithm;
use reqwest::Response;

async fn patch(registry: &Registry, path: &str, range: Option<&str>, body: &[u8]) -> Response {
    let mut request = registry.request("PATCH", path).body(body.to_vec());
    if let Some(range) = range {
        request = request.header("content-range", range);
    }
    request.send().await.unwrap()
}

async fn finish(registry: &Registry, path: &str, bytes: &[u8], body: &[u8]) -> Response {
    let path = format!("{path}?digest={}", common::sha256(bytes));
    registry.request("PUT", &path).body(body.to_vec()).send().await.unwrap()
}

async fn assert_pullable(registry: &Registry, repository: &str, bytes: &[u8]) {
    let path = format!("/v2/{repository}/blobs/{}", common::sha256(bytes));
    assert!(registry.send("GET", &path).await.bytes().await.unwrap() == bytes);
    let left = files(&registry.root().join("repositories").join(repository).join("_uploads"));
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn post_then_put() {
    let registry = Registry::start().await;
    for length in [0, 1, 2_500_000] {
        let bytes = noise(length, 1);
        let answer = registry.send("POST", "/v2/a/b/blobs/uploads/").await;
        assert_eq!(answer.status(), 202);
        let (path, id) = (header(&answer, "location"), header(&answer, "docker-upload-uuid"));
        assert_eq!(path, format!("/v2/a/b/blobs/uploads/{id}"));
        assert_eq!(header(&answer, "range"), "0-0");
        let answer = finish(&registry, &path, &bytes, &bytes).await;
        assert_eq!(answer.status(), 201);
        let digest = common::sha256(&bytes);
        assert_eq!(header(&answer, "location"), format!("/v2/a/b/blobs/{digest}"));
        assert_eq!(header(&answer, "docker-content-digest"), digest.as_str());
        assert_pullable(&registry, "a/b", &bytes).await;
        assert_eq!(registry.status("GET", &path).await, 404);
    }
}

#[tokio::test]
async fn chunks_with_ranges() {
    let registry = Registry::start().await;
    let bytes = noise(3_000_000, 2);
    let path = registry.open("a").await;
    let mut at = 0;
    for end in [1, 1_000_000, 2_200_000] {
        let range = format!("{at}-{}", end - 1);
        let answer = patch(&registry, &path, Some(&range), &bytes[at..end]).await;
        assert_eq!(answer.status(), 202);
        assert_eq!(header(&answer, "range"), format!("0-{}", end - 1));
        assert_eq!(header(&answer, "location"), path);
        let status = registry.send("GET", &path).await;
        assert_eq!(status.status(), 204);
        assert_eq!(header(&status, "range"), format!("0-{}", end - 1));
        assert_eq!(header(&status, "location"), path);
        at = end;
    }
    let digest = common::sha256(&bytes);
    let last = registry
        .request("PUT", &format!("{path}?digest={digest}"))
        .header("content-range", "2200000-2999999")
        .body(bytes[at..].to_vec());
    assert_eq!(last.send().await.unwrap().status(), 201);
    assert_pullable(&registry, "a", &bytes).await;
}

/// As Docker and buildah send it: one streamed PATCH without a length, then an empty PUT.
#[tokio::test]
async fn a_streamed_patch_without_a_range() {
    let registry = Registry::start().await;
    let bytes = noise(2_000_000, 3);
    let path = registry.open("a").await;
    let (address, chunk) = (registry.address, bytes.clone());
    let url = path.clone();
    let status = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "PATCH {url} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n").unwrap();
        for part in chunk.chunks(33_333) {
            write!(stream, "{:x}\r\n", part.len()).unwrap();
            stream.write_all(part).unwrap();
            stream.write_all(b"\r\n").unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = status.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 202") && answer.contains("range: 0-1999999\r\n"),
        "{answer}"
    );
    assert_eq!(finish(&registry, &path, &bytes, b"").await.status(), 201);
    assert_pullable(&registry, "a", &bytes).await;
}

#[tokio::test]
async fn one_post() {
    let registry = Registry::start().await;
    let bytes = noise(1_500_000, 4);
    registry.push_blob("a", &bytes).await;
    assert_pullable(&registry, "a", &bytes).await;
    for (digest, expected) in [
        (common::sha256(b"other").to_string(), "DIGEST_INVALID"),
        ("sha256:abc".into(), "DIGEST_INVALID"),
        (format!("md5:{}", "0".repeat(32)), "DIGEST_INVALID"),
        ("sha256:..%2F..%2Fx".into(), "DIGEST_INVALID"),
        (String::new(), "DIGEST_INVALID"),
    ] {
        let path = format!("/v2/a/blobs/uploads/?digest={digest}");
        let answer = registry.request("POST", &path).body(noise(100, 9)).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{digest}");
        assert_eq!(code(answer).await, expected, "{digest}");
    }
    assert_pullable(&registry, "a", &bytes).await;
}

/// Scenario B9.
#[tokio::test]
async fn chunks_out_of_order_change_nothing() {
    let registry = Registry::start().await;
    let bytes = noise(1000, 5);
    let path = registry.open("a").await;
    assert_eq!(patch(&registry, &path, Some("0-499"), &bytes[..500]).await.status(), 202);
    for range in
        ["0-499", "499-998", "501-1000", "600-699", "18446744073709551614-18446744073709551614"]
    {
        let answer = patch(&registry, &path, Some(range), &noise(500, 6)).await;
        assert_eq!(answer.status(), 416, "{range}");
        assert_eq!(header(&answer, "range"), "0-499");
        assert_eq!(header(&answer, "location"), path);
    }
    for range in ["500-600", "bytes 500-999/*", "500", "-500", "999-500", "a-b", "500-"] {
        let answer = patch(&registry, &path, Some(range), &noise(500, 6)).await;
        assert_eq!(answer.status(), 400, "{range}");
    }
    let digest = common::sha256(&bytes);
    let last = registry
        .request("PUT", &format!("{path}?digest={digest}"))
        .header("content-range", "400-899")
        .body(bytes[500..].to_vec());
    assert_eq!(last.send().await.unwrap().status(), 416);
    assert_eq!(header(&registry.send("GET", &path).await, "range"), "0-499");
    assert_eq!(patch(&registry, &path, Some("500-999"), &bytes[500..]).await.status(), 202);
    assert_eq!(finish(&registry, &path, &bytes, b"").await.status(), 201);
    assert_pullable(&registry, "a", &bytes).await;
}

/// A body without a length that is longer or shorter than its Content-Range leaves nothing.
#[tokio::test]
async fn bodies_that_are_not_what_their_range_says_are_undone() {
    let registry = Registry::start().await;
    let bytes = noise(3_000_000, 7);
    let path = registry.open("a").await;
    assert_eq!(patch(&registry, &path, None, &bytes[..10]).await.status(), 202);
    for length in [2_000_000, 5] {
        let chunk = reqwest::Body::wrap_stream(futures_stream(noise(length, 8)));
        let request = registry.request("PATCH", &path).header("content-range", "10-1000009");
        assert_eq!(request.body(chunk).send().await.unwrap().status(), 400);
        assert_eq!(header(&registry.send("GET", &path).await, "range"), "0-9");
    }
    assert_eq!(finish(&registry, &path, &bytes, &bytes[10..]).await.status(), 201);
    assert_pullable(&registry, "a", &bytes).await;
}

fn futures_stream(
    bytes: Vec<u8>,
) -> impl futures_util::Stream<Item = std::io::Result<Vec<u8>>> + Send + 'static {
    futures_util::stream::iter(bytes.chunks(100_000).map(|c| Ok(c.to_vec())).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let registry = Registry::start().await;
    let before = files(&registry.root());
    let path = registry.open("a").await;
    assert_eq!(patch(&registry, &path, None, &noise(1000, 9)).await.status(), 202);
    let answer = finish(&registry, &path, b"something else", b"").await;
    assert_eq!(answer.status(), 400);
    assert_eq!(code(answer).await, "DIGEST_INVALID");
    assert_eq!(registry.status("GET", &path).await, 404);
    assert_eq!(files(&registry.root()), before);
    // Without a digest, or with a senseless one, the session goes on.
    let path = registry.open("a").await;
    for query in ["", "?digest=", "?digest=sha256:x", "?digest=x&digest=y", "?digest=md5:00"] {
        assert_eq!(registry.status("PUT", &format!("{path}{query}")).await, 400, "{query}");
    }
    assert_eq!(finish(&registry, &path, b"x", b"x").await.status(), 201);
}

/// Rule D4: the digest that is asked for is the one that is checked.
#[tokio::test]
async fn the_algorithm_can_be_told_at_any_time() {
    let registry = Registry::start().await;
    let bytes = noise(1_200_000, 10);
    for opened in
        ["", "?digest-algorithm=sha256", "?digest-algorithm=sha512", "?digest-algorithm=blake3"]
    {
        for algorithm in Algorithm::ALL {
            let answer = registry.send("POST", &format!("/v2/a/blobs/uploads/{opened}")).await;
            let path = header(&answer, "location");
            assert_eq!(patch(&registry, &path, None, &bytes).await.status(), 202);
            let digest = algorithm.digest(&bytes);
            assert_eq!(registry.status("PUT", &format!("{path}?digest={digest}")).await, 201);
        }
    }
    let wrong = Algorithm::Sha512.digest(b"other");
    let path = registry.open("a").await;
    assert_eq!(registry.status("PUT", &format!("{path}?digest={wrong}")).await, 400);
    let answer = registry.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5").await;
    assert_eq!((answer.status().as_u16(), code(answer).await.as_str()), (400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn an_upload_can_be_cancelled() {
    let registry = Registry::start().await;
    let path = registry.open("a").await;
    assert_eq!(patch(&registry, &path, None, b"abc").await.status(), 202);
    assert_eq!(registry.status("DELETE", &path).await, 204);
    for method in ["GET", "DELETE", "PATCH"] {
        let answer = registry.send(method, &path).await;
        assert_eq!(answer.status(), 404, "{method}");
        assert_eq!(code(answer).await, "BLOB_UPLOAD_UNKNOWN");
    }
    assert_eq!(finish(&registry, &path, b"abc", b"").await.status(), 404);
    assert_eq!(files(&registry.root().join("repositories")), [""; 0]);
}

/// Rule R3.
#[tokio::test]
async fn a_session_belongs_to_its_repository() {
    let registry = Registry::start().await;
    let path = registry.open("a/b").await;
    assert_eq!(patch(&registry, &path, None, b"abc").await.status(), 202);
    registry.push_blob("a", b"other").await;
    for other in [path.replace("/a/b/", "/a/"), path.replace("/a/b/", "/c/")] {
        assert_eq!(registry.status("GET", &other).await, 404);
        assert_eq!(patch(&registry, &other, None, b"x").await.status(), 404);
        assert_eq!(finish(&registry, &other, b"abc", b"").await.status(), 404);
        assert_eq!(registry.status("DELETE", &other).await, 404);
    }
    assert_eq!(header(&registry.send("GET", &path).await, "range"), "0-2");
    assert_eq!(finish(&registry, &path, b"abc", b"").await.status(), 201);
}

#[tokio::test]
async fn mounts() {
    let registry = Registry::start().await;
    let blob = registry.push_blob("from", b"shared").await;
    let mount = |query: &str| format!("/v2/to/x/blobs/uploads/?mount={}{query}", blob.digest);
    // From a source that does not have it, an upload begins.
    for query in ["&from=", "&from=none", "&from=..%2F..%2Fx", "&from=FROM", "&from=to/x"] {
        let answer = registry.send("POST", &mount(query)).await;
        assert_eq!(answer.status(), 202, "{query}");
        assert!(header(&answer, "location").starts_with("/v2/to/x/blobs/uploads/"));
        assert_eq!(registry.status("HEAD", &format!("/v2/to/x/blobs/{}", blob.digest)).await, 404);
    }
    let answer = registry.send("POST", &mount("&from=from")).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(header(&answer, "location"), format!("/v2/to/x/blobs/{}", blob.digest));
    let got = registry.send("GET", &format!("/v2/to/x/blobs/{}", blob.digest)).await;
    assert_eq!(got.bytes().await.unwrap(), "shared");
    let anywhere = format!("/v2/to/y/blobs/uploads/?mount={}", blob.digest);
    assert_eq!(registry.status("POST", &anywhere).await, 201);
    assert_eq!(registry.status("HEAD", &format!("/v2/to/y/blobs/{}", blob.digest)).await, 200);
    let nothing = format!("/v2/to/y/blobs/uploads/?mount={}", conex_spec::Digest::sha256(b"no"));
    assert_eq!(registry.status("POST", &nothing).await, 202);
    let bad = registry.send("POST", "/v2/to/x/blobs/uploads/?mount=sha256:x&from=from").await;
    assert_eq!((bad.status().as_u16(), code(bad).await.as_str()), (400, "DIGEST_INVALID"));
}

/// Two requests on one session: one writes, the other is told so, and nothing is mixed up.
#[tokio::test]
async fn a_session_serves_one_request_at_a_time() {
    use tokio::io::AsyncWriteExt;
    let registry = Registry::start().await;
    let path = registry.open("a").await;
    let mut slow = tokio::net::TcpStream::connect(registry.address).await.unwrap();
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    slow.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let refused = patch(&registry, &path, None, b"xyz").await;
    assert_eq!(refused.status(), 409);
    assert_eq!(code(refused).await, "BLOB_UPLOAD_INVALID");
    slow.write_all(b"def").await.unwrap();
    assert_eq!(finish(&registry, &path, b"abcdef", b"").await.status(), 201);
    assert_pullable(&registry, "a", b"abcdef").await;
}

/// Scenario B8: what came before the connection broke stays, and the client goes on from there.
#[tokio::test]
async fn a_broken_connection_can_be_resumed() {
    use tokio::io::AsyncWriteExt;
    let registry = Registry::start().await;
    let bytes = noise(3_000_000, 11);
    let path = registry.open("a").await;
    let mut broken = tokio::net::TcpStream::connect(registry.address).await.unwrap();
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    broken.write_all(head.as_bytes()).await.unwrap();
    broken.write_all(&bytes[..1_234_567]).await.unwrap();
    drop(broken);
    let status = registry.send("GET", &path).await;
    assert_eq!(status.status(), 204);
    assert_eq!(header(&status, "range"), "0-1234566");
    let rest = patch(&registry, &path, Some("1234567-2999999"), &bytes[1_234_567..]).await;
    assert_eq!(rest.status(), 202);
    assert_eq!(finish(&registry, &path, &bytes, b"").await.status(), 201);
    assert_pullable(&registry, "a", &bytes).await;
}

/// A connection that ends right after its last byte takes its request with it, but not the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_kept_when_nobody_waits_for_the_answer() {
    use tokio::io::AsyncWriteExt;
    let registry = Registry::start().await;
    let bytes = noise(3_000_000, 12);
    for size in [1000_usize, 100_000, 700_000, 1_500_000, 3_000_000].repeat(6) {
        let path = registry.open("a").await;
        let mut gone = tokio::net::TcpStream::connect(registry.address).await.unwrap();
        let head = format!("PATCH {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        gone.write_all(&[head.as_bytes(), &bytes[..size]].concat()).await.unwrap();
        drop(gone);
        let mut range = String::new();
        for _ in 0..100 {
            range = header(&registry.send("GET", &path).await, "range");
            if range == format!("0-{}", size - 1) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(range, format!("0-{}", size - 1));
        assert_eq!(finish(&registry, &path, &bytes[..size], b"").await.status(), 201);
    }
}

#[tokio::test]
async fn methods_that_are_not_there() {
    let registry = Registry::start().await;
    let path = registry.open("a").await;
    for (method, path, allow) in [
        ("GET", "/v2/a/blobs/uploads/", "POST"),
        ("PUT", "/v2/a/blobs/uploads/", "POST"),
        ("POST", path.as_str(), "GET, PATCH, PUT, DELETE"),
        ("POST", "/v2/a/manifests/t", "GET, HEAD, PUT, DELETE"),
        ("DELETE", "/v2/a/tags/list", "GET, HEAD"),
        ("PUT", "/v2/_catalog", "GET, HEAD"),
    ] {
        let answer = registry.send(method, path).await;
        assert_eq!(answer.status(), 405, "{method} {path}");
        assert_eq!(header(&answer, "allow"), allow);
        assert_eq!(code(answer).await, "UNSUPPORTED");
    }
}
