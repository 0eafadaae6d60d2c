//! Uploads: rows 98 and 117 to 119, rule C12, and what a registry may leave undone.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::fake::{Fake, Reply, Request, Step, reply};
use common::{blob, noise, quick, repository, stream};
use conex_client::Repository;
use conex_spec::{
    Descriptor, Digest, Document, Error, ImageManifest, Kind, MediaType, Result, Tag,
};
use conex_store::Sink;

async fn put(to: &Repository, bytes: &Bytes) -> Result<()> {
    to.put(&blob(bytes), stream(bytes, 10_000)).await
}

async fn client(
    chunk_size: Option<u64>,
    handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Repository, Fake, Arc<common::Notes>) {
    let fake = Fake::start(handler).await;
    let (mut options, notes) = quick();
    options.chunk_size = chunk_size;
    (repository(options, &fake.reference("a")), fake, notes)
}

fn query(digest: &Digest) -> String {
    format!("digest={}", digest.as_str().replace(':', "%3A"))
}

/// The request that opens an upload, or that is all of it where the blob is small.
fn begin(bytes: &[u8]) -> String {
    let digest = blob(bytes).digest.as_str().replace(':', "%3A");
    let what = if bytes.len() <= 64 << 10 { "digest" } else { "mount" };
    format!("POST /v2/a/blobs/uploads/?{what}={digest}")
}

#[tokio::test]
async fn row_117_locations_are_kept_byte_for_byte() {
    let both = [1000, 100_000].map(noise);
    for bytes in both {
        let end = query(&blob(&bytes).digest);
        locations(&bytes, &end).await;
    }
}

async fn locations(bytes: &Bytes, end: &str) {
    for (location, expected) in [
        ("/up/1", format!("/up/1?{end}")),
        ("/up/1?_state=a%2Fb%3D%3d&x", format!("/up/1?_state=a%2Fb%3D%3d&x&{end}")),
        ("2?y=+%20", format!("/v2/a/blobs/uploads/2?y=+%20&{end}")),
        ("//127.0.0.1:PORT/up", format!("/up?{end}")),
        ("http://127.0.0.1:PORT/up?z", format!("/up?z&{end}")),
    ] {
        let (client, fake, _) = client(None, move |request| match request.method.as_str() {
            "POST" => {
                let host = request.header("host").unwrap();
                let location = location.replace("127.0.0.1:PORT", host);
                reply(202, &[&format!("Location: {location}")], "")
            }
            _ => reply(201, &[], ""),
        })
        .await;
        put(&client, bytes).await.unwrap();
        assert_eq!(fake.lines(), [begin(bytes), format!("PUT {expected}")]);
        let seen = fake.seen();
        let opening = if bytes.len() <= 64 << 10 { bytes.len() } else { 0 };
        assert_eq!(seen[0].header("content-length"), Some(&*opening.to_string()));
        assert_eq!(seen[1].header("content-type"), Some("application/octet-stream"));
        assert_eq!(seen[1].body, *bytes);
    }
}

#[tokio::test]
async fn rows_118_119_answers_that_are_none() {
    let bytes = noise(1000);
    let (to, ..) = client(None, |_| reply(202, &[], "")).await;
    let err = put(&to, &bytes).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Invalid, "{err}");
    assert!(err.to_string().contains("Location"), "{err}");

    let other = format!("Docker-Content-Digest: {}", Digest::sha256(b"other"));
    let (to, fake, _) = client(None, move |request| match request.method.as_str() {
        "POST" => reply(202, &["Location: /up"], ""),
        _ => reply(201, &[&other], ""),
    })
    .await;
    assert_eq!(put(&to, &bytes).await.unwrap_err().kind(), Kind::Mismatch);
    assert!(fake.lines().contains(&"DELETE /up".to_owned()), "{:?}", fake.lines());
}

