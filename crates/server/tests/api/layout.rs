//! A layout that is served: what it has, what is pushed to it, and what another tool makes of it
//! meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

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
    let registry = Registry::with(|config| {
        config.storage = place;
        config.read_only = true;
    })
    .await;
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

/// The roots of a layout: digest and name, in the order of their names.
fn roots(dir: &Path) -> Vec<(String, String)> {
    let index = std::fs::read(dir.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let root = |root: &Value| {
        (text(&root["digest"]), text(&root["annotations"]["org.opencontainers.image.ref.name"]))
    };
    let mut roots: Vec<_> = index["manifests"].as_array().unwrap().iter().map(root).collect();
    roots.sort();
    roots
}

async fn serve(path: &Path) -> Registry {
    let place = Place::Layout { path: path.into(), repository: "team/app".into() };
    Registry::with(|config| config.storage = place).await
}

#[tokio::test]
async fn what_is_pushed_is_in_the_layout_for_other_tools() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    let registry = serve(&path).await;
    assert!(path.join("oci-layout").exists() && roots(&path).is_empty());

    let layer = common::noise(600_000, 1);
    let image = registry.push_image("team/app", "v1", &layer).await;
    let listed = |name: &str| (image.digest.to_string(), name.to_owned());
    assert_eq!(roots(&path), [listed("v1")]);
    let layer = common::sha256(&layer);
    assert!(path.join("blobs/sha256").join(layer.encoded()).exists());

    // What an index has below it needs no entry; an image that lost its tag does.
    let inner = json!({ "schemaVersion": 2, "mediaType": MediaType::INDEX, "manifests": [image] });
    let inner = inner.to_string().into_bytes();
    let target = "/v2/team/app/manifests/v1";
    let answer = registry.put(target, MediaType::INDEX.as_str(), inner.clone()).await;
    assert_eq!(answer.status(), 201);
    let above = (common::sha256(&inner).to_string(), "v1".to_owned());
    let mut both = vec![above.clone(), listed("")];
    both.sort();
    assert_eq!(roots(&path), both);

    // Without the index the image stays, also for the next server.
    let digest = format!("/v2/team/app/manifests/{}", above.0);
    assert_eq!(registry.status("DELETE", &digest).await, 202);
    assert_eq!(roots(&path), [listed("")]);
    registry.stop().await;
    let registry = serve(&path).await;
    let digest = format!("/v2/team/app/manifests/{}", image.digest);
    assert_eq!(registry.status("GET", &digest).await, 200);
    assert_eq!(registry.status("DELETE", &digest).await, 202);
    assert!(roots(&path).is_empty());
    assert!(!path.join("blobs/sha256").join(image.digest.encoded()).exists());
    let blob = format!("/v2/team/app/blobs/{layer}");
    assert_eq!(registry.status("GET", &blob).await, 200);
    assert_eq!(registry.status("DELETE", &blob).await, 202);
    assert!(!path.join("blobs/sha256").join(layer.encoded()).exists());
}

/// An upload goes on after a restart, and a blob that no manifest names yet is there too.
#[tokio::test]
async fn what_was_pushed_in_part_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let registry = serve(dir.path()).await;
    let blob = registry.push_blob("team/app", b"blob").await;
    let upload = registry.open("team/app").await;
    let answer = registry.request("PATCH", &upload).body("abc").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    registry.stop().await;
    let registry = serve(dir.path()).await;
    let path = format!("/v2/team/app/blobs/{}", blob.digest);
    assert_eq!(registry.status("HEAD", &path).await, 200);
    let end = format!("{upload}?digest={}", common::sha256(b"abcdef"));
    let answer = registry.request("PUT", &end).body("def").send().await.unwrap();
    assert_eq!(answer.status(), 201);
}

#[tokio::test]
async fn a_layout_has_no_other_repository() {
    let dir = tempfile::tempdir().unwrap();
    let registry = serve(dir.path()).await;
    for (method, path) in [
        ("POST", "/v2/team/other/blobs/uploads/"),
        ("PUT", "/v2/team/manifests/t"),
        ("DELETE", "/v2/team/app/x/manifests/t"),
    ] {
        let answer = registry.send(method, path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(code(answer).await, "NAME_UNKNOWN");
    }
}

/// Names that another tool gives while pushes go on are not lost, and neither are the pushes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_tools_write_at_the_same_time() {
    use conex_store::{Layout, Sink as _};
    let dir = tempfile::tempdir().unwrap();
    let registry = serve(dir.path()).await;
    let image = registry.push_image("team/app", "first", b"layer").await;
    let other = Layout::open(dir.path(), None).unwrap();
    let name = |n: u32| conex_spec::Tag::new(&format!("other-{n}")).unwrap();
    let theirs = async {
        for n in 0..20 {
            other.tag(&image, Some(&name(n))).await.unwrap();
        }
    };
    let ours = async {
        for n in 0..20_u8 {
            registry.push_image("team/app", &format!("ours-{n}"), &[n]).await;
        }
    };
    futures_util::join!(theirs, ours);
    let tags = registry.json("/v2/team/app/tags/list").await;
    assert_eq!(tags["tags"].as_array().unwrap().len(), 41);
}

#[tokio::test]
async fn a_folder_that_holds_anything_else_is_not_made_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let place = Place::Layout { path: dir.path().into(), repository: "a".into() };
    let mut config = conex_server::Config::new("unused", ([127, 0, 0, 1], 0).into());
    config.storage = place;
    let err = conex_server::Server::bind(config).await.unwrap_err();
    assert_eq!(err.found_value(), Some("letter.txt"));
    assert!(!dir.path().join("index.json").exists());
}
