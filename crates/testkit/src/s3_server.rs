//! Servers of S3 that others wrote, started on a free port for one test.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The bucket that every server has.
pub const BUCKET: &str = "conex-test";
/// What it is reached with.
pub const ACCESS_KEY: &str = "test-access-key";
/// The secret to it.
pub const SECRET_KEY: &str = "test-secret-key";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `s3s-fs`, of the crate of this name: objects are files.
    S3s,
    /// `moto_server`, of the Python package `moto`: objects are in memory.
    Moto,
}

/// A running server with an empty bucket; gone when this is dropped.
#[derive(Debug)]
pub struct S3Server {
    /// Where it listens, over plain HTTP.
    pub address: SocketAddr,
    child: Child,
}

impl S3Server {
    /// Starts a server that keeps what it must in `folder`. Nothing where the program is not
    /// installed, which the environment variable `CI` makes a failure.
    pub fn start(program: Program, folder: &Path) -> Option<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let port = address.port().to_string();
        let (name, args): (_, Vec<&str>) = match program {
            Program::S3s => {
                std::fs::create_dir_all(folder.join(BUCKET)).unwrap();
                let root = folder.to_str().unwrap();
                let keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY];
                ("s3s-fs", [&["--host", "127.0.0.1", "--port", &port], &keys[..], &[root]].concat())
            }
            Program::Moto => ("moto_server", vec!["--host", "127.0.0.1", "--port", &port]),
        };
        #[allow(clippy::disallowed_methods, reason = "the partner is a program")]
        let mut command = Command::new(name);
        // It must not outlive a test that is killed, nor fill its output.
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                #[allow(clippy::disallowed_methods, reason = "the test asks where it runs")]
                let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
                assert!(!in_ci, "{name} is not installed; scripts/install-partners does that");
                #[allow(clippy::print_stderr, reason = "a skipped partner is named")]
                {
                    eprintln!("skipped: {name} is not installed");
                }
                return None;
            }
            Err(err) => panic!("{name}: {err}"),
        };
        let server = Self { address, child };
        server.wait();
        if program == Program::Moto {
            server.make_bucket();
        }
        Some(server)
    }

    /// Its address as a client's endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "the S3 server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn make_bucket(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.try_bucket().unwrap_or(false) {
            assert!(Instant::now() < deadline, "the S3 server makes no bucket");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_bucket(&self) -> io::Result<bool> {
        let mut stream = TcpStream::connect(self.address)?;
        let host = self.address;
        write!(
            stream,
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.contains(" 200 "))
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
