//! Registries on buckets: of two servers of S3, several on one, and over a wire that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::{common, policies};

use std::sync::Arc;

use common::{Registry, bucket, header, manifest, noise};
use conex_server::{Place, S3};
use conex_testkit::proxy::{Direction, Fault, Place as At, Proxy, What};
use conex_testkit::s3_server::{Program, S3Server};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

async fn on(bucket: S3) -> Registry {
    Registry::with(|config| config.storage = Place::S3(bucket)).await
}

async fn push_and_pull(registry: &Registry) {
    for (tag, length) in [("small", 10), ("middle", 100_000), ("large", 20_000_000)] {
        let layer = noise(length, 1);
        let image = registry.push_image("a/b", tag, &layer).await;
        let answer = registry.send("GET", &format!("/v2/a/b/manifests/{tag}")).await;
        assert_eq!(header(&answer, "content-type"), MANIFEST);
        assert_eq!(common::sha256(&answer.bytes().await.unwrap()), image.digest);
        let path = format!("/v2/a/b/blobs/{}", common::sha256(&layer));
        let head = registry.send("HEAD", &path).await;
        assert_eq!(header(&head, "content-length"), length.to_string());
        assert!(registry.send("GET", &path).await.bytes().await.unwrap() == layer);
        let part =
            registry.request("GET", &path).header("range", "bytes=3-8").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), layer[3..9]);
        let mount = format!("/v2/c/blobs/uploads/?from=a/b&mount={}", common::sha256(&layer));
        assert_eq!(registry.status("POST", &mount).await, 201);
    }
    assert_eq!(registry.json("/v2/_catalog").await["repositories"], json!(["a/b", "c"]));
    let tags = registry.json("/v2/a/b/tags/list").await["tags"].clone();
    assert_eq!(tags, json!(["large", "middle", "small"]));
    assert_eq!(registry.status("DELETE", "/v2/a/b/manifests/middle").await, 202);
    let answer = registry.send("HEAD", "/v2/a/b/manifests/small").await;
    let path = format!("/v2/a/b/manifests/{}", header(&answer, "docker-content-digest"));
    assert_eq!(registry.status("DELETE", &path).await, 202);
    for gone in ["/v2/a/b/manifests/middle", "/v2/a/b/manifests/small", &path] {
        assert_eq!(registry.status("GET", gone).await, 404, "{gone}");
    }
    assert_eq!(registry.json("/v2/a/b/tags/list").await["tags"], json!(["large"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn push_and_pull_on_each_server() {
    for program in [Program::S3s, Program::Moto] {
        let dir = tempfile::tempdir().unwrap();
        let Some(server) = S3Server::start(program, dir.path()) else { continue };
        let registry = on(bucket(&server.endpoint(), "x")).await;
        push_and_pull(&registry).await;
        registry.stop().await;
        // What one server leaves, the next one has.
        let registry = on(bucket(&server.endpoint(), "x")).await;
        assert_eq!(registry.status("GET", "/v2/a/b/manifests/large").await, 200);
        registry.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn immutable_tags_keep_what_they_need() {
    let dir = tempfile::tempdir().unwrap();
    // s3s-fs has no room for names as long as those of referrers in this repository.
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let place = Place::S3(bucket(&server.endpoint(), "x"));
    policies::immutable_tags_keep_what_they_need(|config| config.storage = place).await;
}

async fn two(server: &S3Server) -> [Registry; 2] {
    [on(bucket(&server.endpoint(), "two")).await, on(bucket(&server.endpoint(), "two")).await]
}

/// Laws L4 and L5: what one process acknowledged, the other one tells, also where it remembers
/// something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let [one, two] = two(&server).await;
    let mut last = None;
    for round in 0..6 {
        let (writer, reader) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let image = writer.push_image("a", "t", format!("{round}").as_bytes()).await;
        for _ in 0..2 {
            let answer = reader.send("GET", "/v2/a/manifests/t").await;
            assert_eq!(header(&answer, "docker-content-digest"), image.digest.as_str());
        }
        if let Some(last) = last.replace(image.digest) {
            let path = format!("/v2/a/manifests/{last}");
            assert_eq!(reader.status("GET", &path).await, 200);
            assert_eq!(writer.status("DELETE", &path).await, 202);
            assert_eq!(reader.status("GET", &path).await, 404);
            assert_eq!(reader.json("/v2/a/tags/list").await["tags"], json!(["t"]));
        }
    }
    let subject = last.unwrap();
    let config = one.push_blob("a", b"{}").await;
    let of = json!({ "subject": { "mediaType": MANIFEST, "digest": subject, "size": 2 } });
    let note = manifest(&config, &[], of);
    let path = format!("/v2/a/manifests/{}", common::sha256(&note));
    assert_eq!(one.put(&path, MANIFEST, note).await.status(), 201);
    let list =
        |registry: &Registry| registry.request("GET", &format!("/v2/a/referrers/{subject}")).send();
    let found: serde_json::Value =
        serde_json::from_slice(&list(&two).await.unwrap().bytes().await.unwrap()).unwrap();
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(two.status("DELETE", &path).await, 202);
    let found = list(&one).await.unwrap().text().await.unwrap();
    assert!(!found.contains("sha256"), "{found}");
}

/// Chunk after chunk at the other process, and the end at either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_from_process_to_process() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let registries = two(&server).await;
    for chunk in [100_000, 6_000_000, 9_000_000] {
        let bytes = noise(chunk * 5 / 2, 4);
        let answer = registries[0].send("POST", "/v2/a/blobs/uploads/").await;
        assert_eq!(header(&answer, "oci-chunk-min-length"), (5 << 20).to_string());
        let path = header(&answer, "location");
        for (i, at) in (0..bytes.len()).step_by(chunk).enumerate() {
            let end = (at + chunk).min(bytes.len());
            let range = format!("{at}-{}", end - 1);
            let patch = registries[i % 2].request("PATCH", &path).header("content-range", range);
            let answer = patch.body(bytes[at..end].to_vec()).send().await.unwrap();
            assert_eq!(answer.status(), 202);
            for registry in &registries {
                let status = registry.send("GET", &path).await;
                assert_eq!(header(&status, "range"), format!("0-{}", end - 1));
            }
        }
        let wrong = common::sha256(b"other");
        let digest = common::sha256(&bytes);
        let end = &registries[1];
        assert_eq!(end.status("PUT", &format!("{path}?digest={digest}")).await, 201);
        assert_eq!(end.status("PUT", &format!("{path}?digest={wrong}")).await, 404);
        for registry in &registries {
            let blob = registry.send("GET", &format!("/v2/a/blobs/{digest}")).await;
            assert!(blob.bytes().await.unwrap() == bytes);
        }
    }
}

/// A wrong digest that only a hash of everything shows, found by a process that has just the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_digest_is_found_by_the_other_process() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let [one, two] = two(&server).await;
    let bytes = noise(10_000_000, 5);
    let path = one.open("a").await;
    let patch = one.request("PATCH", &path).body(bytes).send().await.unwrap();
    assert_eq!(patch.status(), 202);
    let wrong = common::sha256(b"other");
    let answer = two.send("PUT", &format!("{path}?digest={wrong}")).await;
    assert_eq!(
        (answer.status().as_u16(), common::code(answer).await.as_str()),
        (400, "DIGEST_INVALID")
    );
    for registry in [&one, &two] {
        assert_eq!(registry.status("GET", &path).await, 404);
        assert_eq!(registry.status("HEAD", &format!("/v2/a/blobs/{wrong}")).await, 404);
    }
}

/// Scenario B6 over two processes: of many that make a tag, one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let registries = Arc::new(two(&server).await);
    let config = registries[0].push_blob("a", b"{}").await;
    for round in 0..3 {
        let tasks = (0..12).map(|i| {
            let (registries, config) = (Arc::clone(&registries), config.clone());
            tokio::spawn(async move {
                let body = manifest(&config, &[], json!({ "annotations": { "i": i.to_string() } }));
                let path = format!("/v2/a/manifests/r{round}");
                let put = registries[i % 2].request("PUT", &path).header("content-type", MANIFEST);
                let answer =
                    put.header("if-none-match", "*").body(body.clone()).send().await.unwrap();
                (answer.status().as_u16(), common::sha256(&body))
            })
        });
        let mut made = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            let (status, digest) = task.await.unwrap();
            assert!(status == 201 || status == 412, "{status}");
            made.extend((status == 201).then_some(digest));
        }
        assert_eq!(made.len(), 1);
        let found = registries[1].send("HEAD", &format!("/v2/a/manifests/r{round}")).await;
        assert_eq!(header(&found, "docker-content-digest"), made[0].as_str());
    }
}

