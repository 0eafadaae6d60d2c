//! A client over plain HTTP that writes down what it does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use conex_spec::Digest;
use serde_json::Value;

use super::{Action, History, Outcome};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer: its status, its head in small letters, and its body.
#[allow(missing_docs, reason = "the fields are named for what they hold")]
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// One request on a connection of its own.
pub fn ask(address: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(cut)?;
    let body = answer.split_off(end + 4);
    // The names of headers alone: an address of an upload keeps its letters.
    let lower = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
        None => format!("{line}\n"),
    };
    let head: String = String::from_utf8_lossy(&answer).lines().map(lower).collect();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
    let answer = Answer { status, head, body };
    // A server that is killed cuts bodies short.
    let whole = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    if method != "HEAD" && whole.is_some_and(|whole| whole != answer.body.len()) {
        return Err(cut());
    }
    Ok(answer)
}

/// See the module.
#[allow(missing_docs, reason = "the fields are named for what they hold")]
#[derive(Clone, Debug)]
pub struct Client {
    pub history: Arc<History>,
    /// Those of all processes that serve the same things: each request goes to one of them.
    pub addresses: Vec<String>,
}

impl Client {
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
        // Not in turn, or every client would stay with one process.
        let at = self.history.now() as usize / 1000 % self.addresses.len();
        ask(&self.addresses[at], method, path, kind, body)
    }

    /// Pushes a blob, in one of three ways.
    pub fn push_blob(&self, repository: &str, bytes: &[u8], way: u64) -> Outcome {
        let digest = Digest::sha256(bytes).to_string();
        let start = self.history.now();
        let outcome = self.upload(repository, bytes, &digest, way).unwrap_or(Outcome::Unknown);
        let action = Action::PutBlob { repository: repository.into(), digest };
        self.history.note(start, action, outcome)
    }

    fn upload(
        &self,
        repository: &str,
        bytes: &[u8],
        digest: &str,
        way: u64,
    ) -> io::Result<Outcome> {
        let kind = "application/octet-stream";
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        if way.is_multiple_of(3) {
            let path = format!("{uploads}?digest={digest}");
            return Ok(done(self.ask("POST", &path, kind, bytes)?.status));
        }
        let begun = self.ask("POST", &uploads, kind, b"")?;
        let Some(location) = begun.header("location").filter(|_| begun.status == 202) else {
            return Ok(done(begun.status));
        };
        let mut rest = bytes;
        if way % 3 == 2 {
            let (first, second) = bytes.split_at(bytes.len() / 2);
            let patched = self.ask("PATCH", location, kind, first)?;
            if patched.status != 202 {
                return Ok(done(patched.status));
            }
            rest = second;
        }
        let path = format!("{location}?digest={digest}");
        Ok(done(self.ask("PUT", &path, kind, rest)?.status))
    }

    /// Mounts a blob. Where the other repository does not have it, nothing happens.
    pub fn mount(&self, repository: &str, from: &str, digest: &str) -> Outcome {
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
        let start = self.history.now();
        let outcome = match self.ask("POST", &path, "text/plain", b"") {
            Ok(answer) if answer.status == 201 => Outcome::Done,
            // An upload was begun instead; it is left to who collects.
            Ok(answer) if answer.status == 202 => Outcome::Refused(202),
            Ok(answer) => done(answer.status),
            Err(_) => Outcome::Unknown,
        };
        let (repository, digest) = (repository.into(), digest.into());
        self.history.note(start, Action::PutBlob { repository, digest }, outcome)
    }

    /// Asks whether a blob is there.
    pub fn head_blob(&self, repository: &str, digest: &str) -> Outcome {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let action = Action::HeadBlob { repository: repository.into(), digest: digest.into() };
        self.look("HEAD", &path, action, |_| Outcome::Done)
    }

    /// Reads a blob.
    pub fn get_blob(&self, repository: &str, digest: &str) -> Outcome {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let action = Action::GetBlob { repository: repository.into(), digest: digest.into() };
        self.look("GET", &path, action, found)
    }

    /// Puts a manifest under a tag, or under its digest.
    pub fn put_manifest(&self, repository: &str, manifest: &[u8], tag: Option<&str>) -> Outcome {
        let digest = Digest::sha256(manifest).to_string();
        let path = format!("/v2/{repository}/manifests/{}", tag.unwrap_or(&digest));
        let value: Value = serde_json::from_slice(manifest).unwrap();
        let kind = value["mediaType"].as_str().unwrap_or_default();
        let start = self.history.now();
        let outcome = match self.ask("PUT", &path, kind, manifest) {
            Ok(answer) if answer.status == 400 => lacking(&answer.body),
            Ok(answer) => done(answer.status),
            Err(_) => Outcome::Unknown,
        };
        let text = |value: &Value| value["digest"].as_str().map(str::to_owned);
        let layers = value["layers"].as_array().into_iter().flatten();
        let children = layers.chain([&value["config"]]).filter_map(text).collect();
        let (repository, tag) = (repository.to_owned(), tag.map(str::to_owned));
        let subject = text(&value["subject"]);
        let action = Action::PutManifest { repository, digest, children, tag, subject };
        self.history.note(start, action, outcome)
    }

    /// Reads a manifest by its digest.
    pub fn get_manifest(&self, repository: &str, digest: &str) -> Outcome {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let action = Action::GetManifest { repository: repository.into(), digest: digest.into() };
        self.look("GET", &path, action, found)
    }

    /// Reads a manifest by a tag. Its bytes, if they came.
    pub fn get_tag(&self, repository: &str, tag: &str) -> Option<Vec<u8>> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let action = Action::GetTag { repository: repository.into(), tag: tag.into() };
        let mut bytes = None;
        self.look("GET", &path, action, |body| {
            bytes = Some(body.to_vec());
            found(body)
        });
        bytes
    }

    /// Lists the referrers of a subject; there must be fewer than fit one page.
    pub fn referrers(&self, repository: &str, subject: &str) -> Outcome {
        let path = format!("/v2/{repository}/referrers/{subject}");
        let action = Action::Referrers { repository: repository.into(), subject: subject.into() };
        self.look("GET", &path, action, |body| {
            let value: Value = serde_json::from_slice(body).unwrap_or_default();
            let entries = value["manifests"].as_array().into_iter().flatten();
            let digests = entries.filter_map(|entry| entry["digest"].as_str());
            Outcome::Listed(digests.map(str::to_owned).collect())
        })
    }

    /// Deletes what an action is about: a manifest, a tag or a blob.
    pub fn delete(&self, action: Action) -> Outcome {
        let path = match &action {
            Action::DeleteManifest { repository, digest: name }
            | Action::DeleteTag { repository, tag: name } => {
                format!("/v2/{repository}/manifests/{name}")
            }
            Action::DeleteBlob { repository, digest } => format!("/v2/{repository}/blobs/{digest}"),
            other => panic!("{other:?} deletes nothing"),
        };
        let start = self.history.now();
        let outcome = match self.ask("DELETE", &path, "text/plain", b"") {
            Ok(answer) => done(answer.status),
            Err(_) => Outcome::Unknown,
        };
        self.history.note(start, action, outcome)
    }

    fn look(
        &self,
        method: &str,
        path: &str,
        action: Action,
        read: impl FnOnce(&[u8]) -> Outcome,
    ) -> Outcome {
        let start = self.history.now();
        let outcome = match self.ask(method, path, "text/plain", b"") {
            Ok(answer) if answer.status == 200 => read(&answer.body),
            Ok(answer) if answer.status == 404 => Outcome::Missing,
            _ => Outcome::Unknown,
        };
        self.history.note(start, action, outcome)
    }
}

fn found(body: &[u8]) -> Outcome {
    Outcome::Found(Digest::sha256(body).to_string())
}

/// A refusal of the client's doing changes nothing; a server that failed may have done anything.
fn done(status: u16) -> Outcome {
    match status {
        200..=299 => Outcome::Done,
        400..=499 => Outcome::Refused(status),
        _ => Outcome::Unknown,
    }
}

fn lacking(body: &[u8]) -> Outcome {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let errors = value["errors"].as_array().into_iter().flatten();
    let unknown = errors.filter(|error| error["code"] == "MANIFEST_BLOB_UNKNOWN");
    let digests: Vec<_> =
        unknown.filter_map(|error| Some(error["detail"]["digest"].as_str()?.to_owned())).collect();
    if digests.is_empty() { Outcome::Refused(400) } else { Outcome::Lacking(digests) }
}
