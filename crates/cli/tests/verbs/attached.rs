//! Artifacts of indexes and of their platforms, what is found of them, and what they say.

use std::fs;

use serde_json::{Value, json};

use crate::artifact::{files, within};
use crate::support::daemon::Registry;
use crate::support::program::Conex;
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
        within(&conex, &dir, &[&args[..], &more].concat()).ok();
    }
    for (more, expected) in [
        (&[][..], &["01", "02", "03", "04"][..]),
        (&["--type", "a/*"], &["01", "02", "03"]),
        (&["--type", "a/one", "--type", "b/*"], &["01", "03", "04"]),
        (&["--latest"], &["02", "03", "04"]),
        (&["--latest", "--type", "a/one"], &["03"]),
        (&["--annotation", "stage"], &["01", "02", "03", "04"]),
        (&["--annotation", "stage=live"], &[]),
        (&["--depth", "0"], &[]),
    ] {
        let tree = conex.json(&[&["discover", &image], more].concat());
        let found = tree["referrers"].as_array().unwrap().iter();
        let months: Vec<_> =
            found.map(|node| node["created"].as_str().unwrap()[5..7].to_owned()).collect();
        assert_eq!(months, expected, "{more:?}");
    }
    let tree = conex.json(&["discover", &image, "--type", "b/one"]);
    let node = &tree["referrers"][0]["descriptor"];
    // What a file says of the manifest goes over what the options say.
    assert_eq!(node["annotations"]["by"], "sheet", "{node}");
    let at = format!("{}@{}", registry.image("app"), node["digest"].as_str().unwrap());
    let manifest: Value = serde_json::from_str(&conex.ok(&["manifest", "get", &at])).unwrap();
    assert_eq!(manifest["config"]["annotations"]["c"], "1", "{manifest}");
    assert_eq!(manifest["layers"][0]["annotations"]["n"], "2", "{manifest}");
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
