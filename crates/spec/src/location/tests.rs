use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Location {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err}"))
}

/// What is typed, the kind, the path, the name of the root.
#[rustfmt::skip]
const GOOD: &[(&str, &str, &str, &str)] = &[
    ("ubuntu", "registry", "", ""),
    ("ubuntu:24.04", "registry", "", "24.04"),
    ("docker://ubuntu:24.04", "registry", "", "24.04"),
    // An image of Docker's registry, not a prefix.
    ("docker:dind", "registry", "", "dind"),
    ("registry:2", "registry", "", "2"),
    ("docker://index.json", "registry", "", ""),
    ("x.json:1", "registry", "", "1"),
    ("localhost:5000/x.json", "registry", "", ""),
    ("localhost/x.json", "registry", "", ""),
    ("ghcr.io/a/x.tar", "registry", "", ""),
    ("docker://file:5000/a", "registry", "", ""),
    ("localhost:5000/a:b", "registry", "", "b"),
    ("docker://store:5000/a", "registry", "", ""),
    ("docker://dir:5000/a", "registry", "", ""),
    ("oci", "registry", "", ""),
    ("store", "registry", "", ""),
    ("oci:dir", "oci", "dir", ""),
    ("oci:/tmp/x:v1", "oci", "/tmp/x", "v1"),
    ("oci:./x:docker.io/library/a:1", "oci", "./x", "docker.io/library/a:1"),
    ("oci:../x", "oci", "../x", ""),
    ("oci:a b:c", "oci", "a b", "c"),
    ("oci:x@y", "oci", "x@y", ""),
    ("oci:me@host:v1", "oci", "me@host", "v1"),
    ("oci:x:a@b", "oci", "x", "a@b"),
    ("oci-archive:x.tar", "oci-archive", "x.tar", ""),
    ("oci-archive:-", "oci-archive", "-", ""),
    ("oci-archive:-:v1", "oci-archive", "-", "v1"),
    ("docker-archive:x.tar", "docker-archive", "x.tar", ""),
    ("docker-archive:/x.tar:a/b:c", "docker-archive", "/x.tar", "a/b:c"),
    ("docker-archive:-", "docker-archive", "-", ""),
    (
        "docker-archive:x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "docker-archive",
        "x",
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ),
    ("docker-daemon:busybox:1", "docker-daemon", "", "busybox:1"),
    ("store:ubuntu:24.04", "store", "", "24.04"),
    ("store:ghcr.io/a/b", "store", "", ""),
];

#[test]
fn an_image_of_an_engine_is_no_digest_of_an_unknown_algorithm() {
    assert!(parse("docker-daemon:busybox:1").name().unwrap().as_tag().is_some());
}

#[test]
fn good_locations() {
    for &(text, kind, path, name) in GOOD {
        let location = parse(text);
        assert_eq!(location.kind_str(), kind, "{text}");
        let found = location.path().map(|path| path.to_str().unwrap());
        assert_eq!(found.unwrap_or(""), path, "{text}");
        assert_eq!(location.name().map_or(String::new(), |name| name.to_string()), name, "{text}");
        assert_eq!(parse(&location.to_string()), location, "{text}");
        assert_eq!(location.is_stream(), path == "-", "{text}");
    }
}

/// Docker's registry is not asked for what is meant as a file or as a place of another tool.
#[test]
fn files_are_no_images() {
    for (text, hint) in [
        ("nothere.json", "conex validate"),
        ("build/index.json", "conex inspect"),
        ("./nothere.json", "conex validate"),
        ("image.tar", "oci-archive:image.tar"),
        ("out/Image.TAR.GZ", "docker-archive:out/Image.TAR.GZ"),
        ("./image.tgz", "oci-archive:./image.tgz"),
        ("file:x", "conex inspect"),
        ("file:./x.json", "conex inspect"),
        ("podman:x", "docker-daemon:"),
        ("sif:x", "oci-archive:"),
    ] {
        let err = text.parse::<Location>().unwrap_err();
        assert!(err.hint_text().unwrap_or_default().contains(hint), "{text}: {err:?}");
    }
}

#[test]
fn digests_name_roots() {
    for text in [
        format!("oci:dir@{DIGEST}"),
        format!("oci:a@b@{DIGEST}"),
        format!("oci-archive:-@{DIGEST}"),
        format!("docker-daemon:{DIGEST}"),
        format!("r.example/a@{DIGEST}"),
        format!("store:r.example/a:1@{DIGEST}"),
    ] {
        let location = parse(&text);
        assert_eq!(location.name().unwrap().as_digest().unwrap().as_str(), DIGEST);
        assert_eq!(location.to_string(), text);
    }
    assert_eq!(parse(&format!("oci:a@b@{DIGEST}")).path(), Some(Path::new("a@b")));
}

