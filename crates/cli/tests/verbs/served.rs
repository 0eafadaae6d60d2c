//! A registry as people set it up: users, TLS, rules, numbers, logs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::daemon::Daemon;
use crate::support::layout::Handmade;
use crate::support::program::{Conex, Run};
use crate::support::scratch::Scratch;

/// Certificates of authorities whose keys are gone, and a server's.
fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/tests/tls").join(name)
}

const SETTINGS: &str = r#"
listen = "127.0.0.1:0"
operator = "127.0.0.1:0"

[tls]
certificate = "registry.pem"
key = "registry.pem"

[auth]
htpasswd = "users"
tokens = true

[[rule]]
repositories = ["team/*"]
users = ["alice"]
actions = ["pull", "push"]
"#;

/// Whoever is taken out of the file of users is out at once.
pub fn people_come_in_by_password_over_tls_and_are_logged() {
    let scratch = Scratch::new("served");
    let home = scratch.folder("home");
    let conex = Conex::new(&scratch);
    let with_input = |args: &[&str], input: &str| {
        let mut command = conex.command(args);
        command.env("HOME", &home).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that fails at once reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::of(args, &child.wait_with_output().unwrap())
    };
    let users = scratch.arg("users");
    for user in ["alice", "bob"] {
        with_input(&["registry", "user", &users, user, "--password-stdin"], "canary\n").ok();
    }
    with_input(&["registry", "user", &users, "a:b"], "canary").fails_with(2);
    assert!(!std::fs::read_to_string(&users).unwrap().contains("canary"));

    std::fs::copy(certificate("good.pem"), scratch.join("registry.pem")).unwrap();
    std::fs::write(scratch.join("registry.toml"), SETTINGS).unwrap();
    let (settings, root) = (scratch.arg("registry.toml"), scratch.arg("registry"));
    let words = ["serve", "--config", &settings, "--root", &root];
    conex.ok(&[&words[..], &["--check"]].concat());
    let mut daemon =
        Daemon::start(&scratch, &mut conex.command(&[&words[..], &["--log", "json"]].concat()));
    let address = daemon.after(" on https://");

    let certs = home.join(".config/containers/certs.d").join(&address);
    std::fs::create_dir_all(&certs).unwrap();
    std::fs::copy(certificate("ca.pem"), certs.join("ca.crt")).unwrap();
    let run = |args: &[&str]| with_input(args, "");
    let login = |user: &str| ["login", &address, "-u", user, "--password-stdin"].map(str::to_owned);
    let login = |user: &str, password: &str| {
        let words = login(user);
        with_input(&words.iter().map(String::as_str).collect::<Vec<_>>(), password)
    };
    let made = Handmade::new(scratch.join("made"));
    let from = made.finish(&made.image(&[&[1; 1000]]));
    let image = format!("{address}/team/app:1");
    run(&["push", &image, "--from", &from]).fails_with(5);
    login("alice", "wrong").fails_with(5);
    login("bob", "canary").ok();
    run(&["push", &image, "--from", &from]).fails_with(5);
    login("alice", "canary").ok();
    run(&["push", &image, "--from", &from]).ok();
    run(&["validate", &image]).ok();
    with_input(&["registry", "user", &users, "alice", "--remove"], "").ok();
    run(&["validate", &image]).fails_with(5);

    let log: Vec<serde_json::Value> =
        daemon.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let pushed = |line: &&serde_json::Value| {
        line["method"] == "PUT" && line["endpoint"] == "manifest" && line["status"] == 201
    };
    assert_eq!(log.iter().find(pushed).unwrap()["user"], "alice");
    assert!(daemon.lines().iter().all(|line| !line.contains("canary")));
}
