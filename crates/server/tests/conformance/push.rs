//! "Push".

use conex_spec::Digest;
use reqwest::Body;

use crate::context::{Answer, Context, answer, with_query};

/// Ends a session with a digest, and what is left of the blob.
async fn finish(c: &Context, location: &str, digest: &Digest, body: Vec<u8>) -> Answer {
    let path = with_query(location, &format!("digest={digest}"));
    answer(c.request("PUT", &path).body(body)).await
}

async fn patch(c: &Context, location: &str, range: &str, body: Vec<u8>) -> Answer {
    answer(c.request("PATCH", location).header("content-range", range).body(body)).await
}

/// A body that is sent without its length.
fn streamed(bytes: &[u8]) -> Body {
    let parts: Vec<_> =
        bytes.chunks(1000).map(|part| Ok::<_, std::io::Error>(part.to_vec())).collect();
    Body::wrap_stream(futures_util::stream::iter(parts))
}

async fn assert_pullable(c: &Context, location: &str, bytes: &[u8]) {
    assert!(c.get(location).await.expect(200).body == bytes);
}

/// "Pushing blobs", "Pushing a blob monolithically".
pub mod blobs {
    use conex_spec::Algorithm;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use uuid::Uuid;

    use super::{assert_pullable, finish, streamed};
    use crate::context::{Context, answer, noise, sha256};

    pub async fn post_then_put(c: Context) {
        let bytes = noise(3000, 1);
        let opened = c.send("POST", "blobs/uploads/").await.expect(202);
        let location = opened.header("location");
        let session =
            location.split(['/', '?', '&', '=']).any(|part| Uuid::try_parse(part).is_ok());
        assert!(session, "{location} has no UUID");
        let digest = sha256(&bytes);
        let created = finish(&c, &location, &digest, bytes.clone()).await.expect(201);
        assert_eq!(created.header("docker-content-digest"), digest.as_str());
        assert_pullable(&c, &created.header("location"), &bytes).await;
        let other = c.send("POST", "blobs/uploads/").await.expect(202).header("location");
        assert_ne!(location, other);
    }

    pub async fn single_post(c: Context) {
        let bytes = noise(3000, 2);
        let path = format!("blobs/uploads/?digest={}", sha256(&bytes));
        let created = answer(c.request("POST", &path).body(bytes.clone())).await.expect(201);
        assert_pullable(&c, &created.header("location"), &bytes).await;
        let again = answer(c.request("POST", &path).body(streamed(&bytes))).await.expect(201);
        assert_eq!(again.header("docker-content-digest"), sha256(&bytes).as_str());
    }

