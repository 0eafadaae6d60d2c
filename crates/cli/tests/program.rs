//! The whole program as a person meets it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "the program is run")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const COMMANDS: [&[&str]; 41] = [
    &[],
    &["inspect"],
    &["copy"],
    &["pull"],
    &["push"],
    &["pack"],
    &["unpack"],
    &["validate"],
    &["index", "create"],
    &["images"],
    &["tag"],
    &["rm"],
    &["untag"],
    &["delete"],
    &["tags"],
    &["repos"],
    &["digest"],
    &["manifest", "get"],
    &["manifest", "put"],
    &["manifest", "delete"],
    &["blob", "get"],
    &["blob", "put"],
    &["blob", "head"],
    &["blob", "delete"],
    &["gc"],
    &["du"],
    &["fsck"],
    &["repair"],
    &["login"],
    &["logout"],
    &["auth", "list"],
    &["auth", "check"],
    &["serve"],
    &["registry", "gc"],
    &["registry", "du"],
    &["registry", "scrub"],
    &["registry", "repair"],
    &["registry", "user"],
    &["demo"],
    &["completion"],
    &["man"],
];

/// Runs conex in a folder of the test's own.
fn conex(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conex"))
        .args(words)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs conex, which must succeed, and returns what it printed.
fn done(dir: &Path, words: &[&str]) -> String {
    let output = conex(dir, words);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Runs conex, which must fail with one error on standard error, and returns code and error.
fn fails(dir: &Path, words: &[&str]) -> (i32, String) {
    let output = conex(dir, words);
    let errors = text(&output.stderr).lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!((errors, output.stdout.len()), (1, 0), "{words:?}: {}", text(&output.stderr));
    (output.status.code().unwrap(), text(&output.stderr).to_owned())
}

fn json(dir: &Path, words: &[&str]) -> Value {
    let words = [words, &["--format", "json"]].concat();
    serde_json::from_str(&done(dir, &words)).unwrap()
}

/// A folder with something of everything that needs no root.
fn tree(dir: &Path) {
    fs::create_dir_all(dir.join("etc/empty")).unwrap();
    fs::write(dir.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(dir.join("big"), vec![7; 300_000]).unwrap();
    fs::hard_link(dir.join("big"), dir.join("same")).unwrap();
    std::os::unix::fs::symlink("etc/hosts", dir.join("link")).unwrap();
}

/// The reference of the command line, kept so that a change of help is seen in review.
/// `CONEX_UPDATE=1` writes it anew.
#[test]
fn help_is_as_reviewed() {
    let dir = tempfile::tempdir().unwrap();
    let mut reference = String::new();
    for words in COMMANDS {
        reference += &format!("$ conex {} --help\n", words.join(" "));
        reference += &done(dir.path(), &[words, &["--help"]].concat());
        reference += "\n";
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.txt");
    if std::env::var_os("CONEX_UPDATE").is_some() {
        fs::write(&file, &reference).unwrap();
    }
    assert_eq!(reference, fs::read_to_string(file).unwrap());
    for words in &COMMANDS[1..] {
        let help = done(dir.path(), &[words, &["--help"][..]].concat());
        assert!(help.contains("Examples:") || *words == ["demo"], "{words:?}");
    }
}

#[test]
fn the_same_folder_gives_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("tree"));
    let words =
        ["pack", "tree", "--entrypoint", "/big", "--label", "a=b", "--platform", "linux/arm64"];
    let pack = |to: &str| json(dir.path(), &[&words[..], &[to]].concat())["root"]["digest"].clone();
    let first = pack("oci:a:1");
    assert_eq!(first, pack("oci:b:1"));
    assert_eq!(first, pack("store:app"));
    let image = json(dir.path(), &["inspect", "oci:a:1"]);
    assert_eq!(image["kind"], "image");
    assert_eq!(image["platform"]["architecture"], "arm64");
    assert_eq!(image["config"]["Entrypoint"][0], "/big");
    assert_eq!(image["config"]["Labels"]["a"], "b");
}

#[test]
fn what_is_packed_is_unpacked_the_same() {
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("tree"));
    for compression in ["gzip", "zstd", "none"] {
        let image = format!("oci:layout:{compression}");
        let words = ["pack", "tree", &image, "--compression", compression];
        let packed = json(dir.path(), &words);
        done(dir.path(), &["unpack", &image, compression]);
        done(dir.path(), &["validate", &image]);
        let again = format!("oci:again:{compression}");
        let words = ["pack", compression, &again, "--compression", compression];
        assert_eq!(json(dir.path(), &words)["root"], packed["root"], "{compression}");
    }
}

#[test]
fn later_folders_delete_and_replace() {
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("tree"));
    fs::create_dir_all(dir.path().join("next/etc")).unwrap();
    fs::write(dir.path().join("next/.wh.same"), "").unwrap();
    fs::write(dir.path().join("next/etc/.wh.empty"), "").unwrap();
    fs::write(dir.path().join("next/etc/hosts"), "new\n").unwrap();
    done(dir.path(), &["pack", "--whiteouts", "tree", "next", "oci:layout"]);
    done(dir.path(), &["unpack", "oci:layout", "root"]);
    let root = dir.path().join("root");
    assert_eq!(fs::read_to_string(root.join("link")).unwrap(), "new\n");
    assert!(!root.join("same").exists() && !root.join("etc/empty").exists());
    assert!(root.join("big").exists());
}

