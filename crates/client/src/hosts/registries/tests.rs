use super::*;

const FILE: &str = r#"
unqualified-search-registries = ["example.com"]
short-name-mode = "enforcing"
something-new = { a = 1 }

[[registry]]
prefix = "example.com/foo"
insecure = false
location = "internal.example:5000/bar"
x-unknown = [1, 2]

[[registry.mirror]]
location = "mirror-0.local/for-foo/"

[[registry.mirror]]
location = "mirror-1.local"
insecure = true
pull-from-mirror = "tag-only"

[[registry]]
location = "registry.com"
mirror-by-digest-only = true
mirror = [{ location = "mirror.registry.com" }]

[[registry]]
prefix = "*.evil.example"
blocked = true

[[registry]]
prefix = "good.evil.example"
location = "good.evil.example"

[[registry]]
prefix = "*.moved.example"
location = "one.example/all"

[aliases]
"debian" = "docker.io/library/debian"
"#;

fn registries(text: &str) -> Result<Registries> {
    let mut all = Registries::default();
    all.merge(file::parse(Path::new("/etc/r.conf"), text)?);
    Ok(all)
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn the_longest_prefix_decides() {
    let all = registries(FILE).unwrap();
    for (text, primary) in [
        ("example.com/foo/image", Some("internal.example:5000/bar/image")),
        ("example.com/foo", Some("internal.example:5000/bar")),
        ("example.com/foobar/image", None),
        ("example.com/other", None),
        ("example.com:5000/foo/image", None),
        ("registry.com/a/b", None),
        ("a.moved.example/x/y", Some("one.example/all/x/y")),
        ("a.b.moved.example/x", Some("one.example/all/x")),
        ("moved.example/x", None),
        ("a.moved.example:5000/x", Some("one.example/all/x")),
        ("debian", None),
    ] {
        let found = name(text);
        let moved = all.find(&found).and_then(|table| table.primary(&found).unwrap());
        assert_eq!(moved, primary.map(name), "{text}");
    }
    for (text, blocked) in [
        ("a.evil.example/x", true),
        ("a.b.evil.example/x", true),
        ("a.evil.example:5000/x", true),
        ("evil.example/x", false),
        ("notevil.example/x", false),
        ("good.evil.example/x", false),
    ] {
        assert_eq!(all.find(&name(text)).is_some_and(|table| table.blocked), blocked, "{text}");
    }
}

/// A prefix with a tag or digest is for that image and nothing else.
#[test]
fn one_image_can_be_elsewhere() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let text = format!(
        "[[registry]]\nlocation='r.example/a:v1'\nblocked=true\n\
         [[registry]]\nprefix='r.example/a'\nlocation='all.example/a'\n\
         [[registry]]\nprefix='r.example/b:latest'\nlocation='s.example/b:new'\n\
         mirror=[{{location='m.example/b'}}]\n\
         [[registry]]\nprefix='r.example/c@{digest}'\nlocation='s.example/c'\n\
         [[registry]]\nprefix='r.example/d:old'\nlocation='r.example/d@{digest}'\n"
    );
    let all = registries(&text).unwrap();
    let at = format!("@{digest}");
    for (text, to) in [
        ("r.example/a:v2", "all.example/a"),
        ("r.example/a", "all.example/a"),
        ("r.example/a/b:v1", "all.example/a/b"),
        ("r.example/b:latest", "s.example/b:new"),
        ("r.example/b", ""),
        ("r.example/b:other", ""),
        ("r.example/b/c:latest", ""),
        (&format!("r.example/c{at}"), "s.example/c"),
        (&format!("r.example/c:t{at}"), "s.example/c"),
        ("r.example/c:t", ""),
        ("r.example/d:old", &format!("r.example/d{at}")),
        ("r.example/d", ""),
    ] {
        let found = name(text);
        let moved = all.find(&found).and_then(|table| table.primary(&found).unwrap());
        assert_eq!(moved.map(|moved| moved.to_string()).unwrap_or_default(), to, "{text}");
    }
    let blocked = |text: &str| all.find(&name(text)).is_some_and(|table| table.blocked);
    assert!(blocked("r.example/a:v1") && !blocked("r.example/a:v2") && !blocked("r.example/a"));
    let image = name("r.example/b:latest");
    let table = all.find(&image).unwrap();
    let renamed = table.renamed(&table.primary(&image).unwrap().unwrap()).unwrap();
    assert_eq!((renamed.0.to_string(), renamed.1.to_string()), ("latest".into(), "new".into()));
    let mirrored = table.mirrored(&image, &table.mirrors[0]).unwrap();
    assert!(table.renamed(&mirrored).is_none(), "{mirrored}");
}