#[test]
fn bad_locations() {
    let both = format!("oci:dir:v1@{DIGEST}");
    for text in [
        "",
        ":",
        "oci:",
        "oci::v1",
        "oci:dir:",
        "oci:dir:a b",
        "oci:dir:\u{1b}",
        "oci:\0",
        "oci:-",
        "oci:dir@sha256:abc",
        "oci:@sha256:abc",
        "oci-archive:",
        "oci-archive::a",
        "docker-archive:",
        "docker-archive:x:",
        "docker-archive::a",
        "docker-daemon:",
        "docker-daemon:a b",
        "docker-daemon:sha256:abc",
        "store:",
        "store:../x",
        "store:a:-x",
        "docker://",
        "docker://../x",
        "docker:///x",
        "memory:",
        "dir:/tmp/x",
        "dir:x",
        "containers-storage:x",
        "ocidir://x",
        "./dir",
        "/tmp/x",
        "~/x",
        ".",
        "xyz:a/b",
        "xyz:",
        "https://r.example/a",
        "OCI:dir",
        &both,
    ] {
        let err = text.parse::<Location>().expect_err(text);
        assert_eq!(err.kind(), Kind::Invalid, "{text}");
    }
}

#[test]
fn hints_tell_what_was_meant() {
    let hint = |text: &str| text.parse::<Location>().unwrap_err().hint_text().unwrap().to_owned();
    assert_eq!(hint("./dir"), "did you mean oci:./dir?");
    assert_eq!(hint("/tmp/x:v1"), "did you mean oci:/tmp/x:v1?");
    assert!(hint("./x.tar").contains("docker-archive:./x.tar"));
    assert_eq!(hint("xyz:a/b"), FORMS);
    assert_eq!(hint(""), FORMS);
    assert!(hint("dir:x").contains("oci:DIR"));
    assert!(hint("oci:-").contains("oci-archive:-"));
    assert!(hint("a/Ubuntu").contains("lower case"));
}

#[test]
fn a_password_is_not_repeated() {
    for text in ["https://joe:hunter2@r.example/a", "joe:hunter2@r.example/a"] {
        let err = text.parse::<Location>().unwrap_err();
        assert!(!format!("{err}{:?}", err.hint_text()).contains("hunter2"), "{err}");
    }
}

#[test]
fn names_are_exchanged() {
    let tag = || Name::Tag(Tag::new("new").unwrap());
    let digest = || Name::Digest(DIGEST.parse().unwrap());
    for (text, tagged, pinned) in [
        ("r.example/a:1", "r.example/a:new", Some(format!("r.example/a@{DIGEST}"))),
        ("store:r.example/a", "store:r.example/a:new", Some(format!("store:r.example/a@{DIGEST}"))),
        ("oci:dir:1", "oci:dir:new", Some(format!("oci:dir@{DIGEST}"))),
        ("oci-archive:f", "oci-archive:f:new", Some(format!("oci-archive:f@{DIGEST}"))),
        ("docker-archive:f:a", "docker-archive:f:new", None),
        ("docker-daemon:a", "docker-daemon:new", Some(format!("docker-daemon:{DIGEST}"))),
    ] {
        let location = parse(text);
        assert_eq!(location.with_name(tag()).unwrap().to_string(), tagged);
        let found = location.with_name(digest()).map(|location| location.to_string());
        assert_eq!(found.ok(), pinned, "{text}");
    }
    assert_eq!(Location::Memory.with_name(tag()).unwrap_err().kind(), Kind::Unsupported);
    let free = Name::Tag(Tag::new("a/b:c").unwrap());
    assert!(parse("r.example/a").with_name(free).is_err());
}

#[test]
fn a_location_is_a_string_in_json() {
    let location = parse("ubuntu");
    let json = serde_json::to_string(&location).unwrap();
    assert_eq!(json, r#""docker.io/library/ubuntu""#);
    assert_eq!(serde_json::from_str::<Location>(&json).unwrap(), location);
}

proptest::proptest! {
    #[test]
    fn what_is_printed_can_be_typed(text in "(oci:|oci-archive:|docker-archive:|docker-daemon:|store:|docker://|dir:|)[-a-zA-Z0-9:@/._ ]{0,24}|\\PC{0,20}") {
        if let Ok(location) = text.parse::<Location>() {
            assert_eq!(parse(&location.to_string()), location);
        }
    }
}