#[test]
fn an_index_is_copied_whole_and_narrowed_on_request() {
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("tree"));
    for platform in ["linux/amd64", "linux/arm64"] {
        let image = format!("oci:build:{}", &platform[6..]);
        done(dir.path(), &["pack", "tree", &image, "--platform", platform]);
    }
    let index = json(
        dir.path(),
        &["index", "create", "oci:build:all", "oci:build:amd64", "oci:build:arm64"],
    );
    assert_eq!(index["entries"].as_array().unwrap().len(), 2);
    assert!(
        done(dir.path(), &["copy", "oci:build:all", "oci:whole"])
            .contains("whole index of 2 images")
    );
    let whole = json(dir.path(), &["inspect", "oci:whole"]);
    assert_eq!(
        (&whole["kind"], &whole["root"]["digest"]),
        (&"index".into(), &index["root"]["digest"])
    );
    let words = ["copy", "oci:build:all", "store:app:1", "--platform", "linux/arm64"];
    let one = json(dir.path(), &words);
    assert_eq!(one["root"]["platform"]["architecture"], "arm64");
    let images = json(dir.path(), &["images"]);
    assert_eq!(images[0]["name"], "docker.io/library/app:1");
    let (code, error) =
        fails(dir.path(), &["copy", "oci:build:all", "oci:x", "--platform", "linux/s390x"]);
    assert_eq!(code, 3);
    assert!(error.contains("linux/amd64, linux/arm64"), "{error}");
}

