//! Images as trees: whole, in parts, as one tar, layer by layer, with a manifest, and while they are
//! pulled.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::daemon::Registry;
use crate::support::program::{Conex, run, run_partner};
use crate::support::scratch::Scratch;
use crate::support::tree::{assert_same, touch};

const UNSOUND: i32 = 4;

/// An image of three folders: links, a whiteout, and a file that changes.
fn image(scratch: &Scratch, conex: &Conex, to: &str) {
    let lower = scratch.folder("lower");
    fs::create_dir_all(lower.join("usr/lib/deep")).unwrap();
    fs::write(lower.join("usr/lib/a"), "a".repeat(100_000)).unwrap();
    fs::hard_link(lower.join("usr/lib/a"), lower.join("usr/lib/deep/b")).unwrap();
    symlink("usr/lib", lower.join("lib")).unwrap();
    fs::write(lower.join("gone"), "x").unwrap();
    fs::set_permissions(lower.join("usr"), fs::Permissions::from_mode(0o711)).unwrap();
    let middle = scratch.folder("middle");
    fs::create_dir_all(middle.join("etc")).unwrap();
    fs::write(middle.join("etc/os"), "1").unwrap();
    fs::write(middle.join(".wh.gone"), "").unwrap();
    let upper = scratch.folder("upper");
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::write(upper.join("etc/os"), "2\n").unwrap();
    for dir in [&lower, &middle, &upper] {
        touch(dir, 1_000_000, 5);
    }
    touch(&lower.join("usr"), 2_000_000, 7);
    let [lower, middle, upper] = [lower, middle, upper].map(|dir| dir.display().to_string());
    conex.ok(&["pack", "--whiteouts", &lower, &middle, &upper, to]);
}

fn world(name: &str) -> (Scratch, Conex, String) {
    let scratch = Scratch::new(name);
    let conex = Conex::new(&scratch);
    let place = format!("oci:{}:1", scratch.arg("layout"));
    image(&scratch, &conex, &place);
    conex.ok(&["unpack", &place, &scratch.arg("rootfs")]);
    (scratch, conex, place)
}

pub fn one_tar_is_the_same_tree() {
    let (scratch, conex, place) = world("export");
    let tar = scratch.arg("all.tar");
    let out = conex.ok(&["export", &place, &tar]);
    assert!(out.contains(" from 3 layers\n"), "{out}");
    let untarred = scratch.folder("untarred").display().to_string();
    run_partner("tar", &["-xpf", &tar, "-C", &untarred]);
    assert_same(&scratch.join("rootfs"), Path::new(&untarred));
    // Standard output has the tar and nothing else.
    let streamed = conex.command(&["export", &place]).output().unwrap();
    assert_eq!(streamed.stdout, fs::read(&tar).unwrap());
    let nothing = conex.run(&["export", "--path", "gone", &place, &scratch.arg("none.tar")]);
    nothing.fails_with(3);
    assert!(!scratch.join("none.tar").exists());
}

pub fn single_files_come_from_the_newest_layers() {
    let (scratch, conex, place) = world("path");
    let tar = scratch.arg("one.tar");
    let report = conex.json(&["export", "--path", "etc/os", &place, &tar]);
    assert_eq!(report["layers"], 1, "{report}");
    assert_eq!(run(Command::new("tar").args(["-xOf", &tar])), "2\n");
    let some = scratch.join("some");
    let paths = ["unpack", "--path", "/lib/a", "--path", "etc", &place, &scratch.arg("some")];
    conex.ok(&paths);
    assert_eq!(fs::read(some.join("lib/a")).unwrap().len(), 100_000);
    assert!(some.join("etc/os").exists() && !some.join("usr/lib/deep").exists());
    assert_eq!(fs::metadata(some.join("usr")).unwrap().permissions().mode() & 0o777, 0o711);
}

