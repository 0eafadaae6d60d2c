//! Requests that nobody would send, made by chance from the pieces that all requests are made of:
//! none gets a 5xx, none ends the server, and what was there before is there afterwards.
//!
//! 20,000 answers by default. `CONEX_FUZZ_REQUESTS=1000000 cargo test -p conex-server --test api fuzzed`
//! waits for a million, which takes minutes; `CONEX_FUZZ_SEED` repeats a run, whose seed a failure
//! names.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use std::sync::Arc;
use std::time::Duration;

use common::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connections that send at a time.
const WORKERS: u64 = 8;
/// The most requests that one connection carries.
const PIPELINED: u64 = 12;

/// A generator of numbers that look random and are the same for the same seed (xorshift).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether one of so many chances came.
    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len() as u64) as usize]
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// What the registry has when it begins, and the pieces that paths are made of.
struct Pieces {
    digests: Vec<String>,
    uploads: Vec<String>,
}

const METHODS: &[&str] =
    &["GET", "GET", "HEAD", "POST", "PUT", "PUT", "PATCH", "DELETE", "OPTIONS"];
const ODD_METHODS: &[&str] = &["TRACE", "CONNECT", "get", "G\u{e9}T", "PROPFIND", "X", ""];
const NAMES: &[&str] = &[
    "fuzz/a",
    "fuzz/b",
    "fuzz",
    "a",
    "library/x",
    "A",
    "..",
    ".",
    "_tags",
    "a//b",
    "a/../b",
    "%61",
    "fuzz%2fa",
    "%2e%2e",
    "a/_uploads/b",
    "\u{430}",
    "a b",
    "a\\b",
    "fuzz/a/manifests/t/x",
    "-",
    "",
];
const TAGS: &[&str] =
    &["t", "keep", "latest", "v1.2.3", "..", ".x", "-x", "t%00", "t%2f..", "%ff", "a@b", "x:y", ""];
const KINDS: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/json",
    "application/octet-stream",
    "text/html; charset=utf-8",
    "nonsense",
    "",
];
const HEADERS: &[&str] = &[
    "Range: bytes=0-5",
    "Range: bytes=5-0",
    "Range: bytes=-18446744073709551616",
    "Range: bytes=18446744073709551615-",
    "Range: bytes=0-1,2-3,4-",
    "Content-Range: 0-9",
    "Content-Range: 10-19",
    "Content-Range: 18446744073709551615-18446744073709551615",
    "Content-Range: bytes 0-9/10",
    "If-None-Match: *",
    "If-None-Match: \"x\", W/\"y\"",
    "If-Match: *",
    "If-Match: \"",
    "If-Range: \"x\"",
    "Accept: */*",
    "Accept-Encoding: gzip, zstd;q=9",
    "Content-Encoding: gzip",
    "Authorization: Basic ????",
    "Authorization: Basic YTpi",
    "Authorization: Bearer x.y.z",
    "Authorization: Digest",
    "Expect: 100-continue",
    "Expect: 200-maybe",
    "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    "Connection: keep-alive, x",
    "X-Forwarded-For: ' OR 1=1",
    "Cookie: a=b; c",
    "Content-Type: multipart/byteranges; boundary=x",
    "Trailer: x",
    "TE: trailers",
];
const ODD_HEADERS: &[&str] = &[
    ": no name",
    "no colon",
    " folded: x",
    "Transfer-Encoding: identity",
    "Host: other.example",
    "Host: ",
    "Upgrade: h2c",
    "x\u{e9}: y",
];
const BODIES: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    "{\"schemaVersion\":2}",
    "{\"schemaVersion\":2,\"manifests\":[]}",
    "{\"schemaVersion\":2,\"manifests\":[{}]}",
    "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2},\"layers\":[]}",
    "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\",\"digest\":\"md5:x\",\"size\":-2},\"layers\":[null]}",
    "{\"schemaVersion\":1e400,\"layers\":[],\"layers\":{}}",
    "{\"schemaVersion\":2,\"manifests\":[],\"subject\":{\"mediaType\":\"a/b\",\"digest\":\"x+y:zzz\",\"size\":9223372036854775807}}",
    "\u{feff}{}",
    "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":null}",
    "some bytes",
];

impl Pieces {
    fn digest(&self, chance: &mut Chance) -> String {
        let known = &self.digests[chance.below(self.digests.len() as u64) as usize];
        match chance.below(8) {
            0 => "sha256:x".into(),
            1 => format!("sha512:{}", "a".repeat(128)),
            2 => format!("x+y:{}", "z".repeat(chance.below(400) as usize)),
            3 => known.replace(':', "%3A"),
            4 => format!("sha256:{:064x}", chance.next()),
            _ => known.clone(),
        }
    }