/// A manifest that is put here and deleted there is in the end there with its tag and its entry, or
/// without both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn put_and_delete_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let [one, two] = two(&server).await;
    let subject = one.push_image("a", "subject", b"s").await;
    let config = one.push_blob("a", b"{}").await;
    let body = manifest(&config, &[], json!({ "subject": subject }));
    let by_digest = format!("/v2/a/manifests/{}", common::sha256(&body));
    let mut outcomes = [0, 0];
    for round in 0..24 {
        let puts = async {
            tokio::time::sleep(std::time::Duration::from_millis(round % 6 * 10)).await;
            one.put("/v2/a/manifests/t", MANIFEST, body.clone()).await.status().as_u16()
        };
        let deletes = async {
            let mut status = 0;
            for _ in 0..3 {
                status = two.status("DELETE", &by_digest).await;
            }
            status
        };
        let (put, _) = futures_util::future::join(puts, deletes).await;
        assert_eq!(put, 201);
        let there = two.status("GET", &by_digest).await == 200;
        outcomes[usize::from(there)] += 1;
        let list = one.json(&format!("/v2/a/referrers/{}", subject.digest)).await;
        assert_eq!(list["manifests"].as_array().unwrap().len(), usize::from(there), "{round}");
        let tags = two.json("/v2/a/tags/list").await["tags"].clone();
        let expected = if there { json!(["subject", "t"]) } else { json!(["subject"]) };
        assert_eq!(tags, expected, "{round}");
        let found = one.status("GET", "/v2/a/manifests/t").await;
        assert_eq!(found, if there { 200 } else { 404 }, "{round}");
    }
    println!("gone, there: {outcomes:?}");
}

