use conex_spec::Kind;

use super::*;

fn find(config: &str, registry: &str, repository: &str) -> Result<Option<Credential>> {
    let path = Path::new("/c.json");
    Config::parse(config.as_bytes(), path)?.find(registry, repository, path)
}

fn user(config: &str, registry: &str) -> Option<String> {
    match find(config, registry, "a/b").unwrap()?.proof {
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
    let host = find(&config, "r.example", "x").unwrap().unwrap();
    assert!(host.to_string().contains("\"host\""), "{host}");
}

#[test]
fn kinds_of_proof() {
    let of = |entry: &str| {
        let config = format!(r#"{{"auths":{{"r":{entry}}}}}"#);
        find(&config, "r", "a").unwrap().map(|found| found.proof)
    };
    let password =
        |user: &str, password: &str| Some(Proof::Password(user.into(), Secret::new(password)));
    assert_eq!(of(r#"{"auth":"dTpw"}"#), password("u", "p"));
    assert_eq!(of(r#"{"auth":"dTpwOnE="}"#), password("u", "p:q"));
    assert_eq!(of(r#"{"auth":"dTpwAAA="}"#), password("u", "p"));
    assert_eq!(of(r#"{"username":"u","password":"p"}"#), password("u", "p"));
    assert_eq!(
        of(r#"{"auth":"dTo=","identitytoken":"t"}"#),
        Some(Proof::Identity(Some("u".into()), Secret::new("t")))
    );
    assert_eq!(of(r#"{"identitytoken":"t"}"#), Some(Proof::Identity(None, Secret::new("t"))));
    assert_eq!(of(r#"{"registrytoken":"t"}"#), Some(Proof::Token(Secret::new("t"))));
    for empty in ["{}", "null", r#"{"auth":""}"#, r#"{"auth":null,"email":"x"}"#] {
        assert_eq!(of(empty), None, "{empty}");
    }
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
fn a_broken_file_is_named_with_the_place() {
    for (text, place) in [
        ("{\n  \"auths\": {\n    \"r\": canary }}", "line 3, column 10"),
        ("{\"auths\": [\"canary\"]}", "line 1, column 10"),
        ("{\"auths\": {\"r\": {\"auth\": 7}}}", "line 1"),
        ("{\"credHelpers\": {\"r\": [\"canary\"]}}", "line 1"),
        ("{\"auths\": {}", "line 1, column 12"),
    ] {
        let err = find(text, "r", "a").unwrap_err();
        assert_eq!(err.kind(), Kind::Invalid);
        assert!(err.message().contains("/c.json"), "{err}");
        assert!(err.found_value().unwrap().contains(place), "{err:?}");
        assert!(!format!("{err:?}").contains("canary"), "{err:?}");
    }
    for empty in ["", " \n", "{}", r#"{"auths":null,"credsStore":null,"credHelpers":null}"#] {
        assert!(find(empty, "r", "a").unwrap().is_none(), "{empty}");
    }
}

#[test]
fn the_file_of_old() {
    let path = Path::new("/home/u/.dockercfg");
    let config = Config::parse(br#"{"https://r.example/v1/":{"auth":"dTpw"}}"#, path).unwrap();
    assert_eq!(config.find("r.example", "a", path).unwrap().unwrap().user(), Some("u"));
}

#[test]
fn helpers_are_found_by_registry() {
    let text = r#"{"credsStore":"pass","credHelpers":{"r":"gcloud","https://s":"ecr","t":"",
        "https://index.docker.io/v1/":"hub"},"auths":{"r/a":{},"https://s/x/y":{}}}"#;
    let config = Config::parse(text.as_bytes(), Path::new("/c")).unwrap();
    assert_eq!(config.own_helper("r"), Some("gcloud"));
    assert_eq!(config.own_helper("s"), Some("ecr"));
    assert_eq!(config.own_helper("docker.io"), Some("hub"));
    assert_eq!((config.own_helper("t"), config.store()), (None, Some("pass")));
    assert!(config.has_paths("r") && !config.has_paths("s"));
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    for proof in [
        Proof::Password("u".into(), Secret::new("p:q \u{e9}")),
        Proof::Identity(Some("u".into()), Secret::new("t")),
        Proof::Identity(None, Secret::new("t")),
        Proof::Token(Secret::new("t")),
    ] {
        let entry = serde_json::to_string(&Entry::new(&proof)).unwrap();
        let config = format!(r#"{{"auths":{{"r":{entry}}}}}"#);
        assert_eq!(find(&config, "r", "a").unwrap().unwrap().proof, proof, "{entry}");
    }
}
