//! The way to a registry: proxies, given addresses, how many requests at a time.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::fake::{Fake, Reply, Request, Step, head, reply};
use common::forward::Forward;
use common::{all, blob, noise, quick, repository, stream};
use conex_client::{Client, Credentials, Options, PlainHttp, Proxies, Proxy, Secret};
use conex_spec::{Digest, Kind, Name, Result, Tag};
use conex_store::{Sink, Source, SourceExt};

/// `bob:canary-password`, for the registry.
const BASIC: &str = "Ym9iOmNhbmFyeS1wYXNzd29yZA==";
/// `p:canary-proxy`, for the proxy.
const PROXY_BASIC: &str = "cDpjYW5hcnktcHJveHk=";
const NAME: &str = "registry.example:5000";

/// Requests for [`NAME`] go through this proxy, over plain HTTP.
fn through(forward: &Forward) -> Options {
    let (mut options, _) = quick();
    let url = format!("http://p:canary-proxy@{}", forward.address);
    options.proxies = Proxies { http: Some(Proxy::new(url, "the test")), ..Proxies::default() };
    options.plain_http = PlainHttp::Hosts(vec!["registry.example".into()]);
    options.credentials = Credentials::anonymous().with_password(
        NAME,
        "bob",
        Secret::new("canary-password"),
        "the test",
    );
    options
}

async fn read(options: Options, bytes: &[u8]) -> Result<Vec<u8>> {
    all(repository(options, &format!("{NAME}/a")).fetch(&blob(bytes)).await?).await
}

fn wants_login(request: &Request, then: impl Fn() -> Reply) -> Reply {
    match request.header("authorization") {
        Some(_) => then(),
        None => reply(401, &["WWW-Authenticate: Basic realm=x"], ""),
    }
}

