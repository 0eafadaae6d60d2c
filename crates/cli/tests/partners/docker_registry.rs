//! The reference registry, with and without a password.

use crate::fixture::packed;
use crate::support::daemon::DockerRegistry;
use crate::support::layout::{self, Handmade};
use crate::support::program::{Conex, partner, run, run_partner};
use crate::support::scratch::Scratch;

pub const USER: &str = "alice";
pub const PASSWORD: &str = "correct horse battery";
/// The password, hashed with bcrypt.
pub const HTPASSWD: &str = "alice:$2y$05$conexconexconexconexceLqAqnobfJRokAzAODIKjDZnwKknPzZm\n";

pub fn pulls_what_skopeo_pushed() {
    let scratch = Scratch::new("distribution");
    let registry = DockerRegistry::start(&scratch, None);
    run_partner(
        "skopeo",
        &["copy", "--dest-tls-verify=false", packed(), &registry.docker("debian:12")],
    );
    let conex = Conex::new(&scratch);
    let pulled = conex.json(&["pull", &registry.image("debian:12")]);
    let layout = packed().split(':').nth(1).unwrap();
    let digest = layout::tagged(layout.as_ref(), "debian");
    assert_eq!(pulled["root"]["digest"], digest);
    let report = conex.json(&["validate", &format!("store:{}", registry.image("debian:12"))]);
    assert_eq!(report["findings"], serde_json::json!([]));
    // And back: a second tag, by conex, which finds all content there.
    let stored = format!("store:{}", registry.image("debian:12"));
    let pushed = conex.json(&["push", &registry.image("debian:bookworm"), "--from", &stored]);
    assert_eq!(pushed["summary"]["moved"]["blobs"].as_u64().unwrap(), 0, "{pushed}");
    let raw = run_partner(
        "skopeo",
        &["inspect", "--raw", "--tls-verify=false", &registry.docker("debian:bookworm")],
    );
    assert_eq!(conex_spec::Digest::sha256(raw.as_bytes()).to_string(), digest);
}

pub fn logs_in_from_docker_config() {
    let scratch = Scratch::new("login");
    let registry = DockerRegistry::start(&scratch, Some(HTPASSWD));
    let image = small(&scratch);
    let credentials = format!("{USER}:{PASSWORD}");
    let args = [
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        &credentials,
        &image,
        &registry.docker("small:1"),
    ];
    run(partner("skopeo").args(args));
    let conex = Conex::new(&scratch);
    conex.run(&["pull", &registry.image("small:1")]).fails_with(5);
    write_login(&conex, &registry, PASSWORD);
    conex.ok(&["pull", &registry.image("small:1")]);
    conex.ok(&["push", &registry.image("small:2"), "--from", &image]);
}

/// Who is refused must know which of their credentials was used; nobody must see the secret.
pub fn a_wrong_password_names_the_credential() {
    let scratch = Scratch::new("wrong");
    let registry = DockerRegistry::start(&scratch, Some(HTPASSWD));
    let conex = Conex::new(&scratch);
    let wrong = "a wrong password";
    write_login(&conex, &registry, wrong);
    for args in [
        vec!["pull".into(), registry.image("small:1")],
        vec!["inspect".into(), registry.image("small:1")],
        vec!["push".into(), registry.image("small:1"), "--from".into(), small(&scratch)],
    ] {
        let refused = conex.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let error = refused.fails_with(5);
        let file = conex.config().join("config.json").display().to_string();
        assert!(error.contains(USER) && error.contains(&file), "{error}");
        assert!(error.contains(&registry.address), "{error}");
        let encoded = encode(wrong);
        assert!(!error.contains(wrong) && !error.contains(&encoded), "{error}");
    }
}

pub fn small(scratch: &Scratch) -> String {
    let layout = Handmade::new(scratch.join("small"));
    layout.finish(&layout.image(&[&[0; 1024]]))
}

fn write_login(conex: &Conex, registry: &DockerRegistry, password: &str) {
    let config = serde_json::json!({"auths": {&registry.address: {"auth": encode(password)}}});
    std::fs::write(conex.config().join("config.json"), config.to_string()).unwrap();
}

/// `USER:PASSWORD` in Base64, as `docker login` writes it.
fn encode(password: &str) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new("base64")
        .arg("--wrap=0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{USER}:{password}").as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
