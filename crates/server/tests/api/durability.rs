//! Nothing that was acknowledged is lost: restarts, many clients at once, a stopping server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use std::sync::Arc;
use std::time::Duration;

use common::{Registry, files, header, manifest, noise};
use conex_server::{Config, Server};
use conex_spec::{Algorithm, Descriptor, Kind, MediaType};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn a_restart_loses_nothing() {
    let registry = Registry::start().await;
    let layer = noise(1_000_000, 1);
    let image = registry.push_image("a/b", "t", &layer).await;
    let config = registry.push_blob("a/b", b"{}").await;
    let note = manifest(&config, &[], json!({ "subject": image }));
    let path = format!("/v2/a/b/manifests/{}", common::sha256(&note));
    assert_eq!(registry.put(&path, MANIFEST, note).await.status(), 201);
    let listing = files(&registry.root());

    let registry = registry.restart().await;
    assert_eq!(files(&registry.root()), listing);
    let answer = registry.send("GET", "/v2/a/b/manifests/t").await;
    assert_eq!(header(&answer, "content-type"), MANIFEST);
    assert_eq!(common::sha256(&answer.bytes().await.unwrap()), image.digest);
    let blob = registry.send("GET", &format!("/v2/a/b/blobs/{}", common::sha256(&layer))).await;
    assert!(blob.bytes().await.unwrap() == layer);
    let list = registry.json(&format!("/v2/a/b/referrers/{}", image.digest)).await;
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(registry.json("/v2/_catalog").await["repositories"], json!(["a/b"]));
}

/// The hash so far is lost with the process; the bytes are not.
#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    for algorithm in Algorithm::ALL {
        let registry = Registry::start().await;
        let bytes = noise(2_000_000, 2);
        let path = registry.open("a").await;
        let patch = registry.request("PATCH", &path).body(bytes[..1_500_000].to_vec());
        assert_eq!(patch.send().await.unwrap().status(), 202);
        let registry = registry.restart().await;
        assert_eq!(header(&registry.send("GET", &path).await, "range"), "0-1499999");
        let other = path.replace("/a/", "/b/");
        assert_eq!(registry.status("GET", &other).await, 404);
        let rest = registry.request("PATCH", &path).header("content-range", "1500000-1999999");
        assert_eq!(rest.body(bytes[1_500_000..].to_vec()).send().await.unwrap().status(), 202);
        let digest = algorithm.digest(&bytes);
        assert_eq!(registry.status("PUT", &format!("{path}?digest={digest}")).await, 201);
        let blob = registry.send("GET", &format!("/v2/a/blobs/{digest}")).await;
        assert!(blob.bytes().await.unwrap() == bytes);
    }
}

/// Scenario B13.
#[tokio::test]
async fn a_second_server_on_the_folder_is_refused() {
    let registry = Registry::start().await;
    let config = Config::new(registry.root(), ([127, 0, 0, 1], 0).into());
    let err = Server::bind(config).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Conflict);
    assert!(err.hint_text().is_some());
}