/// A set-ID program that is gone was never there, unless the layers had to be applied in their order: a
/// hard link to a file that the newest layer replaces needs what is replaced.
pub fn hidden_files_are_not_written() {
    let scratch = Scratch::new("hidden");
    let conex = Conex::new(&scratch);
    let (base, top, links) =
        (scratch.folder("base"), scratch.folder("top"), scratch.folder("links"));
    fs::write(base.join("program"), "").unwrap();
    fs::set_permissions(base.join("program"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(base.join("a"), "old").unwrap();
    fs::hard_link(base.join("a"), base.join("b")).unwrap();
    fs::write(top.join(".wh.program"), "").unwrap();
    fs::write(links.join("a"), "new").unwrap();
    let unpack = |tops: &[&Path], to: &str| {
        let place = format!("oci:{}:{to}", scratch.arg("layout"));
        let folders: Vec<_> = tops.iter().map(|dir| dir.display().to_string()).collect();
        let mut args = vec!["pack", "--whiteouts"];
        args.extend(folders.iter().map(String::as_str).chain([&*place]));
        conex.ok(&args);
        conex.json(&["unpack", &place, &scratch.arg(to)])["tree"]["setId"].clone()
    };
    assert_eq!(unpack(&[&base, &top], "gone"), 0);
    assert_eq!(unpack(&[&base, &top, &links], "linked"), 1);
    for tree in ["gone", "linked"] {
        assert!(!scratch.join(tree).join("program").exists());
        assert_eq!(fs::read_to_string(scratch.join(tree).join("b")).unwrap(), "old");
    }
    assert_eq!(fs::read_to_string(scratch.join("linked/a")).unwrap(), "new");
}

pub fn layers_are_folders_in_order() {
    let (scratch, conex, place) = world("layers");
    conex.ok(&["unpack", "--layers", &place, &scratch.arg("layers")]);
    let layers = scratch.join("layers");
    assert_eq!(fs::read_to_string(layers.join("lowerdir")).unwrap(), "3:2:1\n");
    assert!(layers.join("1/gone").is_file() && fs::symlink_metadata(layers.join("2/gone")).is_ok());
    assert_eq!(fs::read(layers.join("3/etc/os")).unwrap(), b"2\n");
}

pub fn a_manifest_tells_every_change() {
    let (scratch, conex, place) = world("mtree");
    let (tree, manifest) = (scratch.arg("tree"), scratch.arg("manifest"));
    conex.ok(&["unpack", "--mtree", &manifest, &place, &tree]);
    let check = ["validate", "--rootfs", &tree, "--mtree", &manifest];
    assert!(conex.ok(&check).ends_with(": sound\n"));
    fs::write(scratch.join("tree/etc/os"), "3\n").unwrap();
    let found = conex.run(&check);
    assert_eq!(found.code, Some(UNSOUND), "{}", found.err);
    assert!(found.out.contains("etc/os: sha256digest is "), "{}", found.out);
    conex.run(&["validate", "--rootfs", &tree]).fails_with(2);
}

/// What it wrote, libarchive reads: as many names, and the same digests.
pub fn bsdtar_reads_manifests() {
    let (scratch, conex, place) = world("mtree-bsdtar");
    let manifest = scratch.arg("manifest");
    conex.ok(&["unpack", "--mtree", &manifest, &place, &scratch.arg("tree")]);
    let listed = run_partner("bsdtar", &["-tf", &manifest]);
    let names = fs::read_to_string(&manifest).unwrap();
    let names = names.lines().filter(|line| line.starts_with('.')).count();
    assert_eq!(listed.lines().count(), names, "{listed}");
}

pub fn a_pull_unpacks_what_comes() {
    let scratch = Scratch::new("pull-unpack");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = registry.image("app:1");
    image(&scratch, &conex, &place);
    let pulled = conex.json(&["pull", "--unpack", &scratch.arg("rootfs"), &place]);
    // Three layers, the config and the manifest.
    assert_eq!(pulled["summary"]["moved"]["blobs"], 5, "{pulled}");
    conex.ok(&["unpack", &format!("store:{place}"), &scratch.arg("again")]);
    assert_same(&scratch.join("again"), &scratch.join("rootfs"));
    // All of it is there by now.
    let again = conex.json(&["pull", "--unpack", &scratch.arg("third"), &place]);
    assert_eq!(again["summary"]["moved"]["blobs"], 0, "{again}");
    assert_same(&scratch.join("again"), &scratch.join("third"));
    conex.run(&["pull", "--unpack", &scratch.arg("none"), &registry.image("none:1")]).fails_with(3);
    assert!(!scratch.join("none").exists());
}

/// A layer that the registry has no more as it was.
pub fn a_pull_that_fails_leaves_no_tree() {
    let scratch = Scratch::new("pull-cut");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = registry.image("app:1");
    image(&scratch, &conex, &place);
    let digests = conex.json(&["inspect", &place])["layers"].clone();
    let layer = digests[0]["digest"].as_str().unwrap().to_owned();
    let blob = scratch.join("registry/blobs").join(layer.replace(':', "/"));
    let mut wrong = fs::read(&blob).unwrap();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    fs::write(&blob, wrong).unwrap();
    let failed = conex.run(&["pull", "--unpack", &scratch.arg("rootfs"), &place]);
    assert_ne!(failed.code, Some(0));
    assert!(!scratch.join("rootfs").exists());
    let left = fs::read_dir(scratch.path()).unwrap().flatten();
    assert_eq!(
        left.filter(|entry| entry.file_name().to_string_lossy().starts_with(".conex-")).count(),
        0
    );
    assert_eq!(conex.json(&["images"]), serde_json::json!([]));
}