/// Scenario B14: errors before and after what was asked for, and answers that never come. Each one
/// hits every sort of request of a push and a pull.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let proxy = Proxy::start(&server.address.to_string());
    let registry = on(bucket(&format!("http://{}", proxy.address), "faults")).await;
    let head = |status: &str| What::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n"));
    let whats = [
        (Direction::Up, What::Cut),
        (Direction::Down, head("503 Slow Down")),
        (Direction::Down, head("500 Internal Server Error")),
        (Direction::Down, What::Cut),
    ];
    let layer = noise(18_000_000, 6);
    for (round, (direction, what)) in whats.into_iter().enumerate() {
        for target in ["/_tags/", "/_manifests/", "/_blobs/", "/blobs/", "/data/", "/_uploads/"] {
            for method in ["PUT", "GET", "POST", "HEAD"] {
                let (target, what) = (target.to_owned(), what.clone());
                let place = At::Before;
                proxy.add(Fault { method, target, direction, place, what, times: 2 });
            }
        }
        let tag = format!("t{round}");
        let mut own = layer.clone();
        own[0] = round as u8;
        let path = registry.open("a").await;
        let digest = common::sha256(&own);
        let put = registry.request("PUT", &format!("{path}?digest={digest}")).body(own.clone());
        assert_eq!(put.send().await.unwrap().status(), 201, "{round}");
        let image = registry.push_image("a", &tag, format!("small {round}").as_bytes()).await;
        let answer = registry.send("GET", &format!("/v2/a/manifests/{tag}")).await;
        assert_eq!(header(&answer, "docker-content-digest"), image.digest.as_str());
        let blob = registry.send("GET", &format!("/v2/a/blobs/{digest}")).await;
        assert!(blob.bytes().await.unwrap() == own);
        println!("{round}: {} faults", proxy.happened());
        proxy.clear();
    }
    assert!(proxy.happened() > 30);
}

