//! `conex login`, `conex logout` and `conex auth`, against a registry that wants a password.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "the program is run")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;

/// `alice:canary-password`
const BASIC: &str = "YWxpY2U6Y2FuYXJ5LXBhc3N3b3Jk";
const PASSWORD: &str = "canary-password";

/// A registry that lets alice in, as long as the test runs.
fn registry(open: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for connection in listener.incoming() {
            thread::spawn(move || serve(&connection.unwrap(), open));
        }
    });
    address
}

fn serve(connection: &TcpStream, open: bool) {
    let mut lines = BufReader::new(connection).lines();
    while let Some(Ok(_request)) = lines.next() {
        let headers: Vec<_> =
            lines.by_ref().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        let known = headers.iter().any(|line| line.ends_with(BASIC));
        let head = if known || open {
            "200 OK"
        } else {
            "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\""
        };
        let mut connection = connection;
        if write!(connection, "HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// A person with a home.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_conex"))
            .args(words)
            // Rule C8: what is told is told at the most verbose level.
            .arg("--verbose")
            .env_clear()
            .env("HOME", self.0.path())
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        for stream in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(stream);
            assert!(!text.contains("canary") && !text.contains(BASIC), "{text}");
        }
        output
    }

    fn ok(&self, words: &[&str], input: &str) -> String {
        let output = self.run(words, input);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str], input: &str) -> Value {
        serde_json::from_str(&self.ok(&[words, &["--format", "json"]].concat(), input)).unwrap()
    }

    fn fails(&self, words: &[&str], input: &str) -> (i32, String) {
        let output = self.run(words, input);
        assert!(output.stdout.is_empty(), "{words:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// A helper that keeps one secret in a file.
    fn helper(&self, name: &str) {
        fs::create_dir_all(self.path("bin")).unwrap();
        let file = self.path(&format!("bin/docker-credential-{name}"));
        let kept = self.path("kept");
        let kept = kept.display();
        let text = format!(
            "#!/bin/sh\ncase $1 in\nstore) cat > {kept} ;;\nget) cat {kept} 2>/dev/null || \
             {{ echo credentials not found in native keychain; exit 1; }} ;;\n\
             erase) rm -f {kept} ;;\n\
             list) if [ -e {kept} ]; then sed 's/.*\"ServerURL\":\"\\([^\"]*\\)\".*/{{\"\\1\":\"alice\"}}/' {kept}; \
             else echo '{{}}'; fi ;;\nesac\n"
        );
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_login_is_tried_kept_listed_and_forgotten() {
    let (home, registry) = (Home::new(), registry(false));
    let login = ["login", &registry, "-u", "alice", "--password-stdin"];
    let (code, err) = home.fails(&login, "wrong\n");
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("the password of user \"alice\" from this login"), "{err}");
    assert!(!home.path(".docker").exists(), "a login that is refused is not kept");

    let report = home.json(&login, &format!("{PASSWORD}\n"));
    let file = home.path(".docker/config.json");
    assert_eq!(report["file"], file.display().to_string());
    assert_eq!((&report["checked"], &report["user"]), (&true.into(), &"alice".into()));
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let expected = format!(
        "{{\n\t\"auths\": {{\n\t\t\"{registry}\": {{\n\t\t\t\"auth\": \"{BASIC}\"\n\t\t}}\n\t}}\n}}\n"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);

    let list = home.ok(&["auth", "list"], "");
    assert_eq!(list, format!("{registry}  password of alice from {}\n", file.display()));
    let check = home.json(&["auth", "check", &format!("{registry}/some/repo")], "");
    assert_eq!((&check["checked"], &check["user"]), (&true.into(), &"alice".into()));

    assert_eq!(home.json(&["logout", &registry], "")[0]["key"], registry.as_str());
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\n\t\"auths\": {}\n}\n");
    let (code, err) = home.fails(&["logout", &registry], "");
    assert_eq!(code, 3, "{err}");
    assert_eq!(home.fails(&["auth", "check", &registry], "").0, 3);
    assert_eq!(home.json(&["auth", "list"], ""), serde_json::json!([]));
}

/// Docker takes `host/path` for all of the host, so such a login does not go to its file.
#[test]
fn a_login_for_a_part_has_a_file_of_its_own() {
    let (home, registry) = (Home::new(), registry(false));
    let part = format!("{registry}/team");
    home.ok(&["login", &part, "-u", "alice", "--password-stdin"], PASSWORD);
    assert!(!home.path(".docker/config.json").exists());
    let list = home.json(&["auth", "list"], "");
    assert_eq!(list[0]["key"], part);
    assert!(list[0]["file"].as_str().unwrap().ends_with("/.config/containers/auth.json"));
    home.ok(&["auth", "check", &format!("{part}/app")], "");
    assert_eq!(home.fails(&["auth", "check", &format!("{registry}/other")], "").0, 3);
    assert_eq!(home.fails(&["logout", &registry], "").0, 3);
    home.ok(&["logout", "--all"], "");
    // One for all of the registry, in Docker's file, does not change where that one goes.
    home.ok(&["login", &registry, "-u", "alice", "--password-stdin"], PASSWORD);
    let report = home.json(&["login", &part, "-u", "alice", "--password-stdin"], PASSWORD);
    assert!(report["file"].as_str().unwrap().ends_with("/.config/containers/auth.json"));
    home.ok(&["auth", "check", &format!("{part}/app")], "");
    home.ok(&["logout", "--all"], "");
    assert_eq!(home.json(&["auth", "list"], ""), serde_json::json!([]));
}

/// Whoever is refused is told which login it was: one for a part is not replaced by one for all.
#[test]
fn a_refused_login_is_named() {
    let (home, registry) = (Home::new(), registry(false));
    let file = home.path("auth.json");
    let part = format!("{registry}/team");
    // alice:other
    let entry = serde_json::json!({"auth": "YWxpY2U6b3RoZXI="});
    fs::write(&file, serde_json::json!({"auths": {part.as_str(): entry}}).to_string()).unwrap();
    let option = ["--auth-file", file.to_str().unwrap()];
    for words in [&["auth", "check", &format!("{part}/app")][..], &["tags", &format!("{part}/app")]]
    {
        let (code, err) = home.fails(&[words, &option].concat(), "");
        assert_eq!(code, 5, "{err}");
        let found = format!("found    the password of user \"alice\" from auths.\"{part}\" in ");
        assert!(err.contains(&found), "{err}");
        assert!(err.contains(&format!("hint: `conex login {part}` keeps another login")), "{err}");
    }
    let (code, err) = home.fails(&["login", &part, "-u", "alice"], "wrong");
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("hint: check the user name and the password"), "{err}");
}

