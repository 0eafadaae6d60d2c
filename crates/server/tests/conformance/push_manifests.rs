//! "Pushing Manifests".

use conex_spec::{Descriptor, MediaType};
use serde_json::json;

use crate::context::{Context, INDEX, MANIFEST, answer, manifest, noise, sha256};

pub async fn come_back_to_the_byte(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let plain = manifest(&config, &[], json!({}));
    let pretty: serde_json::Value = serde_json::from_slice(&plain).unwrap();
    let pretty = serde_json::to_vec_pretty(&pretty).unwrap();
    let spaced = [b" \n\t", &plain[..], b"\r\n "].concat();
    let escaped = String::from_utf8(plain.clone()).unwrap().replace("config", "conf\\u0069g");
    for (tag, bytes) in
        [("plain", plain), ("pretty", pretty), ("spaced", spaced), ("escaped", escaped.into())]
    {
        let created = c.put(tag, MANIFEST, &bytes).await.expect(201);
        assert_eq!(created.header("docker-content-digest"), sha256(&bytes).as_str());
        assert!(c.get(&created.header("location")).await.expect(200).body == bytes, "{tag}");
        assert!(c.get(&format!("manifests/{tag}")).await.expect(200).body == bytes, "{tag}");
    }
}

pub async fn parameters_of_the_type_are_ignored(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let bytes = manifest(&config, &[], json!({}));
    for kind in [format!("{MANIFEST};charset=utf-8"), format!("{MANIFEST} ; a=\"b;c\"")] {
        c.put("t", &kind, &bytes).await.expect(201);
        assert_eq!(c.get("manifests/t").await.header("content-type"), MANIFEST);
    }
}

pub async fn the_digest_must_be_theirs(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let bytes = manifest(&config, &[], json!({}));
    let created = c.put(sha256(&bytes).as_str(), MANIFEST, &bytes).await.expect(201);
    assert_eq!(created.header("docker-content-digest"), sha256(&bytes).as_str());
    let longer = [&bytes[..], b"  "].concat();
    let refused = c.put(sha256(&bytes).as_str(), MANIFEST, &longer).await.expect(400);
    assert_eq!(refused.code(), "DIGEST_INVALID");
    assert!(c.get(&format!("manifests/{}", sha256(&bytes))).await.expect(200).body == bytes);
    assert_eq!(c.status("GET", &format!("manifests/{}", sha256(&longer))).await, 404);
}

pub async fn the_type_must_be_theirs(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let image = manifest(&config, &[], json!({}));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    for (kind, bytes) in [(INDEX, &image[..]), (MANIFEST, index.as_bytes()), ("nonsense", &image)] {
        let refused = c.put("t", kind, bytes).await.expect(400);
        assert_eq!(refused.code(), "MANIFEST_INVALID");
    }
    assert_eq!(c.status("GET", "manifests/t").await, 404);
}

/// "However, the list of blobs MAY be empty."
pub async fn without_blobs(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    c.put("image", MANIFEST, &manifest(&config, &[], json!({}))).await.expect(201);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    c.put("index", INDEX, index.as_bytes()).await.expect(201);
}

pub async fn missing_children_are_named(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let missing = [b"one", b"two"].map(|bytes| Descriptor::of(MediaType::LAYER, bytes));
    let refused = c.put("t", MANIFEST, &manifest(&config, &missing, json!({}))).await.expect(400);
    let errors = refused.json()["errors"].as_array().unwrap().clone();
    assert!(errors.iter().all(|error| error["code"] == "MANIFEST_BLOB_UNKNOWN"));
    for child in &missing {
        assert!(errors.iter().any(|error| error["detail"]["digest"] == child.digest.as_str()));
    }
    let child = Descriptor::of(MediaType::MANIFEST, b"no such manifest");
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] }).to_string();
    let refused = c.put("t", INDEX, index.as_bytes()).await.expect(400);
    assert_eq!(refused.code(), "MANIFEST_BLOB_UNKNOWN");
    // A blob is no manifest, and a size is a claim that is looked at.
    let blob = c.push_blob(b"{ }").await;
    let blob = Descriptor { media_type: MediaType::MANIFEST, ..blob };
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [blob] }).to_string();
    c.put("t", INDEX, index.as_bytes()).await.expect(400);
    let wrong = Descriptor { size: 3, ..config.clone() };
    c.put("t", MANIFEST, &manifest(&wrong, &[], json!({}))).await.expect(400);
    // Nor is a manifest a blob: nobody could fetch it as one.
    let (image, _) = c.push_image("image", b"layer").await;
    let layer = Descriptor { media_type: MediaType::LAYER, ..image };
    let refused = c.put("t", MANIFEST, &manifest(&config, &[layer], json!({}))).await.expect(400);
    assert_eq!(refused.code(), "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(c.status("GET", "manifests/t").await, 404);
}

