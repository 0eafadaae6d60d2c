//! Logins that others made, and logins that others use.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::docker_registry::{HTPASSWD, PASSWORD, USER, small};
use crate::support::daemon::DockerRegistry;
use crate::support::program::{Conex, Run, partner, run};
use crate::support::scratch::Scratch;

/// A login of skopeo or Podman, told over standard input.
fn login(command: &mut Command, password: &str) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn conex_login(conex: &Conex, words: &[&str], password: &str) -> Run {
    let mut command = conex.command(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    Run::of(words, &child.wait_with_output().unwrap())
}

/// What `skopeo login` and `podman login` write is read, where they write it.
fn reads_the_login_of(program: &str) {
    let scratch = Scratch::new("their-login");
    let registry = DockerRegistry::start(&scratch, Some(HTPASSWD));
    let conex = Conex::new(&scratch);
    let run_dir = scratch.folder("run");
    let mut command = partner(program);
    command.args(["login", "--tls-verify=false", "-u", USER, "--password-stdin"]);
    login(command.arg(&registry.address).env("XDG_RUNTIME_DIR", &run_dir), PASSWORD);
    let file = run_dir.join("containers/auth.json");
    assert!(file.exists());
    let (image, small) = (registry.image("small:1"), small(&scratch));
    let push = ["push", &image, "--from", &small];
    conex.run(&push).fails_with(5);
    // By where it lies, by the environment, by the option.
    let run = |command: &mut Command| Run::of(&push, &command.output().unwrap()).ok();
    let home = scratch.folder("home");
    run(conex
        .command(&push)
        .env_remove("DOCKER_CONFIG")
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", &run_dir));
    run(conex.command(&push).env("REGISTRY_AUTH_FILE", &file));
    let file = file.display().to_string();
    conex.ok(&[&push[..], &["--auth-file", &file]].concat());
    let list = conex.json(&["auth", "list", "--auth-file", &file]);
    assert_eq!(
        (&list[0]["key"], &list[0]["user"]),
        (&registry.address.clone().into(), &USER.into())
    );
    // And it can be taken away.
    conex.ok(&["logout", &registry.address, "--auth-file", &file]);
    let mut command = partner(program);
    command.args(["login", "--get-login", "--authfile", &file, &registry.address]);
    assert!(!command.output().unwrap().status.success());
}

pub fn reads_the_login_of_skopeo() {
    reads_the_login_of("skopeo");
}

pub fn reads_the_login_of_podman() {
    reads_the_login_of("podman");
}

/// What `conex login` writes serves skopeo and Podman, in Docker's file and in Podman's.
pub fn others_use_its_login() {
    let scratch = Scratch::new("our-login");
    let registry = DockerRegistry::start(&scratch, Some(HTPASSWD));
    let conex = Conex::new(&scratch);
    let image = small(&scratch);
    let words = ["login", &registry.address, "-u", USER, "--password-stdin"];
    conex_login(&conex, &words, "wrong").fails_with(5);
    conex_login(&conex, &words, PASSWORD).ok();
    let skopeo = |args: &[&str]| {
        let mut command = partner("skopeo");
        run(command.args(args).env("DOCKER_CONFIG", conex.config()))
    };
    let to = registry.docker("small:1");
    skopeo(&["copy", "--dest-tls-verify=false", &image, &to]);
    // One login for a part of the registry, in a file that is named.
    let file = scratch.join("auth.json").display().to_string();
    let part = registry.image("team");
    let words = ["login", &part, "-u", USER, "--password-stdin", "--auth-file", &file];
    conex_login(&conex, &words, PASSWORD).ok();
    let team = registry.docker("team/small:1");
    skopeo(&["copy", "--authfile", &file, "--dest-tls-verify=false", &image, &team]);
    let mut elsewhere = partner("skopeo");
    elsewhere.args(["inspect", "--authfile", &file, "--tls-verify=false", &to]);
    assert!(!elsewhere.output().unwrap().status.success(), "the login is for a part only");
    conex.run(&["inspect", &registry.image("small:1"), "--auth-file", &file]).fails_with(5);
    conex.ok(&["inspect", &registry.image("team/small:1"), "--auth-file", &file]);
    let mut podman = partner("podman");
    podman.args(["login", "--get-login", "--authfile"]);
    let config = conex.config().join("config.json");
    assert_eq!(run(podman.arg(config).arg(&registry.address)).trim(), USER);
}
