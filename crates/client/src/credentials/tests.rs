use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_spec::Kind;
use tempfile::TempDir;

use super::*;

/// A helper in shell that keeps everything in files beside it.
const HELPER: &str = r#"#!/bin/sh
dir=$(dirname "$0")/kept
mkdir -p "$dir"
echo "$1 $#" >> "$dir/../calls"
name() { tr '/:' '__'; }
case "$1" in
get) server=$(cat | name)
  if [ -f "$dir/$server" ]; then cat "$dir/$server"
  else echo "credentials not found in native keychain"; exit 1; fi ;;
store) text=$(cat)
  server=$(printf %s "$text" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/' | name)
  printf %s "$text" > "$dir/$server" ;;
erase) rm -f "$dir/$(cat | name)" ;;
list) echo '{"https://index.docker.io/v1/":"alice","r.example":"<token>"}' ;;
esac
"#;

fn helper(dir: &TempDir, name: &str, text: &str) {
    let file = dir.path().join(format!("docker-credential-{name}"));
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let file = dir.path().join(name);
    fs::write(&file, text).unwrap();
    file
}

fn with(dir: &TempDir, files: &[&Path]) -> Credentials {
    let start = Credentials::anonymous().with_helpers(vec![
        PathBuf::new(),
        "relative".into(),
        dir.path().to_owned(),
    ]);
    files.iter().fold(start, |credentials, file| credentials.with_docker_config(*file))
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

fn password(user: &str) -> Proof {
    Proof::Password(user.into(), Secret::new("canary"))
}

/// `u:canary`
const AUTH: &str = "dTpjYW5hcnk=";

#[test]
fn the_programs_own_come_first_and_for_their_registry_only() {
    let dir = tempfile::tempdir().unwrap();
    let auths = format!(r#"{{"auths":{{"r":{{"auth":"{AUTH}"}},"s":{{"auth":"{AUTH}"}}}}}}"#);
    let path = write(&dir, "config.json", &auths);
    let credentials = with(&dir, &[&dir.path().join("absent.json"), &path]).with_password(
        "r",
        "given",
        Secret::new("canary"),
        "the option --password",
    );
    let shown = |registry| credentials.find(registry, "a").unwrap().credential.unwrap().to_string();
    assert_eq!(shown("r"), "the password of user \"given\" from the option --password");
    assert!(shown("s").ends_with("config.json"));
    assert!(credentials.find("t", "a").unwrap().credential.is_none());
    assert!(!format!("{credentials:?}").contains("canary"));
}

#[test]
fn files_are_asked_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let first = write(&dir, "auth.json", r#"{"auths":{"r/team":{"auth":"Zmlyc3Q6cA=="}}}"#);
    let text = format!(r#"{{"auths":{{"r":{{"auth":"{AUTH}"}},"r/team/a":{{"auth":"{AUTH}"}}}}}}"#);
    let second = write(&dir, "config.json", &text);
    let credentials = with(&dir, &[&first, &second]);
    let user = |repository| {
        let found = credentials.find("r", repository).unwrap();
        assert!(!found.whole, "{repository}");
        found.credential.unwrap().user().unwrap().to_owned()
    };
    assert_eq!(
        (user("team/a"), user("team"), user("other")),
        ("first".into(), "first".into(), "u".into())
    );
}

#[test]
fn an_endless_file_is_not_read() {
    let err = Credentials::anonymous().with_docker_config("/dev/zero").find("r", "a").unwrap_err();
    assert_eq!((err.kind(), err.found_value()), (Kind::Io, Some("a device")));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let err = Credentials::anonymous().with_docker_config(path).find("r", "a").unwrap_err();
    assert_eq!(err.kind(), Kind::Limit);
}

#[test]
fn a_folder_is_no_file_of_logins() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(&dir, "config.json", "{}");
    assert!(with(&dir, &[&config]).check_files().is_ok());
    let credentials = with(&dir, &[&config, dir.path()]);
    for err in [credentials.check_files(), credentials.find("r", "a").map(drop)] {
        let err = err.unwrap_err();
        assert_eq!((err.kind(), err.found_value()), (Kind::Io, Some("a folder")));
    }
}

#[test]
fn what_there_are_logins_for_is_told_without_helpers() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        r#"{{"auths":{{"r.example/team":{{"auth":"{AUTH}"}},"empty.example":{{}},
            "https://index.docker.io/v1/":{{"auth":"{AUTH}"}}}},"credHelpers":{{"h.example":"absent"}}}}"#
    );
    let config = write(&dir, "config.json", &text);
    let domains = |files: &[&Path]| {
        let domains = with(&dir, files).domains();
        domains.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(domains(&[&config]), "docker.io r.example/team h.example");
    let stored = r#"{"auths":{"s.example":{}},"credsStore":"absent"}"#;
    let stored = write(&dir, "stored.json", stored);
    assert_eq!(domains(&[&stored, &config]), "s.example docker.io r.example/team h.example");
    let broken = write(&dir, "broken.json", "{");
    assert_eq!(domains(&[&broken]), "");
}

