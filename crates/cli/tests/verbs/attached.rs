//! Artifacts of indexes and of their platforms, what is found of them, and what they say.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::artifact::{files, within};
use crate::support::daemon::{DockerRegistry, Registry};
use crate::support::layout::Handmade;
use crate::support::program::{Conex, Run};
use crate::support::scratch::Scratch;

const ARM: &[&str] = &["--platform", "linux/arm64"];

/// An index of two platforms.
fn two_platforms(scratch: &Scratch, conex: &Conex) -> String {
    let layout = format!("oci:{}", scratch.arg("two"));
    let tree = scratch.folder("tree");
    fs::write(tree.join("file"), "file").unwrap();
    let [amd, arm] = ["amd64", "arm64"].map(|architecture| {
        let image = format!("{layout}:{architecture}");
        let platform = format!("linux/{architecture}");
        conex.ok(&["pack", tree.to_str().unwrap(), &image, "--platform", &platform]);
        image
    });
    let index = format!("{layout}:index");
    conex.ok(&["index", "create", &index, &amd, &arm]);
    index
}

pub fn each_platform_has_its_own() {
    let scratch = Scratch::new("platforms");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), files(&scratch));
    let layout = two_platforms(&scratch, &conex);
    let remote = registry.image("two:1");
    conex.ok(&["copy", &layout, &remote]);
    for place in [&remote, &layout] {
        within(&conex, &dir, &["artifact", "attach", "--to", place, "notes.md"]).ok();
        let args = ["artifact", "attach", "--to", place, "report.json"];
        within(&conex, &dir, &[&args[..], ARM].concat()).ok();
        let found = |more: &[&str]| conex.json(&[&["discover", place.as_str()], more].concat());
        let of_index = found(&[]);
        assert_eq!(of_index["count"], 1, "{of_index}");
        let kind = |tree: &Value| tree["referrers"][0]["descriptor"]["artifactType"].clone();
        assert_eq!(kind(&of_index), "application/vnd.unknown.artifact.v1");
        assert_eq!(kind(&found(ARM)), "application/spdx+json");
        assert_eq!(found(&["--platform", "linux/amd64"])["count"], 0);
        let none = ["--platform", "linux/s390x"];
        let run = conex.run(&[&["discover", place.as_str()], &none[..]].concat());
        assert!(run.fails_with(3).contains("linux/amd64, linux/arm64"));
        let run = within(&conex, &dir, &[&args[..], &none].concat());
        assert!(run.fails_with(3).contains("linux/s390x"));
    }
    // A copy brings what belongs to all of them along.
    let copied = registry.image("copied:1");
    conex.ok(&["copy", &remote, &copied, "--with", "referrers"]);
    for more in [&[][..], ARM] {
        assert_eq!(conex.json(&[&["discover", &copied], more].concat())["count"], 1, "{more:?}");
    }
}

/// An index of artifacts, each for a platform: a program as people build it.
pub fn an_artifact_is_chosen_by_its_platform() {
    let scratch = Scratch::new("artifact-index");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let dir = scratch.folder("files");
    let entries = ["amd64", "arm64"].map(|architecture| {
        fs::write(dir.join("tool"), architecture).unwrap();
        let to = registry.image("tool");
        let push =
            ["artifact", "push", "tool", &format!("{to}:{architecture}"), "--format", "json"];
        let stored: Value = serde_json::from_str(&within(&conex, &dir, &push).ok()).unwrap();
        let mut entry = stored["root"].clone();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    });
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    let at = registry.image("tool:1");
    within(&conex, &dir, &["manifest", "put", &at, "index.json"]).ok();
    let out = scratch.arg("out");
    let run = conex.run(&["artifact", "pull", &at, &out]);
    let err = run.fails_with(2);
    assert!(err.contains("linux/amd64, linux/arm64") && err.contains("--platform"), "{err}");
    conex.ok(&[&["artifact", "pull", &at, &out], ARM].concat());
    assert_eq!(fs::read_to_string(scratch.join("out/tool")).unwrap(), "arm64");
}

