//! "Pull".

/// "Pulling manifests".
pub mod manifests {
    use conex_spec::{Algorithm, MediaType};
    use serde_json::json;

    use crate::context::{Context, MANIFEST, answer, manifest, sha256};

    pub async fn served_by_tag_and_by_digest(c: Context) {
        let (image, bytes) = c.push_image("t", b"layer").await;
        for name in ["t", image.digest.as_str()] {
            let got = c.get(&format!("manifests/{name}")).await.expect(200);
            assert!(got.body == bytes);
            assert_eq!(got.header("docker-content-digest"), image.digest.as_str());
            assert_eq!(got.header("content-length"), bytes.len().to_string());
        }
        for algorithm in [Algorithm::Sha512, Algorithm::Blake3] {
            let digest = algorithm.digest(&bytes);
            c.put(digest.as_str(), MANIFEST, &bytes).await.expect(201);
            let got = c.get(&format!("manifests/{digest}")).await.expect(200);
            assert!(got.body == bytes && got.header("docker-content-digest") == digest.as_str());
        }
    }

    pub async fn the_type_is_that_of_the_push_without_parameters(c: Context) {
        let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
        for (tag, members, sent) in [
            ("own", json!({}), MANIFEST.to_owned()),
            ("none", json!({ "mediaType": null }), MANIFEST.to_owned()),
            ("parameters", json!({}), format!("{MANIFEST}; charset=utf-8")),
            ("both", json!({ "mediaType": null }), format!("{MANIFEST} ;a=b; c=\"d\"")),
        ] {
            let mut bytes = manifest(&config, &[], members);
            if tag == "none" || tag == "both" {
                let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                value.as_object_mut().unwrap().remove("mediaType");
                bytes = serde_json::to_vec(&value).unwrap();
            }
            c.put(tag, &sent, &bytes).await.expect(201);
            for method in ["GET", "HEAD"] {
                let got = c.send(method, &format!("manifests/{tag}")).await.expect(200);
                assert_eq!(got.header("content-type"), MANIFEST, "{tag}");
            }
        }
    }

    pub async fn names_are_tags_or_digests(c: Context) {
        let (_, bytes) = c.push_image("t", b"layer").await;
        for name in [
            "sha256:x",
            "sha256:",
            ":",
            "sha256:baddigeststring",
            "SHA256:0000000000000000000000000000000000000000000000000000000000000000",
            "sha256:000000000000000000000000000000000000000000000000000000000000000G",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
        ] {
            assert!([400, 404].contains(&c.status("GET", &format!("manifests/{name}")).await));
            assert_eq!(c.put(name, MANIFEST, &bytes).await.expect(400).code(), "DIGEST_INVALID");
        }
    }

    /// At most 128 characters, of which the first is a letter, a digit or an underscore.
    pub async fn tags_follow_their_grammar(c: Context) {
        let (image, bytes) = c.push_image("t", b"layer").await;
        for good in ["_", "A", "0", "a.b-c_D", &"x".repeat(128)] {
            c.put(good, MANIFEST, &bytes).await.expect(201);
            let got = c.get(&format!("manifests/{good}")).await.expect(200);
            assert_eq!(got.header("docker-content-digest"), image.digest.as_str());
        }
        for bad in ["-a", ".a", "a b", "a%2Bb", "%C3%A9", "a%00", "a@b", &"x".repeat(129)] {
            let bad = bad.replace(' ', "%20");
            let status = c.status("GET", &format!("manifests/{bad}")).await;
            assert!([400, 404].contains(&status), "{bad}: {status}");
            assert_eq!(c.put(&bad, MANIFEST, &bytes).await.status, 400, "{bad}");
            assert_eq!(
                c.put(&format!("{}?tag={bad}", image.digest), MANIFEST, &bytes).await.status,
                400
            );
        }
    }

    pub async fn repositories_follow_their_grammar(c: Context) {
        for good in ["a", "0", "a/b/c/d", "a.b", "a_b", "a__b", "a-b", "a---b", "a1/b2.c-d__e"] {
            let path = format!("/v2/{}x/{good}/blobs/uploads/", c.name);
            assert_eq!(c.status("POST", &path).await, 202, "{good}");
        }
        for bad in [
            "A", "-a", "a-", ".a", "a.", "_a", "a_", "a..b", "a._b", "a___b", "a//b", "a/-b",
            "a+b", "a%20b", "a:b", "a@b", "%C3%A9",
        ] {
            let got = c.send("POST", &format!("/v2/{bad}/blobs/uploads/")).await;
            assert!([400, 404].contains(&got.status), "{bad}: {}", got.status);
            assert!(["NAME_INVALID", "NAME_UNKNOWN"].contains(&got.code().as_str()), "{bad}");
        }
    }

