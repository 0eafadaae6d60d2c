//! The files of images: listed, read, compared, and packed anew after a change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::layout::{document, tagged};
use crate::support::program::{Conex, run, run_partner};
use crate::support::scratch::Scratch;

/// An image of two layers: the second hides a file, changes one and adds one through a link.
fn image(scratch: &Scratch, conex: &Conex) -> String {
    let (base, top) = (scratch.folder("base"), scratch.folder("top"));
    for dir in ["etc", "usr/lib"] {
        fs::create_dir_all(base.join(dir)).unwrap();
    }
    fs::write(base.join("etc/old"), "old\n").unwrap();
    fs::write(base.join("etc/text"), "one\ntwo\n").unwrap();
    fs::write(base.join("usr/lib/binary"), [0, 159, 146, 150]).unwrap();
    symlink("usr/lib", base.join("lib")).unwrap();
    symlink("/etc/text", base.join("usr/lib/link")).unwrap();
    fs::create_dir(top.join("etc")).unwrap();
    fs::write(top.join("etc/.wh.old"), "").unwrap();
    fs::write(top.join("etc/text"), "one\nthree\n").unwrap();
    let place = format!("oci:{}", scratch.arg("layout"));
    let image = format!("{place}:1");
    conex.ok(&["pack", &base.display().to_string(), &format!("{place}:base")]);
    let [base, top] = [base, top].map(|dir| dir.display().to_string());
    conex.ok(&["pack", "--whiteouts", &base, &top, &image]);
    image
}

fn paths(rows: &Value) -> Vec<String> {
    let of = |row: &Value| row["path"].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(of).collect()
}

pub fn files_are_listed_and_read() {
    let scratch = Scratch::new("ls");
    let conex = Conex::new(&scratch);
    let image = image(&scratch, &conex);
    let all = conex.json(&["ls", "-R", &image]);
    let expected = ["etc", "etc/text", "lib", "usr", "usr/lib", "usr/lib/binary", "usr/lib/link"];
    assert_eq!(paths(&all), expected);
    assert_eq!(all[1]["layer"], 2);
    assert_eq!(all[2]["target"], "usr/lib");
    assert_eq!(conex.ok(&["ls", &image, "/lib"]), "binary\nlink\n");
    assert_eq!(conex.ok(&["ls", &format!("{image}:/lib")]), "binary\nlink\n");
    assert_eq!(conex.ok(&["cat", &format!("{image}:/lib/link")]), "one\nthree\n");
    assert_eq!(conex.ok(&["ls", "-d", &image, "lib"]), "lib\n");
    let layer = conex.json(&["ls", "--layer", "2", &image]);
    assert_eq!(paths(&layer), ["", "etc", "etc/.wh.old", "etc/text"]);
    let long = conex.ok(&["ls", "-l", &image]);
    assert!(long.lines().next().unwrap().starts_with("drwx"), "{long}");
    assert!(long.contains(" lib -> usr/lib\n"), "{long}");
    conex.run(&["ls", &image, "etc/old"]).fails_with(3);
    conex.run(&["ls", &image, "--layer", "3"]).fails_with(3);

    assert_eq!(conex.ok(&["cat", &image, "lib/link"]), "one\nthree\n");
    let binary = conex.command(&["cat", &image, "/lib/../lib/binary"]).output().unwrap();
    assert_eq!(binary.stdout, [0, 159, 146, 150]);
    conex.run(&["cat", &image, "etc/old"]).fails_with(3);
    conex.run(&["cat", &image, "etc"]).fails_with(4);
}

/// The base of an image is not looked at where the newest layer has the file.
pub fn cat_reads_the_newest_layers_only() {
    let scratch = Scratch::new("cat");
    let conex = Conex::new(&scratch);
    let image = image(&scratch, &conex);
    let layout = scratch.join("layout");
    let manifest = document(&layout, &tagged(&layout, "1"));
    let base = manifest["layers"][0]["digest"].as_str().unwrap();
    fs::remove_file(layout.join("blobs").join(base.replace(':', "/"))).unwrap();
    assert_eq!(conex.ok(&["cat", &image, "etc/text"]), "one\nthree\n");
    conex.run(&["cat", &image, "etc/old"]).fails_with(3);
    assert!(!conex.command(&["cat", &image, "usr/lib/binary"]).output().unwrap().status.success());
}

pub fn differences_are_told() {
    let scratch = Scratch::new("diff");
    let conex = Conex::new(&scratch);
    let image = image(&scratch, &conex);
    let base = image.replace(":1", ":base");
    assert_eq!(conex.ok(&["diff", &image, &image]), "");
    let out = conex.command(&["diff", &base, &image, "--ignore", "time"]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("D  etc/old  -4 B\n"), "{text}");
    assert!(text.contains("M  etc/text  content  +2 B\n"), "{text}");
    assert!(text.contains("files: 0 added (0 B), 1 removed (4 B), 1 changed (+2 B)\n"), "{text}");
    assert!(text.contains("layers: 1 shared, 0 only in the first (0 B), 1 only"), "{text}");
    let out = conex.command(&["diff", &base, &image, "--content"]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("-two\n+three\n"), "{text}");
    let out = conex.command(&["diff", "--stat", &base, &image]).output().unwrap();
    assert!(!String::from_utf8(out.stdout).unwrap().contains("etc/"));

    // An image and what it was unpacked to; a layer and its folder.
    let tree = scratch.arg("rootfs");
    conex.ok(&["unpack", &image, &tree]);
    assert_eq!(conex.ok(&["diff", &image, &tree]), "");
    fs::set_permissions(scratch.join("rootfs/etc/text"), fs::Permissions::from_mode(0o600))
        .unwrap();
    let out = conex.command(&["diff", "--format", "json", &image, &tree]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["files"][0]["aspects"], serde_json::json!(["mode"]));
    assert_eq!(report["files"][0]["new"]["mode"], "0600");
    let tar = scratch.arg("layer.tar.gz");
    run_partner("tar", &["--numeric-owner", "-czf", &tar, "-C", &scratch.arg("base"), "."]);
    let out = conex.command(&["diff", &tar, &scratch.arg("base"), "--ignore", "time"]).output();
    assert_eq!(out.unwrap().status.code(), Some(0));
    conex.run(&["diff", "/nowhere", &image]).fails_with(3);
}

