//! Programs that keep credentials: `docker-credential-NAME`, found on the search path.
//!
//! | word | standard input | standard output |
//! |---|---|---|
//! | `get` | the server | `{"ServerURL", "Username", "Secret"}` |
//! | `store` | the same document | nothing |
//! | `erase` | the server | nothing |
//! | `list` | nothing | `{"server": "user", …}` |
//!
//! One that fails says why on its standard output. The user name `<token>` marks the secret as an
//! identity token. <https://github.com/docker/docker-credential-helpers>
//!
//! # Security
//! A name is a file name and nothing more (rule C14). Secrets go over pipes, never in arguments.
//! What a helper prints is bounded, and so is its time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use conex_spec::{Error, Kind, Result};

use crate::credentials::Proof;
use crate::fault::escaped;
use crate::secret::Secret;

/// What marks a secret as an identity token.
const TOKEN_USER: &str = "<token>";
/// The most that a helper may print, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;
/// What every helper that is made with Docker's library says where it has nothing.
const NOT_FOUND: &str = "credentials not found";
/// How often the end of a helper is looked for once it has closed its output.
const TICK: Duration = Duration::from_millis(2);
/// How often a program that is just being replaced is tried again.
const BUSY_TRIES: u32 = 50;

/// Where helpers are found, and how long they may take.
#[derive(Clone, Debug)]
pub(crate) struct Helpers {
    /// Folders, as in `PATH`. Empty: none is run.
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) patience: Duration,
}

impl Default for Helpers {
    fn default() -> Self {
        // Some ask a person for a passphrase.
        Self { folders: Vec::new(), patience: Duration::from_secs(60) }
    }
}

/// A helper that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Helper {
    name: String,
    program: PathBuf,
    patience: Duration,
}

impl Helpers {
    /// The helper of a name; nothing if there is no such program.
    ///
    /// # Errors
    /// `Invalid` for what is no name.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Helper>> {
        check_name(name)?;
        let file = format!("docker-credential-{name}");
        // A folder that depends on where one stands is not searched.
        let folders = self.folders.iter().filter(|folder| folder.is_absolute());
        let program = folders.map(|folder| folder.join(&file)).find(|path| is_program(path));
        let patience = self.patience;
        Ok(program.map(|program| Helper { name: name.to_owned(), program, patience }))
    }
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.name)
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
struct Document {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it keeps for a server, if anything.
    pub(crate) fn get(&self, server: &str) -> Result<Option<Proof>> {
        let Some(text) = self.run("get", server, server.as_bytes())? else { return Ok(None) };
        let found: Document = self.parse(&text, "get")?;
        let secret = Secret::new(found.secret);
        Ok(match found.username.as_str() {
            _ if secret.expose().is_empty() => None,
            TOKEN_USER => Some(Proof::Identity(None, secret)),
            "" => return Err(self.fault("get", server).found("a secret without a user name")),
            _ => Some(Proof::Password(found.username, secret)),
        })
    }

