//! Programs: conex itself, and its partners.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::scratch::Scratch;

/// The program under test.
pub const CONEX: &str = env!("CARGO_BIN_EXE_conex");
/// A program that takes longer than this many seconds hangs.
const PATIENCE: &str = "300";

/// A program on the search path, or where system programs are.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A partner, which is stopped when it hangs.
pub fn partner(name: &str) -> Command {
    let program = find(name).unwrap_or_else(|| panic!("{name} is not installed"));
    let mut command = patient(program);
    // Nothing of the person who runs the tests is to matter.
    for name in [
        "DOCKER_AUTH_CONFIG",
        "DOCKER_CONFIG",
        "DOCKER_HOST",
        "REGISTRY_AUTH_FILE",
        "XDG_RUNTIME_DIR",
        "CONTAINERS_CONF",
    ] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// The program, stopped when it hangs.
fn patient(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", PATIENCE]).arg(program).stdin(Stdio::null());
    command
}

/// Runs a command that must succeed; returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    assert!(
        output.status.success(),
        "{command:?} failed with {}\n{}",
        output.status,
        text(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a partner that must succeed; returns what it printed.
pub fn run_partner(name: &str, args: &[&str]) -> String {
    run(partner(name).args(args))
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("--- standard output\n{out}--- standard error\n{err}")
}

/// One user's conex: a local store and a Docker config of their own.
#[derive(Debug)]
pub struct Conex {
    store: PathBuf,
    config: PathBuf,
}

/// What a run of conex came to.
#[derive(Debug)]
pub struct Run {
    pub args: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Conex {
    /// Keeps its store in `store` of the folder, its config in `docker`.
    pub fn new(scratch: &Scratch) -> Self {
        Self { store: scratch.join("store"), config: scratch.folder("docker") }
    }

    /// The same user with another folder for the store.
    pub fn with_store(&self, store: PathBuf) -> Self {
        Self { store, config: self.config.clone() }
    }

    pub fn store(&self) -> &std::path::Path {
        &self.store
    }

    /// The folder of Docker's `config.json`.
    pub fn config(&self) -> &std::path::Path {
        &self.config
    }

    /// To be started, watched and ended by the test itself.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(CONEX);
        command.stdin(Stdio::null());
        self.prepare(command, args)
    }

    fn prepare(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args);
        command.env("CONEX_STORE", &self.store).env("DOCKER_CONFIG", &self.config);
        for name in ["SOURCE_DATE_EPOCH", "CONTAINERS_REGISTRIES_CONF"] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(args, &self.prepare(patient(CONEX), args).output().unwrap())
    }

    /// Runs it to its end, which must be a good one; returns what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    /// Runs it with `--format json`.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let out = self.ok(&[args, &["--format", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|err| panic!("conex {args:?}: {err}\n{out}"))
    }
}

impl Run {
    pub fn of(args: &[&str], output: &Output) -> Self {
        Self {
            args: args.join(" "),
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "conex {}\n{}{}", self.args, self.out, self.err);
        self.out
    }

    /// One clear error on standard error, nothing on standard output, and the exit code.
    pub fn fails_with(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "conex {}\n{}{}", self.args, self.out, self.err);
        let errors = self.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "conex {}: {errors} errors\n{}", self.args, self.err);
        assert_eq!(self.out, "", "conex {}", self.args);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        &self.err
    }
}
