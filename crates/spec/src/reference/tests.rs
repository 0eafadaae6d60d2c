use super::*;
use crate::error::Kind;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Reference {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err}"))
}

/// What is typed, the canonical registry, repository and tag, and the short form.
#[rustfmt::skip]
const GOOD: &[(&str, &str, &str, Option<&str>, &str)] = &[
    ("ubuntu", "docker.io", "library/ubuntu", None, "ubuntu"),
    ("ubuntu:24.04", "docker.io", "library/ubuntu", Some("24.04"), "ubuntu:24.04"),
    ("a", "docker.io", "library/a", None, "a"),
    ("bitnami/redis", "docker.io", "bitnami/redis", None, "bitnami/redis"),
    ("bitnami/redis:7", "docker.io", "bitnami/redis", Some("7"), "bitnami/redis:7"),
    ("a/b/c", "docker.io", "a/b/c", None, "a/b/c"),
    ("library/ubuntu", "docker.io", "library/ubuntu", None, "ubuntu"),
    ("docker.io/ubuntu", "docker.io", "library/ubuntu", None, "ubuntu"),
    ("docker.io/library/ubuntu", "docker.io", "library/ubuntu", None, "ubuntu"),
    ("index.docker.io/ubuntu", "docker.io", "library/ubuntu", None, "ubuntu"),
    ("index.docker.io/a/b:c", "docker.io", "a/b", Some("c"), "a/b:c"),
    ("Docker.IO/ubuntu", "docker.io", "library/ubuntu", None, "ubuntu"),
    ("docker.io/a.b/c", "docker.io", "a.b/c", None, "docker.io/a.b/c"),
    ("docker.io/localhost/c", "docker.io", "localhost/c", None, "docker.io/localhost/c"),
    ("library/a/b", "docker.io", "library/a/b", None, "library/a/b"),
    ("localhost", "docker.io", "library/localhost", None, "localhost"),
    // As in Docker, a colon without a slash after it is a tag's.
    ("localhost:5000", "docker.io", "library/localhost", Some("5000"), "localhost:5000"),
    ("localhost/a", "localhost", "a", None, "localhost/a"),
    ("localhost:5000/a:1", "localhost:5000", "a", Some("1"), "localhost:5000/a:1"),
    ("ghcr.io/a/b:v1", "ghcr.io", "a/b", Some("v1"), "ghcr.io/a/b:v1"),
    ("docker.io:443/a", "docker.io:443", "a", None, "docker.io:443/a"),
    ("r.example/a", "r.example", "a", None, "r.example/a"),
    ("r.example:65535/a/b", "r.example:65535", "a/b", None, "r.example:65535/a/b"),
    ("host:5000/a", "host:5000", "a", None, "host:5000/a"),
    ("HOST/a", "HOST", "a", None, "HOST/a"),
    ("127.0.0.1:5000/a", "127.0.0.1:5000", "a", None, "127.0.0.1:5000/a"),
    ("[::1]/a", "[::1]", "a", None, "[::1]/a"),
    ("[::1]:5000/a:b", "[::1]:5000", "a", Some("b"), "[::1]:5000/a:b"),
    ("[2001:DB8:0::1]/a", "[2001:db8::1]", "a", None, "[2001:db8::1]/a"),
    ("x-y.example/a", "x-y.example", "a", None, "x-y.example/a"),
    ("xn--bcher-kva.example/a", "xn--bcher-kva.example", "a", None, "xn--bcher-kva.example/a"),
    ("a.b", "docker.io", "library/a.b", None, "a.b"),
    ("a_b/c__d/e-f/g---h/i.j", "docker.io", "a_b/c__d/e-f/g---h/i.j", None, "a_b/c__d/e-f/g---h/i.j"),
    ("0/1:2", "docker.io", "0/1", Some("2"), "0/1:2"),
    ("a:_x", "docker.io", "library/a", Some("_x"), "a:_x"),
    ("a:A..b--C", "docker.io", "library/a", Some("A..b--C"), "a:A..b--C"),
    ("a:latest", "docker.io", "library/a", Some("latest"), "a:latest"),
    ("a:sha256-e3b0c442", "docker.io", "library/a", Some("sha256-e3b0c442"), "a:sha256-e3b0c442"),
    ("r.example", "docker.io", "library/r.example", None, "r.example"),
];