#[test]
fn the_auth_file_is_the_one_that_is_named() {
    let (home, registry) = (Home::new(), registry(false));
    let file = home.path("some/auth.json");
    let option = ["--auth-file", file.to_str().unwrap()];
    let login = ["login", &registry, "-u", "alice", "--password-stdin"];
    home.ok(&[&login[..], &option].concat(), PASSWORD);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(home.json(&["auth", "list"], ""), serde_json::json!([]));
    home.ok(&[&["auth", "check", &registry][..], &option].concat(), "");
    fs::write(&file, "{\n  \"auths\": [\"canary\"\n").unwrap();
    for words in
        [&["auth", "list"][..], &login, &["logout", &registry], &["auth", "check", &registry]]
    {
        let (code, err) = home.fails(&[words, &option].concat(), PASSWORD);
        assert_eq!(code, 4, "{err}");
        assert!(err.contains("some/auth.json is no file of credentials"), "{err}");
        assert!(err.contains("line 2, column 11"), "{err}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\n  \"auths\": [\"canary\"\n");
}

#[test]
fn a_store_keeps_what_the_file_does_not() {
    let (home, registry) = (Home::new(), registry(false));
    home.helper("box");
    fs::create_dir(home.path(".docker")).unwrap();
    let file = home.path(".docker/config.json");
    fs::write(&file, "{\"psFormat\":\"x\",\"credsStore\":\"box\"}").unwrap();
    let login = ["login", &registry, "-u", "alice", "--password-stdin"];
    let report = home.json(&login, PASSWORD);
    assert_eq!(report["helper"], "box");
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(BASIC) && text.contains("\"psFormat\": \"x\""), "{text}");
    assert!(fs::read_to_string(home.path("kept")).unwrap().contains(PASSWORD));
    let check = home.json(&["auth", "check", &registry], "");
    assert_eq!((&check["helper"], &check["checked"]), (&"box".into(), &true.into()));
    assert_eq!(check["file"], file.display().to_string());
    let told = home.ok(&["auth", "check", &registry], "");
    assert!(told.ends_with(&format!(
        "takes password of alice from docker-credential-box, named in {}\n",
        file.display()
    )));
    home.ok(&["logout", &registry], "");
    assert!(!home.path("kept").exists());
    fs::remove_file(home.path("bin/docker-credential-box")).unwrap();
    let (code, err) = home.fails(&login, PASSWORD);
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("docker-credential-box is not on the search path"), "{err}");
}