#[test]
fn advice_names_the_login_that_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = |key: &str| {
        write(&dir, "config.json", &format!(r#"{{"auths":{{"{key}":{{"auth":"{AUTH}"}}}}}}"#))
    };
    for (listed, registry, named) in [
        ("r.example/team", "r.example", "r.example/team"),
        ("r.example", "r.example", "r.example"),
        ("https://r.example/some/path", "r.example", "r.example"),
        ("https://index.docker.io/v1/", "docker.io", "docker.io"),
    ] {
        let found = with(&dir, &[&key(listed)]).find(registry, "team/app").unwrap();
        let shown = found.credential.unwrap().shown();
        assert_eq!(shown.advice, format!("`conex login {named}` keeps another login"));
    }
    let text = Secret::new(format!(r#"{{"auths":{{"r":{{"auth":"{AUTH}"}}}}}}"#));
    let found = Credentials::anonymous().with_docker_config_text(text, "DOCKER_AUTH_CONFIG");
    let shown = found.find("r", "a").unwrap().credential.unwrap().shown();
    assert_eq!(shown.advice, "give another login in auths.\"r\" in DOCKER_AUTH_CONFIG");
}

#[test]
fn helpers_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    helper(&dir, "own", HELPER);
    let text = r#"{"credHelpers":{"r.example":"own"},"auths":{"r.example":{"auth":"dTpw"}}}"#;
    let config = write(&dir, "config.json", text);
    let credentials = with(&dir, &[&config]);
    // Nothing is kept, and the entry does not count beside a helper.
    assert!(credentials.find("r.example", "a").unwrap().credential.is_none());
    let kept = credentials.keep(&domain("r.example"), &password("alice"), &config).unwrap();
    assert_eq!(kept.helper.as_deref(), Some("own"));
    assert_eq!(fs::read_to_string(&config).unwrap(), text, "Podman makes no entry either");
    let found = credentials.find("r.example", "a").unwrap();
    let credential = found.credential.unwrap();
    assert_eq!(credential.proof, password("alice"));
    assert!(found.whole);
    let shown = credential.to_string();
    assert!(shown.contains("docker-credential-own (credHelpers in /"), "{shown}");
    let erased = credentials.forget_one(&domain("r.example")).unwrap();
    assert_eq!(erased.len(), 2, "the helper's and the entry: {erased:?}");
    assert!(credentials.find("r.example", "a").unwrap().credential.is_none());
    let calls = fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(calls.lines().all(|line| line.ends_with(" 1")), "one word and no secret: {calls}");
}

#[test]
fn a_store_is_asked_for_every_registry() {
    let dir = tempfile::tempdir().unwrap();
    helper(&dir, "box", HELPER);
    let config = write(&dir, "config.json", r#"{"credsStore":"box"}"#);
    let credentials = with(&dir, &[&config]);
    for registry in ["docker.io", "r.example:5000"] {
        assert!(credentials.find(registry, "a").unwrap().credential.is_none());
        let kept = credentials.keep(&domain(registry), &password("u"), &config).unwrap();
        assert_eq!(kept.helper.as_deref(), Some("box"));
        let found = credentials.find(registry, "a").unwrap().credential.unwrap();
        assert_eq!(found.proof, password("u"));
    }
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("\"https://index.docker.io/v1/\": {}"), "{text}");
    assert!(!text.contains(AUTH) && !text.contains("canary"), "{text}");
    let identity = Proof::Identity(None, Secret::new("canary-token"));
    credentials.keep(&domain("r.example:5000"), &identity, &config).unwrap();
    let found = credentials.find("r.example:5000", "a").unwrap().credential.unwrap();
    assert_eq!(found.proof, identity);
    credentials.renew(&found, &Secret::new("newer")).unwrap();
    let found = credentials.find("r.example:5000", "a").unwrap().credential.unwrap();
    assert_eq!(found.proof, Proof::Identity(None, Secret::new("newer")));
    let erased = credentials.forget_all().unwrap();
    assert_eq!(erased.iter().filter(|row| row.helper.is_some()).count(), 2, "{erased:?}");
    assert!(credentials.find("docker.io", "a").unwrap().credential.is_none());
}

#[test]
fn a_store_that_is_not_there_does_not_keep_from_what_anyone_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(&dir, "config.json", r#"{"credsStore":"desktop"}"#);
    let credentials = with(&dir, &[&config]);
    let found = credentials.find("r", "a").unwrap();
    assert!(found.credential.is_none());
    assert!(
        found.unasked.unwrap().starts_with("docker-credential-desktop is not on the search path")
    );
    let err = credentials.keep(&domain("r.example"), &password("u"), &config).unwrap_err();
    assert_eq!(err.kind(), Kind::Io);
    // One that is named for this very registry must be there.
    let config = write(&dir, "own.json", r#"{"credHelpers":{"r.example":"gone"}}"#);
    let err = with(&dir, &[&config]).find("r.example", "a").unwrap_err();
    assert!(err.message().contains("docker-credential-gone"), "{err}");
    assert!(err.message().contains("credHelpers in /"), "{err}");
}

/// Rule C14.
#[test]
fn a_helper_is_a_name_and_no_path() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["../../evil", "a/b", "/bin/sh", "", "A", "a b", "a;b", "$(x)", "a\u{1b}", "é"] {
        let text = serde_json::json!({"credHelpers": {"r": name}, "credsStore": name}).to_string();
        let config = write(&dir, "config.json", &text);
        match with(&dir, &[&config]).find("r", "a") {
            Ok(found) => {
                assert!(name.is_empty() && found == Found { whole: true, ..Found::default() });
            }
            Err(err) => {
                assert_eq!(err.kind(), Kind::Invalid, "{name}: {err}");
                assert!(err.message().contains("config.json"), "{err}");
            }
        }
    }
}

#[test]
fn a_new_login_goes_where_it_is_read_first() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = dir.path().join("run/auth.json");
    let docker = dir.path().join("docker/config.json");
    let credentials = with(&dir, &[&runtime, &docker]);
    let usual = |text: &str| credentials.file_for(&domain(text), &docker).unwrap();
    assert_eq!(usual("docker.io"), docker);
    credentials.keep(&domain("docker.io"), &password("u"), &docker).unwrap();
    assert_eq!(fs::metadata(&docker).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(docker.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    credentials.keep(&domain("docker.io"), &password("podman"), &runtime).unwrap();
    assert!(fs::read_to_string(&runtime).unwrap().contains("\"docker.io\": {"));
    assert!(fs::read_to_string(&docker).unwrap().contains("\"https://index.docker.io/v1/\": {"));
    assert_eq!(usual("docker.io"), runtime, "the other would not be read");
    assert_eq!(usual("docker.io/alice"), runtime);
    // A login for all of a registry does not take one for a part of it to its own file.
    let first = credentials.file_for(&domain("docker.io/alice"), &runtime).unwrap();
    assert_eq!(first, runtime);
    credentials.forget_one(&domain("docker.io")).unwrap();
    credentials.keep(&domain("docker.io"), &password("u"), &docker).unwrap();
    let first = credentials.file_for(&domain("docker.io/alice"), &runtime).unwrap();
    assert_eq!(first, runtime, "read before what is for all of the registry");
    credentials.keep(&domain("docker.io"), &password("podman"), &runtime).unwrap();
    assert_eq!(usual("r.example"), docker);
    let login = credentials.used_for(&domain("docker.io")).unwrap().unwrap();
    assert_eq!((login.user.as_deref(), login.kind), (Some("podman"), LoginKind::Password));
    assert_eq!(credentials.forget_one(&domain("docker.io")).unwrap().len(), 2);
    assert_eq!(credentials.all().unwrap(), []);
    assert_eq!(credentials.forget_one(&domain("docker.io")).unwrap(), []);
}

#[test]
fn logins_are_listed_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    helper(&dir, "box", HELPER);
    let text = format!(
        r#"{{"auths":{{"s":{{"auth":"{AUTH}"}},"s/team":{{"identitytoken":"canary"}},
        "bad":{{"auth":"?"}},"r.example":{{}}}},"credsStore":"box","credHelpers":{{"t":"gone"}}}}"#
    );
    let config = write(&dir, "config.json", &text);
    let logins = with(&dir, &[&config]).all().unwrap();
    let rows: Vec<_> = logins
        .iter()
        .map(|login| (login.key.as_str(), login.user.as_deref(), login.helper.as_deref()))
        .collect();
    let expected = [
        ("t", None, Some("gone")),
        ("bad", None, None),
        ("s", Some("u"), None),
        ("s/team", None, None),
        ("https://index.docker.io/v1/", Some("alice"), Some("box")),
        ("r.example", None, Some("box")),
    ];
    assert_eq!(rows, expected);
    assert!(logins[0].fault.is_some() && logins[1].fault.is_some());
    assert_eq!(logins[5].kind, LoginKind::IdentityToken);
    let shown = format!("{logins:?}{}", serde_json::to_string(&logins).unwrap());
    assert!(!shown.contains("canary") && !shown.contains(AUTH));
}