/// Annotations from options and from a file; then what is found by type, annotation and date.
pub fn what_is_found_is_what_was_asked_for() {
    let scratch = Scratch::new("filters");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), files(&scratch));
    let image = registry.image("app:1");
    within(&conex, &dir, &["artifact", "push", "site", &image]).ok();
    let sheet = json!({
        "$manifest": {"stage": "test", "by": "sheet"},
        "$config": {"c": "1"},
        "notes.md": {"n": "2"},
    });
    fs::write(dir.join("sheet.json"), sheet.to_string()).unwrap();
    for (month, kind) in [("01", "a/one"), ("03", "a/one"), ("02", "a/two"), ("04", "b/one")] {
        let made = format!("2026-{month}-01T00:00:00Z");
        let args = ["artifact", "attach", "--to", &image, "notes.md", "--artifact-type", kind];
        let more = ["--created", &made, "--annotation-file", "sheet.json", "-a", "by=option"];
        let batch = if month < "03" { "batch=1" } else { "batch=2" };
        within(&conex, &dir, &[&args[..], &more, &["-a", batch]].concat()).ok();
    }
    let text = conex.ok(&["discover", &image, "--type", "c/*", "--annotation", "stage"]);
    assert!(
        text.ends_with("\n4 artifacts refer to it, but none fits --type c/* --annotation stage\n"),
        "{text}"
    );
    let text = conex.ok(&["discover", &image, "--latest"]);
    assert!(text.ends_with("\n3 of 4 artifacts\n"), "{text}");
    for (more, expected) in [
        (&[][..], &["01", "02", "03", "04"][..]),
        (&["--type", "a/*"], &["01", "02", "03"]),
        (&["--type", "a/one", "--type", "b/*"], &["01", "03", "04"]),
        (&["--latest"], &["02", "03", "04"]),
        (&["--latest", "--type", "a/one"], &["03"]),
        (&["--annotation", "stage"], &["01", "02", "03", "04"]),
        (&["--annotation", "stage=live"], &[]),
        (&["--latest", "--annotation", "batch=1"], &["01", "02"]),
    ] {
        let tree = conex.json(&[&["discover", &image], more].concat());
        let found = tree["referrers"].as_array().unwrap().iter();
        let months: Vec<_> =
            found.map(|node| node["created"].as_str().unwrap()[5..7].to_owned()).collect();
        assert_eq!(months, expected, "{more:?}");
    }
    let tree = conex.json(&["discover", &image, "--type", "b/one"]);
    let node = &tree["referrers"][0]["descriptor"];
    // What is typed goes over what a file says.
    assert_eq!(node["annotations"]["by"], "option", "{node}");
    let at = format!("{}@{}", registry.image("app"), node["digest"].as_str().unwrap());
    let manifest: Value = serde_json::from_str(&conex.ok(&["manifest", "get", &at])).unwrap();
    assert_eq!(manifest["config"]["annotations"]["c"], "1", "{manifest}");
    assert_eq!(manifest["layers"][0]["annotations"]["n"], "2", "{manifest}");
}

/// A manifest and its referrers come "in either order": on every place, and are found again.
pub fn what_is_not_there_yet_has_attachments() {
    let scratch = Scratch::new("before");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), files(&scratch));
    absent(&scratch, &conex, &dir, &registry.image("app"), "");
    absent(&scratch, &conex, &dir, &format!("oci:{}", scratch.arg("new")), "oci:");
    absent(
        &scratch,
        &conex,
        &dir,
        &format!("oci-archive:{}", scratch.arg("a.tar")),
        "oci-archive:",
    );
    absent(&scratch, &conex, &dir, "store:r.example/app", "store:");
    // In the place of a digest there has to be something.
    let at = format!("oci:{}:1", scratch.arg("nowhere"));
    let run = within(&conex, &dir, &["artifact", "attach", "--to", &at, "notes.md"]);
    assert!(run.fails_with(3).contains("hint: `conex copy IMAGE oci:"), "{run:?}");
    assert!(!scratch.join("nowhere").exists());
}

pub fn docker_registry_keeps_what_is_attached_to_nothing() {
    let scratch = Scratch::new("before-docker");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (DockerRegistry::start(&scratch, None), files(&scratch));
    absent(&scratch, &conex, &dir, &registry.image("app"), "");
}