/// `credential-helpers` of containers-registries.conf(5): who is asked first for logins keeps them.
#[test]
fn a_helper_for_all_registries_keeps_what_no_file_does() {
    let (home, registry) = (Home::new(), registry(false));
    home.helper("box");
    let conf = home.path("r.conf");
    let option = ["--registries-conf", conf.to_str().unwrap()];
    let with = |words: &[&str]| home.json(&[words, &option].concat(), PASSWORD);
    let login = ["login", &registry, "-u", "alice", "--password-stdin"];
    fs::write(&conf, "credential-helpers = ['gone', 'box', 'containers-auth.json']").unwrap();
    let report = with(&login);
    assert_eq!((&report["helper"], &report["file"]), (&"box".into(), &conf.to_str().into()));
    assert!(fs::read_to_string(home.path("kept")).unwrap().contains(PASSWORD));
    assert!(!home.path(".docker/config.json").exists());
    let listed = with(&["auth", "list"]);
    let rows = listed.as_array().unwrap();
    assert!(rows.iter().any(|row| row["key"] == *registry && row["helper"] == "box"), "{listed}");
    assert!(rows[0]["fault"].as_str().unwrap().contains("docker-credential-gone"), "{listed}");
    assert_eq!(with(&["auth", "check", &registry])["helper"], "box");
    with(&["logout", &registry]);
    assert!(!home.path("kept").exists());
    with(&login);
    assert_eq!(with(&["logout", "--all"]).as_array().unwrap().len(), 1);
    assert!(!home.path("kept").exists());
    // What is for a part of a registry no helper can keep.
    let part = format!("{registry}/team");
    let part = ["login", &part, "-u", "alice", "--password-stdin"];
    assert!(with(&part)["helper"].is_null());
    fs::write(&conf, "credential-helpers = ['gone']").unwrap();
    for words in [&login[..], &part] {
        let (code, err) = home.fails(&[words, &option].concat(), PASSWORD);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("would never be read") && err.contains("r.conf, line 1"), "{err}");
    }
}

