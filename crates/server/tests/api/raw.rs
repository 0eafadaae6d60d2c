//! What no HTTP library would send, over plain sockets (rules R9, R10, R15).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use std::time::{Duration, Instant};

use common::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes and reads until the server closes.
async fn exchange(registry: &Registry, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    // The server may have answered and closed before all of it is gone.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    let _ = read.await.expect("the server does not close");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

async fn get(registry: &Registry, target: &str) -> u16 {
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    status(&exchange(registry, head.as_bytes()).await)
}

const HEX: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Rule R15: a target means one thing or nothing. The blob of `a` and the tag `t` of `a/b` are there.
#[tokio::test]
async fn targets_are_decoded_once_and_never_normalised() {
    let registry = Registry::start().await;
    let blob = registry.push_blob("a", b"blob").await.digest;
    registry.push_image("a/b", "t", b"layer").await;
    let hex = blob.encoded();
    let tag = "manifests/t";
    let table: Vec<(String, bool)> = vec![
        (format!("/v2/a/blobs/{blob}"), true),
        (format!("/v2/a/blobs/sha256%3a{hex}"), true),
        (format!("/v2/%61/blobs/{blob}"), true),
        (format!("/%762/a/blobs/{blob}"), true),
        (format!("/v2/a%2fb/{tag}"), true),
        (format!("/v2/a/b%2f{tag}"), true),
        (format!("http://other.example/v2/a/blobs/{blob}"), true),
        (format!("/v2/a/b/{tag}?x=1"), true),
        (format!("//v2/a/blobs/{blob}"), false),
        (format!("/v2//a/blobs/{blob}"), false),
        (format!("/v2/a//blobs/{blob}"), false),
        (format!("/v2/a/blobs//{blob}"), false),
        (format!("/v2/a/blobs/{blob}/"), false),
        (format!("/v2/./a/blobs/{blob}"), false),
        (format!("/v2/x/../a/blobs/{blob}"), false),
        (format!("/v2/../v2/a/blobs/{blob}"), false),
        (format!("/../v2/a/blobs/{blob}"), false),
        (format!("/v2/%2e%2e/a/blobs/{blob}"), false),
        (format!("/v2/x/%2e%2e/a/blobs/{blob}"), false),
        (format!("/v2/x%2f..%2fa/blobs/{blob}"), false),
        (format!("/v2/a%252fb/{tag}"), false),
        (format!("/v2/%2561/blobs/{blob}"), false),
        (format!("/v2/a/blobs/sha256%253a{hex}"), false),
        (format!("/v2/a/blobs/..%2f..%2fblobs/{blob}"), false),
        (format!("/v2/a\\b/{tag}"), false),
        (format!("/v2/a%5cb/{tag}"), false),
        (format!("/v2/a%00/blobs/{blob}"), false),
        (format!("/v2/a/blobs/{blob}%00"), false),
        (format!("/v2/a/blobs/{blob}%0d%0aX:y"), false),
        (format!("/v2/a/blobs/{blob}%20"), false),
        (format!("/v2/a;x=1/blobs/{blob}"), false),
        (format!("/v2/a/blobs/{blob};x"), false),
        (format!("/V2/a/blobs/{blob}"), false),
        (format!("/v2/A/blobs/{blob}"), false),
        (format!("/v2/a/BLOBS/{blob}"), false),
        (format!("/v2/a/blobs/SHA256:{hex}"), false),
        (format!("/v2/a/blobs/sha256:{}", hex.to_uppercase()), false),
        (format!("/v2/a/blobs/sha256:{hex}0"), false),
        (format!("/v2/a/blobs/sha256:{}", &hex[1..]), false),
        ("/v2/a/blobs/sha256:../../../../etc/passwd".into(), false),
        ("/v2/a/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd".into(), false),
        ("/v2/a/b/manifests/..%2ft".into(), false),
        ("/v2/a/b/manifests/%2e%2e".into(), false),
        ("/v2/a/b/manifests/t%2f".into(), false),
        ("/v2/a/b/_tags/t".into(), false),
        ("/v2/a/_blobs/tags/list".into(), false),
        ("/v2/_catalog%2f".into(), false),
        (format!("/v2/%ff/blobs/{blob}"), false),
        (format!("/v2/%c0%ae%c0%ae/blobs/{blob}"), false),
        (format!("/v2/\u{430}/blobs/{blob}"), false),
        (format!("/v2/a%/blobs/{blob}"), false),
        (format!("/v2/a%6/blobs/{blob}"), false),
        (format!("/v2/a%6g/blobs/{blob}"), false),
        (format!("/v2/{}/blobs/{blob}", "a".repeat(256)), false),
        (format!("/v2/{}/blobs/{blob}", "a/".repeat(200)), false),
        (format!("/v2/a/blobs/sha256:{HEX}"), false),
        (format!("v2/a/blobs/{blob}"), false),
        ("*".into(), false),
        ("/".into(), false),
        (String::new(), false),
    ];
    assert!(table.len() >= 40);
    for (target, served) in table {
        let found = get(&registry, &target).await;
        let fits = if served { found == 200 } else { [400, 404].contains(&found) };
        assert!(fits, "{target}: {found}");
    }
    let connect = "CONNECT /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!((400..500).contains(&status(&exchange(&registry, connect.as_bytes()).await)));
}

/// Rule R15, by the dozen: each good path with something odd at each of its slashes. None of them may
/// be taken for the path that it was made of, and none is the server's fault.
#[tokio::test]
async fn odd_paths_lead_nowhere() {
    let registry = Registry::start().await;
    let blob = registry.push_blob("a/b", b"blob").await.digest;
    registry.push_image("a/b", "t", b"layer").await;
    let odd = [
        "//",
        "/./",
        "/../",
        "/x/../",
        "/%2e/",
        "/%2e%2e/",
        "%2f%2f",
        "/%2f",
        "%252f",
        "\\",
        "%5c",
        "/;/",
        ";x/",
        "/%00/",
        "%00",
        "/ ",
        "/%20",
        "/%0d%0a",
        "/.",
        "/%ff",
        "/\u{2215}",
        "/%c0%af",
        "?/",
        "#/",
        "/_",
        "/~",
    ];
    let mut count = 0;
    for good in [
        format!("/v2/a/b/blobs/{blob}"),
        "/v2/a/b/manifests/t".to_owned(),
        "/v2/a/b/tags/list".into(),
        format!("/v2/a/b/referrers/{blob}"),
    ] {
        assert_eq!(get(&registry, &good).await, 200, "{good}");
        for (at, _) in good.match_indices('/') {
            for odd in odd {
                let path = format!("{}{odd}{}", &good[..at], &good[at + 1..]);
                let found = get(&registry, &path).await;
                // A query or a fragment ends the path, here that of the base.
                let base = path.starts_with("/v2?/") || path.starts_with("/v2#/");
                let fits = [400, 404].contains(&found) || (base && found == 200);
                assert!(fits, "{path}: {found}");
                count += 1;
            }
        }
    }
    assert!(count >= 400);
    assert!(registry.log.0.lock().unwrap().iter().all(|access| access.status < 500));
}

#[tokio::test]
async fn heads_that_two_servers_could_read_in_two_ways_are_refused() {
    let registry = Registry::start().await;
    let upload = registry.open("a").await;
    let long = "x".repeat(40_000);
    let many: String = (0..2000).map(|i| format!("x-{i}: y\r\n")).collect();
    for (what, head, allowed) in [
        ("no HTTP", "hello\r\n\r\n".to_owned(), &[400][..]),
        ("TLS", "\x16\x03\x01\x02\x00\x01\r\n\r\n".into(), &[400]),
        ("HTTP/3", "GET /v2/ HTTP/3.0\r\n\r\n".into(), &[400, 0]),
        (
            "two lengths",
            format!(
                "PATCH {upload} HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
            ),
            &[400],
        ),
        (
            "a length with a sign",
            format!("PATCH {upload} HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc"),
            &[400],
        ),
        (
            "a length of 2^65",
            format!("PATCH {upload} HTTP/1.1\r\nContent-Length: 36893488147419103232\r\n\r\nabc"),
            &[400],
        ),
        (
            "a coding that is not chunked",
            format!("PATCH {upload} HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nabc"),
            &[400],
        ),
        (
            "a chunk of a senseless length",
            format!("PATCH {upload} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc"),
            &[400],
        ),
        (
            "a chunk of 2^64",
            format!(
                "PATCH {upload} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\nabc"
            ),
            &[400],
        ),
        ("a space before the colon", "GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n".into(), &[400]),
        ("a folded line", "GET /v2/ HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n".into(), &[400]),
        ("NUL in a value", "GET /v2/ HTTP/1.1\r\nHost: a\0b\r\n\r\n".into(), &[400]),
        (
            "a long head",
            format!("GET /v2/ HTTP/1.1\r\nx: {long}\r\nConnection: close\r\n\r\n"),
            &[431],
        ),
        ("many headers", format!("GET /v2/ HTTP/1.1\r\n{many}\r\n"), &[431, 400]),
        ("an endless head", format!("GET /v2/ HTTP/1.1\r\nx: {}", long.repeat(50)), &[431, 400, 0]),
        (
            "a long query",
            format!("GET /v2/?{} HTTP/1.1\r\nConnection: close\r\n\r\n", &long[..20_000]),
            &[414],
        ),
        (
            "a long target",
            format!("GET /v2/{} HTTP/1.1\r\nConnection: close\r\n\r\n", long.repeat(2)),
            &[400, 414],
        ),
    ] {
        let answer = exchange(&registry, head.as_bytes()).await;
        assert!(allowed.contains(&status(&answer)), "{what}: {answer:.200}");
    }
    let answer = registry.send("GET", &upload).await;
    assert_eq!(common::header(&answer, "range"), "0-0");
}

/// The body belongs to one length alone: with both, the chunks count and the connection ends.
#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let registry = Registry::start().await;
    let upload = registry.open("a").await;
    let smuggled = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nDELETE {upload} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    );
    let answer = exchange(&registry, smuggled.as_bytes()).await;
    assert!([202, 400].contains(&status(&answer)), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let registry = Registry::start().await;
    let requests = "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\nHEAD /v2/ HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange(&registry, requests.as_bytes()).await;
    let found: Vec<_> =
        answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(found, ["200", "200", "404"]);
}