#[tokio::test]
async fn row_98_redirects_of_uploads_keep_the_method() {
    let bytes = noise(100_000);
    for status in [301, 302, 307, 308] {
        let (to, fake, _) = client(None, move |request| match request.target.as_str() {
            begin if begin.starts_with("/v2/a/blobs/uploads/?mount=") => {
                reply(status, &["Location: /moved"], "")
            }
            "/moved" => reply(202, &["Location: /up"], ""),
            "/there" => reply(201, &[], ""),
            _ => reply(status, &["Location: /there"], ""),
        })
        .await;
        put(&to, &bytes).await.unwrap();
        let methods: Vec<_> = fake.seen().into_iter().map(|request| request.method).collect();
        assert_eq!(methods, ["POST", "POST", "PUT", "PUT"], "{status}");
        assert_eq!(fake.seen()[3].body, bytes);
    }
}

#[tokio::test]
async fn small_blobs_are_sent_again() {
    let bytes = noise(100_000);
    let (to, fake, notes) =
        client(None, |request| match (request.method.as_str(), request.count) {
            ("POST", 0) => reply(503, &[], ""),
            ("POST", _) => reply(202, &["Location: /up"], ""),
            ("PUT", 2) => vec![Step::Reset],
            _ => reply(201, &[], ""),
        })
        .await;
    put(&to, &bytes).await.unwrap();
    assert_eq!(fake.seen().last().unwrap().body, bytes);
    assert!(notes.retries() >= 2);
}

/// A large blob flows through; who can read it again goes on where the registry came to.
#[tokio::test]
async fn large_blobs_fail_for_a_passing_reason() {
    let bytes = noise(5 << 20);
    let (to, fake, _) = client(None, |request| match request.method.as_str() {
        "POST" => reply(202, &["Location: /up"], ""),
        "PUT" => vec![Step::Reset],
        _ => reply(204, &[], ""),
    })
    .await;
    let err = put(&to, &bytes).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Network, "{err}");
    assert!(!fake.lines().contains(&"DELETE /up".to_owned()));
    assert!(put(&to, &bytes).await.is_err());
    assert!(fake.lines().contains(&"GET /up".to_owned()), "{:?}", fake.lines());
}

/// A registry that refuses one piece gets chunks the next time.
#[tokio::test]
async fn chunks_after_413() {
    let bytes = noise(9 << 20);
    let held = Arc::new(Mutex::new(Vec::new()));
    let store = held.clone();
    let (to, fake, _) = client(None, move |request| match request.method.as_str() {
        "POST" => reply(202, &["Location: /up"], ""),
        "PUT" if !request.body.is_empty() => reply(413, &[], ""),
        "PATCH" => take(&store, request),
        "PUT" => reply(201, &[], ""),
        _ => reply(204, &[], ""),
    })
    .await;
    assert_eq!(put(&to, &bytes).await.unwrap_err().kind(), Kind::Network);
    put(&to, &bytes).await.unwrap();
    assert_eq!(*held.lock().unwrap(), bytes);
    let patches = fake.seen().into_iter().filter(|request| request.method == "PATCH");
    assert_eq!(patches.map(|request| request.body.len()).collect::<Vec<_>>(), [8 << 20, 1 << 20]);
}

/// Takes a chunk as a sound registry does.
fn take(store: &Mutex<Vec<u8>>, request: &Request) -> Reply {
    let mut store = store.lock().unwrap();
    let range = request.header("content-range").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    if first != store.len() {
        return reply(416, &[], "");
    }
    assert_eq!(request.header("content-length").unwrap().parse(), Ok(last + 1 - first));
    store.extend_from_slice(&request.body);
    let location = format!("Location: /up/{}", store.len());
    reply(202, &[&location, &format!("Range: 0-{}", store.len() - 1)], "")
}

fn status(store: &Mutex<Vec<u8>>) -> Reply {
    let length = store.lock().unwrap().len();
    let location = format!("Location: /up/{length}");
    reply(204, &[&location, &format!("Range: 0-{}", length.saturating_sub(1))], "")
}

