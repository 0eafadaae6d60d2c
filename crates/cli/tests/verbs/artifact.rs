//! Artifacts: pushed to every sort of place, attached, discovered and pulled again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use conex_testkit::proxy::{Direction, Fault, Place, Proxy, What};

use crate::names::layout;
use crate::support::daemon::{DockerRegistry, Registry};
use crate::support::program::{Conex, Run};
use crate::support::scratch::Scratch;

/// Files as people have them, pushed from their own folder.
pub fn files(scratch: &Scratch) -> std::path::PathBuf {
    let dir = scratch.folder("files");
    fs::create_dir_all(dir.join("site/css")).unwrap();
    fs::write(dir.join("report.json"), r#"{"spdxVersion":"SPDX-2.3"}"#).unwrap();
    fs::write(dir.join("notes.md"), "notes").unwrap();
    fs::write(dir.join("site/index.html"), "<p>").unwrap();
    fs::write(dir.join("site/css/a.css"), "p{}").unwrap();
    fs::set_permissions(dir.join("site/index.html"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("index.html", dir.join("site/link")).unwrap();
    dir
}

/// Runs conex in a folder.
pub fn within(conex: &Conex, dir: &std::path::Path, args: &[&str]) -> Run {
    Run::of(args, &conex.command(args).current_dir(dir).output().unwrap())
}

pub fn files_and_folders_come_back_from_every_place() {
    let scratch = Scratch::new("artifact");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), files(&scratch));
    let archive = format!("oci-archive:{}:1", scratch.arg("a.tar"));
    for (at, place) in [
        registry.image("team/a:1"),
        format!("oci:{}:1", scratch.arg("layout")),
        archive,
        "store:r.example/a:1".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let push = ["artifact", "push", "report.json", "notes.md:text/x-notes", "site", place];
        within(&conex, &dir, &[&push[..], &["-a", "k=v"]].concat()).ok();
        let out = scratch.arg(&format!("out-{at}"));
        let pulled = conex.json(&["artifact", "pull", place, &out]);
        assert_eq!(pulled["artifactType"], "application/vnd.unknown.artifact.v1");
        assert_eq!(pulled["annotations"]["k"], "v");
        let types: Vec<_> = pulled["files"].as_array().unwrap().iter().collect();
        assert_eq!(types[0]["layer"]["mediaType"], "application/spdx+json");
        assert_eq!(types[1]["layer"]["mediaType"], "text/x-notes");
        let out = std::path::Path::new(&out);
        assert_eq!(fs::read(out.join("notes.md")).unwrap(), b"notes");
        assert_eq!(fs::read(out.join("site/css/a.css")).unwrap(), b"p{}");
        assert_eq!(fs::read_link(out.join("site/link")).unwrap().to_str(), Some("index.html"));
        let mode = fs::metadata(out.join("site/index.html")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o751);
        assert!(!out.join(".conex-pull").exists());
        // What is there stays, unless someone says otherwise.
        let again = conex.run(&["artifact", "pull", place, out.to_str().unwrap()]);
        again.fails_with(1);
        fs::write(out.join("notes.md"), "mine").unwrap();
        conex.ok(&["artifact", "pull", place, out.to_str().unwrap(), "--overwrite"]);
        assert_eq!(fs::read(out.join("notes.md")).unwrap(), b"notes");
        let some = scratch.arg(&format!("some-{at}"));
        conex.ok(&["artifact", "pull", place, &some, "--title", "*.md"]);
        assert_eq!(fs::read_dir(&some).unwrap().count(), 1);
        let none = scratch.arg("none");
        let run = conex.run(&["artifact", "pull", place, &none, "--title", "*.csv"]);
        let err = run.fails_with(3);
        assert!(err.contains("title *.csv") && err.contains("notes.md (text/x-notes)"), "{err}");
        let file = format!("{some}/notes.md");
        let run = conex.run(&["artifact", "pull", place, &file]);
        assert!(run.fails_with(2).contains("found    a file"), "{run:?}");
    }
}

pub fn what_is_attached_is_discovered() {
    let scratch = Scratch::new("attach");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), files(&scratch));
    let image = layout(&scratch, &conex) + ":1.0";
    let archive = format!("oci-archive:{}:1", scratch.arg("a.tar"));
    for place in [registry.image("app:1"), format!("oci:{}:1", scratch.arg("to")), archive] {
        conex.ok(&["copy", &image, &place]);
        let attach = |more: &[&str]| {
            let args = [&["artifact", "attach", "--to", &place], more, &["--format", "json"]];
            let out = within(&conex, &dir, &args.concat()).ok();
            serde_json::from_str::<serde_json::Value>(&out).unwrap()
        };
        let first = attach(&["report.json", "--created", "2026-01-02T03:04:05Z"]);
        let second = attach(&["report.json", "--created", "2026-02-02T03:04:05Z", "-a", "k=v"]);
        let tree = conex.json(&["discover", &place]);
        let found = tree["referrers"].as_array().unwrap();
        assert_eq!(tree["count"], 2, "{tree}");
        for (node, made) in found.iter().zip([&first, &second]) {
            assert_eq!(node["descriptor"]["digest"], made["root"]["digest"]);
            assert_eq!(node["descriptor"]["artifactType"], "application/spdx+json");
        }
        assert_eq!(found[0]["created"], "2026-01-02T03:04:05Z");
        let latest = conex.json(&["discover", &place, "--latest"]);
        assert_eq!(latest["referrers"][0]["descriptor"]["digest"], second["root"]["digest"]);
        assert_eq!(latest["count"], 1);
        assert_eq!(conex.json(&["discover", &place, "--type", "text/*"])["count"], 0);
        assert_eq!(conex.json(&["discover", &place, "--annotation", "k=v"])["count"], 1);
        let text = conex.ok(&["discover", &place]);
        assert!(text.contains("└── application/spdx+json") && text.contains("k: v"), "{text}");
        conex.ok(&["validate", &place]);
    }
}

