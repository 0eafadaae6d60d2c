//! Trees whose owners unpacking could not give, or mapped: repacked they are what they were.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::program::{Conex, run, run_partner};
use crate::support::scratch::Scratch;
use crate::support::tree::{assert_same, touch};

/// Files, a link and a folder of several owners, a set-ID program, a device.
fn image(scratch: &Scratch, conex: &Conex) -> String {
    let root = scratch.folder("tree");
    for (name, uid, gid) in [("root", 0, 0), ("web", 33, 33), ("half", 0, 42), ("su", 5, 0)] {
        fs::write(root.join(name), "x").unwrap();
        chown(root.join(name), Some(uid), Some(gid)).unwrap();
    }
    fs::hard_link(root.join("web"), root.join("web-too")).unwrap();
    symlink("web", root.join("link")).unwrap();
    lchown(root.join("link"), Some(33), Some(33)).unwrap();
    fs::set_permissions(root.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::create_dir(root.join("home")).unwrap();
    fs::write(root.join("home/.profile"), "").unwrap();
    chown(root.join("home"), Some(1000), Some(1000)).unwrap();
    chown(root.join("home/.profile"), Some(1000), Some(1000)).unwrap();
    run_partner("mknod", &[root.join("null").to_str().unwrap(), "c", "1", "3"]);
    touch(&root.join("home"), 1_000_000, 5);
    let image = format!("{}:1", scratch.arg("layout"));
    conex.ok(&["pack", root.to_str().unwrap(), &format!("oci:{image}")]);
    image
}

/// What whoever unpacked the tree does to it: they change a file of another's and make a new one.
fn change(root: &Path) {
    fs::write(root.join("web"), "changed").unwrap();
    fs::write(root.join("home/new"), "new").unwrap();
    let owner = fs::metadata(root).unwrap();
    chown(root.join("home/new"), Some(owner.uid()), Some(owner.gid())).unwrap();
    fs::remove_file(root.join("half")).unwrap();
    // umoci writes whole seconds.
    for name in ["web", "home/new", "home", ""] {
        touch(&root.join(name), 3_000_000, 0);
    }
}

/// Names and owners in the second layer, which must know nothing of how they were noted.
fn layer(conex: &Conex, image: &str) -> Vec<(String, u64, u64)> {
    let rows = conex.json(&["ls", "--layer", "2", image]);
    assert!(!rows.to_string().contains("rootlesscontainers"), "{rows}");
    let row = |row: &Value| {
        let owner = |key: &str| row[key].as_u64().unwrap();
        (row["path"].as_str().unwrap().to_owned(), owner("uid"), owner("gid"))
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

fn changed_owners() -> Vec<(String, u64, u64)> {
    let rows = [
        ("", 0, 0),
        (".wh.half", 0, 0),
        ("home", 1000, 1000),
        ("home/new", 0, 0),
        ("web", 33, 33),
        ("web-too", 33, 33),
    ];
    rows.map(|(name, uid, gid)| (name.to_owned(), uid, gid)).into()
}

/// Runs as someone without privilege.
fn as_nobody(home: &Path, program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    run(command.args(args).uid(65_534).gid(65_534).env("HOME", home).env_remove("CONEX_STORE"))
}

/// As root and as nobody, a bare tree and a bundle; and without notes, where nothing says whose what is.
pub fn noted_owners_are_repacked() {
    let scratch = Scratch::new("owners-noted");
    let conex = Conex::new(&scratch);
    let image = format!("oci:{}", image(&scratch, &conex));
    let home = scratch.folder("home");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    let program = env!("CARGO_BIN_EXE_conex");
    for (number, how) in
        [&["--rootless"][..], &["--rootless", "--bundle"], &[]].into_iter().enumerate()
    {
        for nobody in [true, false] {
            // With privilege owners are not lost.
            if how.is_empty() && !nobody {
                continue;
            }
            let run = |args: &[&str]| match nobody {
                true => as_nobody(&home, program, args),
                false => conex.ok(args),
            };
            let place = home.join(format!("{number}-{nobody}"));
            let (dir, next) = (place.to_str().unwrap(), format!("oci:{}-next:1", place.display()));
            run(&[&["unpack"], how, &[&image, dir]].concat());
            let told = run(&["repack", dir, &next, "--base", &image]);
            assert!(told.contains("nothing changed"), "{how:?} {nobody}: {told}");
            change(&if how.len() > 1 { place.join("rootfs") } else { place.clone() });
            run(&["repack", dir, &next, "--base", &image]);
            assert_eq!(layer(&conex, &next), changed_owners(), "{how:?} {nobody}");
            // Root may repack what someone else has unpacked.
            if nobody && !how.is_empty() {
                let other = format!("oci:{}-root:1", place.display());
                conex.ok(&["repack", dir, &other, "--base", &image]);
                assert_eq!(layer(&conex, &other), changed_owners(), "{how:?} by root");
            }
        }
    }
}

/// The tree of whoever has no privilege becomes the layer that it was, but for what the disk cannot hold.
pub fn noted_owners_are_packed() {
    let scratch = Scratch::new("owners-packed");
    let conex = Conex::new(&scratch);
    let tree = scratch.folder("tree");
    for (name, uid, gid) in [("root", 0, 0), ("web", 33, 33), ("half", 0, 42), ("folder", 7, 0)] {
        let path = tree.join(name);
        if name == "folder" { fs::create_dir(&path) } else { fs::write(&path, name) }.unwrap();
        chown(path, Some(uid), Some(gid)).unwrap();
    }
    fs::hard_link(tree.join("web"), tree.join("web-too")).unwrap();
    let image = format!("oci:{}:1", scratch.arg("layout"));
    conex.ok(&["pack", tree.to_str().unwrap(), &image]);
    let digest = |image: &str| conex.json(&["inspect", image])["root"]["digest"].clone();
    assert!(digest(&image).is_string());
    let home = scratch.folder("home");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    let program = env!("CARGO_BIN_EXE_conex");
    let dir = home.join("mine").display().to_string();
    as_nobody(&home, program, &["unpack", "--rootless", &image, &dir]);
    let place = |name: &str| format!("oci:{}:1", home.join(name).display());
    let again = place("again");
    let told = as_nobody(&home, program, &["pack", "--rootless", &dir, &again]);
    assert_eq!(digest(&again), digest(&image), "{told}");
    assert!(!told.contains("warning"), "{told}");
    // By root just so.
    conex.ok(&["pack", "--rootless", &dir, &again]);
    assert_eq!(digest(&again), digest(&image));
    // Without the option nobody knows that all the rest is root's.
    let told = as_nobody(&home, program, &["pack", &dir, &place("kept")]);
    assert!(told.contains("--rootless") && told.contains("65534"), "{told}");
    as_nobody(&home, program, &["pack", "--owner", "5:6", &dir, &place("set")]);
    let maps = ["--uid-map", "65534:0:1"];
    as_nobody(&home, program, &[&["pack", &dir, &place("mapped")], &maps[..]].concat());
    assert_eq!(digest(&place("mapped")), digest(&image));
    for (name, web, half) in [("kept", (33, 33), (65_534, 42)), ("set", (5, 6), (5, 6))] {
        let rows = conex.json(&["ls", "--layer", "1", &place(name)]);
        assert!(!rows.to_string().contains("rootlesscontainers"), "{rows}");
        let owner = |name: &str| {
            let row = rows.as_array().unwrap().iter().find(|row| row["path"] == name).unwrap();
            (row["uid"].as_u64().unwrap(), row["gid"].as_u64().unwrap())
        };
        assert_eq!([owner("web"), owner("web-too"), owner("half")], [web, web, half], "{name}");
    }
}

/// Numbers of this machine are mapped back as the bundle says.
pub fn a_bundle_is_repacked_with_its_maps() {
    let scratch = Scratch::new("owners-mapped");
    let conex = Conex::new(&scratch);
    let image = format!("oci:{}", image(&scratch, &conex));
    let (bundle, next) = (scratch.arg("bundle"), format!("oci:{}:1", scratch.arg("next")));
    let maps = ["--uid-map", "0:100000:65536", "--gid-map", "0:200000:65536"];
    conex.ok(&[&["unpack", "--bundle", &image, &bundle], &maps[..]].concat());
    let told = conex.ok(&["repack", &bundle, &next, "--base", &image]);
    assert!(told.contains("nothing changed"), "{told}");
    let root = PathBuf::from(&bundle).join("rootfs");
    change(&root);
    chown(root.join("home/new"), Some(0), Some(0)).unwrap();
    // What root of this machine makes is nobody's in there.
    let run = conex.run(&["repack", &bundle, &next, "--base", &image]);
    let told = run.fails_with(2);
    assert!(told.contains("home/new") && told.contains("0:100000:65536"), "{told}");
    chown(root.join("home/new"), Some(100_000), Some(200_000)).unwrap();
    conex.ok(&["repack", &bundle, &next, "--base", &image]);
    assert_eq!(layer(&conex, &next), changed_owners());
    conex.ok(&["unpack", &next, &scratch.arg("again")]);
    assert_eq!(fs::read(scratch.join("again/web-too")).unwrap(), b"changed");
}

/// Rule U9: devices are made, stood in for or left out.
pub fn devices_are_what_is_asked_for() {
    let scratch = Scratch::new("devices");
    let conex = Conex::new(&scratch);
    let image = format!("oci:{}", image(&scratch, &conex));
    let kind = |how: &str| {
        let dir = scratch.arg(how);
        conex.ok(&["unpack", "--devices", how, &image, &dir]);
        fs::symlink_metadata(Path::new(&dir).join("null")).ok().map(|meta| meta.is_file())
    };
    assert_eq!([kind("create"), kind("replace"), kind("skip")], [Some(false), Some(true), None]);
}

/// umoci notes owners in the same way; of its bundle both make the same layer.
pub fn umoci_s_bundles_are_repacked() {
    let scratch = Scratch::new("owners-umoci");
    let conex = Conex::new(&scratch);
    let image = image(&scratch, &conex);
    let home = scratch.folder("home");
    run_partner("cp", &["-r", &scratch.arg("layout"), home.to_str().unwrap()]);
    run_partner("chown", &["-R", "65534:65534", home.to_str().unwrap()]);
    let (program, layout) = (env!("CARGO_BIN_EXE_conex"), home.join("layout"));
    let place = |tag: &str| format!("{}:{tag}", layout.display());
    let bundle = home.join("bundle").display().to_string();
    let umoci = |args: &[&str]| as_nobody(&home, "umoci", args);
    umoci(&["unpack", "--rootless", "--image", &place("1"), &bundle]);
    change(&home.join("bundle/rootfs"));
    let (ours, base) = (format!("oci:{}", place("ours")), format!("oci:{image}"));
    as_nobody(&home, program, &["repack", &bundle, &ours, "--base", &base]);
    umoci(&["repack", "--image", &place("theirs"), &bundle]);
    let theirs = format!("oci:{}", place("theirs"));
    conex.ok(&["unpack", &ours, &scratch.arg("ours")]);
    conex.ok(&["unpack", &theirs, &scratch.arg("theirs")]);
    assert_same(&scratch.join("ours"), &scratch.join("theirs"));
    assert_eq!(layer(&conex, &ours), changed_owners());
}