#[tokio::test]
async fn chunks_are_as_large_as_the_registry_wants() {
    let bytes = noise(5_000_000);
    let held = Arc::new(Mutex::new(Vec::new()));
    let store = held.clone();
    let (to, fake, _) = client(Some(1_000_000), move |request| match request.method.as_str() {
        "POST" => reply(202, &["Location: /up/0", "OCI-Chunk-Min-Length: 2000000"], ""),
        "PATCH" => take(&store, request),
        _ => reply(201, &[], ""),
    })
    .await;
    put(&to, &bytes).await.unwrap();
    assert_eq!(*held.lock().unwrap(), bytes);
    let end = query(&blob(&bytes).digest);
    assert_eq!(
        fake.lines(),
        [
            begin(&bytes),
            "PATCH /up/0".into(),
            "PATCH /up/2000000".into(),
            "PATCH /up/4000000".into(),
            format!("PUT /up/5000000?{end}"),
        ]
    );
    assert_eq!(fake.seen()[3].header("content-range"), Some("4000000-4999999"));
}

/// Rule C12: the registry loses a connection, with or without the bytes that came over it, and the
/// upload goes on from what it has.
#[tokio::test]
async fn chunks_go_on_where_the_registry_lost_them() {
    let bytes = noise(6_000_000);
    for kept in [0, 1, 2, 1_000_000, 1_999_999, 2_000_000] {
        let held = Arc::new(Mutex::new(Vec::new()));
        let store = held.clone();
        let (to, fake, notes) = client(Some(2_000_000), move |request| {
            match (request.method.as_str(), request.count) {
                ("POST", _) => reply(202, &["Location: /up/0"], ""),
                ("PATCH", 2) => {
                    store.lock().unwrap().extend_from_slice(&request.body[..kept]);
                    vec![Step::Reset]
                }
                ("PATCH", _) => take(&store, request),
                ("GET", _) => status(&store),
                ("DELETE", _) => reply(204, &[], ""),
                _ => reply(201, &[], ""),
            }
        })
        .await;
        put(&to, &bytes).await.unwrap();
        assert_eq!(*held.lock().unwrap(), bytes, "{kept}");
        assert_eq!(notes.retries(), 1);
        assert!(fake.lines().contains(&"GET /up/2000000".to_owned()), "{:?}", fake.lines());
    }
}

#[tokio::test]
async fn a_lost_upload_is_a_passing_failure() {
    let bytes = noise(5_000_000);
    for (found, kind) in [(404, Kind::Network), (204, Kind::Network), (205, Kind::Mismatch)] {
        let (to, ..) =
            client(Some(2_000_000), move |request| match (request.method.as_str(), found) {
                ("POST", _) => reply(202, &["Location: /up/0"], ""),
                ("PATCH", _) if request.count == 1 => reply(202, &["Range: 0-1999999"], ""),
                ("PATCH", _) => vec![Step::Reset],
                ("GET", 404) => reply(404, &[], ""),
                // It has lost what it said to have, or has what was never sent.
                ("GET", 204) => reply(204, &["Range: 0-999999"], ""),
                ("GET", _) => reply(204, &["Range: 0-4499999"], ""),
                _ => reply(204, &[], ""),
            })
            .await;
        let err = put(&to, &bytes).await.unwrap_err();
        assert_eq!(err.kind(), kind, "{found}: {err}");
    }
}

#[tokio::test]
async fn a_registry_that_takes_nothing_is_given_up() {
    let bytes = noise(5_000_000);
    let (to, fake, _) = client(Some(2_000_000), |request| match request.method.as_str() {
        "POST" => reply(202, &["Location: /up"], ""),
        "PATCH" => reply(202, &["Range: 0-0"], ""),
        _ => reply(204, &["Range: 0-0"], ""),
    })
    .await;
    assert_eq!(put(&to, &bytes).await.unwrap_err().kind(), Kind::Network);
    assert!(fake.seen().len() < 20);
}

/// A source that breaks off or lies is told as such, and the registry never gets a whole body.
#[tokio::test]
async fn a_bad_source_is_the_fault_that_is_told() {
    let bytes = noise(5 << 20);
    let (to, fake, _) = client(None, |request| match request.method.as_str() {
        "POST" => reply(202, &["Location: /up"], ""),
        _ => reply(201, &[], ""),
    })
    .await;
    let mut flipped = bytes.to_vec();
    flipped[0] ^= 1;
    let err = to.put(&blob(&bytes), stream(&flipped.into(), 60_000)).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Mismatch, "{err}");
    let pieces = [Ok(bytes.slice(..3 << 20)), Err(Error::new(Kind::Io, "the disk is gone"))];
    let broken = Box::pin(futures_util::stream::iter(pieces));
    let err = to.put(&blob(&bytes), broken).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Io, "{err}");
    assert!(err.message().ends_with("the disk is gone"));
    for request in fake.seen().iter().filter(|request| request.method == "PUT") {
        assert!(request.body.len() < bytes.len());
    }
}