fn absent(scratch: &Scratch, conex: &Conex, dir: &Path, place: &str, kind: &str) {
    let made = Handmade::new(scratch.join("made"));
    let image = made.finish(&made.image(&[b"layer"]));
    let digest = conex.ok(&["digest", &image]).trim().to_owned();
    let size = conex.json(&["inspect", &image])["size"].to_string();
    let at = format!("{place}@{digest}");
    conex.run(&["discover", &at]).fails_with(3);
    let attach = ["artifact", "attach", "--to", &at, "--subject-size", &size, "report.json"];
    within(conex, dir, &attach).ok();
    let found = conex.json(&["discover", &at]);
    assert_eq!((&found["missing"], &found["count"]), (&json!(true), &json!(1)), "{found}");
    assert_eq!(
        (&found["digest"], &found["size"]),
        (&json!(digest), &json!(size.parse::<u64>().unwrap()))
    );
    assert!(conex.ok(&["discover", &at]).contains("(not there)"));
    conex.run(&["discover", &format!("{place}@sha256:{}", "1".repeat(64))]).fails_with(3);
    // Once it is there, all is as ever.
    if kind == "oci-archive:" {
        conex.ok(&["copy", &image, &format!("{place}:1")]);
    } else {
        conex.ok(&["copy", &image, &at]);
    }
    let found = conex.json(&["discover", &at]);
    assert_eq!((&found["missing"], &found["count"]), (&Value::Null, &json!(1)), "{found}");
}

/// Several at once, each a process of its own: none is lost, and nothing lies beside the archive.
pub fn all_that_is_attached_at_once_stays() {
    let scratch = Scratch::new("at-once");
    let conex = Conex::new(&scratch);
    let (dir, folder) = (files(&scratch), scratch.folder("place"));
    let made = Handmade::new(scratch.join("made"));
    let image = made.finish(&made.image(&[b"layer"]));
    let archive = format!("oci-archive:{}", folder.join("a.tar").display());
    conex.ok(&["copy", &image, &format!("{archive}:1")]);
    at_once(&conex, &dir, &format!("{archive}:1"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    conex.ok(&["validate", &format!("{archive}:1")]);
    // One archive that nobody has made before, under several names.
    let new = format!("oci-archive:{}", folder.join("b.tar").display());
    let names: Vec<_> = (0..6).map(|at| format!("{new}:{at}")).collect();
    let copies: Vec<_> = names
        .iter()
        .map(|name| conex.command(&["copy", &image, name]).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    for mut copy in copies {
        assert!(copy.wait().unwrap().success());
    }
    for name in &names {
        conex.ok(&["validate", name]);
    }
}

/// Its list is under a tag, without a lock.
pub fn docker_registry_keeps_all_that_is_attached_at_once() {
    let scratch = Scratch::new("at-once-docker");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (DockerRegistry::start(&scratch, None), files(&scratch));
    let made = Handmade::new(scratch.join("made"));
    let image = made.finish(&made.image(&[b"layer"]));
    conex.ok(&["copy", &image, &registry.image("app:1")]);
    at_once(&conex, &dir, &registry.image("app:1"));
}

fn at_once(conex: &Conex, dir: &Path, to: &str) {
    let start = |at: usize| {
        let note = format!("at={at}");
        let args = ["artifact", "attach", "--to", to, "notes.md", "-a", &note];
        conex.command(&args).current_dir(dir).stdout(Stdio::null()).spawn().unwrap()
    };
    let running: Vec<_> = (0..8).map(start).collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(conex.json(&["discover", to])["count"], 8);
}

/// What an archive holds stays beside what gets a name, and goes for what gets none.
pub fn an_archive_keeps_its_other_images() {
    let scratch = Scratch::new("keeps");
    let conex = Conex::new(&scratch);
    let dir = files(&scratch);
    let made = Handmade::new(scratch.join("made"));
    let [one, two] = [&b"one"[..], b"two"].map(|layer| {
        let to = format!("oci:{}:{}", scratch.arg("images"), String::from_utf8_lossy(layer));
        conex.ok(&["copy", &made.finish(&made.image(&[layer])), &to]);
        to
    });
    let archive = format!("oci-archive:{}", scratch.arg("a.tar"));
    let [a, b] = ["a", "b"].map(|name| format!("{archive}:{name}"));
    let listed = || -> Vec<String> {
        let tags = conex.ok(&["tags", &archive, "--format", "{{.Name}}"]);
        tags.lines().map(str::to_owned).collect()
    };
    conex.ok(&["copy", &one, &a]);
    within(&conex, &dir, &["artifact", "attach", "--to", &a, "notes.md"]).ok();
    within(&conex, &dir, &["artifact", "push", "notes.md", &b]).ok();
    assert_eq!(listed(), ["a", "b"]);
    assert_eq!(conex.json(&["discover", &a])["count"], 1);
    conex.ok(&["validate", &a]);
    conex.ok(&["validate", &b]);
    // A name that moves takes along what belonged to the image that had it.
    let before = fs::metadata(scratch.join("a.tar")).unwrap().len();
    conex.ok(&["copy", &two, &a]);
    assert_eq!(conex.json(&["discover", &a])["count"], 0);
    assert_eq!(listed(), ["a", "b"]);
    assert!(fs::metadata(scratch.join("a.tar")).unwrap().len() < before);
    let run = conex.run(&["copy", &one, &archive]);
    assert!(run.err.contains("all that the archive held: a, b"), "{run:?}");
    assert_eq!(listed(), [""; 0]);
    assert!(!conex.run(&["copy", &two, &archive]).err.contains("archive held"));
    conex.ok(&["copy", &one, &archive]);
    conex.ok(&["validate", &archive]);
    // A file that is no archive is not written over by one of its images.
    fs::write(scratch.join("notes"), "mine").unwrap();
    let run = conex.run(&["copy", &one, &format!("oci-archive:{}:1", scratch.arg("notes"))]);
    assert!(run.fails_with(2).contains("no OCI archive"), "{run:?}");
    assert_eq!(fs::read_to_string(scratch.join("notes")).unwrap(), "mine");
}

/// What would have been lost is known of no such file, so that only what keeps it needs to read it.
pub fn a_file_that_may_not_be_read_is_replaced() {
    const NOBODY: u32 = 65_534;
    let scratch = Scratch::new("unreadable");
    let conex = Conex::new(&scratch);
    let (made, home) = (Handmade::new(scratch.join("made")), scratch.folder("home"));
    let image = made.finish(&made.image(&[b"layer"]));
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let file = home.join("a.tar");
    let unreadable = || {
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o200)).unwrap();
        chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
    };
    let nobody = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conex"));
        let command = command.args(args).uid(NOBODY).gid(NOBODY);
        Run::of(args, &command.env("HOME", &home).env_remove("CONEX_STORE").output().unwrap())
    };
    for kind in ["docker-archive:", "oci-archive:"] {
        unreadable();
        let to = format!("{kind}{}", file.display());
        nobody(&["copy", &image, &to]).ok();
        conex.ok(&["validate", &to]);
    }
    unreadable();
    let named = format!("oci-archive:{}:1", file.display());
    assert!(nobody(&["copy", &image, &named]).fails_with(7).contains("Permission denied"));
    assert_eq!(fs::read(&file).unwrap(), b"old");
    let tree = scratch.folder("tree");
    conex.ok(&["pack", tree.to_str().unwrap(), &named.replace("a.tar", "b.tar")]);
    nobody(&["export", &named.replace("a.tar", "b.tar"), file.to_str().unwrap()]).ok();
    assert_ne!(fs::read(&file).unwrap(), b"old");
}

