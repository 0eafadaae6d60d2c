//! `conex serve` in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use conex_testkit::s3_server::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use serde_json::Value;

/// A registry to be started.
pub struct Serve {
    command: Command,
    listen: String,
}

/// One that serves; killed when it is dropped, as by `kill -9`.
pub struct Serving {
    child: Child,
    /// `HOST:PORT`
    pub address: String,
    /// Where its operator gives orders, `http://HOST:PORT`; empty where nobody does.
    pub operator: String,
}

impl Serve {
    /// On a folder.
    pub fn folder(root: &Path) -> Self {
        let mut serve = Self::new();
        serve.command.arg("--root").arg(root);
        serve
    }

    /// On the prefix `x` of a server's bucket.
    pub fn bucket(server: &S3Server) -> Self {
        let mut serve = Self::new();
        serve.command.args(["--storage", &bucket()]);
        reach(&mut serve.command, server);
        serve
    }

    fn new() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conex"));
        command.args(["serve", "--format", "json"]);
        Self { command, listen: "127.0.0.1:0".into() }
    }

    /// Elsewhere than on a free port.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// With a file of settings, which is written first.
    pub fn settings(mut self, file: &Path, text: &str) -> Self {
        std::fs::write(file, text).unwrap();
        self.command.arg("--config").arg(file);
        self
    }

    /// Starts it, and waits until it serves.
    pub fn start(mut self) -> Serving {
        let command = self.command.args(["--listen", &self.listen]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let text: String = lines.map(Result::unwrap).take_while(|line| line != "}").collect();
        let told = serde_json::from_str::<Value>(&(text + "}"));
        let told = told.unwrap_or_else(|err| panic!("it does not serve: {err}"));
        let address = told["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        let operator = told["operator"].as_str().map(|operator| format!("http://{operator}"));
        Serving { child, address, operator: operator.unwrap_or_default() }
    }
}

impl Serving {
    /// The most memory that it had, in KiB.
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What [`Serve::bucket`] serves.
pub fn bucket() -> String {
    format!("s3://{BUCKET}/x")
}

/// Tells a command where the bucket is, and who asks.
pub fn reach(command: &mut Command, server: &S3Server) {
    command
        .env("AWS_ENDPOINT_URL_S3", server.endpoint())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_REGION", "us-east-1");
}