#[test]
fn the_last_file_says_who_is_asked_for_logins() {
    let one = file::parse(Path::new("/1"), "credential-helpers = ['a', 'containers-auth.json']");
    let none = file::parse(Path::new("/2"), "\ncredential-helpers = []").unwrap();
    let mut all = Registries::default();
    all.merge(one.unwrap());
    all.merge(none);
    let helpers = all.helpers.as_ref().unwrap();
    assert_eq!(helpers.names, ["a", AUTH_FILES]);
    assert_eq!(helpers.place.to_string(), "/1, line 1");
    all.merge(file::parse(Path::new("/3"), "\ncredential-helpers = ['b']").unwrap());
    assert_eq!(all.helpers.unwrap().names, ["b"]);
}

#[test]
fn mirrors_in_their_order() {
    let all = registries(FILE).unwrap();
    let image = name("example.com/foo/image");
    let table = all.find(&image).unwrap();
    let found: Vec<_> = table
        .mirrors
        .iter()
        .map(|mirror| {
            (table.mirrored(&image, mirror).unwrap().to_string(), mirror.insecure, mirror.serves)
        })
        .collect();
    assert_eq!(
        found,
        [
            ("mirror-0.local/for-foo/image".into(), false, Serves::All),
            ("mirror-1.local/image".into(), true, Serves::Tags),
        ]
    );
    assert_eq!(table.place.to_string(), "/etc/r.conf, line 6");
    assert_eq!(table.mirrors[1].place.line, 15);
    // There is no repository left for the second mirror.
    let whole = name("example.com/foo");
    assert!(table.mirrored(&whole, &table.mirrors[0]).is_ok());
    let err = table.mirrored(&whole, &table.mirrors[1]).unwrap_err();
    assert!(err.message().contains("/etc/r.conf, line 15"), "{err}");
    let other = all.find(&name("registry.com/a")).unwrap();
    assert_eq!(other.mirrors[0].serves, Serves::Digests);
}

#[test]
fn a_later_file_replaces_tables() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("registries.conf");
    let (one, two) = (dir.path().join("one.d"), dir.path().join("two.d"));
    std::fs::write(&main, "[[registry]]\nlocation='a.example'\nblocked=true\n").unwrap();
    for (folder, file, text) in [
        (&one, "9.conf", "[[registry]]\nlocation='a.example'\n"),
        (&one, "1.conf", "[[registry]]\nprefix='a.example'\nlocation='b.example'\n"),
        (&one, "0.txt", "no toml"),
        (&two, "x.conf", "[[registry]]\nlocation='c.example'\nblocked=true\n"),
    ] {
        std::fs::create_dir_all(folder.join("sub.conf")).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }
    let absent = dir.path().join("absent");
    let folders = vec![one, absent.clone(), two];
    let files = RegistryFiles { main: Some(main), required: true, folders: folders.clone() };
    let all = files.load().unwrap();
    let table = all.find(&name("a.example/x")).unwrap();
    assert!(!table.blocked && table.primary(&name("a.example/x")).unwrap().is_none());
    assert!(table.place.file.ends_with("9.conf"));
    assert!(all.find(&name("c.example/x")).unwrap().blocked);
    let files = RegistryFiles { main: Some(absent), required: false, folders };
    assert!(files.load().is_ok());
    let err = RegistryFiles { required: true, ..files }.load().unwrap_err();
    assert_eq!(err.kind(), Kind::NotFound, "{err}");
}