#[test]
fn what_cannot_be_logged_in_with() {
    let (home, closed, open) = (Home::new(), registry(false), registry(true));
    for (words, input) in [
        (&["login", &closed, "--password-stdin"][..], PASSWORD),
        (&["login", &closed, "-u", "alice"], ""),
        (&["login", &closed, "-u", "al:ice"], PASSWORD),
        (&["login", "not a registry", "-u", "alice"], PASSWORD),
        (&["login", &closed, "-u", "alice", "--password", "x"], ""),
        (&["logout"], ""),
        (&["logout", &closed, "--all"], ""),
    ] {
        let (code, err) = home.fails(words, input);
        assert_eq!(code, 2, "{words:?}: {err}");
    }
    let (code, err) = home.fails(&["login", &closed, "--identity-token"], "canary");
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("takes passwords only"), "{err}");
    let report = home.json(&["login", &open, "-u", "alice"], PASSWORD);
    assert_eq!(report["checked"], false);
    assert_eq!(home.fails(&["login", "127.0.0.1:1", "-u", "alice"], PASSWORD).0, 6);
}

#[test]
fn two_logins_at_once_are_both_kept() {
    let (home, registries) = (Home::new(), [registry(false), registry(false), registry(false)]);
    thread::scope(|scope| {
        for registry in &registries {
            let home = &home;
            scope.spawn(move || home.ok(&["login", registry, "-u", "alice"], PASSWORD));
        }
    });
    assert_eq!(home.json(&["auth", "list"], "").as_array().unwrap().len(), 3);
}

/// On a terminal the password is asked for and not shown. `script` makes a terminal.
#[test]
fn a_terminal_shows_no_password() {
    if !Path::new("/usr/bin/script").exists() {
        return;
    }
    let (home, registry) = (Home::new(), registry(false));
    let conex = env!("CARGO_BIN_EXE_conex");
    let mut child = Command::new("/usr/bin/script")
        .args(["-qec", &format!("{conex} login {registry}"), "/dev/null"])
        .env("HOME", home.0.path())
        .env_remove("DOCKER_CONFIG")
        .env_remove("REGISTRY_AUTH_FILE")
        .env_remove("XDG_CONFIG_HOME")
        .env("XDG_RUNTIME_DIR", home.path("run"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut shown = child.stdout.take().unwrap();
    let mut text = String::new();
    let mut until = |what: &str| {
        let mut byte = [0];
        while !text.ends_with(what) {
            assert_eq!(std::io::Read::read(&mut shown, &mut byte).unwrap(), 1, "{text}");
            text.push(char::from(byte[0]));
        }
    };
    until(&format!("User of {registry}: "));
    input.write_all(b"alice\n").unwrap();
    until(&format!("Password for {registry}: "));
    input.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    until("config.json");
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(text.contains("logged in to") && !text.contains("canary"), "{text}");
}

/// GitLab's runners and Docker's program hand logins over in `DOCKER_AUTH_CONFIG`; a refusal says so.
#[test]
fn a_job_has_its_login_in_the_environment() {
    let (home, registry) = (Home::new(), registry(false));
    let run = |auth: &str, words: &[&str]| {
        let text = format!(r#"{{"auths":{{"{registry}":{{"auth":"{auth}"}}}}}}"#);
        let mut command = Command::new(env!("CARGO_BIN_EXE_conex"));
        command.env_clear().env("HOME", home.0.path()).env("DOCKER_AUTH_CONFIG", text);
        let output = command.args(words).output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [listed, _] = run(BASIC, &["auth", "list"]);
    assert!(listed.contains("DOCKER_AUTH_CONFIG") && listed.contains("alice"), "{listed}");
    let image = format!("{registry}/app:1");
    // `alice:wrong`
    let [_, refused] = run("YWxpY2U6d3Jvbmc=", &["digest", &image]);
    assert!(refused.contains("in DOCKER_AUTH_CONFIG") && refused.contains("alice"), "{refused}");
    let [_, let_in] = run(BASIC, &["digest", &image]);
    assert!(!let_in.contains("DOCKER_AUTH_CONFIG"), "{let_in}");
    // Who names a file means that one.
    let file = home.path("none.json");
    let [_, none] = run(BASIC, &["digest", &image, "--auth-file", file.to_str().unwrap()]);
    assert!(!none.contains("DOCKER_AUTH_CONFIG"), "{none}");
}