#[test]
fn good_references() {
    for &(text, registry, repository, tag, familiar) in GOOD {
        let reference = parse(text);
        assert_eq!(reference.registry(), registry, "{text}");
        assert_eq!(reference.repository(), repository, "{text}");
        assert_eq!(reference.tag().map(Tag::as_str), tag, "{text}");
        assert_eq!(reference.digest(), None, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
        assert_eq!(parse(familiar), reference, "{text}");
        assert_eq!(parse(&reference.to_string()), reference, "{text}");
    }
}

#[rustfmt::skip]
const BAD: &[&str] = &[
    "", " ", "/", ":", "@", "a:", "a/", "/a", "a//b", "a@", "a b", "a\n", "a\0", "\u{7f}", ".",
    "..", "../a", "a/..", "a/../b", "library/../x", "a/./b", "r.example/../a", "a%2Fb",
    "a%2F..%2Fb", "%2e%2e/a", "a\\b", "a\\..\\b", "r.example/a%00", "a..b", "a._b", "a___b", "-a",
    "a-", "_a", "a_", "a.", "a/-b", "a/b.", "a+b", "a~b", "Ubuntu", "a/Ubuntu", "r.example/Ubuntu",
    "аbc", "ubuntu\u{200b}", "ｕbuntu", "r.example/é", "a:-tag", "a:.tag", "a:t/g", "a:t+g",
    "a:tag:tag", "a:tаg", "a: tag", "r.example:80:80/a", "r.example:/a", "r.example:0/a",
    "r.example:65536/a", "r.example:+80/a", "r.example:8o/a", "-r.example/a", "r-.example/a",
    "r..example/a", ".example/a", "r.example./a", "r_x.example/a", "é.example/a", "[::1", "[::1]",
    "[::1]:5000", "[::1]5000/a", "[::g]/a", "[fe80::1%eth0]/a", "[127.0.0.1]/a", "::1/a", "[]/a",
    "https://r.example/a", "docker://a", "u:p@r.example/a", "u@r.example:5000/a:b", "a@sha256",
    "a@sha256:", "a@sha256:abc", "a@x@y", "a@b:c@d:e", "@sha256:abc",
];

/// Rule D5 and other hostile or mistaken words.
#[test]
fn bad_references() {
    let long = |n: usize| "a".repeat(n);
    let bad = BAD.iter().map(|&text| text.to_owned()).chain([
        HEX.to_owned(),
        format!("@sha256:{HEX}"),
        format!("a@sha256:{}", &HEX[1..]),
        format!("a@sha256:{}", HEX.to_uppercase()),
        format!("a@sha256:{HEX}:tag"),
        format!("a:{}", long(129)),
        long(256),
        format!("r.example/{}", long(246)),
        format!("{}.example/a", long(64)),
        long(1 << 20),
        "a/".repeat(1 << 16),
    ]);
    for text in bad {
        let err = text.parse::<Reference>().expect_err(&text);
        assert_eq!(err.kind(), Kind::Invalid, "{text}");
        assert!(err.to_string().len() < 900, "{err}");
    }
    assert!(BAD.len() >= 60);
}

#[test]
fn limits_are_exact() {
    let name = "a".repeat(255 - "r.example/".len());
    assert_eq!(parse(&format!("r.example/{name}")).repository(), name);
    let tag = "t".repeat(128);
    assert_eq!(parse(&format!("a:{tag}")).tag().unwrap().as_str(), tag);
    let host = "h".repeat(63);
    assert_eq!(parse(&format!("{host}.example/a")).host(), format!("{host}.example"));
}

#[test]
fn a_digest_is_kept_beside_the_tag_and_wins() {
    let text = format!("r.example:5000/a/b:v1@sha256:{HEX}");
    let reference = parse(&text);
    assert_eq!(reference.to_string(), text);
    assert_eq!(reference.tag().unwrap().as_str(), "v1");
    let digest = reference.digest().unwrap().clone();
    assert_eq!(digest.encoded(), HEX);
    assert_eq!(reference.name(), Some(Name::Digest(digest)));
    assert_eq!(parse(&format!("ubuntu@sha256:{HEX}")).tag(), None);
}

#[test]
fn latest_is_only_said_when_asked_for() {
    let reference = parse("ubuntu");
    assert_eq!(reference.name(), None);
    assert_eq!(reference.name_or_latest(), Name::Tag(Tag::latest()));
    assert_eq!(parse("ubuntu:1").name_or_latest().as_str(), "1");
}

#[test]
fn names_are_exchanged() {
    let digest = Digest::sha256(b"");
    let pinned = parse("r.example/a:1").with_digest(digest.clone());
    assert_eq!(pinned.to_string(), format!("r.example/a:1@{digest}"));
    let moved = pinned.with_tag(Tag::new("2").unwrap()).unwrap();
    assert_eq!(moved.to_string(), "r.example/a:2");
    assert_eq!(
        moved.with_name(digest.clone().into()).unwrap().to_string(),
        format!("r.example/a@{digest}")
    );
    assert_eq!(pinned.without_name().to_string(), "r.example/a");
    let free = Tag::new("x/y:z").unwrap();
    assert_eq!(pinned.with_tag(free).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn hosts_and_ports() {
    for (text, host, port, loopback) in [
        ("r.example/a", "r.example", None, false),
        ("r.example:5000/a", "r.example", Some(5000), false),
        ("localhost/a", "localhost", None, true),
        ("LOCALHOST:1/a", "localhost", Some(1), true),
        ("x.localhost:080/a", "x.localhost", Some(80), true),
        ("xlocalhost:80/a", "xlocalhost", Some(80), false),
        ("localhost.example/a", "localhost.example", None, false),
        ("127.255.0.1:5000/a", "127.255.0.1", Some(5000), true),
        ("128.0.0.1/a", "128.0.0.1", None, false),
        ("127.0.0.1.example/a", "127.0.0.1.example", None, false),
        ("[::1]:5000/a", "::1", Some(5000), true),
        ("[::2]/a", "::2", None, false),
    ] {
        let reference = parse(text);
        assert_eq!(reference.host(), host, "{text}");
        assert_eq!(reference.port(), port, "{text}");
        assert_eq!(reference.is_loopback(), loopback, "{text}");
    }
}

/// A bare word as host is Docker's first component unless it is in upper case.
#[test]
fn a_host_of_one_word_can_be_typed_again() {
    for (registry, printed) in [("host", "HOST/a"), ("Host", "HOST/a"), ("host:80", "host:80/a")] {
        let reference = Reference::new(registry, "a").unwrap();
        assert_eq!(reference.to_string(), printed);
        assert_eq!(parse(printed), reference);
    }
    assert!(Reference::new("123", "a").is_err());
    assert!(Reference::new("localhost", "a").unwrap().is_loopback());
}

#[test]
fn a_password_is_not_repeated() {
    for text in ["joe:hunter2@r.example/a", "https://joe:hunter2@r.example/a"] {
        let err = text.parse::<Reference>().unwrap_err();
        assert!(!err.to_string().contains("hunter2"), "{err}");
        assert!(err.hint_text().is_some());
    }
}

#[test]
fn hints_name_the_way_out() {
    let hint = |text: &str| text.parse::<Reference>().unwrap_err().hint_text().unwrap().to_owned();
    assert!(hint("a/Ubuntu").contains("lower case"));
    assert!(hint(HEX).contains("@sha256:"));
}

#[test]
fn tags_of_layouts_are_free() {
    for text in ["v1", "docker.io/library/a:1", "1+2", "a@b", "ü", "../..", &"a".repeat(1024)] {
        assert_eq!(Tag::new(text).unwrap().as_str(), text);
    }
    for text in ["", " ", "a b", "a\tb", "a\u{85}", "a\\b", "a\0", "\u{a0}", &"a".repeat(1025)] {
        assert_eq!(Tag::new(text).unwrap_err().kind(), Kind::Invalid, "{text:?}");
    }
    assert!(Tag::new("1+2").unwrap().check_registry().is_err());
    let err = "r.example/web:2.0.0+build.5".parse::<crate::Location>().unwrap_err();
    assert_eq!(err.hint_text(), Some("the tag of version 2.0.0+build.5 is 2.0.0_build.5"));
    let err = "r.example/web:+a b".parse::<crate::Location>().unwrap_err();
    assert!(err.hint_text().is_some_and(|hint| hint.starts_with("a location is one of")), "{err}");
    assert_eq!(Tag::new("1.2").unwrap().check_registry().unwrap(), "1.2");
    assert!(Tag::registry("a/b").is_err());
}

#[test]
fn a_broken_digest_is_no_tag() {
    let digest: Name = format!("sha256:{HEX}").parse().unwrap();
    assert_eq!(digest.as_digest().unwrap().encoded(), HEX);
    assert_eq!(digest.as_tag(), None);
    assert_eq!("v1".parse::<Name>().unwrap().as_tag().unwrap().as_str(), "v1");
    assert!("sha256:abc".parse::<Name>().is_err());
    assert!("".parse::<Name>().is_err());
    let full: Name = "localhost:5000/a:1".parse().unwrap();
    assert!(full.as_tag().is_some() && full.check_registry().is_err());
}

#[test]
fn all_stand_as_strings_in_json() {
    let reference = parse("ubuntu:1");
    let json = serde_json::to_string(&reference).unwrap();
    assert_eq!(json, r#""docker.io/library/ubuntu:1""#);
    assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
    assert_eq!(serde_json::from_str::<Tag>(r#""\u0061""#).unwrap().as_str(), "a");
    assert!(serde_json::from_str::<Tag>(r#""\n""#).is_err());
    assert!(serde_json::from_str::<Name>("1").is_err());
}

proptest::proptest! {
    /// Whatever parses prints as something that parses to the same, and holds nothing foreign.
    #[test]
    fn parsing_never_panics_and_is_stable(text in "\\PC{0,40}|[A-Ba-c0-1:/@.\\[\\]_-]{0,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let full = reference.to_string();
            assert!(full.bytes().all(|b| b.is_ascii_alphanumeric() || b":/@.[]_-".contains(&b)));
            assert_eq!(parse(&full), reference);
            assert_eq!(parse(&reference.familiar()), reference);
        }
    }
}