/// Levels of referrers, and a subject that comes later.
pub fn attachments_have_attachments() {
    let scratch = Scratch::new("levels");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), files(&scratch));
    let repository = registry.image("app");
    let push = ["artifact", "push", "notes.md", &format!("{repository}:1")];
    let root = within(&conex, &dir, &[&push[..], &["--format", "json"]].concat()).ok();
    let mut at: serde_json::Value = serde_json::from_str(&root).unwrap();
    for level in 1..4 {
        let digest = at["root"]["digest"].as_str().unwrap();
        let to = format!("{repository}@{digest}");
        let note = format!("level={level}");
        let args = ["artifact", "attach", "--to", &to, "notes.md", "-a", &note, "--format", "json"];
        at = serde_json::from_str(&within(&conex, &dir, &args).ok()).unwrap();
    }
    let tree = conex.json(&["discover", &format!("{repository}:1")]);
    let deepest = &tree["referrers"][0]["referrers"][0]["referrers"][0];
    assert_eq!(deepest["descriptor"]["annotations"]["level"], "3");
    assert_eq!(conex.json(&["discover", &format!("{repository}:1"), "--depth", "1"])["count"], 1);
    let missing = format!("{repository}@sha256:{}", "1".repeat(64));
    let args = ["artifact", "attach", "--to", &missing, "notes.md"];
    let run = within(&conex, &dir, &args);
    let err = run.fails_with(3);
    assert!(err.contains("--subject-size"), "{err}");
    let args = [&args[..], &["--subject-size", "100"]].concat();
    within(&conex, &dir, &args).ok();
    assert!(conex.ok(&["manifest", "get", &format!("{repository}:1")]).contains("notes.md"));
}