/// image-spec, descriptor.md, "Properties": "Values MUST comply with RFC 6838"; manifest.md:
/// `artifactType` "MUST be set when `config.mediaType` is set to the empty value".
pub async fn media_types_must_be_such(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let (child, _) = c.push_image("child", b"layer").await;
    let of = |media_type: &str, other: &Descriptor| Descriptor {
        media_type: MediaType::new(media_type.to_owned()),
        ..other.clone()
    };
    let index = |child: &Descriptor| {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] });
        index.to_string().into_bytes()
    };
    let plain = |config: &Descriptor| manifest(config, &[], json!({}));
    let docker = MediaType::DOCKER_MANIFEST;
    let subject = json!({ "subject": of("garbage", &child) });
    for (kind, body, field) in [
        (MANIFEST, plain(&of("garbage", &config)), "config.mediaType"),
        (MANIFEST, manifest(&config, &[of("", &config)], json!({})), "layers[0].mediaType"),
        (MANIFEST, manifest(&config, &[], subject), "subject.mediaType"),
        (MANIFEST, manifest(&config, &[], json!({ "artifactType": "no type" })), "artifactType"),
        (MANIFEST, plain(&of(MediaType::EMPTY.as_str(), &config)), "artifactType"),
        (INDEX, index(&of("garbage no slash", &child)), "manifests[0].mediaType"),
        // The child is there, and is something else.
        (INDEX, index(&of(docker.as_str(), &child)), "manifests[0].mediaType"),
        (INDEX, index(&of("application/vnd.example", &child)), "manifests[0].mediaType"),
    ] {
        let refused = c.put("t", kind, &body).await.expect(400);
        assert_eq!(refused.code(), "MANIFEST_INVALID", "{field}");
        assert_eq!(refused.json()["errors"][0]["detail"]["field"], field);
    }
    assert_eq!(c.status("GET", "manifests/t").await, 404);
    c.put("t", INDEX, &index(&child)).await.expect(201);
}

pub async fn missing_children_are_fine_where_it_is_set(c: Context) {
    let c = c.with(|config| config.sparse = true).await;
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let there = manifest(&config, &[], json!({}));
    c.put(sha256(&there).as_str(), MANIFEST, &there).await.expect(201);
    let there = Descriptor::of(MediaType::MANIFEST, &there);
    let missing = Descriptor::of(MediaType::MANIFEST, &noise(1024, 1));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [there, missing] });
    let layer = Descriptor::of(MediaType::LAYER, b"missing");
    for (tag, kind, bytes) in [
        ("index", INDEX, index.to_string().into_bytes()),
        ("image", MANIFEST, manifest(&config, &[layer], json!({}))),
    ] {
        c.put(tag, kind, &bytes).await.expect(201);
        assert!(c.get(&format!("manifests/{tag}")).await.expect(200).body == bytes);
    }
    assert_eq!(c.status("GET", &format!("manifests/{}", missing.digest)).await, 404);
    // What is there must be what it is said to be.
    let wrong = Descriptor { size: 3, ..config };
    c.put("wrong", MANIFEST, &manifest(&wrong, &[], json!({}))).await.expect(400);
}

