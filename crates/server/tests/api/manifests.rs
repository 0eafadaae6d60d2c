//! distribution-spec, "Pushing Manifests".

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use common::{Registry, code, files, header, manifest, noise};
use conex_spec::{Algorithm, Descriptor, Digest, MediaType};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Case 81 and rule R9.
#[tokio::test]
async fn long_manifests_are_refused_before_they_are_read() {
    let registry = Registry::start().await;
    let config = registry.push_blob("a", b"{}").await;
    let long = |length: usize| {
        let start = manifest(&config, &[], json!({ "annotations": { "x": "" } }));
        let room = length - start.len();
        manifest(&config, &[], json!({ "annotations": { "x": "y".repeat(room) } }))
    };
    let answer = registry.put("/v2/a/manifests/t", MANIFEST, long(4 << 20)).await;
    assert_eq!(answer.status(), 201);
    for length in [(4 << 20) + 1, 5 << 20, 20 << 20] {
        let answer = registry.put("/v2/a/manifests/t", MANIFEST, long(length)).await;
        assert_eq!(answer.status(), 413, "{length}");
        assert_eq!(code(answer).await, "SIZE_INVALID");
    }
    // Without a length it is found out while it comes.
    let chunks = long(5 << 20)
        .chunks(50_000)
        .map(|c| Ok::<_, std::io::Error>(c.to_vec()))
        .collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let request = registry.request("PUT", "/v2/a/manifests/t").header("content-type", MANIFEST);
    assert_eq!(request.body(body).send().await.unwrap().status(), 413);
}

/// Case 86.
#[tokio::test]
async fn many_annotations_are_fine() {
    let registry = Registry::start().await;
    let config = registry.push_blob("a", b"{}").await;
    let many: serde_json::Map<_, _> = (0..100_000).map(|i| (i.to_string(), json!("v"))).collect();
    let body = manifest(&config, &[], json!({ "annotations": many }));
    assert_eq!(registry.put("/v2/a/manifests/t", MANIFEST, body).await.status(), 201);
}

/// Rules D3 and D4.
#[tokio::test]
async fn a_manifest_is_what_its_digest_says() {
    let registry = Registry::start().await;
    let bytes = registry.image("a", b"layer").await;
    for algorithm in Algorithm::ALL {
        let wrong = algorithm.digest(b"other");
        let answer =
            registry.put(&format!("/v2/a/manifests/{wrong}"), MANIFEST, bytes.clone()).await;
        assert_eq!(answer.status(), 400);
        assert_eq!(code(answer).await, "DIGEST_INVALID");
    }
    for name in ["sha256:x", "md5:00000000000000000000000000000000"] {
        let answer =
            registry.put(&format!("/v2/a/manifests/{name}"), MANIFEST, bytes.clone()).await;
        assert_eq!(
            (answer.status().as_u16(), code(answer).await.as_str()),
            (400, "DIGEST_INVALID")
        );
    }
    for name in [".x", "-x", "a%20b", &"x".repeat(129)] {
        let answer =
            registry.put(&format!("/v2/a/manifests/{name}"), MANIFEST, bytes.clone()).await;
        assert_eq!(
            (answer.status().as_u16(), code(answer).await.as_str()),
            (400, "MANIFEST_INVALID"),
            "{name}"
        );
    }
    let told = registry.put("/v2/a/manifests/.x", MANIFEST, bytes.clone()).await;
    let told = told.text().await.unwrap();
    assert!(told.contains("expected") && told.contains("found"), "{told}");
    assert_eq!(
        registry.status("GET", &format!("/v2/a/manifests/{}", common::sha256(&bytes))).await,
        404
    );
}