    /// A body that ends before its length is no blob, and the one that follows it is no part of it.
    pub async fn a_body_must_have_its_length(c: Context) {
        let bytes = noise(3000, 3);
        let digest = sha256(&bytes);
        for (length, sent) in [(3001, 3000), (3000, 2999)] {
            let path = c.path(&format!("blobs/uploads/?digest={digest}"));
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            let mut stream = TcpStream::connect(c.registry.address).await.unwrap();
            stream.write_all(&[head.as_bytes(), &bytes[..sent]].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut told = Vec::new();
            let _ = stream.read_to_end(&mut told).await;
            assert!(!String::from_utf8_lossy(&told).contains(" 201 "));
            assert_eq!(c.status("HEAD", &format!("blobs/{digest}")).await, 404);
        }
    }

    pub async fn content_must_have_its_digest(c: Context) {
        let (bytes, digest) = (noise(2000, 4), sha256(b"something else"));
        let path = format!("blobs/uploads/?digest={digest}");
        let refused = answer(c.request("POST", &path).body(bytes.clone())).await.expect(400);
        assert_eq!(refused.code(), "DIGEST_INVALID");
        let refused = finish(&c, &c.open().await, &digest, bytes.clone()).await.expect(400);
        assert_eq!(refused.code(), "DIGEST_INVALID");
        for range in [Some("0-1999"), None] {
            let location = c.open().await;
            let mut request = c.request("PATCH", &location).body(streamed(&bytes));
            if let Some(range) = range {
                request = c.request("PATCH", &location).header("content-range", range);
                request = request.body(bytes.clone());
            }
            let location = answer(request).await.expect(202).header("location");
            let refused = finish(&c, &location, &digest, Vec::new()).await.expect(400);
            assert_eq!(refused.code(), "DIGEST_INVALID");
        }
        for digest in [&digest, &sha256(&bytes)] {
            assert_eq!(c.status("HEAD", &format!("blobs/{digest}")).await, 404);
        }
    }

    pub async fn bad_digests_are_400(c: Context) {
        for bad in [
            "",
            "x",
            "sha256:x",
            "sha256:",
            ":",
            "sha256%3A..%2F..%2Fetc%2Fpasswd",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            let path = format!("blobs/uploads/?digest={bad}");
            let refused = answer(c.request("POST", &path).body("x")).await.expect(400);
            assert_eq!(refused.code(), "DIGEST_INVALID", "{bad}");
            let path = crate::context::with_query(&c.open().await, &format!("digest={bad}"));
            let refused = answer(c.request("PUT", &path).body("x")).await.expect(400);
            assert_eq!(refused.code(), "DIGEST_INVALID", "{bad}");
            let refused = c.send("POST", &format!("blobs/uploads/?mount={bad}&from=a")).await;
            assert_eq!(refused.expect(400).code(), "DIGEST_INVALID", "{bad}");
        }
        for bad in ["md5", "", "sha-256", "../x"] {
            let refused = c.send("POST", &format!("blobs/uploads/?digest-algorithm={bad}")).await;
            assert_eq!(refused.expect(400).code(), "DIGEST_INVALID", "{bad}");
        }
    }

    pub async fn every_algorithm(c: Context) {
        let bytes = noise(2000, 5);
        for algorithm in Algorithm::ALL {
            let digest = algorithm.digest(&bytes);
            let created = finish(&c, &c.open().await, &digest, bytes.clone()).await.expect(201);
            assert_eq!(created.header("docker-content-digest"), digest.as_str());
            assert_pullable(&c, &created.header("location"), &bytes).await;
        }
    }

    pub async fn the_empty_blob(c: Context) {
        for algorithm in Algorithm::ALL {
            let digest = algorithm.digest(b"");
            let path = format!("blobs/{digest}");
            let at_once = format!("blobs/uploads/?digest={digest}");
            c.send("POST", &at_once).await.expect(201);
            assert!(c.get(&path).await.expect(200).body.is_empty());
            assert_eq!(c.status("DELETE", &path).await, 202);
            finish(&c, &c.open().await, &digest, Vec::new()).await.expect(201);
            let head = c.send("HEAD", &path).await.expect(200);
            assert_eq!(head.header("content-length"), "0");
        }
    }
}

/// "Pushing a blob in chunks".
pub mod chunks {
    use conex_spec::Algorithm;

    use super::{assert_pullable, finish, patch, streamed};
    use crate::context::{Context, answer, noise, sha256, with_query};

    pub async fn in_order_with_ranges(c: Context) {
        let bytes = noise(3067, 1);
        let mut location = c.open().await;
        for (start, end) in [(0, 1024), (1024, 2048), (2048, 3067)] {
            let range = format!("{start}-{}", end - 1);
            let took = patch(&c, &location, &range, bytes[start..end].to_vec()).await.expect(202);
            assert_eq!(took.header("range"), format!("0-{}", end - 1));
            location = took.header("location");
        }
        let created = finish(&c, &location, &sha256(&bytes), Vec::new()).await.expect(201);
        assert_pullable(&c, &created.header("location"), &bytes).await;
    }

    pub async fn the_last_one_may_come_with_the_put(c: Context) {
        let bytes = noise(2060, 2);
        let took = patch(&c, &c.open().await, "0-2047", bytes[..2048].to_vec()).await.expect(202);
        let path = with_query(&took.header("location"), &format!("digest={}", sha256(&bytes)));
        let last = c.request("PUT", &path).header("content-range", "2048-2059");
        let created = answer(last.body(bytes[2048..].to_vec())).await.expect(201);
        assert_pullable(&c, &created.header("location"), &bytes).await;
    }

    pub async fn out_of_order_are_416_and_it_goes_on(c: Context) {
        let bytes = noise(3000, 3);
        let opened = c.open().await;
        // "The first chunk's range MUST begin with 0."
        patch(&c, &opened, "1000-1999", bytes[1000..2000].to_vec()).await.expect(416);
        let took = patch(&c, &opened, "0-999", bytes[..1000].to_vec()).await.expect(202);
        let location = took.header("location");
        for start in [0, 999, 1001, 2000] {
            let range = format!("{start}-{}", start + 999);
            let refused = patch(&c, &location, &range, bytes[..1000].to_vec()).await.expect(416);
            assert_eq!(refused.header("range"), "0-999");
            let status = c.get(&refused.header("location")).await.expect(204);
            assert_eq!(status.header("range"), "0-999");
            let path = with_query(&location, &format!("digest={}", sha256(&bytes)));
            let put = c.request("PUT", &path).header("content-range", &range);
            answer(put.body(bytes[..1000].to_vec())).await.expect(416);
        }
        let location = c.get(&location).await.expect(204).header("location");
        let took = patch(&c, &location, "1000-2999", bytes[1000..].to_vec()).await.expect(202);
        finish(&c, &took.header("location"), &sha256(&bytes), Vec::new()).await.expect(201);
    }