#[tokio::test]
async fn other_algorithms_are_announced() {
    let bytes = noise(100);
    let digest = conex_spec::Algorithm::Sha512.digest(&bytes);
    let blob = Descriptor::new(MediaType::LAYER, digest, 100);
    let (to, fake, _) = client(None, |request| match request.method.as_str() {
        "POST" => reply(202, &["Location: /up"], ""),
        _ => reply(201, &[], ""),
    })
    .await;
    to.put(&blob, stream(&bytes, 100)).await.unwrap();
    assert!(fake.lines()[0].contains("digest-algorithm=sha512"), "{:?}", fake.lines());
    assert!(fake.lines()[1].contains("sha512%3A"));
}

#[tokio::test]
async fn mounts_that_fail_are_no_errors() {
    let bytes = noise(100);
    let target = format!(
        "/v2/a/blobs/uploads/?mount={}&from=b%2Fc",
        blob(&bytes).digest.as_str().replace(':', "%3A")
    );
    let other = format!("Docker-Content-Digest: {}", Digest::sha256(b"other"));
    for (status, header, adopted) in [
        (201, "Location: /x".to_owned(), true),
        (201, other, false),
        (202, "Location: /session".to_owned(), false),
        (202, "X: y".to_owned(), false),
        (404, "X: y".to_owned(), false),
        (401, "WWW-Authenticate: Basic realm=x".to_owned(), false),
    ] {
        let (to, fake, _) = client(None, move |_| reply(status, &[&header], "")).await;
        let (options, _) = quick();
        let from = repository(options, &fake.reference("b/c"));
        assert_eq!(to.adopt(&blob(&bytes), &from).await.unwrap(), adopted, "{status}");
        assert_eq!(fake.lines()[0], format!("POST {target}"));
    }
    let (to, fake, _) = client(None, |_| reply(201, &[], "")).await;
    let (options, _) = quick();
    let elsewhere = repository(options, "127.0.0.1:1/b");
    assert!(!to.adopt(&blob(&bytes), &elsewhere).await.unwrap());
    assert!(fake.seen().is_empty());
}

/// "Registries MAY opt out of supporting the 'Single POST' method": one that does gets the blob in the
/// upload that it opens, and is not asked so again, but after a passing failure.
#[tokio::test]
async fn small_blobs_go_in_one_request_where_the_registry_takes_them() {
    let (one, two) = (noise(1000), noise(2000));
    let (to, fake, _) = client(None, |_| reply(201, &[], "")).await;
    put(&to, &one).await.unwrap();
    put(&to, &two).await.unwrap();
    assert_eq!(fake.lines(), [begin(&one), begin(&two)]);
    assert_eq!(fake.seen()[1].body, two);

    for (answer, asked) in [(202, 1), (404, 1), (405, 1), (413, 1), (503, 2)] {
        let (to, fake, _) = client(None, move |request| match request.method.as_str() {
            "POST" if request.target.contains("?digest=") => reply(answer, &["Location: /up"], ""),
            "POST" => reply(202, &["Location: /up"], ""),
            _ => reply(201, &[], ""),
        })
        .await;
        put(&to, &one).await.unwrap();
        put(&to, &two).await.unwrap();
        let lines = fake.lines();
        let whole = lines.iter().filter(|line| line.contains("uploads/?digest="));
        assert_eq!(whole.count(), asked, "{answer}: {lines:?}");
        let sent: Vec<_> = fake.seen().into_iter().filter(|it| it.method == "PUT").collect();
        assert!(sent[0].body == one && sent[1].body == two, "{answer}");
    }
    // A 201 for something else is not believed.
    let other = format!("Docker-Content-Digest: {}", Digest::sha256(b"other"));
    let (to, fake, _) = client(None, move |request| match request.target.as_str() {
        "/up" => reply(201, &[], ""),
        target if target.contains("uploads/?digest=") => reply(201, &[&other], ""),
        _ if request.method == "POST" => reply(202, &["Location: /up"], ""),
        _ => reply(201, &[], ""),
    })
    .await;
    put(&to, &one).await.unwrap();
    assert_eq!(fake.seen().last().unwrap().body, one);
}