#[test]
fn failures_have_a_code_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    tree(&home.join("tree"));
    done(home, &["pack", "tree", "oci:layout:1"]);
    for (words, code, part) in [
        (&["inspect", "./layout"][..], 2, "oci:./layout"),
        (&["inspect", "oci:layout:2"], 3, "oci:layout:1"),
        (&["inspect", "oci:nowhere"], 3, "nowhere"),
        (&["inspect", "store:nothing"], 3, "conex pull"),
        (&["inspect", "docker-archive:x.tar"], 3, "cannot open x.tar"),
        (&["inspect", "oci-archive:layout/index.json"], 4, "tar"),
        (&["copy", "oci:layout:1", "oci-archive:tree"], 2, "a folder"),
        (&["copy", "oci:layout:1", "docker-archive:x.tar:Upper"], 2, "Upper"),
        (&["pack", "nowhere", "oci:layout:3"], 3, "does not exist"),
        (&["pack", "layout/index.json", "oci:layout:3"], 2, "expected a folder"),
        (&["pack", "tree", "oci:layout:3", "--compression=none", "--level=3"], 2, "levels"),
        (&["pack", "tree", "oci:layout:3", "--compression=zstd", "--level=30"], 2, "1 to 22"),
        (&["pack", "tree", "oci:layout:3", "--jobs=0"], 2, "--jobs"),
        (&["inspect", "oci:layout/index.json"], 2, "oci-archive:layout/index.json"),
        (&["validate", "oci:layout/index.json"], 2, "oci-archive:layout/index.json"),
        (&["copy", "oci:layout:1", "oci:layout/index.json"], 2, "oci-archive:layout/index.json"),
        (&["copy", "oci:layout:1", "oci:/proc/x"], 7, "/proc/x"),
        (&["inspect", "nothere.json"], 2, "there is no file"),
        (&["validate", "./nothere.json"], 2, "there is no file"),
        (&["copy", "file:layout/index.json", "oci:b"], 2, "conex inspect"),
        (&["copy", "image.tar", "oci:b"], 2, "oci-archive:image.tar"),
        (&["validate", "oci:layout:1", "--as", "config"], 2, "`--as`"),
        (&["tag", "oci:layout:1", ""], 2, "tag"),
        (&["tag", "oci-archive:a.tar", "x"], 2, "conex copy"),
        (&["rm", "oci-archive:a.tar:x"], 2, "conex copy"),
        (&["pull", "oci:layout:1"], 2, "conex copy"),
        (&["unpack", "oci:layout:1", "tree"], 1, "empty"),
        (&["copy", "oci:layout:1", "oci:b", "--platform", "what/ever/is/this"], 2, "platform"),
        (&["frobnicate"], 2, "frobnicate"),
    ] {
        let (found, error) = fails(home, words);
        assert_eq!(found, code, "{words:?}: {error}");
        assert!(error.contains(part), "{words:?}: {error}");
    }
    assert_eq!(fs::read_dir(home.join("tree")).unwrap().count(), 4);
    // A destination that names another digest is refused before anything is made there.
    let other = format!("oci:new@sha256:{}", "0".repeat(64));
    assert_eq!(fails(home, &["copy", "oci:layout:1", &other]).0, 2);
    assert!(!home.join("new").exists());
}

#[test]
fn damage_is_found_and_told() {
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("tree"));
    let packed = json(dir.path(), &["pack", "tree", "oci:layout"]);
    let digest = packed["layers"][0]["digest"].as_str().unwrap().to_owned();
    let blob = dir.path().join("layout/blobs").join(digest.replace(':', "/"));
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let output = conex(dir.path(), &["validate", "oci:layout"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stdout).contains("1 error"), "{}", text(&output.stdout));
    let (code, error) = fails(dir.path(), &["unpack", "oci:layout", "root"]);
    assert_eq!(code, 4, "{error}");
    assert!(!dir.path().join("root").exists());
}

#[test]
fn a_broken_document_is_a_finding_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x.json"), "{").unwrap();
    for (format, part) in [
        ("text", "error[json-syntax]"),
        ("json", "\"rule\": \"json-syntax\""),
        ("sarif", "\"ruleId\": \"json-syntax\""),
        ("{{range .Findings}}{{.Rule}}{{end}}", "json-syntax"),
    ] {
        let output = conex(dir.path(), &["validate", "x.json", "--format", format]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(4), ""));
        assert!(text(&output.stdout).contains(part), "{format}: {}", text(&output.stdout));
    }
}

#[test]
fn images_are_listed_as_other_commands_take_them() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    tree(&home.join("tree"));
    let packed = json(home, &["pack", "tree", "oci:layout:1"]);
    let digest = packed["root"]["digest"].as_str().unwrap();
    let by_digest = format!("store:app@{digest}");
    done(home, &["copy", "oci:layout:1", &by_digest]);
    done(home, &["copy", "oci:layout:1", "store:app:1"]);
    done(home, &["copy", "oci:layout:1", "oci:bare"]);
    for place in ["store:", "oci:layout", "oci:bare"] {
        let listed = done(home, &["images", place]);
        assert_eq!(listed.lines().count(), if place == "store:" { 2 } else { 1 }, "{listed}");
        for line in listed.lines() {
            let location = line.split_whitespace().next().unwrap();
            assert!(location.starts_with(place), "{line}");
            assert_eq!(json(home, &["inspect", location])["digest"], digest);
            done(home, &["rm", location]);
        }
        assert_eq!(done(home, &["images", place]), "");
    }
    // What cannot be used says so in a word, and why below.
    done(home, &["copy", &format!("oci:bare@{digest}"), "oci:x:1"]);
    let blob = home.join("x/blobs").join(digest.replace(':', "/"));
    for (word, spoil) in [("unreadable", true), ("missing", false)] {
        if spoil {
            fs::write(&blob, "{").unwrap();
        } else {
            fs::remove_file(&blob).unwrap();
        }
        let listed = done(home, &["images", "oci:x"]);
        let lines: Vec<_> = listed.lines().collect();
        assert!(lines[0].ends_with(word), "{listed}");
        assert!(lines[1].starts_with("warning: oci:x:1: "), "{listed}");
    }
}