#[tokio::test]
async fn without_a_content_type_the_manifest_tells() {
    let registry = Registry::start().await;
    let bytes = registry.image("a", b"layer").await;
    for (body, kind) in [
        (bytes.clone(), MANIFEST),
        (br#"{"schemaVersion":2,"manifests":[]}"#.to_vec(), INDEX),
        (
            br#"{"mediaType":"application/vnd.example+json"}"#.to_vec(),
            "application/vnd.example+json",
        ),
    ] {
        let answer = registry.request("PUT", "/v2/a/manifests/t").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{kind}");
        assert_eq!(header(&registry.send("GET", "/v2/a/manifests/t").await, "content-type"), kind);
    }
    let answer = registry.request("PUT", "/v2/a/manifests/t").body("{}").send().await.unwrap();
    assert_eq!(code(answer).await, "MANIFEST_INVALID");
}

#[tokio::test]
async fn every_missing_blob_is_named() {
    let registry = Registry::start().await;
    let missing: Vec<_> = (0..150_u8).map(|i| Descriptor::of(MediaType::LAYER, &[i, i])).collect();
    let body = manifest(&missing[0], &missing[1..], json!({}));
    let answer = registry.put("/v2/a/manifests/t", MANIFEST, body).await;
    assert_eq!(answer.status(), 400);
    let told: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let told = told["errors"].as_array().unwrap().clone();
    assert_eq!(told.len(), 100);
    assert!(told.iter().all(|error| error["code"] == "MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(told[7]["detail"]["digest"], missing[7].digest.as_str());
    // A blob of another repository is not there (rule R1).
    let bytes = registry.image("b", b"layer").await;
    let answer = registry.put("/v2/a/manifests/t", MANIFEST, bytes).await;
    assert_eq!(code(answer).await, "MANIFEST_BLOB_UNKNOWN");
}

#[tokio::test]
async fn an_index_needs_its_manifests() {
    let registry = Registry::start().await;
    let image = registry.push_image("a", "t", b"layer").await;
    let layer = registry.push_blob("a", b"layer").await;
    // BuildKit's cache lists layers in an index.
    let index = json!({ "schemaVersion": 2, "manifests": [image, image, layer] });
    let body = serde_json::to_vec(&index).unwrap();
    assert_eq!(registry.put("/v2/a/manifests/i", INDEX, body.clone()).await.status(), 201);
    assert_eq!(registry.put("/v2/b/manifests/i", INDEX, body).await.status(), 400);
}

/// `PUT /v2/<name>/manifests/<digest>?tag=1&tag=2`.
#[tokio::test]
async fn one_push_can_set_many_tags() {
    let registry = Registry::start().await;
    let bytes = registry.image("a", b"layer").await;
    let digest = common::sha256(&bytes);
    let tags: Vec<String> = (0..100).map(|i| format!("v{i:02}")).collect();
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let path = format!("/v2/a/manifests/{digest}?{}", query.join("&"));
    let answer = registry.put(&path, MANIFEST, bytes.clone()).await;
    assert_eq!(answer.status(), 201);
    // Python's http.client takes no more than 100 lines.
    let set: Vec<_> = answer.headers().get_all("oci-tag").iter().collect();
    assert_eq!(set, [tags.join(", ").as_str()]);
    assert_eq!(registry.json("/v2/a/tags/list").await["tags"], json!(tags));
    for tag in &tags {
        let answer = registry.send("HEAD", &format!("/v2/a/manifests/{tag}")).await;
        assert_eq!(header(&answer, "docker-content-digest"), digest.as_str());
    }
    for query in ["tag=ok&tag=..%2Fx", "tag="] {
        let path = format!("/v2/a/manifests/{digest}?{query}");
        assert_eq!(registry.put(&path, MANIFEST, bytes.clone()).await.status(), 400, "{query}");
    }
    assert_eq!(registry.status("HEAD", "/v2/a/manifests/ok").await, 404);
    let many = "&tag=x".repeat(101);
    let path = format!("/v2/a/manifests/{digest}?{many}");
    assert_eq!(registry.put(&path, MANIFEST, bytes).await.status(), 414);
}

#[tokio::test]
async fn a_tag_can_be_replaced_on_condition() {
    let registry = Registry::start().await;
    let one = registry.push_image("a", "t", b"one").await;
    let bytes = registry.image("a", b"two").await;
    let put = |name: &'static str, value: String| {
        let request = registry.request("PUT", "/v2/a/manifests/t").header(name, value);
        request.header("content-type", MANIFEST).body(bytes.clone()).send()
    };
    assert_eq!(put("if-none-match", "*".into()).await.unwrap().status(), 412);
    assert_eq!(put("if-match", "\"sha256:other\"".into()).await.unwrap().status(), 412);
    assert_eq!(put("if-match", format!("\"{}\"", one.digest)).await.unwrap().status(), 201);
    assert_eq!(put("if-match", format!("\"{}\"", one.digest)).await.unwrap().status(), 412);
    let fresh = registry.request("PUT", "/v2/a/manifests/new").header("if-none-match", "*");
    let fresh = fresh.header("content-type", MANIFEST).body(bytes.clone()).send().await.unwrap();
    assert_eq!(fresh.status(), 201);
}

/// "a registry implementation that supports the referrers API MUST respond with the response
/// header `OCI-Subject`"; the subject may be missing.
#[tokio::test]
async fn a_subject_may_come_later() {
    let registry = Registry::start().await;
    let config = registry.push_blob("a", b"{}").await;
    for subject in [common::sha256(b"later"), format!("x+y:{}", "z".repeat(400)).parse().unwrap()] {
        let subject = Descriptor::new(MediaType::MANIFEST, subject, 5);
        let body = manifest(&config, &[], json!({ "subject": subject }));
        let path = format!("/v2/a/manifests/{}", common::sha256(&body));
        let answer = registry.put(&path, MANIFEST, body).await;
        assert_eq!(answer.status(), 201);
        assert_eq!(header(&answer, "oci-subject"), subject.digest.as_str());
        let list = registry.json(&format!("/v2/a/referrers/{}", subject.digest)).await;
        assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    }
    let plain =
        registry.put("/v2/a/manifests/t", MANIFEST, manifest(&config, &[], json!({}))).await;
    assert_eq!(header(&plain, "oci-subject"), "");
}

/// Rule R12.
#[tokio::test]
async fn opaque_documents_keep_their_bytes_and_type() {
    let registry = Registry::start().await;
    let kind = "application/vnd.example.thing.v1+json";
    let body = format!("{{ \"noise\" : \"{}\" }}\n", Digest::sha256(&noise(9, 1)));
    assert_eq!(registry.put("/v2/a/manifests/t", kind, body.clone()).await.status(), 201);
    let answer = registry.send("GET", "/v2/a/manifests/t").await;
    assert_eq!(header(&answer, "content-type"), kind);
    assert_eq!(answer.text().await.unwrap(), body);
}

#[tokio::test]
async fn a_refused_push_leaves_nothing() {
    let registry = Registry::start().await;
    registry.push_blob("a", b"{}").await;
    let before = files(&registry.root());
    for body in [
        "{}",
        r#"{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":3}]}"#,
    ] {
        assert_eq!(registry.put("/v2/a/manifests/t", INDEX, body).await.status(), 400);
        assert_eq!(registry.put("/v2/new/manifests/t", INDEX, body).await.status(), 400);
    }
    assert_eq!(files(&registry.root()), before);
    assert_eq!(registry.status("GET", "/v2/new/tags/list").await, 404);
}