    fn path(&self, chance: &mut Chance) -> String {
        let names = if chance.one_in(3) { NAMES } else { &NAMES[..5] };
        let name = chance.of(names);
        let path = match chance.below(12) {
            0 | 1 => format!("/v2/{name}/manifests/{}", chance.of(TAGS)),
            2 => format!("/v2/{name}/manifests/{}", self.digest(chance)),
            3 | 4 => format!("/v2/{name}/blobs/{}", self.digest(chance)),
            5 => format!("/v2/{name}/blobs/uploads/"),
            6 => {
                let known = chance.below(self.uploads.len() as u64) as usize;
                self.uploads[known].clone()
            }
            7 => format!("/v2/{name}/tags/list"),
            8 => format!("/v2/{name}/referrers/{}", self.digest(chance)),
            9 => chance
                .of(&["/v2/", "/v2/_catalog", "/token", "/healthz", "/readyz", "/", "*"])
                .into(),
            10 => format!(
                "/v2/{name}/blobs/uploads/{:08x}-0000-4000-8000-000000000000",
                chance.next()
            ),
            _ if chance.one_in(3) => format!("/{}", chance.next()),
            _ => {
                let garbage = chance.bytes(60);
                let text =
                    garbage.iter().map(|b| char::from(b & 0x7f).to_string()).collect::<String>();
                format!("/v2/{}", text.replace([' ', '\r', '\n'], "/"))
            }
        };
        if chance.one_in(3) { format!("{path}?{}", self.query(chance)) } else { path }
    }

    fn query(&self, chance: &mut Chance) -> String {
        let count = chance.below(4);
        let pairs: Vec<_> = (0..count)
            .map(|_| {
                let name = chance.of(&[
                    "n",
                    "last",
                    "digest",
                    "mount",
                    "from",
                    "tag",
                    "digest-algorithm",
                    "artifactType",
                    "by",
                    "scope",
                    "service",
                    "ns",
                    "%00",
                    "",
                ]);
                let value = match chance.below(5) {
                    0 => self.digest(chance),
                    1 => chance.of(TAGS).to_owned(),
                    2 => chance.of(NAMES).replace(' ', "+"),
                    3 => chance
                        .of(&["0", "1", "-1", "99999999999999999999", "sha512", "blake3"])
                        .into(),
                    _ => format!("%{:02x}", chance.next() as u8),
                };
                format!("{name}={value}")
            })
            .collect();
        pairs.join("&")
    }

    /// One request as its bytes, and whether the server may wait for more of it.
    fn request(&self, chance: &mut Chance) -> Vec<u8> {
        let path = self.path(chance);
        let version = if chance.one_in(40) { "HTTP/1.0" } else { "HTTP/1.1" };
        let methods = if chance.one_in(20) { ODD_METHODS } else { METHODS };
        let method = chance.of(methods);
        let mut head = format!("{method} {path} {version}\r\nHost: a\r\n");
        for _ in 0..chance.below(4) {
            let headers = if chance.one_in(20) { ODD_HEADERS } else { HEADERS };
            let header = chance.of(headers);
            head += &format!("{header}\r\n");
        }
        if chance.one_in(3) {
            head += &format!("Content-Type: {}\r\n", chance.of(KINDS));
        }
        if chance.one_in(200) {
            head += &format!("x-long: {}\r\n", "y".repeat(chance.below(100_000) as usize));
        }
        let body = match chance.below(4) {
            0 => chance.bytes(2000),
            1 => Vec::new(),
            _ => chance.of(BODIES).as_bytes().to_vec(),
        };
        framed(head, &body, chance)
    }
}

/// A body in one of the ways in which bodies come, some of them broken.
fn framed(mut head: String, body: &[u8], chance: &mut Chance) -> Vec<u8> {
    let length = body.len();
    let way = if chance.one_in(6) { 8 + chance.below(4) } else { chance.below(8) };
    match way {
        0 if body.is_empty() => head += "\r\n",
        0..=5 => head += &format!("Content-Length: {length}\r\n\r\n"),
        6 | 7 => {
            head += "Transfer-Encoding: chunked\r\n\r\n";
            let mut bytes = head.into_bytes();
            for part in body.chunks(1 + chance.below(700) as usize) {
                bytes.extend(format!("{:x}{}\r\n", part.len(), chance.of(&["", ";ext=1"])).bytes());
                bytes.extend(part);
                bytes.extend(b"\r\n");
            }
            bytes.extend(chance.of(&["0\r\n\r\n", "0\r\nx: y\r\n\r\n"]).bytes());
            return bytes;
        }
        8 => head += &format!("Content-Length: {}\r\n\r\n", length + 7),
        9 => head += &format!("Content-Length: {}\r\n\r\n", length.saturating_sub(3)),
        10 => {
            let odd = chance.of(&[
                "-1",
                "+5",
                "x",
                "99999999999999999999",
                "5, 5",
                "5\r\nContent-Length: 6",
            ]);
            head += &format!("Content-Length: {odd}\r\n\r\n");
        }
        _ => {
            let odd = chance.of(&[
                "zz\r\n",
                "ffffffffffffffff1\r\nx",
                "5\r\nab",
                "-1\r\n",
                "3\r\nabcdef",
            ]);
            head += &format!("Transfer-Encoding: chunked\r\n\r\n{odd}");
        }
    }
    [head.as_bytes(), body].concat()
}