/// Scenario B5: one copy, and each client is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_blob_from_64_clients() {
    let registry = Arc::new(Registry::start().await);
    let bytes = noise(300_000, 3);
    let digest = common::sha256(&bytes);
    let tasks = (0..64).map(|i| {
        let (registry, bytes, digest) = (Arc::clone(&registry), bytes.clone(), digest.clone());
        tokio::spawn(async move {
            let path = registry.open("a").await;
            let half = bytes.len() / 2;
            let patch = registry.request("PATCH", &path).body(bytes[..half].to_vec());
            assert_eq!(patch.send().await.unwrap().status(), 202);
            if i % 16 == 0 {
                assert_eq!(registry.status("DELETE", &path).await, 204);
                return;
            }
            let put = registry.request("PUT", &format!("{path}?digest={digest}"));
            assert_eq!(put.body(bytes[half..].to_vec()).send().await.unwrap().status(), 201);
            let got = registry.send("GET", &format!("/v2/a/blobs/{digest}")).await;
            assert!(got.bytes().await.unwrap() == bytes);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(files(&registry.root().join("blobs")).len(), 1);
    assert_eq!(files(&registry.root().join("repositories")).len(), 1);
    assert_eq!(files(&registry.root().join(".conex/stage")), [""; 0]);
}

/// Scenario B6 and L5: a tag is what the last one made it, at any moment one of them, and all
/// manifests stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tag_from_64_clients() {
    let registry = Arc::new(Registry::start().await);
    let config = registry.push_blob("a", b"{}").await;
    let bodies: Vec<_> = (0..64)
        .map(|i| manifest(&config, &[], json!({ "annotations": { "i": i.to_string() } })))
        .collect();
    let digests: Arc<Vec<_>> = Arc::new(bodies.iter().map(|body| common::sha256(body)).collect());
    let tasks = bodies.into_iter().enumerate().map(|(i, body)| {
        let (registry, digests) = (Arc::clone(&registry), Arc::clone(&digests));
        tokio::spawn(async move {
            assert_eq!(
                registry.put("/v2/a/manifests/t", MANIFEST, body.clone()).await.status(),
                201
            );
            let own = format!("own{i}");
            assert_eq!(
                registry.put(&format!("/v2/a/manifests/{own}"), MANIFEST, body).await.status(),
                201
            );
            for _ in 0..5 {
                let answer = registry.send("GET", "/v2/a/manifests/t").await;
                assert!(digests.contains(&common::sha256(&answer.bytes().await.unwrap())));
                // What this client alone writes, it reads.
                let answer = registry.send("HEAD", &format!("/v2/a/manifests/{own}")).await;
                assert_eq!(header(&answer, "docker-content-digest"), digests[i].as_str());
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for digest in digests.iter() {
        assert_eq!(registry.status("GET", &format!("/v2/a/manifests/{digest}")).await, 200);
    }
    let found = registry.send("HEAD", "/v2/a/manifests/t").await;
    assert!(
        digests.iter().any(|digest| digest.as_str() == header(&found, "docker-content-digest"))
    );
}

/// L5: a reader never sees an older value after a newer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_never_goes_back() {
    let registry = Arc::new(Registry::start().await);
    let config = registry.push_blob("a", b"{}").await;
    let bodies: Vec<_> = (0..200)
        .map(|i| manifest(&config, &[], json!({ "annotations": { "i": format!("{i:04}") } })))
        .collect();
    let number = |bytes: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        value["annotations"]["i"].as_str().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(registry.put("/v2/a/manifests/t", MANIFEST, bodies[0].clone()).await.status(), 201);
    let acknowledged = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (registry, acknowledged) = (Arc::clone(&registry), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let mut last = 0;
                while last < 199 {
                    let least = acknowledged.load(std::sync::atomic::Ordering::SeqCst).max(last);
                    let answer = registry.send("GET", "/v2/a/manifests/t").await;
                    let found = number(&answer.bytes().await.unwrap());
                    assert!(found >= least, "{found} after {least}");
                    last = found;
                }
            })
        })
        .collect();
    for (i, body) in bodies.into_iter().enumerate().skip(1) {
        assert_eq!(registry.put("/v2/a/manifests/t", MANIFEST, body).await.status(), 201);
        acknowledged.store(i, std::sync::atomic::Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

/// Scenario B16: what is underway when the server is told to stop is finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_ends_what_it_began() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let registry = Registry::start().await;
    let blob = Descriptor::of(MediaType::LAYER, b"abcdef");
    let mut stream = tokio::net::TcpStream::connect(registry.address).await.unwrap();
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={} HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc",
        blob.digest
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let restarted = tokio::spawn(registry.restart());
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.write_all(b"def").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let registry = restarted.await.unwrap();
    assert_eq!(registry.status("GET", &format!("/v2/a/blobs/{}", blob.digest)).await, 200);
}

/// Whoever is not done in time is cut off, and its upload goes on later.
#[tokio::test]
async fn a_stopping_server_does_not_wait_forever() {
    use tokio::io::AsyncWriteExt;
    let registry = Registry::with(|config| config.limits.grace = Duration::from_millis(200)).await;
    let path = registry.open("a").await;
    let mut stream = tokio::net::TcpStream::connect(registry.address).await.unwrap();
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\nabc");
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let log = Arc::clone(&registry.log);
    let registry = tokio::time::timeout(Duration::from_secs(5), registry.restart()).await.unwrap();
    assert_eq!(registry.status("GET", &path).await, 204);
    // The client did nothing wrong.
    let accesses = log.0.lock().unwrap();
    let push = accesses.iter().find(|access| access.method == "PATCH").unwrap();
    assert_eq!(push.status, 503);
    assert!(push.fault.as_ref().unwrap().contains("the server stopped"), "{:?}", push.fault);
}