    pub async fn what_is_missing_is_404(c: Context) {
        c.push_image("t", b"layer").await;
        for name in ["other", sha256(b"other").as_str()] {
            let got = c.get(&format!("manifests/{name}")).await.expect(404);
            assert_eq!(got.code(), "MANIFEST_UNKNOWN");
        }
        // A blob is no manifest.
        let blob = c.push_blob(b"{}").await.digest;
        assert_eq!(c.status("GET", &format!("manifests/{blob}")).await, 404);
    }

    pub async fn an_unknown_repository_is_404(c: Context) {
        for rest in
            ["manifests/t".to_owned(), format!("blobs/{}", sha256(b"x")), "tags/list".into()]
        {
            let got = c.get(&format!("/v2/{}/none/{rest}", c.name)).await.expect(404);
            assert!(got.code().ends_with("_UNKNOWN"));
        }
    }

    pub async fn no_accept_header_is_needed(c: Context) {
        let (_, bytes) = c.push_image("t", b"layer").await;
        for accept in ["*/*", MANIFEST, "application/vnd.docker.distribution.manifest.v2+json", "x"]
        {
            let got = answer(c.request("GET", "manifests/t").header("accept", accept)).await;
            assert!(got.expect(200).body == bytes);
        }
    }

    /// RFC 9110, 13.1.2.
    pub async fn what_the_client_has_is_304(c: Context) {
        let (image, _) = c.push_image("t", b"layer").await;
        let tag = c.get("manifests/t").await.header("etag");
        for (known, status) in [
            (tag.clone(), 304),
            (format!("\"x\", {tag}"), 304),
            (format!("W/{tag}"), 304),
            ("*".into(), 304),
            ("\"x\"".into(), 200),
        ] {
            for method in ["GET", "HEAD"] {
                let request = c.request(method, "manifests/t").header("if-none-match", &known);
                let got = answer(request).await.expect(status);
                assert_eq!(got.header("docker-content-digest"), image.digest.as_str());
                assert!(status == 200 || got.body.is_empty());
            }
        }
    }
}

/// "Pulling blobs".
pub mod blobs {
    use conex_spec::Algorithm;

    use crate::context::{Context, answer, noise, sha256};

    pub async fn served_with_their_digest(c: Context) {
        for length in [0, 1, 2048, 300_000] {
            let bytes = noise(length, 1);
            let blob = c.push_blob(&bytes).await.digest;
            let got = c.get(&format!("blobs/{blob}")).await.expect(200);
            assert!(got.body == bytes);
            assert_eq!(got.header("docker-content-digest"), blob.as_str());
            assert_eq!(got.header("content-length"), length.to_string());
        }
        let bytes = noise(100, 2);
        for algorithm in Algorithm::ALL {
            let digest = algorithm.digest(&bytes);
            let path = format!("blobs/uploads/?digest={digest}");
            answer(c.request("POST", &path).body(bytes.clone())).await.expect(201);
            let got = c.get(&format!("blobs/{digest}")).await.expect(200);
            assert!(got.body == bytes && got.header("docker-content-digest") == digest.as_str());
        }
    }

    pub async fn what_is_missing_is_404(c: Context) {
        c.push_blob(b"some").await;
        let got = c.get(&format!("blobs/{}", sha256(b"other"))).await.expect(404);
        assert_eq!(got.code(), "BLOB_UNKNOWN");
        for bad in ["x", "sha256:x", "latest"] {
            let status = c.status("GET", &format!("blobs/{bad}")).await;
            assert!([400, 404].contains(&status), "{bad}");
        }
    }