/// Sends some requests over one connection; returns what came back.
async fn exchange(registry: &Registry, requests: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    let mut answers = Vec::new();
    let all = requests.concat();
    let (mut reader, mut writer) = stream.split();
    // The server may close before all of it is gone; whoever only half closes gets all answers.
    let write = async {
        let _ = writer.write_all(&all).await;
        let _ = writer.shutdown().await;
    };
    let read = timeout(Duration::from_secs(30), reader.read_to_end(&mut answers));
    let (_, read) = tokio::join!(write, read);
    assert!(read.is_ok(), "the server does not answer");
    answers
}

/// The statuses of answers, at the beginnings of lines.
fn statuses(answers: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answers);
    let found = text.match_indices("HTTP/1.").filter_map(|(at, _)| {
        let line = text.get(at + 9..at + 12)?;
        line.parse().ok().filter(|_| text.get(at + 8..at + 9) == Some(" "))
    });
    found.collect()
}

async fn worker(registry: Arc<Registry>, pieces: Arc<Pieces>, seed: u64, requests: u64) -> u64 {
    let (mut chance, mut sent, mut answered) = (Chance::new(seed), 0, 0);
    while answered < requests {
        let count = if chance.one_in(3) { 1 + chance.below(PIPELINED) } else { 1 };
        let batch: Vec<_> = (0..count).map(|_| pieces.request(&mut chance)).collect();
        sent += count;
        let answers = exchange(&registry, &batch).await;
        let found = statuses(&answers);
        answered += found.len() as u64;
        let bad: Vec<_> = found.into_iter().filter(|status| *status >= 500).collect();
        assert!(
            bad.is_empty(),
            "CONEX_FUZZ_SEED={seed}, request {sent}: {bad:?}\n{:.3000}\n{:.1000}",
            String::from_utf8_lossy(&batch.concat()),
            String::from_utf8_lossy(&answers)
        );
    }
    sent
}

#[allow(clippy::disallowed_methods, reason = "whoever runs the test says how long")]
fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_the_servers_fault() {
    let seed = from_environment("CONEX_FUZZ_SEED", 1);
    let requests = from_environment("CONEX_FUZZ_REQUESTS", 20_000);
    let registry = Registry::with(|config| {
        // Half a body is waited for until then.
        config.limits.body_time = Duration::from_millis(300);
        config.limits.body_bytes = 1;
    });
    let registry = Arc::new(registry.await);
    let image = registry.push_image("keep/this", "keep", b"a layer to keep").await;
    let other = registry.push_image("fuzz/a", "keep", b"a layer").await;
    let mut uploads = Vec::new();
    for _ in 0..20 {
        uploads.push(registry.open("fuzz/a").await);
    }
    let digests = vec![
        image.digest.to_string(),
        other.digest.to_string(),
        common::sha256(b"a layer").to_string(),
        common::sha256(b"{}").to_string(),
        common::sha256(b"").to_string(),
    ];
    let pieces = Arc::new(Pieces { digests, uploads });
    let mut workers = tokio::task::JoinSet::new();
    for n in 0..WORKERS {
        let (registry, pieces) = (Arc::clone(&registry), Arc::clone(&pieces));
        workers.spawn(worker(registry, pieces, seed + n, requests / WORKERS));
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    let answered = registry.log.0.lock().unwrap().len();
    assert!(answered as u64 > requests / 2, "{answered} of {requests} were answered");
    let fault = registry.log.0.lock().unwrap().iter().find(|access| access.status >= 500).cloned();
    assert!(fault.is_none(), "CONEX_FUZZ_SEED={seed}: {fault:?}");
    let kept = registry.send("GET", "/v2/keep/this/manifests/keep").await;
    assert_eq!(common::sha256(&kept.bytes().await.unwrap()), image.digest);
    let layer = format!("/v2/keep/this/blobs/{}", common::sha256(b"a layer to keep"));
    assert_eq!(registry.send("GET", &layer).await.bytes().await.unwrap(), "a layer to keep");
}