#[test]
fn the_demonstration_runs() {
    let dir = tempfile::tempdir().unwrap();
    let shown = done(dir.path(), &["demo", "--dir", "demo"]);
    for part in ["moved", "already there", ": sound;", "That was it."] {
        assert!(shown.contains(part), "{part} not in {shown}");
    }
    assert!(dir.path().join("demo/bundle/rootfs/etc/motd").exists());
}

#[test]
fn a_look_shows_all_and_bytes_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    tree(&home.join("tree"));
    let words = ["pack", "tree", "oci:build:1", "--label", "a=b", "--env", "A=1"];
    let packed = json(home, &words);
    let digest = packed["root"]["digest"].as_str().unwrap();
    done(home, &["index", "create", "oci:build:all", "oci:build:1"]);
    let look = |words: &[&str]| done(home, &[&["inspect"], words].concat());
    let blob = |digest: &str| {
        fs::read_to_string(home.join("build/blobs").join(digest.replace(':', "/"))).unwrap()
    };
    assert_eq!(look(&["--raw", "oci:build:1"]), blob(digest));
    let config = look(&["oci:build:all", "--format", "{{(index .Manifests 0).Image.ID}}"]);
    assert_eq!(look(&["--config", "oci:build:all"]), blob(config.trim()));
    assert_eq!(look(&["--raw", "--config", "oci:build:all"]), blob(config.trim()));
    assert_eq!(look(&["--config", "--format", "{{.Config.Env}}", "oci:build:1"]), "[A=1]\n");
    let tree = look(&["--tree", "oci:build:all"]);
    for part in ["\u{2514}\u{2500}\u{2500} index  sha256:", "image linux/", "config  ", "layer  "] {
        assert!(tree.contains(part), "{part} not in {tree}");
    }
    // The same documents in bare files, and a blob by its digest.
    let layer = packed["layers"][0]["digest"].as_str().unwrap();
    let manifest = format!("./build/blobs/{}", digest.replace(':', "/"));
    for (target, part) in [
        (manifest.as_str(), "a file holds the manifest only"),
        ("build/index.json", "org.opencontainers.image.ref.name=all"),
        ("file:build/oci-layout", "1.0.0"),
        (&format!("oci:build@{}", config.trim()), "config of an image"),
        (&format!("oci:build@{layer}"), "tar, gzip"),
    ] {
        let shown = look(&[target]);
        assert!(shown.contains(part), "{part} not in {shown}");
    }
    assert_eq!(
        look(&["--unpacked", "oci:build:1", "--format", "{{gt .UnpackedSize .Size}}"]),
        "true\n"
    );
    let (code, error) = fails(home, &["inspect", "build/index.json", "--as", "layout"]);
    assert_eq!(code, 4);
    assert!(error.contains("expected layout") && error.contains("found    index"), "{error}");
    let (code, error) = fails(home, &["inspect", "oci:build:1", "--as", "config"]);
    assert_eq!(code, 4);
    assert!(error.contains("found    manifest"), "{error}");
    for words in [
        &["inspect", &manifest, "--config"][..],
        &["inspect", &manifest, "--platform", "linux/amd64"],
        &["inspect", "build/index.json", "--platform", "linux/amd64"],
        &["inspect", &manifest, "--unpacked"],
    ] {
        let (code, error) = fails(home, words);
        assert_eq!(code, 2, "{words:?}");
        assert!(!error.contains("memory"), "{error}");
    }
    let tree = look(&["--tree", "build/index.json"]);
    assert!(!tree.contains("missing") && !tree.contains("memory"), "{tree}");
    assert_eq!(fails(home, &["inspect", "--config", "file:build/oci-layout"]).0, 2);
    assert_eq!(fails(home, &["inspect", "oci:build:1", "--format", "{{.a.b | nope}}"]).0, 2);
}