/// A push that takes long looks at the blobs once more: a fault of the store then is no collected blob.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_the_second_look_stays_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let proxy = Proxy::start(&server.address.to_string());
    let place = Place::S3(bucket(&format!("http://{}", proxy.address), "second"));
    let registry = Registry::with(|config| {
        (config.storage, config.gc.grace) = (place, std::time::Duration::ZERO);
    });
    let registry = registry.await;
    let config = registry.push_blob("a", b"{}").await;
    let put = || registry.put("/v2/a/manifests/t", MANIFEST, manifest(&config, &[], json!({})));
    assert_eq!(put().await.status(), 201);
    let fault = |target: &str, direction, what| {
        let (method, place, target) = ("PUT", At::Before, target.to_owned());
        Fault { method, target, direction, place, what, times: 1 }
    };
    // From the moment at which the tag is written no link is read.
    let denied = What::Answer("HTTP/1.1 403 Forbidden".into());
    let later = fault("/_blobs/", Direction::Down, denied).times(u64::MAX);
    let (wire, later) = (proxy.clone(), Fault { method: "GET", ..later });
    let breaks = What::Do(Arc::new(move || wire.add(later.clone())));
    proxy.add(fault("/_tags/", Direction::Up, breaks));
    let answer = put().await;
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert!(proxy.happened() > 1);
    proxy.clear();
    assert!(status == 500 && text.contains("storage failed"), "{status} {text}");
    assert_eq!(put().await.status(), 201);
}

/// Part after part is refused for good: the upload stands where all parts before have arrived, and
/// goes on from there once the store is well again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_do_not_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let proxy = Proxy::start(&server.address.to_string());
    let registry = on(bucket(&format!("http://{}", proxy.address), "parts")).await;
    let bytes = noise(30_000_000, 8);
    let path = registry.open("a").await;
    let denied = What::Answer("HTTP/1.1 403 Forbidden".into());
    proxy.add(Fault {
        method: "PUT",
        target: "partNumber=2".into(),
        direction: Direction::Down,
        place: At::Before,
        what: denied,
        times: u64::MAX,
    });
    let patch = registry.request("PATCH", &path).body(bytes.clone()).send().await.unwrap();
    assert!(patch.status().is_server_error(), "{}", patch.status());
    let status = registry.send("GET", &path).await;
    assert_eq!(status.status(), 204);
    assert_eq!(header(&status, "range"), format!("0-{}", (8 << 20) - 1));
    proxy.clear();
    let rest = registry.request("PATCH", &path).body(bytes[8 << 20..].to_vec());
    assert_eq!(rest.send().await.unwrap().status(), 202);
    let digest = common::sha256(&bytes);
    assert_eq!(registry.status("PUT", &format!("{path}?digest={digest}")).await, 201);
    let blob = registry.send("GET", &format!("/v2/a/blobs/{digest}")).await;
    assert!(blob.bytes().await.unwrap() == bytes);
}

/// A client gets a large blob from the store itself, where that is wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_can_be_sent_to_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let bucket = S3 { redirect: true, ..bucket(&server.endpoint(), "redirect") };
    let registry = on(bucket).await;
    let bytes = noise(9_000_000, 7);
    let blob = registry.push_blob("a", &bytes).await;
    let path = format!("http://{}/v2/a/blobs/{}", registry.address, blob.digest);
    let client = reqwest::Client::builder().no_proxy();
    let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(&path).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    let location = header(&answer, "location");
    assert!(location.starts_with(&server.endpoint()) && location.contains("X-Amz-Signature="));
    assert!(client.get(&location).send().await.unwrap().bytes().await.unwrap() == bytes);
    assert_eq!(client.head(&path).send().await.unwrap().status(), 200);
}