/// Each fault says the file and the line.
#[test]
fn what_is_wrong_and_where() {
    for (text, line, part) in [
        ("a = 1\nb = [\n\n", 2, ""),
        ("[[registry]]\nlocation = 7", 2, "a string"),
        ("\n[[registry]]\nblocked = true", 2, "without prefix and location"),
        ("[[registry]]\nprefix = 'a.example'", 1, "without location"),
        ("[[registry]]\nlocation = 'https://a.example'", 2, "no scheme"),
        ("[[registry]]\nlocation = 'a.example/../b'", 2, ""),
        ("[[registry]]\nprefix='a.example/b'\nlocation='a.example/b:tag'", 1, "tag or digest"),
        ("[[registry]]\nlocation = 'a.example:5000:tag'", 2, ""),
        ("[[registry]]\nlocation = 'a.example/b:t/c'", 2, ""),
        ("[[registry]]\nlocation = 'a.example/b@sha256:x'", 2, ""),
        ("[[registry]]\nlocation = 'a.example/b:blake3-x y'", 2, ""),
        ("a = 1\ncredential-helpers = 'x'", 2, "strings"),
        ("credential-helpers = ['x', 7]", 1, "strings"),
        ("[[registry]]\nprefix = '*.a.example/b'\nlocation='b.example'", 2, "wildcard"),
        ("[[registry]]\nprefix = 'a.*.b'\nlocation='b.example'", 2, ""),
        ("[[registry]]\nlocation='a.example'\ninsecure = 'yes'", 3, "true or false"),
        ("[[registry]]\nlocation='a.example'\npull-from-mirror='all'", 3, "belongs into"),
        ("[[registry]]\nlocation='a.example'\n[[registry.mirror]]\ninsecure=true", 3, "location"),
        (
            "[[registry]]\nlocation='a.example'\n[[registry.mirror]]\nlocation='b.example'\npull-from-mirror='never'",
            5,
            "digest-only",
        ),
        (
            "[[registry]]\nlocation='a.example'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='b.example'\npull-from-mirror='all'",
            6,
            "mirror-by-digest-only",
        ),
        ("registry = 7", 1, "[[registry]] tables"),
        ("registry = [7]", 1, "a table"),
        (
            "[[registry]]\nlocation='a.example'\n[[registry]]\nlocation='a.example'\nblocked=true",
            3,
            "those of line 1",
        ),
        ("\n[registries.search]\nregistries = ['docker.io']", 2, "version 1"),
    ] {
        let err = registries(text).unwrap_err();
        let whole = format!("{err} {:?} {:?}", err.expected_value(), err.found_value());
        assert!(whole.contains(&format!("/etc/r.conf, line {line}: ")), "{text}: {whole}");
        assert!(whole.contains(part), "{text}: {whole}");
        assert!(!err.message().contains('\n'), "{whole}");
    }
    let err = registries("[registries.search]\n").unwrap_err();
    assert!(err.hint_text().unwrap().contains("[[registry]]"));
    assert_eq!((err.kind(), err.found_value()), (Kind::Invalid, Some("[registries.search]")));
    let err = registries("registries = 7\n").unwrap_err();
    assert_eq!((err.kind(), err.found_value()), (Kind::Invalid, Some("registries")));
}

#[test]
fn hostile_files_end_in_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("huge", vec![b'\n'; (1 << 20) + 1]),
        ("binary", vec![0xff; 100]),
        ("deep", "[".repeat(500_000).into_bytes()),
        ("keys", ["a.".repeat(200_000).as_str(), "b=1"].concat().into_bytes()),
    ] {
        let main = dir.path().join(name);
        std::fs::write(&main, bytes).unwrap();
        let files = RegistryFiles { main: Some(main), ..RegistryFiles::default() };
        assert!(files.load().is_err(), "{name}");
    }
    let main = dir.path().to_owned();
    let files = RegistryFiles { main: Some(main), ..RegistryFiles::default() };
    assert!(files.load().is_err(), "a folder");
}
