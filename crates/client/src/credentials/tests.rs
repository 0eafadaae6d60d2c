use super::*;

fn find(config: &str, registry: &str, repository: &str) -> Result<Found> {
    Config::parse(config.as_bytes())?.find(registry, repository, Path::new("/c.json"))
}

fn user(config: &str, registry: &str) -> Option<String> {
    match find(config, registry, "a/b").unwrap().credential?.proof {
        Proof::Password(user, _) => Some(user),
        _ => None,
    }
}

fn auths(entries: &[(&str, &str)]) -> String {
    let entry = |(key, user): &(&str, &str)| {
        format!(r#""{key}":{{"auth":"{}"}}"#, BASE64.encode(format!("{user}:secret")))
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
}

#[test]
fn keys_as_docker_and_podman_write_them() {
    for (key, registry) in [
        ("r.example", "r.example"),
        ("r.example:5000", "r.example:5000"),
        ("https://r.example", "r.example"),
        ("https://r.example/v1/", "r.example"),
        ("http://r.example:5000/v2", "r.example:5000"),
        ("r.example/v2/", "r.example"),
        ("https://r.example/some/path", "r.example"),
        ("r.example/a", "r.example"),
        ("r.example/a/b", "r.example"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("docker.io/a", "docker.io"),
    ] {
        assert_eq!(user(&auths(&[(key, "u")]), registry).as_deref(), Some("u"), "{key}");
    }
    for (key, registry) in [
        ("r.example", "r.example:5000"),
        ("r.example:5000", "r.example"),
        ("r.example/other", "r.example"),
        ("r.example/a/bc", "r.example"),
        ("evil.r.example", "r.example"),
        ("https://r.example.evil", "r.example"),
        ("docker.io", "index.docker.io.evil"),
    ] {
        assert_eq!(user(&auths(&[(key, "u")]), registry), None, "{key}");
    }
}

#[test]
fn the_most_special_key_wins() {
    let config =
        auths(&[("https://r.example/v1/", "url"), ("r.example", "host"), ("r.example/a", "a")]);
    assert_eq!(user(&config, "r.example").as_deref(), Some("a"));
    let host = find(&config, "r.example", "x").unwrap().credential.unwrap();
    assert!(host.to_string().contains("\"host\""), "{host}");
}

#[test]
fn kinds_of_proof() {
    let of = |entry: &str| {
        let config = format!(r#"{{"auths":{{"r":{entry}}}}}"#);
        find(&config, "r", "a").unwrap().credential.map(|found| found.proof)
    };
    let password =
        |user: &str, password: &str| Some(Proof::Password(user.into(), Secret::new(password)));
    assert_eq!(of(r#"{"auth":"dTpw"}"#), password("u", "p"));
    assert_eq!(of(r#"{"auth":"dTpwOnE="}"#), password("u", "p:q"));
    assert_eq!(of(r#"{"auth":"dTpwAAA="}"#), password("u", "p"));
    assert_eq!(of(r#"{"username":"u","password":"p"}"#), password("u", "p"));
    assert_eq!(
        of(r#"{"auth":"dTo=","identitytoken":"t"}"#),
        Some(Proof::Identity(Secret::new("t")))
    );
    assert_eq!(of(r#"{"registrytoken":"t"}"#), Some(Proof::Token(Secret::new("t"))));
    assert_eq!(of("{}"), None);
}

#[test]
fn a_broken_entry_is_a_fault_that_shows_no_secret() {
    for auth in ["not base64 canary", "Y2FuYXJ5", "OmNhbmFyeQ=="] {
        let config = format!(r#"{{"auths":{{"r":{{"auth":"{auth}"}}}}}}"#);
        let err = find(&config, "r", "a").unwrap_err();
        assert!(!err.to_string().contains("canary"), "{err}");
    }
    let err = find(r#"{"auths":{"r":{"auth":canary}}}"#, "r", "a").unwrap_err();
    assert!(err.to_string().contains("line 1") && !err.to_string().contains("canary"), "{err}");
}

#[test]
fn helpers_are_named() {
    let helper = |config: &str| find(config, "r", "a").unwrap().helper;
    assert_eq!(helper(r#"{"credsStore":"pass"}"#).as_deref(), Some("pass"));
    let both = r#"{"credsStore":"pass","credHelpers":{"r":"gcloud","s":"ecr"},"auths":{"r":{}}}"#;
    assert_eq!(helper(both).as_deref(), Some("gcloud"));
    assert_eq!(helper(r#"{"credsStore":"","credHelpers":{"s":"ecr"}}"#), None);
    assert_eq!(helper(&auths(&[("r", "u")]).replace("}}}", r#"}},"credsStore":"x"}"#)), None);
}

#[test]
fn the_programs_own_come_first_and_for_their_registry_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, auths(&[("r", "file"), ("s", "file")])).unwrap();
    let credentials = Credentials::anonymous()
        .with_docker_config(dir.path().join("absent.json"))
        .with_docker_config(&path)
        .with_password("r", "given", Secret::new("canary"), "the option --password");
    let shown = |registry| credentials.find(registry, "a").unwrap().credential.unwrap().to_string();
    assert_eq!(shown("r"), "the password of user \"given\" from the option --password");
    assert!(shown("s").ends_with("config.json"));
    assert!(credentials.find("t", "a").unwrap().credential.is_none());
    assert!(!format!("{credentials:?}").contains("canary"));
}

#[test]
fn an_endless_file_is_not_read() {
    let err = Credentials::anonymous().with_docker_config("/dev/zero").find("r", "a").unwrap_err();
    assert_eq!(err.kind(), Kind::Limit);
}
