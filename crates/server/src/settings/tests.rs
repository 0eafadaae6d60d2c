use super::*;

use std::time::Duration;

use serde_json::Value;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash("x", 4).unwrap();
    std::fs::write(dir.path().join("users"), format!("alice:{hash}\n")).unwrap();
    dir
}

fn apply(text: &str, dir: &Path) -> Result<Config> {
    let mut config = Config::new("registry", ([127, 0, 0, 1], 5000).into());
    Settings::parse(text, &dir.join("settings.toml"))?.apply(&mut config)?;
    Ok(config)
}

#[test]
fn everything_can_be_set() {
    let dir = folder();
    let text = r#"
        root = "data"
        listen = "[::1]:80"
        deletes = false
        sparse = true
        warnings = ["moves on Monday"]
        [limits]
        manifest = 1
        header = 2
        header-time = 3
        body-time = 4
        body-bytes = 5
        connections = 6
        grace = 7
        cache = 8
        [auth]
        htpasswd = "users"
        tokens = true
        url = "https://registry.example"
        token-life = 60
        [[rule]]
        repositories = ["team/*"]
        users = ["alice", "*"]
        actions = ["pull", "push"]
        [[quota]]
        prefix = "team"
        bytes = 1_000_000
        [[immutable]]
        repositories = ["team/*"]
        tags = ["v*"]
    "#;
    let config = apply(text, dir.path()).unwrap();
    assert!(config.sparse && config.warnings == ["moves on Monday"]);
    let policies = &config.policies;
    assert_eq!((policies.quotas[0].prefix(), policies.quotas[0].bytes()), ("team", 1_000_000));
    assert!(policies.keeps("team/x", "v1") && !policies.keeps("team/x", "w"));
    assert_eq!(config.storage.to_string(), dir.path().join("data").display().to_string());
    assert_eq!((config.listen.to_string().as_str(), config.deletes), ("[::1]:80", false));
    let limits = &config.limits;
    assert_eq!((limits.manifest, limits.header, limits.body_bytes), (1, 2, 5));
    assert_eq!((limits.header_time.as_secs(), limits.body_time.as_secs()), (3, 4));
    assert_eq!((limits.connections, limits.grace.as_secs(), limits.cache), (6, 7, 8));
    let Tokens::Own(own) = &config.access.tokens else { panic!() };
    assert_eq!((own.url.as_deref(), own.life), (Some("https://registry.example"), 60));
    let allowed = config.access.rules.allowed(Some("bob"), "team/x");
    assert_eq!(allowed, Actions::PULL.and(Actions::PUSH));
    assert_eq!(config.access.rules.allowed(Some("alice"), "other"), Actions::NONE);
}

#[test]
fn a_bucket_can_be_set() {
    let text = r#"
        [storage]
        url = "s3://bucket/some/prefix/"
        region = "eu"
        endpoint = "http://127.0.0.1:9000"
        access-key-id = "key"
        secret-access-key = "hidden"
        path-style = false
        redirect = true
        spool = "waiting"
    "#;
    let config = apply(text, Path::new("")).unwrap();
    assert_eq!(config.storage.to_string(), "s3://bucket/some/prefix");
    assert!(!format!("{config:?}").contains("hidden"));
    let Place::S3(bucket) = &config.storage else { panic!() };
    assert!(bucket.redirect);
    assert!(bucket.spool.as_ref().unwrap().ends_with("waiting"));
    assert_eq!(bucket.options["aws_secret_access_key"], "hidden");
    assert_eq!(bucket.options["aws_virtual_hosted_style_request"], "true");
    for bad in
        ["", "x", "s3:/bucket", "s3://", "s3://a/b", "s3://a?b/c", "s3://abc/..", "s3://abc/x//y"]
    {
        assert!(apply(&format!("[storage]\nurl = {bad:?}"), Path::new("")).is_err(), "{bad}");
    }
    let short = apply("[storage]\nurl = \"s3://b/p\"", Path::new("")).unwrap_err().to_string();
    assert!(short.contains("3 to 63"), "{short}");
    let both = "root = \"x\"\n[storage]\nurl = \"s3://abc\"";
    assert!(apply(both, Path::new("")).unwrap_err().to_string().contains("exclude each other"));
}

#[test]
fn an_empty_file_changes_nothing() {
    let config = apply("", Path::new("")).unwrap();
    assert!(config.access.is_open() && config.deletes);
    assert_eq!(config.storage.to_string(), "registry");
}

#[test]
fn faults_are_named_with_their_line() {
    let dir = folder();
    for (text, message) in [
        ("root =", "line 1"),
        ("\n\nroots = \"x\"", "line 3: unknown field `roots`"),
        ("listen = \"nowhere\"", "line 1: invalid socket address"),
        ("[auth]\nhtpasswd = \"nothing\"", "cannot read the users"),
        ("[auth]\ntokens = true", "rules and tokens without users"),
        ("rule = []", "rules and tokens without users"),
        ("[auth]\nhtpasswd = \"users\"\nurl = \"https://x\"", "need `tokens = true`"),
        ("[auth]\nhtpasswd = \"users\"\ntokens = true\nurl = \"x\"", "`url` is no address"),
        ("[auth]\nhtpasswd = \"users\"\ntokens = true\ntoken-life = 5", "`token-life` is out of"),
        (
            "[auth]\nhtpasswd = \"users\"\n[[rule]]\nrepositories = [\"*\"]\nusers = [\"a\"]\nactions = [\"read\"]",
            "rule 1: not an action",
        ),
        (
            "[auth]\nhtpasswd = \"users\"\n[[rule]]\nrepositories = [\"[\"]\nusers = [\"a\"]\nactions = [\"pull\"]",
            "rule 1: not a pattern",
        ),
        (
            "[auth]\nhtpasswd = \"users\"\n[[rule]]\nrepositories = [\"*\"]\nusers = []\nactions = [\"pull\"]",
            "rule 1: `users` is empty",
        ),
        (
            "[auth]\nhtpasswd = \"users\"\n[auth.issuer]\nrealm = \"r\"\nservice = \"s\"\nissuer = \"i\"\nkeys = \"k\"",
            "exclude each other",
        ),
        ("[auth.issuer]\nrealm = \"r\"", "missing field"),
    ] {
        let err = apply(text, dir.path()).unwrap_err().to_string();
        assert!(err.contains(message), "{text}: {err}");
    }
}