pub fn known_kinds_say_what_they_are() {
    let scratch = Scratch::new("known-kinds");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), scratch.folder("files"));
    fs::create_dir(dir.join("model")).unwrap();
    for (name, content) in [
        ("a.json", &br#"{"spdxVersion":"SPDX-2.3","name":"app","packages":[{},{}]}"#[..]),
        ("b.json", br#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{}]}"#),
        (
            "c.json",
            br#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[{"name":"app"}]}"#,
        ),
        ("d.wasm", b"\0asm\x01\0\0\0"),
        ("model/a.gguf", b"GGUF"),
    ] {
        fs::write(dir.join(name), content).unwrap();
    }
    for (name, kind, said) in [
        ("a.json", "application/spdx+json", &["SPDX-2.3", "packages     2"][..]),
        ("b.json", "application/vnd.cyclonedx+json", &["CycloneDX 1.5", "components   1"]),
        ("c.json", "application/vnd.in-toto+json", &["slsa.dev/provenance/v1", "says of      app"]),
        ("d.wasm", "application/vnd.wasm.config.v0+json", &["runs on      wasip1/wasm"]),
        ("model", "application/vnd.cncf.model.manifest.v1+json", &["format       gguf"]),
    ] {
        let at = registry.image(&format!("kinds:{}", &name[..1]));
        within(&conex, &dir, &["artifact", "push", name, &at]).ok();
        let text = conex.ok(&["inspect", &at]);
        assert!(text.contains(&format!("artifact, {kind}\n")), "{text}");
        assert!(said.iter().all(|said| text.contains(said)), "{said:?}: {text}");
        let report = conex.json(&["inspect", &at]);
        assert!(report["about"].as_object().is_some_and(|about| !about.is_empty()), "{report}");
    }
}
