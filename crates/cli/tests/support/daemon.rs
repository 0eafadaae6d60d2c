//! Daemons: `conex serve` and others. Each is stopped when its value is dropped.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::program::Conex;
use super::scratch::Scratch;

/// How long a daemon may take to start, to log or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child process whose lines are kept.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Starts a daemon that works in the folder, and whose command line says so. Should this
    /// value not be dropped, the end of the folder is that of the daemon.
    pub fn start(scratch: &Scratch, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|err| panic!("{command:?}: {err}"));
        std::fs::write(scratch.join(&format!("{}.pid", child.id())), child.id().to_string())
            .unwrap();
        let lines = Arc::default();
        keep_lines(child.stdout.take().unwrap(), Arc::clone(&lines));
        keep_lines(child.stderr.take().unwrap(), Arc::clone(&lines));
        Self { child, lines }
    }

    /// Waits for a line that holds `text`, and returns what follows it on that line.
    pub fn after(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let lines = self.lines();
            if let Some((_, rest)) = lines.iter().find_map(|line| line.split_once(text)) {
                return rest.to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            let waiting = ended.is_none() && start.elapsed() < PATIENCE;
            assert!(waiting, "no {text:?} in {ended:?}\n{}", lines.join("\n"));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As a power cut would: no signal handler runs.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE / 4 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }
}

fn keep_lines(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
}

/// `conex serve`.
#[derive(Debug)]
pub struct Registry {
    daemon: Daemon,
    /// `127.0.0.1:PORT`
    pub address: String,
    /// How much of the log was read.
    read: usize,
}

/// One line of the access log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub status: u16,
    pub received: u64,
    pub sent: u64,
}

impl Registry {
    /// Serves the folder `registry` of a scratch folder.
    pub fn start(scratch: &Scratch) -> Self {
        Self::start_with(scratch, &[])
    }

    /// The same with more options.
    pub fn start_with(scratch: &Scratch, options: &[&str]) -> Self {
        let root = scratch.arg("registry");
        let words = ["serve", "--root", &root, "--listen", "127.0.0.1:0"];
        Self::of(scratch, &mut Conex::new(scratch).command(&[&words, options].concat()))
    }

    /// The same for any command line of `conex serve`.
    pub fn of(scratch: &Scratch, command: &mut Command) -> Self {
        let mut daemon = Daemon::start(scratch, command);
        let address = daemon.after(" on http://");
        Self { daemon, address, read: 0 }
    }

    /// An image in this registry.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The same, as skopeo and others write it.
    pub fn docker(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// The requests since the last call. A request is logged when its last byte is gone, which
    /// its client may see first: waits until the log rests.
    pub fn requests(&mut self) -> Vec<Request> {
        let mut lines = self.daemon.lines();
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.daemon.lines();
            if now.len() == lines.len() {
                break;
            }
            lines = now;
        }
        let requests = lines[self.read..].iter().filter_map(|line| request(line)).collect();
        self.read = lines.len();
        requests
    }

    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    pub fn kill(&mut self) {
        self.daemon.kill();
    }
}

/// `PEER METHOD TARGET STATUS in N out N T ms`
fn request(line: &str) -> Option<Request> {
    let words: Vec<_> = line.split(' ').collect();
    let [_, _, method, target, status, "in", received, "out", sent, ..] = words[..] else {
        return None;
    };
    Some(Request {
        method: method.into(),
        target: target.into(),
        status: status.parse().ok()?,
        received: received.parse().ok()?,
        sent: sent.parse().ok()?,
    })
}

/// `docker-registry`, the reference implementation.
#[derive(Debug)]
pub struct DockerRegistry {
    _daemon: Daemon,
    /// `127.0.0.1:PORT`
    pub address: String,
}

impl DockerRegistry {
    /// Serves a folder; `htpasswd` guards it where there is one.
    pub fn start(scratch: &Scratch, htpasswd: Option<&str>) -> Self {
        Self::configured(scratch, htpasswd, "")
    }

    /// Serves a folder over TLS, to who shows a certificate of these authorities.
    pub fn start_tls(scratch: &Scratch, pem: &Path, clients: &Path) -> Self {
        let tls =
            format!(", tls: {{certificate: {pem:?}, key: {pem:?}, clientcas: [{clients:?}]}}");
        Self::configured(scratch, None, &tls)
    }

    fn configured(scratch: &Scratch, htpasswd: Option<&str>, tls: &str) -> Self {
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: not-very{tls}}}\n",
            scratch.join("docker-registry")
        );
        if let Some(htpasswd) = htpasswd {
            std::fs::write(scratch.join("htpasswd"), htpasswd).unwrap();
            config += &format!(
                "auth: {{htpasswd: {{realm: tests, path: {:?}}}}}\n",
                scratch.join("htpasswd")
            );
        }
        let file = scratch.join("docker-registry.yml");
        std::fs::write(&file, config).unwrap();
        let program = super::program::find("docker-registry").unwrap();
        let mut daemon = Daemon::start(scratch, Command::new(program).arg("serve").arg(&file));
        let rest = daemon.after("listening on ");
        let address = rest.split(['"', ',']).next().unwrap().to_owned();
        Self { _daemon: daemon, address }
    }

    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub fn docker(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }
}