/// Absolute targets for `http`; the proxy's login goes to the proxy, the registry's through it.
#[tokio::test]
async fn plain_http_through_a_proxy() {
    let bytes = noise(1000);
    let served = bytes.clone();
    let fake = Fake::start(move |request| wants_login(request, || reply(200, &[], &served))).await;
    let wants = format!("Basic {PROXY_BASIC}");
    let forward = Forward::wanting(&[(NAME, &fake.address)], Some(&wants)).await;
    assert_eq!(read(through(&forward), &bytes).await.unwrap(), bytes);
    assert!(forward.connects().is_empty());
    assert!(forward.heads().iter().any(|head| head.starts_with(&format!("GET http://{NAME}/v2/"))));
    assert_eq!(fake.count(PROXY_BASIC) + fake.count("roxy-"), 0);
    assert!(fake.count(BASIC) > 0);
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_gone_is_named_without_its_password() {
    let forward = Forward::wanting(&[], Some("Basic other")).await;
    let mut options = through(&forward);
    let refused = read(options.clone(), b"x").await.unwrap_err();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Some(Proxy::new(format!("http://p:canary-proxy@{gone}"), "HTTPS_PROXY"));
    options.proxies = Proxies { http: proxy.clone(), https: proxy, ..Proxies::default() };
    let no_proxy = read(options.clone(), b"x").await.unwrap_err();
    options.plain_http = PlainHttp::Loopback;
    let no_tunnel = read(options.clone(), b"x").await.unwrap_err();
    for err in [&no_proxy, &no_tunnel] {
        assert_eq!(err.kind(), Kind::Network);
        assert!(err.message().contains(&format!("through the proxy http://{gone} (HTTPS_PROXY)")));
        assert!(err.hint_text().unwrap().contains("whether the proxy runs"), "{err:?}");
    }
    for err in [refused, no_proxy, no_tunnel] {
        assert!(!format!("{err} {err:?} {options:?}").contains("canary"), "{err:?}");
    }
}

#[tokio::test]
async fn who_is_asked_directly() {
    let bytes = noise(10);
    let served = bytes.clone();
    let fake = Fake::start(move |_| reply(200, &[], &served)).await;
    let forward = Forward::start(&[]).await;
    let mut options = through(&forward);
    let own = repository(options.clone(), &fake.reference("a"));
    assert_eq!(all(own.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    assert!(forward.heads().is_empty(), "this machine");
    options.proxies.direct = "example".into();
    options.addresses = vec![format!("{NAME}:127.0.0.1").parse().unwrap()];
    let err = read(options.clone(), &bytes).await.unwrap_err();
    assert!(err.message().contains("refused") && forward.heads().is_empty(), "{err}");
    options.proxies.loopback = true;
    options.proxies.direct = String::new();
    let own = repository(options, &fake.reference("a"));
    assert_eq!(all(own.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    assert!(!forward.heads().is_empty());
}

/// Rule C3 behind a proxy, where this machine is not the one that connects.
#[tokio::test]
async fn a_proxy_is_not_led_to_this_machine() {
    let victim = Fake::start(|_| reply(200, &[], "{}")).await;
    let port = victim.address.rsplit_once(':').unwrap().1.to_owned();
    for host in ["localhost", "a.localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "169.254.169.254"] {
        let target = format!("http://{host}:{port}/");
        let realm = format!("WWW-Authenticate: Bearer realm=\"{target}token\"");
        let location = format!("Location: {target}x");
        for answer in [reply(401, &[&realm], ""), reply(307, &[&location], "")] {
            let fake = Fake::start(move |request| match request.target.as_str() {
                "/v2/" => Vec::new(),
                _ => answer.clone(),
            })
            .await;
            let near = format!("{host}:{port}");
            let names = [(NAME, &*fake.address), (&*near, &*victim.address)];
            let forward = Forward::start(&names).await;
            let mut options = through(&forward);
            options.proxies.loopback = true;
            let err = read(options, b"x").await.unwrap_err();
            assert_eq!(err.kind(), Kind::Denied, "{target} {err}");
        }
    }
    assert!(victim.seen().is_empty());
}

#[tokio::test]
async fn given_addresses() {
    let bytes = noise(10);
    let served = bytes.clone();
    let fake = Fake::start_at("127.0.0.3", move |_| reply(200, &[], &served)).await;
    let port = fake.address.rsplit_once(':').unwrap().1;
    let (mut options, _) = quick();
    options.plain_http = PlainHttp::Any;
    options.addresses = vec![format!("registry.example:{port}:127.0.0.3").parse().unwrap()];
    let named = repository(options, &format!("registry.example:{port}/a"));
    assert_eq!(all(named.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    assert_eq!(fake.seen()[0].header("host"), Some(&*format!("registry.example:{port}")));
}

/// A server that counts its connections, and how many requests it has at a time.
async fn counting(pause: Duration) -> (String, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (connections, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (connections.clone(), most.clone());
    let now = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let (now, highest) = (now.clone(), highest.clone());
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while connection.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    if buffer.starts_with(b"GET /v2/ ") {
                        let _ = connection.write_all(&head(200, &["Content-Length: 0"])).await;
                        continue;
                    }
                    highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let _ = connection.write_all(&head(200, &["Content-Length: 10"])).await;
                    tokio::time::sleep(pause).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    let _ = connection.write_all(&noise(10)).await;
                }
            });
        }
    });
    (address, connections, most)
}

#[tokio::test]
async fn connections_are_used_again() {
    let (address, connections, _) = counting(Duration::ZERO).await;
    let repository = repository(quick().0, &format!("{address}/a"));
    let bytes = noise(10);
    for _ in 0..20 {
        assert_eq!(all(repository.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_host_gets_so_many_requests_at_a_time() {
    for limit in [1, 3] {
        let (address, connections, most) = counting(Duration::from_millis(20)).await;
        let (mut options, _) = quick();
        options.per_host = limit;
        let client = Client::new(options);
        let bytes = noise(10);
        let reads = (0..12).map(|number| {
            let name = format!("{address}/a{}", number % 2);
            let repository = client.repository(&name.parse().unwrap());
            let bytes = bytes.clone();
            async move { all(repository.fetch(&blob(&bytes)).await.unwrap()).await.unwrap() }
        });
        futures_util::future::join_all(reads).await;
        assert_eq!(most.load(Ordering::SeqCst), limit);
        assert!(connections.load(Ordering::SeqCst) <= limit);
    }
}

/// A copy within one host reads while it writes, and does not wait for itself.
#[tokio::test]
async fn a_host_that_gets_one_request_at_a_time_can_be_copied_within() {
    let bytes = noise(6 << 20);
    let served = bytes.clone();
    let fake = Fake::start(move |request| match request.method.as_str() {
        _ if request.target == "/v2/" => Vec::new(),
        "GET" => reply(200, &[], &served),
        "POST" => reply(202, &["Location: /up"], ""),
        "PUT" => reply(201, &[], ""),
        _ => reply(404, &[], ""),
    })
    .await;
    let (mut options, _) = quick();
    options.per_host = 1;
    let client = Client::new(options);
    let (from, to) = (fake.reference("a"), fake.reference("b"));
    let from = client.repository(&from.parse().unwrap());
    let to = client.repository(&to.parse().unwrap());
    let content = from.fetch(&blob(&bytes)).await.unwrap();
    to.put(&blob(&bytes), content).await.unwrap();
    assert_eq!(fake.seen().last().unwrap().body, bytes);
}

/// Whoever asks again because of an answer does not wait for the place that this answer holds: a
/// registry without the referrers API is asked for the tag then, one without HEAD for the manifest.
#[tokio::test]
async fn what_follows_a_refusal_finds_a_place() {
    let (subject, bytes) = (Digest::sha256(b"subject"), noise(1000));
    for status in [400, 404, 405] {
        let fake = Fake::start(move |request| match request.target.as_str() {
            "/v2/" => Vec::new(),
            _ => reply(status, &[], "refused"),
        })
        .await;
        let (mut options, _) = quick();
        options.per_host = 1;
        let repository = repository(options, &fake.reference("a"));
        let name = Name::Tag(Tag::new("v1").unwrap());
        let soon = Duration::from_secs(5);
        let asked = async {
            let _ = repository.referrers(&subject).await;
            let _ = repository.resolve(Some(&name)).await;
            let _ = repository.resolve(Some(&Name::Digest(subject.clone()))).await;
            let _ = repository.put(&blob(&bytes), stream(&bytes, 1000)).await;
        };
        assert!(tokio::time::timeout(soon, asked).await.is_ok(), "{status}: stands still");
    }
}

/// Rule C9 and RFC 9110, 15.4.8: an upload is sent again where that can be done.
#[tokio::test]
async fn uploads_are_redirected_as_far_as_they_can_be_sent_again() {
    for status in [307, 308] {
        let small = noise(1000);
        let take = Fake::start(|_| reply(201, &[], "")).await;
        let target = format!("Location: {}", take.url("/there"));
        let fake = Fake::start(move |request| match request.method.as_str() {
            _ if request.target == "/v2/" => Vec::new(),
            "POST" if request.target.contains("/first/") => reply(202, &["Location: /up"], ""),
            "POST" => reply(status, &["Location: /v2/first/blobs/uploads/"], ""),
            "PUT" => reply(status, &[&target], ""),
            _ => reply(404, &[], ""),
        })
        .await;
        let sink = repository(quick().0, &fake.reference("a"));
        sink.put(&blob(&small), stream(&small, 100)).await.unwrap();
        assert_eq!(take.seen()[0].body, small);
        // A stream is gone once it is sent.
        let large = noise(5 << 20);
        let err = sink.put(&blob(&large), stream(&large, 1 << 16)).await.unwrap_err();
        assert!(err.message().contains("leads elsewhere after the upload"), "{err}");
    }
}

/// "Warnings": each is told once, whoever answers.
#[tokio::test]
async fn warnings_of_pushes_are_told_once() {
    let bytes = noise(10);
    let fake = Fake::start(|request| match request.method.as_str() {
        _ if request.target == "/v2/" => Vec::new(),
        "POST" => reply(202, &["Location: /up", "Warning: 299 - \"old api\""], ""),
        "PUT" => reply(201, &["Warning: 299 - \"old api\"", "Warning: 299 - \"full soon\""], ""),
        _ => vec![Step::Close],
    })
    .await;
    let (options, notes) = quick();
    let sink = repository(options, &fake.reference("a"));
    for _ in 0..2 {
        sink.put(&blob(&bytes), stream(&bytes, 10)).await.unwrap();
    }
    let told = notes.warnings();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(sink.resolve(None).await.is_err());
}