pub fn docker_registry_keeps_attachments_under_a_tag() {
    let scratch = Scratch::new("docker-attach");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (DockerRegistry::start(&scratch, None), files(&scratch));
    let image = layout(&scratch, &conex) + ":1.0";
    let place = registry.image("app:1");
    conex.ok(&["copy", &image, &place]);
    for name in ["report.json", "notes.md"] {
        within(&conex, &dir, &["artifact", "attach", "--to", &place, name]).ok();
    }
    assert_eq!(conex.json(&["discover", &place])["count"], 2);
    assert_eq!(conex.json(&["discover", &place, "--type", "application/spdx*"])["count"], 1);
}

pub fn what_is_wrong_is_one_error_and_nothing_is_pushed() {
    let scratch = Scratch::new("wrong");
    let conex = Conex::new(&scratch);
    let (mut registry, dir) = (Registry::start(&scratch), files(&scratch));
    let to = registry.image("app:1");
    fs::write(dir.join("sheet"), r#"{"notes.md":{"org.opencontainers.image.title":"../x"}}"#)
        .unwrap();
    fs::write(scratch.join("above"), "").unwrap();
    mknodat(CWD, dir.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    symlink("nowhere", dir.join("nothing")).unwrap();
    let md5 = registry.image(&format!("app@md5:{}", "1".repeat(32)));
    let missing = registry.image(&format!("app@sha256:{}", "1".repeat(64)));
    for (args, code, named) in [
        (&["push", "missing", &to][..], 3, "missing"),
        (&["push", "notes.md", "missing", &to], 3, "missing"),
        (&["push", "../above", &to], 2, "../above"),
        (
            &["push", "notes.md", &to, "--annotation-file", "sheet"],
            2,
            "notes.md: org.opencontainers.image.title",
        ),
        (&["push", "notes.md", &to, "-a", "novalue"], 2, "novalue"),
        (&["push", "notes.md", &to, "-a", "k=1", "-a", "k=2"], 2, "twice"),
        (&["push", "notes.md", &to, "--artifact-type", "nonsense"], 2, "artifactType"),
        (&["push", "notes.md", "./notes.md", &to], 2, "notes.md"),
        (&["push", "notes.md", &to, "--config", "site"], 2, "site"),
        (&["push", "notes.md", &to, "--as", "wasm"], 4, "notes.md"),
        (&["push", "notes.md", "docker-archive:x.tar"], 2, "oci-archive:FILE"),
        (&["push", &to], 2, "nothing to package"),
        (&["push", "report.json", "notes.md"], 2, "notes.md is a file or folder here"),
        (&["push", "notes.md", &to, "-a", "=v"], 2, "=v"),
        (&["push", "notes.md", &to, "--annotation-file", "missing"], 3, "missing"),
        (&["push", "notes.md", &to, "--annotation-file", "notes.md"], 4, "notes.md"),
        (&["push", "notes.md", &to, "--config", "missing"], 3, "missing"),
        (&["push", "notes.md", &to, "--created", "yesterday"], 2, "--created"),
        (&["attach", "--to", &to], 2, "nothing to package"),
        (&["attach", "--to", &to, "missing"], 3, "missing"),
        (&["attach", "--to", &to, "notes.md", "-a", "novalue"], 2, "novalue"),
        (&["attach", "--to", &registry.image("app@sha256:123"), "notes.md"], 2, "sha256:123"),
        (&["attach", "--to", &md5, "notes.md", "--subject-size", "9"], 2, "found    md5"),
        (&["attach", "--to", &missing, "notes.md", "--subject-size", "0"], 2, "--subject-size"),
        (&["push", "pipe", &to], 2, "found    a pipe"),
        (&["push", "site", &to, "--folder", "files", "--annotation-file", "pipe"], 2, "a pipe"),
        (&["push", "notes.md", &to, "--config", "pipe"], 2, "found    a pipe"),
        (&["push", "notes.md:notatype", &to], 3, "\"notatype\" after the colon is no media type"),
        (&["push", "nothing", &to], 3, "a link to nowhere, which is not there"),
    ] {
        let args = [&["artifact"], args].concat();
        let run = within(&conex, &dir, &args);
        let err = run.fails_with(code);
        assert!(err.contains(named), "{args:?}: {err}");
        assert_eq!(err.matches("error:").count(), 1, "{err}");
    }
    let run = within(&conex, &dir, &["artifact", "push", "Report.json", &to]);
    assert!(run.fails_with(3).contains("hint: there is report.json"), "{run:?}");
    assert!(registry.requests().is_empty());
}

/// A file that is written to after it was hashed: its name is told, and nothing is tagged.
pub fn a_file_that_changes_meanwhile_is_told() {
    let scratch = Scratch::new("changes");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), files(&scratch));
    let wire = Proxy::start(&registry.address);
    let path = dir.join("notes.md");
    fs::write(&path, vec![1; 5 << 20]).unwrap();
    // The first request is made when all files are hashed, and a large one is not yet read again.
    let write = move || fs::write(&path, vec![2; 5 << 20]).unwrap();
    wire.add(Fault {
        method: "GET",
        target: "/v2/".to_owned(),
        direction: Direction::Up,
        place: Place::Before,
        what: What::Do(std::sync::Arc::new(write)),
        times: 1,
    });
    let push = ["artifact", "push", "report.json", "notes.md", &wire.image("app:1")];
    let run = within(&conex, &dir, &push);
    let err = run.fails_with(4);
    assert!(err.contains("notes.md changed while it was read"), "{err}");
    assert_eq!(wire.happened(), 1);
    conex.run(&["inspect", &registry.image("app:1")]).fails_with(3);
}

