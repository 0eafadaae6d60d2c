//! Which files an artifact is made of, what is left out, and what a pull leaves alone.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use crate::artifact::{files, within};
use crate::names::layout;
use crate::support::daemon::Registry;
use crate::support::program::{Conex, Run};
use crate::support::scratch::Scratch;

const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// `--overwrite` is for files: what is only here stays here.
pub fn a_pull_deletes_nothing_that_the_artifact_lacks() {
    let scratch = Scratch::new("overwrite");
    let conex = Conex::new(&scratch);
    let (dir, place) = (files(&scratch), format!("oci:{}:1", scratch.arg("layout")));
    within(&conex, &dir, &["artifact", "push", "notes.md", "site", &place]).ok();
    let out = scratch.folder("out");
    let pull = |more: &[&str]| {
        let args = [&["artifact", "pull", &place, out.to_str().unwrap(), "--overwrite"], more];
        conex.run(&args.concat())
    };
    let refused = |named: &str| {
        let run = pull(&[]);
        let err = run.fails_with(1);
        assert!(err.contains(named) && err.contains("hint: move it away"), "{named}: {err}");
        assert!(!out.join(".conex-pull").exists());
    };
    fs::create_dir_all(out.join("notes.md/deep")).unwrap();
    fs::write(out.join("notes.md/deep/x"), "mine").unwrap();
    refused("notes.md/deep");
    assert_eq!(fs::read(out.join("notes.md/deep/x")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    fs::remove_dir_all(out.join("notes.md/deep")).unwrap();
    pull(&[]).ok();
    fs::write(out.join("notes.md"), "old").unwrap();
    fs::write(out.join("site/index.html"), "old").unwrap();
    for name in ["site/mine", "site/css/mine", "site/link/mine"] {
        if name == "site/link/mine" {
            fs::remove_file(out.join("site/link")).unwrap();
            fs::create_dir(out.join("site/link")).unwrap();
        }
        fs::write(out.join(name), "mine").unwrap();
        refused(name);
        assert_eq!(fs::read(out.join(name)).unwrap(), b"mine");
        assert_eq!(fs::read(out.join("notes.md")).unwrap(), b"old");
        fs::remove_file(out.join(name)).unwrap();
    }
    let _socket = UnixListener::bind(out.join("site/css/a.socket")).unwrap();
    refused("site/css/a.socket");
    fs::remove_file(out.join("site/css/a.socket")).unwrap();
    // What it would lose of these the artifact has.
    pull(&[]).ok();
    assert_eq!(fs::read(out.join("notes.md")).unwrap(), b"notes");
    assert_eq!(fs::read(out.join("site/index.html")).unwrap(), b"<p>");
    fs::remove_dir_all(out.join("site")).unwrap();
    symlink("nowhere", out.join("site")).unwrap();
    pull(&[]).ok();
    assert!(out.join("site").symlink_metadata().unwrap().is_dir());
}

/// Where there is no subject, not even a repository is made.
pub fn what_has_no_subject_is_not_pushed() {
    let scratch = Scratch::new("no-subject");
    let conex = Conex::new(&scratch);
    let (mut registry, dir) = (Registry::start(&scratch), files(&scratch));
    let image = layout(&scratch, &conex) + ":1.0";
    conex.ok(&["copy", &image, &registry.image("app:1")]);
    registry.requests();
    for (to, more) in
        [("newrepo:nope", &[][..]), ("app:1", &["--platform", "linux/s390x"]), ("app:2", &[])]
    {
        let to = registry.image(to);
        let args = [&["artifact", "attach", "--to", &to, "notes.md"], more].concat();
        let run = within(&conex, &dir, &args);
        assert!(!run.fails_with(3).contains("before it failed"), "{run:?}");
    }
    let requests = registry.requests();
    assert!(requests.iter().all(|it| ["GET", "HEAD"].contains(&it.method.as_str())));
    assert!(!conex.ok(&["repos", &registry.image("")]).contains("newrepo"));
}

/// The empty type says that there is nothing (image-spec, manifest.md, "Guidance for an Empty Descriptor").
pub fn a_file_of_the_empty_type_is_refused_or_comes_back() {
    let scratch = Scratch::new("empty-type");
    let conex = Conex::new(&scratch);
    let (dir, place) = (files(&scratch), format!("oci:{}:1", scratch.arg("layout")));
    fs::write(dir.join("nothing.json"), "{}").unwrap();
    for name in ["notes.md", "site"] {
        let typed = format!("{name}:{EMPTY}");
        let run = within(&conex, &dir, &["artifact", "push", &typed, &place]);
        assert!(run.fails_with(2).contains(name), "{run:?}");
    }
    assert!(!scratch.join("layout").exists());
    let typed = format!("nothing.json:{EMPTY}");
    within(&conex, &dir, &["artifact", "push", &typed, &place]).ok();
    conex.ok(&["artifact", "pull", &place, &scratch.arg("out")]);
    assert_eq!(fs::read(scratch.join("out/nothing.json")).unwrap(), b"{}");
}

/// What a model is by its content, a folder beside others is not.
pub fn a_model_is_one_folder_alone() {
    let scratch = Scratch::new("models");
    let conex = Conex::new(&scratch);
    let (dir, place) = (files(&scratch), format!("oci:{}:1", scratch.arg("layout")));
    for model in ["model", "model2"] {
        fs::create_dir(dir.join(model)).unwrap();
        fs::write(dir.join(model).join("a.gguf"), "GGUF").unwrap();
        fs::write(dir.join(model).join("LICENSE"), model).unwrap();
    }
    let push =
        |args: &[&str]| within(&conex, &dir, &[&["artifact", "push"], args, &[&place]].concat());
    let titles = |run: Run| {
        run.ok();
        let shown = conex.ok(&["manifest", "get", &place]);
        let manifest: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let layers = manifest["layers"].as_array().unwrap().clone();
        let title = |layer: &serde_json::Value| {
            layer["annotations"]["org.opencontainers.image.title"].as_str().unwrap().to_owned()
        };
        (layers.iter().map(title).collect::<Vec<_>>(), manifest["artifactType"].clone())
    };
    let model = "application/vnd.cncf.model.manifest.v1+json";
    let unknown = "application/vnd.unknown.artifact.v1";
    for (args, expected, kind) in [
        (&["model"][..], &["LICENSE", "a.gguf"][..], model),
        (&["--as", "model", "--folder", "files", "model"], &["LICENSE", "a.gguf"], model),
        (&["model", "--folder", "tar"], &["model"], unknown),
        (&["model", "--folder", "files"], &["model/LICENSE", "model/a.gguf"], unknown),
        (&["model", "model2"], &["model", "model2"], unknown),
        (&["model", "notes.md"], &["model", "notes.md"], unknown),
    ] {
        let (found, found_kind) = titles(push(args));
        assert_eq!(found, expected, "{args:?}");
        assert_eq!(found_kind, kind, "{args:?}");
    }
    let run = push(&["--as", "model", "--folder", "tar", "model"]);
    assert!(run.fails_with(2).contains("--folder"), "{run:?}");
    let run = push(&["--flat", "--folder", "files", "model", "model2"]);
    assert!(run.fails_with(2).contains("hint: name each file once"), "{run:?}");
    let run = push(&["notes.md", "./notes.md"]);
    assert!(run.fails_with(2).contains("hint: name each file once"), "{run:?}");
}

/// What is typed counts for more than what a file says, and that for more than the environment.
pub fn what_is_typed_wins() {
    let scratch = Scratch::new("typed");
    let conex = Conex::new(&scratch);
    let (dir, place) = (files(&scratch), format!("oci:{}:1", scratch.arg("layout")));
    let created = "org.opencontainers.image.created";
    let sheet =
        format!(r#"{{"$manifest":{{"k":"file","l":"file","{created}":"2001-01-01T00:00:00Z"}}}}"#);
    fs::write(dir.join("sheet.json"), sheet).unwrap();
    for (more, time) in [
        (&[][..], "2001-01-01T00:00:00Z"),
        (&["--created", "2002-02-02T00:00:00Z"], "2002-02-02T00:00:00Z"),
    ] {
        let args = [
            "artifact",
            "push",
            "notes.md",
            &place,
            "--annotation-file",
            "sheet.json",
            "-a",
            "k=typed",
        ];
        let args = [&args[..], more].concat();
        let mut command = conex.command(&args);
        command.env("SOURCE_DATE_EPOCH", "1000000000").current_dir(&dir);
        Run::of(&args, &command.output().unwrap()).ok();
        let manifest: serde_json::Value =
            serde_json::from_str(&conex.ok(&["manifest", "get", &place])).unwrap();
        let said = &manifest["annotations"];
        assert_eq!(
            (&said["k"], &said["l"], &said[created]),
            (&"typed".into(), &"file".into(), &time.into())
        );
    }
    fs::write(dir.join("sheet.json"), r#"{"other.md":{"k":"v"}}"#).unwrap();
    let run = within(
        &conex,
        &dir,
        &["artifact", "push", "notes.md", &place, "--annotation-file", "sheet.json"],
    );
    let err = run.fails_with(2);
    assert!(
        err.contains("sheet.json") && err.contains("other.md") && err.contains("hint: "),
        "{err}"
    );
    assert!(err.contains("notes.md"), "{err}");
}

/// Nothing is left out without a word.
pub fn what_is_left_out_is_told() {
    let scratch = Scratch::new("left-out");
    let conex = Conex::new(&scratch);
    let (dir, place) = (files(&scratch), format!("oci:{}:1", scratch.arg("layout")));
    let _socket = UnixListener::bind(dir.join("site/css/a.socket")).unwrap();
    let out = within(&conex, &dir, &["artifact", "push", "site", &place]).ok();
    assert!(out.contains("warning: ") && out.contains("site/css/a.socket"), "{out}");
    fs::remove_file(dir.join("site/css/a.socket")).unwrap();
    fs::remove_file(dir.join("site/link")).unwrap();
    fs::create_dir_all(dir.join("site/empty/below")).unwrap();
    let args = ["artifact", "push", "site", &place, "--folder", "files"];
    let out = within(&conex, &dir, &args).ok();
    assert_eq!(out.matches("warning: ").count(), 1, "{out}");
    assert!(out.contains("site/empty/below: an empty folder"), "{out}");
    let report = within(&conex, &dir, &[&args[..], &["--format", "json"]].concat()).ok();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["warnings"].as_array().unwrap().len(), 1, "{report}");
    let out = within(&conex, &dir, &["artifact", "push", "notes.md", &place]).ok();
    assert!(!out.contains("warning"), "{out}");
}

pub fn an_error_names_what_it_is_about() {
    let scratch = Scratch::new("named");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start_with(&scratch, &["--read-only"]), files(&scratch));
    let place = registry.image("app:1");
    for args in [&["push", "."][..], &["push", "--flat", "."], &["push", "--flat", "site/.."]] {
        let run = within(&conex, &dir, &[&["artifact"], args, &[&place]].concat());
        let err = run.fails_with(2);
        assert!(err.contains("hint: `--flat --folder files`"), "{err}");
    }
    let run = within(&conex, &dir, &["artifact", "push", "notes.md", &place]);
    assert!(run.code != Some(0) && !run.err.contains("broken off"), "{run:?}");
    let odd = OsStr::from_bytes(b"odd-\xff");
    for format in ["text", "json"] {
        let mut command = conex.command(&["artifact", "push"]);
        command.arg(odd).arg(&place).args(["--format", format]);
        let run = Run::of(&["artifact", "push", "odd"], &command.output().unwrap());
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.contains("odd-") && run.err.contains("xFF"), "{run:?}");
    }
}