/// Each table of the schema has the fields that the parser has, and no others.
#[test]
fn the_schema_agrees_with_the_parser() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let issuer = "realm=\"\"\nservice=\"\"\nissuer=\"\"\nkeys=\"\"\n";
    let rule = "repositories=[]\nusers=[]\nactions=[]\n";
    for (pointer, header, rest) in [
        ("", "", ""),
        ("/properties/limits", "[limits]\n", ""),
        ("/properties/auth", "[auth]\n", ""),
        ("/properties/auth/properties/issuer", "[auth.issuer]\n", issuer),
        ("/properties/rule/items", "[[rule]]\n", rule),
    ] {
        let table = schema.pointer(pointer).unwrap();
        assert_eq!(table["additionalProperties"], false, "{pointer}");
        let names = table["properties"].as_object().unwrap().keys();
        let mut names: Vec<&str> = names.map(String::as_str).collect();
        names.sort_unstable();
        let wrong = format!("{header}{rest}no-such-field = 1");
        let err = Settings::parse(&wrong, Path::new("x")).unwrap_err().to_string();
        let (_, listed) = err.split_once("expected").unwrap();
        let mut found: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        found.retain(|name| !name.is_empty());
        // The hint names a command in the same quotes.
        found.retain(|name| !name.contains(' '));
        found.sort_unstable();
        assert_eq!(found, names, "{pointer}: {err}");
    }
}

/// Every number has the bounds of the schema, and none is made smaller in silence.
#[test]
fn numbers_have_the_bounds_of_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let dir = folder();
    let check = |text: &str| apply(text, dir.path()).map(drop);
    for (pointer, before) in [
        ("/properties/limits", "[limits]"),
        ("/properties/auth", "[auth]\nhtpasswd = \"users\"\ntokens = true"),
        ("/properties/quota/items", "[[quota]]\nprefix = \"\""),
        ("/properties/retention/items", "[[retention]]\nrepositories = [\"*\"]"),
    ] {
        let fields = schema.pointer(pointer).unwrap()["properties"].as_object().unwrap();
        for (name, field) in fields.iter().filter(|(_, field)| field["type"] == "integer") {
            let least = field["minimum"].as_i64().unwrap();
            let most = field["maximum"].as_i64();
            check(&format!("{before}\n{name} = {least}")).unwrap();
            check(&format!("{before}\n{name} = {}", most.unwrap_or(i64::MAX))).unwrap();
            for wrong in [Some(least - 1), most.map(|most| most + 1)].into_iter().flatten() {
                let err = check(&format!("{before}\n{name} = {wrong}")).unwrap_err().to_string();
                let told = err.contains("line") || err.contains(&format!("`{name}` is out of"));
                assert!(told && err.contains(&wrong.to_string()), "{err}");
            }
        }
    }
}

#[test]
fn collecting_can_be_set() {
    let dir = folder();
    let text = r#"
        [gc]
        interval = "never"
        grace = "90min"
        untagged = true
        uploads = "7days"
        [[retention]]
        repositories = ["ci/*"]
        tags = ["build-*", "pr-*"]
        keep-newest = 10
        younger-than = "30days"
        untagged = false
        [[retention]]
        repositories = ["*"]
    "#;
    let gc = apply(text, dir.path()).unwrap().gc;
    assert_eq!((gc.interval, gc.grace.as_secs(), gc.untagged), (None, 5400, true));
    assert_eq!(gc.uploads.as_secs(), 7 * 86_400);
    let rule = &gc.retention[0];
    assert!(rule.repositories[0].fits("ci/a/b") && rule.tags[1].fits("pr-7"));
    assert_eq!((rule.keep_newest, rule.untagged), (Some(10), Some(false)));
    assert_eq!(rule.younger_than, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(gc.retention.len(), 2);
    let usual = apply("", dir.path()).unwrap().gc;
    assert_eq!(
        (usual.interval, usual.grace.as_secs(), usual.untagged),
        (Some(usual.grace), 86_400, false)
    );
    for (text, says) in [
        ("[gc]\ngrace = \"1 day or two\"", "`grace` is no time"),
        ("[gc]\ngrace = \"59min\"\n[storage]\nurl = \"s3://bucket\"", "too short for a bucket"),
        ("[[retention]]\nrepositories = []", "retention 1"),
        ("[[retention]]\nrepositories = [\"[\"]", "retention 1"),
        ("[gc]\nkeep = 1", "unknown field"),
    ] {
        let err = apply(text, dir.path()).unwrap_err();
        assert!(err.to_string().contains(says), "{err}");
    }
}
