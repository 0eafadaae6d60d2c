//! Rows 91 to 112 of the table of hostile inputs: what a registry may do to a reader.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::time::{Duration, Instant};

use common::fake::{Fake, Reply, Request, Step, bare, head, reply};
use common::{all, blob, noise, quick, repository};
use conex_spec::{Descriptor, Error, Kind, Result};
use conex_store::{Source, SourceExt};

/// Pulls the blob of `bytes` from a server that answers blob requests with `handler`.
async fn pull(
    bytes: &[u8],
    handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Result<Vec<u8>>, Fake, usize) {
    let fake = Fake::start(move |request| match request.target.as_str() {
        "/v2/" => Reply::new(),
        _ => handler(request),
    })
    .await;
    let (options, notes) = quick();
    let repository = repository(options, &fake.reference("a"));
    let result = fetch(&repository, &blob(bytes)).await;
    (result, fake, notes.retries())
}

async fn fetch(source: &dyn Source, blob: &Descriptor) -> Result<Vec<u8>> {
    all(source.fetch(blob).await?).await
}

fn kind(result: &Result<Vec<u8>>) -> Option<Kind> {
    result.as_ref().err().map(Error::kind)
}

/// Answers as a good server does, but `break_off` the first answer after so many bytes.
fn breaks_off(bytes: bytes::Bytes, after: usize, end: Step) -> impl Fn(&Request) -> Reply {
    move |request| {
        if request.count == 0 {
            let length = format!("Content-Length: {}", bytes.len());
            let part = bytes[..after].to_vec();
            return vec![
                Step::Send(head(200, &[&length])),
                Step::Send(part),
                Step::Wait(Duration::from_millis(20)),
                end.clone(),
            ];
        }
        let Some((first, last)) = request.range() else { return reply(200, &[], &bytes) };
        let range = format!("Content-Range: bytes {first}-{last}/{}", bytes.len());
        reply(206, &[&range], &bytes[first..=last])
    }
}

/// Rule C11, as all rows from 91 to 97.
#[tokio::test]
async fn rows_91_109_110_a_broken_body_is_resumed() {
    let bytes = noise(300_000);
    for end in [Step::Close, Step::Reset, Step::Wait(Duration::from_secs(3600))] {
        for after in [0, 1, 150_000, 299_999] {
            let handler = breaks_off(bytes.clone(), after, end.clone());
            let (result, fake, retries) = pull(&bytes, handler).await;
            assert_eq!(result.unwrap(), bytes, "{end:?} {after}");
            assert_eq!(retries, 1);
            let seen = fake.seen();
            assert_eq!(seen.len(), 2);
            // RST may throw away what was sent before it.
            let (first, last) = seen[1].range().unwrap_or((0, 299_999));
            assert!(first <= after && last == 299_999, "{first} {after}");
        }
    }
}

#[tokio::test]
async fn row_91_a_body_that_always_ends_early_is_given_up() {
    let bytes = noise(1000);
    let short = bytes.slice(..500);
    let (result, fake, _) = pull(&bytes, move |request| {
        let mut steps = match request.range() {
            None => bare(200, &["Content-Length: 1000"]),
            Some((first, last)) => {
                let length = format!("Content-Length: {}", last + 1 - first);
                let range = format!("Content-Range: bytes {first}-{last}/1000");
                bare(206, &[&length, &range])
            }
        };
        if request.range().is_none() {
            steps.push(Step::Send(short.to_vec()));
        }
        steps.push(Step::Close);
        steps
    })
    .await;
    assert_eq!(kind(&result), Some(Kind::Network), "{result:?}");
    assert_eq!(fake.seen().len(), 4);
}

#[tokio::test]
async fn rows_92_112_another_length_is_refused_at_once() {
    let bytes = noise(1000);
    let longer = [&bytes[..], b"x"].concat();
    let told = longer.clone();
    let (result, _, retries) = pull(&bytes, move |_| reply(200, &[], &told)).await;
    assert_eq!((kind(&result), retries), (Some(Kind::Mismatch), 0), "{result:?}");
    let untold = longer.clone();
    let (result, ..) = pull(&bytes, move |_| {
        let chunk =
            [format!("{:x}\r\n", untold.len()).as_bytes(), &untold, b"\r\n0\r\n\r\n"].concat();
        vec![Step::Send(head(200, &["Transfer-Encoding: chunked"])), Step::Send(chunk)]
    })
    .await;
    assert_eq!(kind(&result), Some(Kind::Mismatch), "{result:?}");
    // HTTP/1.0: the end of the connection is the end of the body.
    let (result, ..) = pull(&bytes, move |_| {
        vec![
            Step::Send(b"HTTP/1.0 200 OK\r\n\r\n".to_vec()),
            Step::Send(longer.clone()),
            Step::Close,
        ]
    })
    .await;
    assert_eq!(kind(&result), Some(Kind::Mismatch), "{result:?}");
}