pub async fn many_tags_at_once(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let bytes = manifest(&config, &[], json!({}));
    let tags: Vec<_> = (0..12).map(|i| format!("v{i}")).collect();
    let query: Vec<_> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    for digest in [sha256(&bytes), conex_spec::Algorithm::Sha512.digest(&bytes)] {
        let created = c.put(&format!("{digest}?{}", query.join("&")), MANIFEST, &bytes).await;
        let created = created.expect(201);
        assert_eq!(created.tags(), tags);
        for tag in &tags {
            let got = c.send("HEAD", &format!("manifests/{tag}")).await.expect(200);
            assert_eq!(got.header("docker-content-digest"), digest.as_str());
        }
    }
}

pub async fn too_many_tags_are_414(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let bytes = manifest(&config, &[], json!({}));
    let query: Vec<_> = (0..500).map(|i| format!("tag=v{i}")).collect();
    let path = format!("{}?{}", sha256(&bytes), query.join("&"));
    assert_eq!(c.put(&path, MANIFEST, &bytes).await.status, 414);
    assert_eq!(c.status("GET", "manifests/v0").await, 404);
}

fn of_length(config: &Descriptor, length: usize) -> Vec<u8> {
    let bytes = manifest(config, &[], json!({ "annotations": { "long": "" } }));
    let fill = "x".repeat(length - bytes.len());
    let bytes = manifest(config, &[], json!({ "annotations": { "long": fill } }));
    assert_eq!(bytes.len(), length);
    bytes
}

/// "at least 4 megabytes".
pub async fn of_four_mebibytes_are_taken(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let bytes = of_length(&config, 4 << 20);
    c.put("t", MANIFEST, &bytes).await.expect(201);
    assert!(c.get("manifests/t").await.expect(200).body == bytes);
}

pub async fn beyond_the_limit_are_413(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let bytes = of_length(&config, (4 << 20) + 1);
    let refused = c.put("t", MANIFEST, &bytes).await.expect(413);
    assert_eq!(refused.code(), "SIZE_INVALID");
    assert_eq!(c.status("GET", "manifests/t").await, 404);
}

/// Never a 5xx for a client's fault.
pub async fn what_is_none_is_400(c: Context) {
    for kind in [MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.v2+json"] {
        for bytes in [
            &b""[..],
            b"{",
            b"[]",
            b"null",
            b"\"x\"",
            b"{}",
            b"{\"schemaVersion\":2}",
            b"{\"schemaVersion\":1}",
            b"{\"schemaVersion\":2,\"config\":{},\"layers\":[]}",
            b"{\"schemaVersion\":2,\"manifests\":{}}",
            b"\xff\xfe",
            b"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[],\"config\":{}}",
        ] {
            let refused = c.put("t", kind, bytes).await.expect(400);
            assert_eq!(refused.code(), "MANIFEST_INVALID");
        }
    }
    let bare = answer(c.request("PUT", "manifests/t").body("{}")).await;
    assert_eq!(bare.expect(400).code(), "MANIFEST_INVALID");
}

/// "Clients MAY use a conditional HTTP push for registries that support ETag conditions".
pub async fn on_condition(c: Context) {
    let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
    let of = |n: u32| manifest(&config, &[], json!({ "annotations": { "n": n.to_string() } }));
    let put = async |name: &str, value: &str, body: Vec<u8>| {
        let request = c.request("PUT", "manifests/t").header("content-type", MANIFEST);
        answer(request.header(name, value).body(body)).await.status
    };
    assert_eq!(put("if-match", "\"x\"", of(1)).await, 412);
    assert_eq!(put("if-none-match", "*", of(1)).await, 201);
    assert_eq!(put("if-none-match", "*", of(2)).await, 412);
    let tag = c.get("manifests/t").await.header("etag");
    assert_eq!(put("if-match", &tag, of(3)).await, 201);
    assert_eq!(put("if-match", &tag, of(4)).await, 412);
    assert!(c.get("manifests/t").await.body == of(3));
}