    /// "It MUST match `^[0-9]+-[0-9]+$`", is inclusive, and the body is as long as it says.
    pub async fn their_range_has_one_form(c: Context) {
        let location = c.open().await;
        for bad in ["bytes 0-9/10", "0-", "-9", "0-9/10", "9-0", "a-b", "0x0-0x9", "0--9", "+0-9"] {
            let refused = patch(&c, &location, bad, vec![0; 10]).await.expect(400);
            assert_eq!(refused.code(), "BLOB_UPLOAD_INVALID", "{bad}");
        }
        for (range, length) in [("0-9", 9), ("0-9", 11), ("0-0", 0)] {
            let refused = patch(&c, &location, range, vec![0; length]).await.expect(400);
            assert_eq!(refused.code(), "SIZE_INVALID");
        }
        let request = c.request("PATCH", &location).header("content-range", "0-1499");
        answer(request.body(streamed(&noise(1501, 1)))).await.expect(400);
        assert_eq!(c.get(&location).await.expect(204).header("range"), "0-0");
        patch(&c, &location, "0-9", vec![0; 10]).await.expect(202);
    }

    /// Chunks of the length that is told are taken, and so are shorter ones.
    pub async fn the_least_length_is_told(c: Context) {
        let opened = c.send("POST", "blobs/uploads/").await.expect(202);
        let told = opened.header("oci-chunk-min-length");
        if told.is_empty() {
            return;
        }
        let least: usize = told.parse().unwrap();
        let bytes = noise(2 * least + 10, 4);
        let mut location = opened.header("location");
        for part in [0..least, least..2 * least, 2 * least..bytes.len()] {
            let range = format!("{}-{}", part.start, part.end - 1);
            let took = patch(&c, &location, &range, bytes[part].to_vec()).await.expect(202);
            location = took.header("location");
        }
        finish(&c, &location, &sha256(&bytes), Vec::new()).await.expect(201);
    }

    /// As Docker's clients do: one PATCH without a range or a length.
    pub async fn streamed_without_a_range(c: Context) {
        let bytes = noise(30_000, 5);
        let request = c.request("PATCH", &c.open().await).body(streamed(&bytes));
        let took = answer(request).await.expect(202);
        assert_eq!(took.header("range"), "0-29999");
        let location = took.header("location");
        let created = finish(&c, &location, &sha256(&bytes), Vec::new()).await.expect(201);
        assert_pullable(&c, &created.header("location"), &bytes).await;
    }

    pub async fn the_session_is_closed_by_a_put_with_the_digest(c: Context) {
        let bytes = noise(1000, 6);
        let took = patch(&c, &c.open().await, "0-999", bytes.clone()).await.expect(202);
        let (location, blob) = (took.header("location"), format!("blobs/{}", sha256(&bytes)));
        assert_eq!(c.status("GET", &blob).await, 404);
        c.send("PUT", &location).await.expect(400);
        assert_eq!(c.status("GET", &blob).await, 404);
        let created = finish(&c, &location, &sha256(&bytes), Vec::new()).await.expect(201);
        assert_pullable(&c, &created.header("location"), &bytes).await;
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            let path = with_query(&location, &format!("digest={}", sha256(&bytes)));
            let gone = c.send(method, &path).await.expect(404);
            assert_eq!(gone.code(), "BLOB_UPLOAD_UNKNOWN");
        }
    }

    pub async fn the_algorithm_can_be_told(c: Context) {
        let bytes = noise(2000, 7);
        for algorithm in Algorithm::ALL {
            let location = c.open_with(&format!("?digest-algorithm={algorithm}")).await;
            let took = patch(&c, &location, "0-1999", bytes.clone()).await.expect(202);
            let digest = algorithm.digest(&bytes);
            let created = finish(&c, &took.header("location"), &digest, Vec::new()).await;
            assert_pullable(&c, &created.expect(201).header("location"), &bytes).await;
        }
    }

