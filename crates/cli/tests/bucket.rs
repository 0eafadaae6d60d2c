//! `conex serve` on a bucket: several processes, and one that is killed in the middle of an upload.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "the program itself is tested")]

#[path = "support/serving.rs"]
#[allow(dead_code, unreachable_pub, clippy::panic, reason = "each test program uses its part")]
mod serving;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use conex_spec::Digest;
use conex_testkit::s3_server::{ACCESS_KEY, Program, S3Server, SECRET_KEY};
use serving::{Serve, Serving};

/// One request on a connection of its own: the answer's head and body.
fn ask(
    serving: &Serving,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(&serving.address).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap().to_ascii_lowercase(), body)
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_default().to_owned()
}

#[test]
fn an_upload_goes_on_at_the_other_process_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let bytes: Vec<u8> = (0..40_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let (one, two) = (Serve::bucket(&server).start(), Serve::bucket(&server).start());
    let (head, _) = ask(&one, "POST", "/v2/a/blobs/uploads/", "", b"");
    let path = header(&head, "location");

    let mut stream = TcpStream::connect(&one.address).unwrap();
    let length = bytes.len();
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&bytes[..20_000_000]).unwrap();
    // Some parts have arrived when the process is killed.
    let mut length = 0;
    for chunk in bytes[20_000_000..30_000_000].chunks(100_000) {
        stream.write_all(chunk).unwrap();
        let (head, _) = ask(&two, "GET", &path, "", b"");
        length = header(&head, "range").trim_start_matches("0-").parse::<usize>().unwrap() + 1;
        if length > 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(one);
    let (head, _) = ask(&two, "GET", &path, "", b"");
    let found = header(&head, "range").trim_start_matches("0-").parse::<usize>().unwrap() + 1;
    assert!((length..=30_000_000).contains(&found) && found >= 8 << 20, "{found}");

    let range = format!("Content-Range: {found}-{}\r\n", bytes.len() - 1);
    let (head, _) = ask(&two, "PATCH", &path, &range, &bytes[found..]);
    assert!(head.starts_with("http/1.1 202"), "{head}");
    let digest = Digest::sha256(&bytes);
    let three = Serve::bucket(&server).start();
    let (head, _) = ask(&three, "PUT", &format!("{path}?digest={digest}"), "", b"");
    assert!(head.starts_with("http/1.1 201"), "{head}");
    for serving in [&two, &three] {
        let (head, body) = ask(serving, "GET", &format!("/v2/a/blobs/{digest}"), "", b"");
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(body == bytes);
    }
}

/// What too many clients have sent of their parts waits on the disk, and nothing of it is lost.
#[test]
fn many_slow_uploads_have_little_memory_together() {
    const CLIENTS: usize = 48;
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::S3s, dir.path()) else { return };
    let serving = Serve::bucket(&server).start();
    let bytes = |number: usize| -> Vec<u8> {
        (0..9_000_000_u32).map(|i| (i.wrapping_mul(i + number as u32) >> 7) as u8).collect()
    };
    let begin = |number: usize| {
        let (head, _) = ask(&serving, "POST", "/v2/a/blobs/uploads/", "", b"");
        let path = header(&head, "location");
        let mut stream = TcpStream::connect(&serving.address).unwrap();
        let head = format!("PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bytes(number)[..8_000_000]).unwrap();
        (stream, path)
    };
    let end = |number: usize, (mut stream, path): (TcpStream, String)| {
        let bytes = bytes(number);
        stream.write_all(&bytes[8_000_000..]).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 202");
        let digest = Digest::sha256(&bytes);
        let (head, _) = ask(&serving, "PUT", &format!("{path}?digest={digest}"), "", b"");
        assert!(head.starts_with("http/1.1 201"), "{head}");
        if number.is_multiple_of(8) {
            let (_, body) = ask(&serving, "GET", &format!("/v2/a/blobs/{digest}"), "", b"");
            assert!(body == bytes);
        }
    };
    let numbers: Vec<usize> = (0..CLIENTS).collect();
    let begun: Vec<_> = numbers.into_iter().map(|number| (number, begin(number))).collect();
    std::thread::scope(|scope| {
        for (number, upload) in begun {
            scope.spawn(move || end(number, upload));
        }
    });
    // All of them together have sent 384 MB before any of it could become a part.
    assert!(serving.peak() < 200 << 10, "{} KiB", serving.peak());
}

#[test]
fn a_bucket_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let told = Command::new(env!("CARGO_BIN_EXE_conex"))
        .args(["serve", "--listen", "127.0.0.1:0", "--storage", "s3://not-there/x"])
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .output()
        .unwrap();
    assert!(!told.status.success());
    let text = String::from_utf8(told.stderr).unwrap();
    assert!(text.contains("s3://not-there/x") && text.contains("NoSuchBucket"), "{text}");
    assert!(!text.contains(SECRET_KEY));
}
