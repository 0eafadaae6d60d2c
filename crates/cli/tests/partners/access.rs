//! Other people's clients at a registry with users, rules and tokens.

use std::process::Command;

use crate::docker_registry::{HTPASSWD, PASSWORD, USER, small};
use crate::support::daemon::Registry;
use crate::support::program::{Conex, partner, run};
use crate::support::scratch::Scratch;

const SETTINGS: &str = r#"
[auth]
htpasswd = "users"
tokens = true
[[rule]]
repositories = ["team/*"]
users = ["alice"]
actions = ["pull", "push"]
[[rule]]
repositories = ["public/*"]
users = ["anonymous"]
actions = ["pull"]
[[rule]]
repositories = ["public/*"]
users = ["alice"]
actions = ["push"]
"#;

fn start(scratch: &Scratch) -> Registry {
    std::fs::write(scratch.join("users"), HTPASSWD).unwrap();
    let settings = scratch.arg("settings.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    Registry::start_with(scratch, &["--config", &settings])
}

fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} did what it may not");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// With a login one pushes where one may, without it one pulls what everyone may.
pub fn skopeo_and_podman_may_what_the_rules_say() {
    let scratch = Scratch::new("rules");
    let registry = start(&scratch);
    let image = small(&scratch);
    let auth = scratch.arg("auth.json");
    let skopeo = |words: &[&str]| {
        let mut command = partner("skopeo");
        command.args(words).env("REGISTRY_AUTH_FILE", &auth);
        command
    };
    let push =
        |name: &str| skopeo(&["copy", "--dest-tls-verify=false", &image, &registry.docker(name)]);
    let login = |password| {
        skopeo(&["login", "--tls-verify=false", "-u", USER, "-p", password, &registry.address])
    };
    fails(&mut push("team/app:1"));
    fails(&mut login("wrong"));
    run(&mut login(PASSWORD));
    run(&mut push("team/app:1"));
    run(&mut push("public/app:1"));
    fails(&mut push("other/app:1"));
    run(&mut skopeo(&["logout", &registry.address]));
    run(&mut skopeo(&["inspect", "--raw", "--tls-verify=false", &registry.docker("public/app:1")]));
    let inspect = ["inspect", "--raw", "--tls-verify=false"];
    let refused = fails(&mut skopeo(&[&inspect[..], &[&registry.docker("team/app:1")]].concat()));
    assert!(refused.contains("unauthorized"), "{refused}");
    // Podman asks for the catalog as Docker's clients know it.
    let mut command = partner("podman");
    let listed = run(command.args(["search", "--tls-verify=false"]).arg(registry.image("app")));
    assert!(listed.contains("public/app") && !listed.contains("team/app"), "{listed}");
}

/// And conex itself, which never sends a password where a token serves.
pub fn conex_may_what_the_rules_say() {
    let scratch = Scratch::new("own-rules");
    let registry = start(&scratch);
    let (conex, image) = (Conex::new(&scratch), small(&scratch));
    let push = |name: &str| conex.run(&["push", &registry.image(name), "--from", &image]);
    push("team/app:1").fails_with(5);
    let file = conex.config().join("config.json");
    std::fs::create_dir_all(conex.config()).unwrap();
    // `alice` and her password, in the base64 of Docker's file.
    let auth = "YWxpY2U6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5";
    let text = format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, registry.address);
    std::fs::write(&file, text).unwrap();
    push("team/app:1").ok();
    push("public/app:1").ok();
    push("other/app:1").fails_with(5);
    std::fs::remove_file(&file).unwrap();
    conex.ok(&["digest", &registry.image("public/app:1")]);
    conex.run(&["digest", &registry.image("team/app:1")]).fails_with(5);
}