/// What `unpack` gives of the repacked image is the changed tree, and only the change moved.
pub fn changes_become_a_layer() {
    let scratch = Scratch::new("repack");
    let conex = Conex::new(&scratch);
    let image = image(&scratch, &conex);
    let (tree, next) = (scratch.arg("rootfs"), image.replace(":1", ":2"));
    conex.ok(&["unpack", &image, &tree]);
    let same = conex.json(&["repack", &tree, &next, "--base", &image]);
    assert!(same["layer"].is_null(), "{same}");
    let root = PathBuf::from(&tree);
    fs::write(root.join("etc/new"), "new\n").unwrap();
    fs::remove_dir_all(root.join("usr/lib")).unwrap();
    fs::set_permissions(root.join("etc/text"), fs::Permissions::from_mode(0o700)).unwrap();
    let report = conex.json(&["repack", &tree, &next, "--base", &image]);
    assert_eq!(report["removed"], 3, "{report}");
    let layout = scratch.join("layout");
    let manifest = document(&layout, &tagged(&layout, "2"));
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
    let layer = conex.json(&["ls", "--layer", "3", &next]);
    assert_eq!(paths(&layer), ["", "etc", "etc/new", "etc/text", "usr", "usr/.wh.lib"]);
    assert_eq!(conex.ok(&["diff", &next, &tree]), "");
    conex.ok(&["validate", &next]);
    conex.ok(&["unpack", &next, &scratch.arg("again")]);
    assert_eq!(conex.ok(&["diff", &tree, &scratch.arg("again")]), "");
    // Onto itself: the next change is one on top of this one.
    fs::write(root.join("etc/newer"), "").unwrap();
    let report = conex.json(&["repack", &tree, &next]);
    assert_eq!(report["changed"], 2, "{report}");
}

/// Without privilege no file gets a set-ID bit, so that its absence is no change.
pub fn lost_set_id_bits_are_no_change_without_privilege() {
    let scratch = Scratch::new("repack-nobody");
    let conex = Conex::new(&scratch);
    let (tree, home) = (scratch.folder("tree"), scratch.folder("home"));
    fs::write(tree.join("su"), "x").unwrap();
    fs::set_permissions(tree.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    let image = format!("oci:{}:1", scratch.arg("layout"));
    conex.ok(&["pack", tree.to_str().unwrap(), &image]);
    let (rootfs, next) = (home.join("rootfs"), format!("oci:{}:2", home.join("next").display()));
    let rootfs = rootfs.to_str().unwrap();
    let nobody = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conex"));
        run(command.args(args).uid(65_534).gid(65_534).env("HOME", &home).env_remove("CONEX_STORE"))
    };
    nobody(&["unpack", &image, rootfs]);
    assert_eq!(PathBuf::from(rootfs).join("su").metadata().unwrap().mode() & 0o7777, 0o755);
    let told = nobody(&["repack", rootfs, &next, "--base", &image, "--format", "json"]);
    let report: Value = serde_json::from_str(&told).unwrap();
    assert!(report["layer"].is_null(), "{report}");
    fs::set_permissions(PathBuf::from(rootfs).join("su"), fs::Permissions::from_mode(0o700))
        .unwrap();
    let told = nobody(&["repack", rootfs, &next, "--base", &image, "--format", "json"]);
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["changed"], 1, "{report}");
}

pub fn packed_as_asked_and_alike_everywhere() {
    let scratch = Scratch::new("pack-alike");
    let conex = Conex::new(&scratch);
    image(&scratch, &conex);
    let base = scratch.arg("base");
    let digest = |zone: &str, name: &str, more: &[&str]| {
        let to = format!("oci:{}", scratch.arg(name));
        let out = conex
            .command(
                &[&["pack", "--format", "json", "--platform", "linux/amd64", &base, &to], more]
                    .concat(),
            )
            .env("TZ", zone)
            .env("SOURCE_DATE_EPOCH", "1000000000")
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        report["root"]["digest"].as_str().unwrap().to_owned()
    };
    for more in [&["--compression", "zstd", "--long"][..], &["--level", "9"], &["--exclude", "etc"]]
    {
        let name = more.join("");
        let one = digest("UTC", &format!("a{name}"), more);
        assert_eq!(one, digest("Asia/Kolkata", &format!("b{name}"), more));
    }
    let to = format!("oci:{}", scratch.arg("filtered"));
    let ignore = scratch.join("ignore");
    fs::write(&ignore, "# nothing\n*\n!etc/text\n").unwrap();
    conex.ok(&["pack", &base, &to, "--ignore-file", &ignore.display().to_string()]);
    assert_eq!(paths(&conex.json(&["ls", "-R", &to])), ["etc", "etc/text"]);
}