    /// RFC 9110, 14.
    pub async fn ranges(c: Context) {
        for length in [2048, 700_000_usize] {
            let bytes = noise(length, 3);
            let path = format!("blobs/{}", c.push_blob(&bytes).await.digest);
            let last = length - 1;
            for (range, part) in [
                ("bytes=500-1499".to_owned(), Some(500..1500)),
                ("bytes=500-".into(), Some(500..length)),
                ("bytes=-500".into(), Some(length - 500..length)),
                (format!("bytes=2000-{}", length * 2), Some(2000..length)),
                ("bytes=0-0".into(), Some(0..1)),
                (format!("bytes={last}-"), Some(last..length)),
                (format!("bytes=-{}", length * 2), Some(0..length)),
                ("bytes=500-0".into(), None),
                (format!("bytes={length}-"), None),
                (format!("bytes={}-{}", length * 2, length * 3), None),
                ("bytes=-0".into(), None),
            ] {
                let got = answer(c.request("GET", &path).header("range", &range)).await;
                let Some(part) = part else {
                    assert_eq!(got.status, 416, "{range}");
                    assert_eq!(got.header("content-range"), format!("bytes */{length}"));
                    continue;
                };
                assert_eq!(got.status, 206, "{range}");
                assert!(got.body == bytes[part.clone()], "{range}");
                let expected = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                assert_eq!(got.header("content-range"), expected);
                assert_eq!(got.header("content-length"), part.len().to_string());
                assert_eq!(got.header("docker-content-digest"), sha256(&bytes).as_str());
            }
        }
    }

    /// What is not understood is ignored; a range of something else is of no use.
    pub async fn ranges_under_conditions(c: Context) {
        let bytes = noise(1000, 4);
        let path = format!("blobs/{}", c.push_blob(&bytes).await.digest);
        let whole = c.get(&path).await.expect(200);
        assert_eq!(whole.header("accept-ranges"), "bytes");
        let tag = whole.header("etag");
        for (range, condition, status) in [
            ("bytes=1-2", Some(tag.as_str()), 206),
            ("bytes=1-2", Some("\"other\""), 200),
            ("lines=1-2", None, 200),
            ("bytes=a-b", None, 200),
            ("bytes=1-2,5-6", None, 200),
        ] {
            let mut request = c.request("GET", &path).header("range", range);
            if let Some(condition) = condition {
                request = request.header("if-range", condition);
            }
            let got = answer(request).await.expect(status);
            assert!(got.body == if status == 206 { &bytes[1..3] } else { &bytes[..] }, "{range}");
        }
        let head = answer(c.request("HEAD", &path).header("range", "bytes=1-2")).await.expect(200);
        assert_eq!(head.header("content-length"), "1000");
    }

    pub async fn what_the_client_has_is_304(c: Context) {
        let path = format!("blobs/{}", c.push_blob(b"blob").await.digest);
        let tag = c.get(&path).await.header("etag");
        for (known, status) in [(tag.as_str(), 304), ("*", 304), ("\"x\"", 200)] {
            let request = c.request("GET", &path).header("if-none-match", known);
            answer(request).await.expect(status);
        }
    }
}

/// "Checking if content exists in the registry".
pub mod head {
    use crate::context::{Context, MANIFEST, noise, sha256};

    pub async fn manifests_have_the_mandatory_headers(c: Context) {
        let (image, bytes) = c.push_image("t", b"layer").await;
        for name in ["t", image.digest.as_str()] {
            let got = c.send("HEAD", &format!("manifests/{name}")).await.expect(200);
            assert_eq!(got.header("docker-content-digest"), image.digest.as_str());
            assert_eq!(got.header("content-length"), bytes.len().to_string());
            assert_eq!(got.header("content-type"), MANIFEST);
            assert!(got.body.is_empty());
        }
    }

    pub async fn blobs_have_the_mandatory_headers(c: Context) {
        for length in [0, 5, 400_000] {
            let blob = c.push_blob(&noise(length, 5)).await.digest;
            let got = c.send("HEAD", &format!("blobs/{blob}")).await.expect(200);
            assert_eq!(got.header("docker-content-digest"), blob.as_str());
            assert_eq!(got.header("content-length"), length.to_string());
            assert!(got.body.is_empty());
        }
    }

    pub async fn what_is_missing_is_404(c: Context) {
        c.push_image("t", b"layer").await;
        let digest = sha256(b"nothing");
        for path in
            ["manifests/none".to_owned(), format!("manifests/{digest}"), format!("blobs/{digest}")]
        {
            let got = c.send("HEAD", &path).await.expect(404);
            assert!(got.body.is_empty());
        }
    }
}
