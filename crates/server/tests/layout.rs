//! A layout that is served: what it has, and what another tool makes of it meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

mod common;

use std::path::Path;

use common::{Registry, code, header, manifest};
use conex_server::Place;
use conex_spec::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};

fn put(dir: &Path, media_type: MediaType, bytes: &[u8]) -> Descriptor {
    let blob = Descriptor::of(media_type, bytes);
    std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    std::fs::write(dir.join("blobs/sha256").join(blob.digest.encoded()), bytes).unwrap();
    blob
}

fn index(dir: &Path, manifests: &[Value]) {
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    std::fs::write(dir.join("new"), index.to_string()).unwrap();
    std::fs::rename(dir.join("new"), dir.join("index.json")).unwrap();
}

fn named(root: &Descriptor, name: &str) -> Value {
    let mut root = serde_json::to_value(root).unwrap();
    root["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    root
}

#[tokio::test]
async fn a_layout_is_one_repository() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let config = put(path, MediaType::CONFIG, b"{}");
    let layer = put(path, MediaType::LAYER, &common::noise(600_000, 1));
    let stray = put(path, MediaType::LAYER, b"stray");
    let image = manifest(&config, std::slice::from_ref(&layer), json!({}));
    let image = put(path, MediaType::MANIFEST, &image);
    let note = manifest(&config, &[], json!({ "subject": image }));
    let note = put(path, MediaType::MANIFEST, &note);
    let inner = json!({ "schemaVersion": 2, "mediaType": MediaType::INDEX, "manifests": [image] });
    let inner = put(path, MediaType::INDEX, inner.to_string().as_bytes());
    index(path, &[named(&inner, "v1"), named(&inner, "not a tag"), json!(note)]);

    let place = Place::Layout { path: path.into(), repository: "team/app".into() };
    let registry = Registry::with(|config| config.storage = place).await;
    assert_eq!(registry.json("/v2/_catalog").await["repositories"], json!(["team/app"]));
    assert_eq!(registry.json("/v2/team/app/tags/list").await["tags"], json!(["v1"]));
    for name in ["v1", inner.digest.as_str(), image.digest.as_str(), note.digest.as_str()] {
        let answer = registry.send("GET", &format!("/v2/team/app/manifests/{name}")).await;
        assert_eq!(answer.status(), 200, "{name}");
    }
    let blob = |digest: &Digest| format!("/v2/team/app/blobs/{digest}");
    for blob in [blob(&layer.digest), blob(&config.digest)] {
        let answer = registry.send("GET", &blob).await;
        assert_eq!(answer.status(), 200, "{blob}");
    }
    assert_eq!(registry.status("GET", &blob(&stray.digest)).await, 404);
    let list = registry.json(&format!("/v2/team/app/referrers/{}", image.digest)).await;
    assert_eq!(list["manifests"][0]["digest"], note.digest.as_str());

    for (method, path) in [
        ("POST", "/v2/team/app/blobs/uploads/".to_owned()),
        ("DELETE", "/v2/team/app/manifests/v1".into()),
        ("DELETE", format!("/v2/team/app/manifests/{}", image.digest)),
        ("DELETE", blob(&layer.digest)),
    ] {
        let answer = registry.send(method, &path).await;
        assert_eq!(answer.status(), 405, "{method} {path}");
        assert_eq!(code(answer).await, "UNSUPPORTED");
    }

    // Another tool names another root, and something damages a layer.
    index(path, &[named(&image, "v2")]);
    assert_eq!(registry.status("GET", "/v2/team/app/manifests/v1").await, 404);
    let answer = registry.send("GET", "/v2/team/app/manifests/v2").await;
    assert_eq!(header(&answer, "docker-content-digest"), image.digest.as_str());
    std::fs::write(path.join("blobs/sha256").join(layer.digest.encoded()), b"damaged").unwrap();
    assert_eq!(registry.status("GET", &blob(&layer.digest)).await, 404);
}