/// "The registry MAY treat the `from` parameter as optional": one that finds the blob gets no byte of
/// it, and one that wants to know from where is asked that way no more.
#[tokio::test]
async fn mounts_from_wherever_the_blob_is() {
    for length in [100_000, 5 << 20] {
        let bytes = noise(length);
        let (to, fake, _) = client(None, |_| reply(201, &["Location: /x"], "")).await;
        put(&to, &bytes).await.unwrap();
        assert_eq!(fake.lines(), [begin(&bytes)]);
    }
    let bytes = noise(100_000);
    for refusal in [400, 403, 404, 405, 201] {
        let other = format!("Docker-Content-Digest: {}", Digest::sha256(b"other"));
        let (to, fake, _) = client(None, move |request| match request.method.as_str() {
            "POST" if request.target.contains("mount=") => reply(refusal, &[&other], ""),
            "POST" => reply(202, &["Location: /up"], ""),
            _ => reply(201, &[], ""),
        })
        .await;
        for _ in 0..2 {
            put(&to, &bytes).await.unwrap();
        }
        let posts = fake.lines().into_iter().filter(|line| line.starts_with("POST"));
        let plain = "POST /v2/a/blobs/uploads/".to_owned();
        assert_eq!(posts.collect::<Vec<_>>(), [begin(&bytes), plain.clone(), plain], "{refusal}");
    }
}

/// "the registry … MUST return `202 Accepted`" with an upload, which then serves for the blob.
#[tokio::test]
async fn a_mount_that_opens_an_upload_is_gone_on_with() {
    for length in [100, 5 << 20] {
        let bytes = noise(length);
        let (to, fake, _) = client(None, |request| match request.method.as_str() {
            "POST" => reply(202, &["Location: /session"], ""),
            _ => reply(201, &[], ""),
        })
        .await;
        let (options, _) = quick();
        let from = repository(options, &fake.reference("b/c"));
        assert!(!to.adopt(&blob(&bytes), &from).await.unwrap());
        put(&to, &bytes).await.unwrap();
        let end = query(&blob(&bytes).digest);
        assert_eq!(fake.lines()[1..], [format!("PUT /session?{end}")]);
        assert_eq!(fake.seen()[1].body, bytes);
    }
}

fn manifest(subject: Option<&Descriptor>) -> (Descriptor, Bytes) {
    let mut manifest = ImageManifest::new(Descriptor::empty(), vec![]);
    manifest.subject = subject.cloned();
    let document = Document::new(manifest).unwrap();
    (document.descriptor(MediaType::MANIFEST), document.bytes().clone())
}

#[tokio::test]
async fn manifests_are_tagged_without_reading_them_back() {
    let (root, bytes) = manifest(None);
    let (to, fake, _) = client(None, |_| reply(201, &[], "")).await;
    to.put(&root, stream(&bytes, 10)).await.unwrap();
    to.tag(&root, Some(&Tag::new("v1").unwrap())).await.unwrap();
    to.tag(&root, None).await.unwrap();
    let base = "PUT /v2/a/manifests/";
    assert_eq!(fake.lines(), [format!("{base}{}", root.digest), format!("{base}v1")]);
    for request in fake.seen() {
        assert_eq!(request.body, bytes);
        assert_eq!(request.header("content-type"), Some(root.media_type.as_str()));
    }
    let bad = Tag::new("a/../b").unwrap();
    assert_eq!(to.tag(&root, Some(&bad)).await.unwrap_err().kind(), Kind::Invalid);
    let err = to.tag(&blob(b"x"), Some(&Tag::latest())).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Usage);
}