#[test]
fn a_login_for_a_path_goes_past_helpers() {
    let dir = tempfile::tempdir().unwrap();
    helper(&dir, "box", HELPER);
    let config = write(&dir, "config.json", r#"{"credsStore":"box"}"#);
    let credentials = with(&dir, &[&config]);
    let kept = credentials.keep(&domain("r.example/team"), &password("u"), &config).unwrap();
    assert_eq!((kept.key.as_str(), kept.helper), ("r.example/team", None));
    assert!(credentials.find("r.example", "team/app").unwrap().credential.is_some());
    assert!(credentials.find("r.example", "other").unwrap().credential.is_none());
    let config = write(&dir, "own.json", r#"{"credHelpers":{"r.example":"box"}}"#);
    let credentials = with(&dir, &[&config]);
    let err = credentials.keep(&domain("r.example/team"), &password("u"), &config).unwrap_err();
    assert_eq!(err.kind(), Kind::Unsupported);
}

/// What a job's environment holds comes first, is told by its name, and is never written to.
#[test]
fn a_text_comes_before_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    let entry = |user: &str| STANDARD.encode(format!("{user}:canary"));
    let text = format!(r#"{{"auths":{{"r.example":{{"auth":"{}"}}}}}}"#, entry("job"));
    let both = format!(
        r#"{{"auths":{{"r.example":{{"auth":"{0}"}},"s.example":{{"auth":"{0}"}}}}}}"#,
        entry("me")
    );
    fs::write(&file, both).unwrap();
    let credentials = Credentials::anonymous()
        .with_docker_config(&file)
        .with_docker_config_text(Secret::new(text), "DOCKER_AUTH_CONFIG");
    assert!(!format!("{credentials:?}").contains(&entry("job")));
    let found = credentials.find("r.example", "a").unwrap().credential.unwrap();
    assert_eq!(
        found.to_string(),
        "the password of user \"job\" from auths.\"r.example\" in DOCKER_AUTH_CONFIG"
    );
    assert_eq!(found.place, None);
    let found = credentials.find("s.example", "a").unwrap().credential.unwrap();
    assert_eq!(found.user(), Some("me"));
    assert!(found.place.is_some());
    let listed: Vec<_> = credentials.all().unwrap().into_iter().map(|login| login.file).collect();
    assert_eq!(listed[0], "DOCKER_AUTH_CONFIG");
    assert_eq!(listed.len(), 3);
    let broken = Credentials::anonymous()
        .with_docker_config_text(Secret::new("canary"), "DOCKER_AUTH_CONFIG");
    let err = broken.find("r.example", "a").unwrap_err();
    assert!(err.message().contains("DOCKER_AUTH_CONFIG"), "{err}");
    assert!(!format!("{err:?}").contains("canary"), "{err:?}");
}

/// `credential-helpers` of containers-registries.conf(5).
#[test]
fn helpers_for_all_registries_are_asked_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    helper(
        &dir,
        "full",
        "#!/bin/sh\ncat >/dev/null; echo '{\"Username\":\"h\",\"Secret\":\"s\"}'\n",
    );
    helper(&dir, "empty", "#!/bin/sh\necho 'credentials not found in native keychain'; exit 1\n");
    let path = write(&dir, "auth.json", &format!(r#"{{"auths":{{"r":{{"auth":"{AUTH}"}}}}}}"#));
    let place = hosts::Place { file: Path::new("/r.conf").into(), line: 3 };
    let find = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let order = hosts::Helpers { names, place: place.clone() };
        with(&dir, &[&path]).in_order(Some(&order)).find("r", "a")
    };
    let user = |names: &[&str]| {
        let credential = find(names).unwrap().credential;
        credential.and_then(|it| it.user().map(str::to_owned)).unwrap_or_default()
    };
    for (names, expected) in [
        (&["full", AUTH_FILES][..], "h"),
        (&[AUTH_FILES, "full"], "u"),
        (&["empty", AUTH_FILES, "full"], "u"),
        (&["empty", "full"], "h"),
        (&["absent", "full"], "h"),
        (&["empty"], ""),
        (&["absent"], ""),
    ] {
        assert_eq!(user(names), expected, "{names:?}");
    }
    let credential = find(&["full"]).unwrap().credential.unwrap();
    assert_eq!(
        credential.found_in,
        "docker-credential-full (credential-helpers in /r.conf, line 3)"
    );
    let told = find(&["absent"]).unwrap().unasked.unwrap();
    assert!(told.contains("docker-credential-absent") && told.contains("line 3"), "{told}");
    let err = find(&["../x"]).unwrap_err();
    assert!(err.message().contains("credential-helpers in /r.conf, line 3"), "{err}");
}