    /// Keeps a proof for a server.
    pub(crate) fn store(&self, server: &str, proof: &Proof) -> Result<()> {
        let (username, secret) = match proof {
            Proof::Password(user, password) => (user.as_str(), password),
            Proof::Identity(_, token) => (TOKEN_USER, token),
            Proof::Token(_) => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("{self} keeps no registry tokens"),
                ));
            }
        };
        let document = Document {
            server_url: server.to_owned(),
            username: username.to_owned(),
            secret: secret.expose().to_owned(),
        };
        let text =
            serde_json::to_vec(&document).map_err(|err| self.fault("store", server).source(err))?;
        self.run("store", server, &text).map(drop).map_err(|err| {
            let leaks = err.found_value().is_some_and(|found| found.contains(secret.expose()));
            if leaks { err.found("a message that repeats the secret") } else { err }
        })
    }

    /// Forgets what it keeps for a server. Returns whether there was something.
    pub(crate) fn erase(&self, server: &str) -> Result<bool> {
        Ok(self.run("erase", server, server.as_bytes())?.is_some())
    }

    /// The servers that it keeps something for, with the user names.
    pub(crate) fn list(&self) -> Result<BTreeMap<String, String>> {
        let Some(text) = self.run("list", "", b"")? else { return Ok(BTreeMap::new()) };
        let listed: Option<BTreeMap<String, String>> = self.parse(&text, "list")?;
        Ok(listed.unwrap_or_default())
    }

    /// Runs it; nothing where it says that it has nothing.
    fn run(&self, word: &str, server: &str, input: &[u8]) -> Result<Option<Vec<u8>>> {
        let child = self.start(word)?;
        let done = Run::of(child, input).wait(self.patience).map_err(|end| match end {
            End::Late => self
                .fault(word, server)
                .expected(format!("an answer in {:?}", self.patience))
                .found("none"),
            End::TooMuch => {
                let limit = format!("at most {MAX_OUTPUT} bytes");
                self.fault(word, server).with_kind(Kind::Limit).expected(limit).found("more")
            }
            End::Io(err) => self.fault(word, server).source(err),
        })?;
        if done.status.success() {
            return Ok(Some(done.out));
        }
        let said = |bytes: &[u8]| escaped(&String::from_utf8_lossy(bytes));
        let (out, err) = (said(&done.out), said(&done.err));
        if format!("{out} {err}").to_lowercase().contains(NOT_FOUND) {
            return Ok(None);
        }
        // A document here could hold a secret.
        let out = if out.starts_with('{') { String::new() } else { out };
        let told: Vec<_> = [out, err].into_iter().filter(|text| !text.is_empty()).collect();
        let told = if told.is_empty() { done.status.to_string() } else { told.join("; ") };
        Err(self.fault(word, server).found(told))
    }

    fn start(&self, word: &str) -> Result<Child> {
        let mut tries = 0;
        loop {
            #[allow(clippy::disallowed_methods, reason = "the person named this helper")]
            let started = Command::new(&self.program)
                .arg(word)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            match started {
                Ok(child) => return Ok(child),
                Err(err)
                    if err.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES =>
                {
                    tries += 1;
                    thread::sleep(TICK);
                }
                Err(err) => return Err(Error::io("cannot run", &self.program, err)),
            }
        }
    }

    fn parse<'a, T: Deserialize<'a>>(&self, text: &'a [u8], word: &str) -> Result<T> {
        // The parser's message could repeat a piece of a secret; its place is enough.
        serde_json::from_slice(text).map_err(|err| {
            let place = format!("line {}, column {}", err.line(), err.column());
            Error::invalid(format!("{self} {word} prints something else than its protocol has"))
                .expected("a JSON document")
                .found(format!("a fault at {place}"))
        })
    }

    fn fault(&self, word: &str, server: &str) -> Error {
        let about = if server.is_empty() { String::new() } else { format!(" for {server}") };
        Error::new(Kind::Io, format!("credential helper failed: {self} {word}{about}"))
    }
}

/// Rule C14: `^[a-z0-9_-]+$`.
fn check_name(name: &str) -> Result<()> {
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    if !name.is_empty() && name.len() <= 100 && name.bytes().all(sound) {
        return Ok(());
    }
    Err(Error::invalid("not the name of a credential helper")
        .expected("lower-case letters, digits, `-` and `_`")
        .found(format!("\"{}\"", escaped(name))))
}

fn is_program(path: &std::path::Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A helper at work. Its pipes are served by threads, which end when the pipes close.
struct Run {
    child: Child,
    pipes: Receiver<(bool, io::Result<Vec<u8>>)>,
}

struct Done {
    status: ExitStatus,
    out: Vec<u8>,
    err: Vec<u8>,
}

enum End {
    Late,
    TooMuch,
    Io(io::Error),
}

impl Run {
    fn of(mut child: Child, input: &[u8]) -> Self {
        let (sender, pipes) = channel();
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_owned();
            // Who reads nothing gets nothing; what it says then counts.
            thread::spawn(move || stdin.write_all(&input));
        }
        let serve = |is_out: bool, pipe: Option<Box<dyn Read + Send>>| {
            let sender = sender.clone();
            if let Some(pipe) = pipe {
                thread::spawn(move || {
                    let mut text = Vec::new();
                    let read = pipe.take(MAX_OUTPUT + 1).read_to_end(&mut text);
                    sender.send((is_out, read.map(|_| text)))
                });
            }
        };
        serve(true, child.stdout.take().map(|pipe| Box::new(pipe) as _));
        serve(false, child.stderr.take().map(|pipe| Box::new(pipe) as _));
        Self { child, pipes }
    }

    fn wait(mut self, patience: Duration) -> Result<Done, End> {
        let until = Instant::now() + patience;
        let done = self.finish(until);
        if done.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        done
    }

    fn finish(&mut self, until: Instant) -> Result<Done, End> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let left = until.saturating_duration_since(Instant::now());
            let (is_out, text) = match self.pipes.recv_timeout(left) {
                Ok((is_out, text)) => (is_out, text.map_err(End::Io)?),
                Err(RecvTimeoutError::Timeout) => return Err(End::Late),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if text.len() as u64 > MAX_OUTPUT {
                return Err(End::TooMuch);
            }
            *(if is_out { &mut out } else { &mut err }) = text;
        }
        loop {
            if let Some(status) = self.child.try_wait().map_err(End::Io)? {
                return Ok(Done { status, out, err });
            }
            if Instant::now() >= until {
                return Err(End::Late);
            }
            thread::sleep(TICK);
        }
    }
}

#[cfg(test)]
#[path = "helper_tests.rs"]
mod tests;