#[tokio::test]
async fn a_manifest_that_the_registry_takes_for_another_is_an_error() {
    let (root, bytes) = manifest(None);
    let other = format!("Docker-Content-Digest: {}", Digest::sha256(b"other"));
    let (to, ..) = client(None, move |_| reply(201, &[&other], "")).await;
    assert_eq!(to.put(&root, stream(&bytes, 10)).await.unwrap_err().kind(), Kind::Mismatch);
    let (to, ..) = client(None, |_| {
        reply(400, &[], r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"gone"}]}"#)
    })
    .await;
    let err = to.put(&root, stream(&bytes, 10)).await.unwrap_err();
    assert!(err.message().contains("MANIFEST_BLOB_UNKNOWN: gone"), "{err}");
}

/// As docker-registry misses a blob for a moment, while another client puts it there anew.
#[tokio::test]
async fn blobs_that_are_missed_for_a_moment_are_waited_for() {
    let (root, bytes) = manifest(None);
    let (to, fake, notes) = client(None, |request| match request.count {
        0 | 1 => reply(400, &[], r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#),
        _ => reply(201, &[], ""),
    })
    .await;
    to.put(&root, stream(&bytes, 10)).await.unwrap();
    assert_eq!((fake.lines().len(), notes.retries()), (3, 2));
}

#[tokio::test]
async fn the_referrers_tag_is_kept_only_where_the_registry_keeps_no_list() {
    let (subject, _) = manifest(None);
    let (root, bytes) = manifest(Some(&subject));
    let listed = format!("OCI-Subject: {}", subject.digest);
    let (to, fake, _) = client(None, move |_| reply(201, &[&listed], "")).await;
    to.put(&root, stream(&bytes, 10)).await.unwrap();
    assert_eq!(fake.seen().len(), 1);

    // Someone else writes the tag at the same time, once.
    let tag = format!("/v2/a/manifests/{}", subject.digest.referrers_tag());
    let held: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let store = held.clone();
    let (to, fake, _) = client(None, move |request| {
        let mut held = store.lock().unwrap();
        match request.method.as_str() {
            "GET" => match &*held {
                Some(list) => {
                    reply(200, &["Content-Type: application/vnd.oci.image.index.v1+json"], list)
                }
                None => reply(404, &[], ""),
            },
            "PUT" if request.target == tag => {
                let race = held.is_none();
                *held = Some(if race {
                    br#"{"schemaVersion":2,"manifests":[]}"#.to_vec()
                } else {
                    request.body.clone()
                });
                reply(201, &[], "")
            }
            _ => reply(201, &[], ""),
        }
    })
    .await;
    to.put(&root, stream(&bytes, 10)).await.unwrap();
    assert_eq!(fake.seen().iter().filter(|request| request.method == "PUT").count(), 3);
    let list = String::from_utf8(held.lock().unwrap().clone().unwrap()).unwrap();
    assert!(list.contains(root.digest.as_str()), "{list}");

    // What is no index is not overwritten.
    let image = bytes.clone();
    let (to, fake, _) = client(None, move |request| match request.method.as_str() {
        "GET" => reply(200, &["Content-Type: application/vnd.oci.image.manifest.v1+json"], &image),
        _ => reply(201, &[], ""),
    })
    .await;
    assert!(to.put(&root, stream(&bytes, 10)).await.is_err());
    assert_eq!(fake.seen().iter().filter(|request| request.method == "PUT").count(), 1);
}

/// Whether content is there is decided by digest and size.
#[tokio::test]
async fn what_is_there_has_the_right_size() {
    let bytes = noise(100);
    let digest = format!("Docker-Content-Digest: {}", blob(&bytes).digest);
    let other = format!("Docker-Content-Digest: {}", Digest::sha256(b"other"));
    for (status, headers, expected) in [
        (200, vec!["Content-Length: 100".to_owned(), digest.clone()], Some(true)),
        (200, vec!["Content-Length: 101".to_owned(), digest.clone()], Some(false)),
        (200, vec!["Content-Length: 100".to_owned(), other], Some(false)),
        (404, vec![], Some(false)),
        (405, vec![], Some(false)),
        (403, vec![], None),
    ] {
        let (to, ..) = client(None, move |_| {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            common::fake::bare(status, &headers)
        })
        .await;
        assert_eq!(to.has(&blob(&bytes)).await.ok(), expected, "{status}");
    }
}