pub fn images_and_artifacts_explain_themselves() {
    let scratch = Scratch::new("explain");
    let conex = Conex::new(&scratch);
    let dir = files(&scratch);
    let registry = Registry::start(&scratch);
    let image = layout(&scratch, &conex) + ":1.0";
    let run = conex.run(&["artifact", "pull", &image, &scratch.arg("x")]);
    let err = run.fails_with(4);
    assert!(err.contains("conex unpack"), "{err}");
    assert!(err.contains("found    application/vnd.oci.image.config.v1+json"), "{err}");
    let remote = registry.image("app:1");
    conex.ok(&["copy", &image, &remote]);
    let run = conex.run(&["artifact", "pull", &remote, &scratch.arg("x")]);
    assert!(run.fails_with(4).contains(&format!("hint: `conex pull {remote}`")), "{run:?}");
    let artifact = registry.image("a:1");
    within(&conex, &dir, &["artifact", "push", "notes.md", &artifact]).ok();
    let run = conex.run(&["pull", &artifact]);
    assert!(run.err.contains("conex artifact pull"), "{run:?}");
    let run = conex.run(&["unpack", &artifact, &scratch.arg("y")]);
    let err = run.fails_with(4);
    assert!(err.contains("conex artifact pull"), "{err}");
}

pub fn ten_thousand_files_go_and_come() {
    let scratch = Scratch::new("many");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let dir = scratch.folder("many");
    for at in 0..10_000 {
        fs::write(dir.join(format!("{at:05}.txt")), format!("file {at}\n")).unwrap();
    }
    let to = registry.image("many:1");
    within(&conex, &dir, &["artifact", "push", ".", &to, "--folder", "files"]).ok();
    let out = scratch.folder("out");
    conex.ok(&["artifact", "pull", &to, out.to_str().unwrap(), "--no-sync"]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 10_000);
    assert_eq!(fs::read(out.join("09999.txt")).unwrap(), b"file 9999\n");
    let again = within(
        &conex,
        &dir,
        &["artifact", "push", ".", &to, "--folder", "files", "--format", "json"],
    );
    let again: serde_json::Value = serde_json::from_str(&again.ok()).unwrap();
    assert_eq!(again["summary"]["present"]["blobs"], 10_001);
}