#[tokio::test]
async fn row_93_another_content_is_refused() {
    let bytes = noise(1000);
    let mut other = bytes.to_vec();
    other[500] ^= 1;
    let (result, fake, _) = pull(&bytes, move |_| reply(200, &[], &other)).await;
    assert_eq!(kind(&result), Some(Kind::Mismatch), "{result:?}");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn row_94_a_header_that_names_other_content_is_refused() {
    let bytes = noise(1000);
    let right = bytes.clone();
    let lie = format!("Docker-Content-Digest: {}", blob(b"other").digest);
    let (result, ..) = pull(&bytes, move |_| reply(200, &[&lie], &right)).await;
    assert_eq!(kind(&result), Some(Kind::Mismatch), "{result:?}");
    let right = bytes.clone();
    let (result, ..) =
        pull(&bytes, move |_| reply(200, &["Docker-Content-Digest: ../x"], &right)).await;
    assert_eq!(kind(&result), Some(Kind::Invalid), "{result:?}");
}

/// Row 95: a server that ignores `Range` sends all, and what is before the range is skipped.
#[tokio::test]
async fn row_95_all_instead_of_a_range_is_taken() {
    let bytes = noise(100_000);
    let served = bytes.clone();
    let fake = Fake::start(move |request| match request.target.as_str() {
        "/v2/" => Reply::new(),
        _ => reply(200, &[], &served),
    })
    .await;
    let (options, notes) = quick();
    let repository = repository(options, &fake.reference("a"));
    for range in [0..1, 5..50_000, 99_999..100_000] {
        let part = all(repository.open(&blob(&bytes), range.clone()).await.unwrap()).await.unwrap();
        assert_eq!(part, bytes[range.start as usize..range.end as usize]);
    }
    assert_eq!(notes.retries(), 0);
    // The same after a break.
    let served = bytes.clone();
    let (result, ..) = pull(&bytes, move |request| match request.count {
        0 => {
            let mut steps = bare(200, &["Content-Length: 100000"]);
            steps.extend([Step::Send(served[..60_000].to_vec()), Step::Close]);
            steps
        }
        _ => reply(200, &[], &served),
    })
    .await;
    assert_eq!(result.unwrap(), bytes);
}

#[tokio::test]
async fn row_96_other_bytes_than_asked_for_are_refused() {
    let bytes = noise(1000);
    for range in [
        "bytes 0-499/1000",
        "bytes 501-999/1000",
        "bytes 500-1000/1001",
        "bytes 500-999/2000",
        "bytes 500-999",
        "",
        "x",
    ] {
        let served = bytes.clone();
        let (result, ..) = pull(&bytes, move |request| match request.count {
            0 => {
                let mut steps = bare(200, &["Content-Length: 1000"]);
                steps.extend([Step::Send(served[..500].to_vec()), Step::Close]);
                steps
            }
            _ => reply(206, &[&format!("Content-Range: {range}")], &served[500..]),
        })
        .await;
        assert_eq!(kind(&result), Some(Kind::Mismatch), "{range}: {result:?}");
    }
}

#[tokio::test]
async fn a_server_may_send_less_than_the_range() {
    let bytes = noise(1000);
    let served = bytes.clone();
    let (result, fake, retries) = pull(&bytes, move |request| match request.range() {
        None => {
            let mut steps = bare(200, &["Content-Length: 1000"]);
            steps.extend([Step::Send(served[..100].to_vec()), Step::Close]);
            steps
        }
        Some((first, last)) => {
            let last = last.min(first + 299);
            reply(
                206,
                &[&format!("Content-Range: bytes {first}-{last}/1000")],
                &served[first..=last],
            )
        }
    })
    .await;
    assert_eq!(result.unwrap(), bytes);
    assert_eq!((fake.seen().len(), retries), (4, 3));
}

#[tokio::test]
async fn rows_97_108_a_body_that_does_not_move_is_given_up() {
    let bytes = noise(100_000);
    for drip in [Step::Send(b"x".to_vec()), Step::Wait(Duration::ZERO)] {
        let started = Instant::now();
        let (result, fake, _) = pull(&bytes, move |_| {
            let mut steps = bare(200, &["Content-Length: 100000"]);
            for _ in 0..2000 {
                steps.extend([drip.clone(), Step::Wait(Duration::from_millis(30))]);
            }
            steps
        })
        .await;
        assert!(matches!(kind(&result), Some(Kind::Network | Kind::Mismatch)), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
        assert!(fake.seen().len() <= 4);
    }
}

#[tokio::test]
async fn row_98_redirects_of_get_are_followed() {
    let bytes = noise(1000);
    for status in [301, 302, 303, 307, 308] {
        let served = bytes.clone();
        let elsewhere = Fake::start_at("127.0.0.2", move |_| reply(200, &[], &served)).await;
        let location = format!("Location: {}", elsewhere.url("/blob?sig=a%2Fb"));
        let (result, ..) = pull(&bytes, move |_| reply(status, &[&location], "")).await;
        assert_eq!(result.unwrap(), bytes, "{status}");
        assert_eq!(elsewhere.lines(), ["GET /blob?sig=a%2Fb"]);
        assert_eq!(elsewhere.seen()[0].header("accept-encoding"), Some("identity"));
    }
}

#[tokio::test]
async fn rows_99_100_redirects_end_and_stay_in_http() {
    let bytes = noise(10);
    let (result, fake, _) =
        pull(&bytes, |request| reply(307, &[&format!("Location: {}x", request.target)], "")).await;
    assert_eq!(kind(&result), Some(Kind::Limit), "{result:?}");
    assert_eq!(fake.seen().len(), 11);
    for location in ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "data:,x"] {
        let (result, ..) =
            pull(&bytes, move |_| reply(307, &[&format!("Location: {location}")], "")).await;
        assert_eq!(kind(&result), Some(Kind::Denied), "{location}: {result:?}");
    }
    for location in
        ["http://169.254.169.254/x", "http://0.0.0.0/", "http://[::ffff:169.254.169.254]/"]
    {
        let (result, ..) =
            pull(&bytes, move |_| reply(307, &[&format!("Location: {location}")], "")).await;
        assert_eq!(kind(&result), Some(Kind::Denied), "{location}: {result:?}");
    }
    let (result, ..) = pull(&bytes, |_| reply(307, &[], "")).await;
    assert_eq!(kind(&result), Some(Kind::Invalid), "{result:?}");
}

#[tokio::test]
async fn rows_102_103_104_passing_failures_are_retried() {
    let bytes = noise(1000);
    for (status, header) in [
        (500, ""),
        (502, ""),
        (503, "Retry-After: 0"),
        (504, "Retry-After: -1"),
        (429, "Retry-After: soon"),
        (408, ""),
    ] {
        let served = bytes.clone();
        let (result, _, retries) = pull(&bytes, move |request| match request.count {
            0..3 if header.is_empty() => reply(status, &[], ""),
            0..3 => reply(status, &[header], ""),
            _ => reply(200, &[], &served),
        })
        .await;
        assert_eq!(result.unwrap(), bytes, "{status}");
        assert_eq!(retries, 3);
    }
    let (result, fake, _) = pull(&bytes, |_| reply(503, &[], "")).await;
    assert_eq!((kind(&result), fake.seen().len()), (Some(Kind::Network), 4), "{result:?}");
    let (result, fake, _) = pull(&bytes, |_| reply(404, &[], "")).await;
    assert_eq!((kind(&result), fake.seen().len()), (Some(Kind::NotFound), 1), "{result:?}");
}

#[tokio::test]
async fn row_105_a_bad_trailer_is_refused() {
    let bytes = noise(1000);
    for trailer in ["0\r\n\0\r\n\r\n", "zz\r\n", "ffffffffffffffffff\r\n"] {
        let served = bytes.clone();
        let (result, ..) = pull(&bytes, move |_| {
            let chunk = [&b"3e8\r\n"[..], &served, b"\r\n", trailer.as_bytes()].concat();
            vec![
                Step::Send(head(200, &["Transfer-Encoding: chunked"])),
                Step::Send(chunk),
                Step::Close,
            ]
        })
        .await;
        assert!(result.is_err(), "{trailer:?}");
    }
}

/// Row 106: a server may say that a gzip layer is a gzip-encoded something; its bytes are what
/// the digest is of.
#[tokio::test]
async fn row_106_content_encoding_is_no_matter() {
    let bytes = noise(1000);
    let served = bytes.clone();
    let (result, fake, _) =
        pull(&bytes, move |_| reply(200, &["Content-Encoding: gzip"], &served)).await;
    assert_eq!(result.unwrap(), bytes);
    assert_eq!(fake.seen()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn row_107_endless_headers_are_refused() {
    let (result, ..) = pull(b"x", |_| {
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec())];
        steps.extend(
            (0..100)
                .map(|i| Step::Send(format!("X-{i}: {}\r\n", "x".repeat(1 << 20)).into_bytes())),
        );
        steps
    })
    .await;
    assert_eq!(kind(&result), Some(Kind::Network), "{result:?}");
}

/// Rule C10: errors are read up to a limit and shown without what could write on a terminal.
#[tokio::test]
async fn errors_of_strangers_are_bounded() {
    let body = r#"{"errors":[{"code":"DENIED","message":"no\u001b[2J"}]}"#;
    let (result, ..) = pull(b"x", move |_| reply(403, &[], body)).await;
    let err = result.unwrap_err();
    assert_eq!(err.kind(), Kind::Denied);
    assert!(err.message().ends_with("DENIED: no\\u{1b}[2J"), "{err}");
    let (result, ..) = pull(b"x", |_| {
        let mut steps = bare(404, &["Content-Length: 10000000000"]);
        steps.extend((0..100).map(|_| Step::Send(vec![b' '; 1 << 20])));
        steps
    })
    .await;
    assert_eq!(kind(&result), Some(Kind::NotFound));
}

#[tokio::test]
async fn a_blob_of_nothing_is_asked_for() {
    let (result, fake, _) = pull(b"", |_| reply(200, &[], "")).await;
    assert_eq!(result.unwrap(), b"");
    assert_eq!(fake.seen().len(), 1);
    let (result, ..) = pull(b"", |_| reply(404, &[], "")).await;
    assert_eq!(kind(&result), Some(Kind::NotFound));
}