/// A client that waits for leave does not send a body that is refused anyway.
#[tokio::test]
async fn leave_is_given_only_for_what_is_wanted() {
    let registry = Registry::start().await;
    let upload = registry.open("a").await;
    let ask = |method: &str, path: &str, length: usize| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    };
    let refused = exchange(&registry, ask("PUT", "/v2/a/manifests/t", 5 << 20).as_bytes()).await;
    assert_eq!(status(&refused), 413);
    let gone = upload.replace("/a/", "/b/");
    assert_eq!(status(&exchange(&registry, ask("PATCH", &gone, 9).as_bytes()).await), 404);

    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    stream.write_all(ask("PATCH", &upload, 3).as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(status(&rest), 202);
}

/// Rule R10.
#[tokio::test]
async fn slow_clients_are_left() {
    let registry = Registry::with(|config| {
        config.limits.header_time = Duration::from_millis(300);
        config.limits.body_time = Duration::from_millis(300);
        config.limits.body_bytes = 1000;
    })
    .await;
    let upload = registry.open("a").await;
    let started = Instant::now();
    for (what, start) in [
        ("nothing", String::new()),
        ("half a preface", "PRI * HT".into()),
        ("half a head", "GET /v2/ HTTP/1.1\r\nHost".into()),
        (
            "half a body",
            format!(
                "PATCH {upload} HTTP/1.1\r\nContent-Length: 100\r\nConnection: close\r\n\r\nabc"
            ),
        ),
        (
            "half a manifest",
            "PUT /v2/a/manifests/t HTTP/1.1\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{"
                .into(),
        ),
    ] {
        let answer = exchange(&registry, start.as_bytes()).await;
        assert!([0, 408].contains(&status(&answer)), "{what}: {answer}");
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    // A steady trickle above the rate is fine, and what came before is kept.
    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..20 {
        stream.write_all(&[b'x'; 500]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 202, "{answer}");
    assert!(answer.contains("range: 0-10002\r\n"), "{answer}");
}

/// A hundred idle connections beyond the limit do not stop the work of those who came first.
#[tokio::test]
async fn connections_are_bounded() {
    let registry = Registry::with(|config| {
        config.limits.connections = 4;
        config.limits.header_time = Duration::from_millis(200);
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(TcpStream::connect(registry.address).await.unwrap());
    }
    assert_eq!(registry.status("GET", "/v2/").await, 200);
}

/// A client that asks and never reads is left too, and the log tells how far it came.
#[tokio::test]
async fn clients_that_do_not_read_are_left() {
    let registry = Registry::with(|config| {
        config.limits.body_time = Duration::from_millis(300);
    })
    .await;
    let blob = registry.push_blob("a", &common::noise(20_000_000, 1)).await;
    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    let head = format!("GET /v2/a/blobs/{} HTTP/1.1\r\nHost: a\r\n\r\n", blob.digest);
    stream.write_all(head.as_bytes()).await.unwrap();
    let told = || registry.log.0.lock().unwrap().iter().any(|access| access.method == "GET");
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if told() {
            break;
        }
    }
    let log = registry.log.0.lock().unwrap();
    let access = log.iter().find(|access| access.method == "GET").unwrap();
    assert!(access.status == 200 && access.sent < 20_000_000, "{access:?}");
}