    pub async fn the_status_is_204(c: Context) {
        let location = c.open().await;
        let status = c.get(&location).await.expect(204);
        assert!(status.has("location") && status.header("range").starts_with("0-"));
        patch(&c, &location, "0-99", vec![1; 100]).await.expect(202);
        let status = c.get(&status.header("location")).await.expect(204);
        assert_eq!(status.header("range"), "0-99");
        let other = "blobs/uploads/00000000-0000-4000-8000-000000000000";
        assert_eq!(c.get(other).await.expect(404).code(), "BLOB_UPLOAD_UNKNOWN");
    }
}

/// "Cancel a blob upload".
pub mod cancel {
    use super::patch;
    use crate::context::Context;

    pub async fn is_204_and_final(c: Context) {
        for length in [0, 100] {
            let location = c.open().await;
            if length > 0 {
                patch(&c, &location, "0-99", vec![1; length]).await.expect(202);
            }
            c.send("DELETE", &location).await.expect(204);
            for method in ["GET", "PATCH", "PUT", "DELETE"] {
                let path = format!("{location}?digest={}", crate::context::sha256(b""));
                let gone = c.send(method, &path).await.expect(404);
                assert_eq!(gone.code(), "BLOB_UPLOAD_UNKNOWN", "{method}");
            }
        }
    }
}

/// "Mounting a blob from another repository".
pub mod mount {
    use super::{assert_pullable, finish};
    use crate::context::{Context, answer, sha256};

    async fn push_elsewhere(c: &Context, bytes: &[u8]) -> String {
        let other = format!("{}/other", c.name);
        let path = format!("/v2/{other}/blobs/uploads/?digest={}", sha256(bytes));
        answer(c.request("POST", &path).body(bytes.to_vec())).await.expect(201);
        other
    }

    pub async fn from_another_repository(c: Context) {
        let other = push_elsewhere(&c, b"mounted").await;
        let digest = sha256(b"mounted");
        let path = format!("blobs/uploads/?mount={digest}&from={other}");
        let created = c.send("POST", &path).await.expect(201);
        assert_eq!(created.header("docker-content-digest"), digest.as_str());
        let location = created.header("location");
        assert!(location.contains(&format!("/{}/blobs/", c.name)));
        assert_pullable(&c, &location, b"mounted").await;
        // It is there on its own.
        assert_eq!(c.status("DELETE", &format!("/v2/{other}/blobs/{digest}")).await, 202);
        assert_pullable(&c, &location, b"mounted").await;
    }

    /// "The registry MAY treat the `from` parameter as optional".
    pub async fn from_anywhere(c: Context) {
        push_elsewhere(&c, b"found anywhere").await;
        let path = format!("blobs/uploads/?mount={}", sha256(b"found anywhere"));
        let created = c.send("POST", &path).await.expect(201);
        assert_pullable(&c, &created.header("location"), b"found anywhere").await;
    }

    pub async fn what_is_missing_begins_an_upload(c: Context) {
        let other = push_elsewhere(&c, b"there").await;
        for (n, from) in
            [&format!("&from={other}"), "&from=nobody", "&from=..", ""].iter().enumerate()
        {
            let bytes = format!("not there {n}").into_bytes();
            let digest = sha256(&bytes);
            let path = format!("blobs/uploads/?mount={digest}{from}");
            let began = c.send("POST", &path).await.expect(202);
            assert_eq!(c.status("GET", &format!("blobs/{digest}")).await, 404);
            let location = began.header("location");
            let created = finish(&c, &location, &digest, bytes.clone()).await.expect(201);
            assert_pullable(&c, &created.header("location"), &bytes).await;
        }
    }
}

#[path = "push_manifests.rs"]
pub mod manifests;

/// "Pushing Manifests with Subject".
pub mod subject {
    use conex_spec::{Descriptor, MediaType};
    use serde_json::json;

    use crate::context::{Context, INDEX, MANIFEST, manifest, sha256};

    pub async fn is_told_and_may_be_missing(c: Context) {
        let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
        let subject = manifest(&config, &[], json!({ "annotations": { "the": "subject" } }));
        let described = Descriptor::of(MediaType::MANIFEST, &subject);
        let note = manifest(&config, &[], json!({ "subject": described }));
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": described });
        for (kind, bytes) in [(MANIFEST, note), (INDEX, index.to_string().into_bytes())] {
            let digest = sha256(&bytes);
            let created = c.put(digest.as_str(), kind, &bytes).await.expect(201);
            assert_eq!(created.header("oci-subject"), described.digest.as_str());
        }
        assert!(!c.put("subject", MANIFEST, &subject).await.expect(201).has("oci-subject"));
        let list = c.json(&format!("referrers/{}", described.digest)).await;
        assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
    }
}
