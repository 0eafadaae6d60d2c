//! Images of folders: on top of others, as one layer, and always to the same digest.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::daemon::Registry;
use crate::support::layout::{Handmade, document, tagged};
use crate::support::program::{Conex, run, run_partner};
use crate::support::scratch::Scratch;
use crate::support::tree::{assert_same, touch};

/// A small tree whose files have times of their own.
fn tree(scratch: &Scratch, name: &str, files: &[(&str, &str)]) -> String {
    let root = scratch.folder(name);
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        touch(&path, 1_000_000, 5);
    }
    touch(&root, 2_000_000, 7);
    root.display().to_string()
}

fn execution(layout: &Path, tag: &str) -> Value {
    let manifest = document(layout, &tagged(layout, tag));
    document(layout, manifest["config"]["digest"].as_str().unwrap())
}

/// Config, history and platform of the base stay, but for what is asked for.
pub fn layers_go_on_top_of_an_image() {
    let scratch = Scratch::new("pack-base");
    let conex = Conex::new(&scratch);
    let layout = scratch.join("layout");
    let place = |tag: &str| format!("oci:{}:{tag}", scratch.arg("layout"));
    let (below, app) = (
        tree(&scratch, "below", &[("etc/os", "1"), ("etc/old", "x")]),
        tree(&scratch, "app", &[("app/run", "run"), ("etc/.wh.old", "")]),
    );
    let (bottom, whole, none) = (place("base"), place("app"), place("no"));
    let how = ["--env", "PATH=/bin", "--env", "A=1", "--cmd", "old", "--label", "l=1"];
    let arm = ["--platform", "linux/arm64"];
    conex.ok(&[&["pack", &below, &bottom][..], &arm, &how].concat());
    let on_top = [&["pack", &app, &whole, "--base", &bottom][..], &arm].concat();
    let more = ["--whiteouts", "--entrypoint", "/app/run", "--env", "A=2"];
    let report = conex.json(&[&on_top[..], &more].concat());
    assert_eq!(report["layers"].as_array().unwrap().len(), 1);
    let config = execution(&layout, "app");
    assert_eq!(config["architecture"], "arm64");
    assert_eq!(config["config"]["Env"], json!(["PATH=/bin", "A=2"]));
    assert_eq!(config["config"]["Entrypoint"], json!(["/app/run"]));
    assert!(config["config"].get("Cmd").is_none(), "{config}");
    assert_eq!(config["config"]["Labels"], json!({"l": "1"}));
    assert_eq!(config["history"].as_array().unwrap().len(), 2);
    let files = conex.ok(&[&["ls", "-R", &whole][..], &arm].concat());
    assert_eq!(files, "app\napp/run\netc\netc/os\n");
    conex.ok(&["validate", &whole]);
    // The base has no image for such a machine.
    let other = ["pack", &app, &none, "--base", &bottom, "--platform", "linux/s390x"];
    conex.run(&other).fails_with(3);
}

/// One layer of several folders is the tree that their layers come to.
pub fn several_folders_become_one_layer() {
    let scratch = Scratch::new("pack-one");
    let conex = Conex::new(&scratch);
    let place = |tag: &str| format!("oci:{}:{tag}", scratch.arg("layout"));
    let a = tree(&scratch, "a", &[("etc/a", "a"), ("etc/both", "old"), ("gone/x", "x")]);
    let b = tree(&scratch, "b", &[("etc/b", "b"), ("etc/both", "new"), (".wh.gone", "")]);
    conex.ok(&["pack", &a, &b, &place("two"), "--whiteouts"]);
    let report = conex.json(&["pack", &a, &b, &place("one"), "--one-layer", "--whiteouts"]);
    assert_eq!(report["layers"].as_array().unwrap().len(), 1);
    conex.ok(&["unpack", &place("two"), &scratch.arg("stacked")]);
    conex.ok(&["unpack", &place("one"), &scratch.arg("merged")]);
    assert_same(&scratch.join("stacked"), &scratch.join("merged"));
    assert!(!scratch.join("merged/gone").exists());
}

/// A file that happens to have such a name is neither packed as a whiteout nor left out unasked.
pub fn a_file_named_like_a_whiteout_is_refused() {
    let scratch = Scratch::new("pack-whiteout");
    let conex = Conex::new(&scratch);
    let image = format!("oci:{}:1", scratch.arg("layout"));
    for name in [".wh.foo", ".wh..wh..opq", "d/.wh.", "d/.wh.x/y"] {
        let folder = tree(&scratch, &name.replace('/', "-"), &[("foo", "x"), (name, "")]);
        let run = conex.run(&["pack", &folder, &image]);
        let named = name.strip_suffix("/y").unwrap_or(name);
        let told = run.fails_with(4);
        assert!(told.contains(&format!("cannot pack {named}\n")), "{told}");
        assert!(told.contains("--exclude"), "{told}");
        conex.ok(&["pack", &folder, &image, "--exclude", "**/.wh.*"]);
        assert_eq!(conex.ok(&["ls", &image, "foo"]), "foo\n");
    }
    // What is left out hides nothing either.
    let (a, b) = (
        tree(&scratch, "a", &[("foo", "x")]),
        tree(&scratch, "b", &[(".wh.foo", ""), (".wh..wh..opq", "")]),
    );
    conex.ok(&["pack", &a, &b, &image, "--one-layer", "--exclude", ".wh.*"]);
    assert_eq!(conex.ok(&["ls", &image]), "foo\n");
    // Nor may what was made in an unpacked tree have such a name.
    conex.ok(&["unpack", &image, &scratch.arg("rootfs")]);
    fs::write(scratch.join("rootfs/.wh.foo"), "").unwrap();
    let run = conex.run(&["repack", &scratch.arg("rootfs"), &image]);
    assert!(run.fails_with(4).contains("rename"), "{}", run.err);
}

/// Whoever packs, whenever and wherever: root or not, with any umask, in any time zone, on one processor
/// or on all.
pub fn nothing_of_the_packer_is_in_a_layer() {
    let scratch = Scratch::new("pack-same");
    let large: String = (0..150_000_u64).map(|n| format!("{n} {}\n", n * 7919 % 10_007)).collect();
    let tree = tree(&scratch, "tree", &[("bin/large", &large), ("etc/x", "x"), ("etc/y", "")]);
    for dir in ["", "bin", "etc"] {
        fs::set_permissions(Path::new(&tree).join(dir), fs::Permissions::from_mode(0o755)).unwrap();
        touch(&Path::new(&tree).join(dir), 3_000_000, 0);
    }
    let program = env!("CARGO_BIN_EXE_conex");
    let mut number = 0;
    let mut digest = |before: &str, more: &[&str], change: &dyn Fn(&mut Command)| {
        number += 1;
        let home = scratch.folder(&format!("home-{number}"));
        fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
        let to = format!("oci:{}/layout", home.display());
        let script = format!("{before} \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program, "pack", "--format", "json", "--owner", "0:0", &tree]);
        command.args([&to, "--platform", "linux/amd64"]).args(more);
        command.env("HOME", &home).env_remove("SOURCE_DATE_EPOCH").env_remove("CONEX_STORE");
        change(&mut command);
        let report: Value = serde_json::from_str(&run(&mut command)).unwrap();
        report["root"]["digest"].as_str().unwrap().to_owned()
    };
    for how in [&[][..], &["--compression", "zstd"], &["--level", "9"], &["--compression", "none"]]
    {
        let first = digest("exec", how, &|_| {});
        assert_eq!(first, digest("umask 077; exec", how, &|_| {}));
        assert_eq!(first, digest("exec env TZ=Asia/Kolkata LC_ALL=C", how, &|_| {}));
        assert_eq!(first, digest("umask 0; exec taskset -c 0", how, &|_| {}), "{how:?}");
        if rustix::process::geteuid().is_root() {
            let nobody = |command: &mut Command| {
                command.uid(65_534).gid(65_534);
            };
            assert_eq!(first, digest("exec", how, &nobody), "{how:?}");
        }
        let epoch = |seconds: &'static str| {
            move |command: &mut Command| {
                command.env("SOURCE_DATE_EPOCH", seconds);
            }
        };
        let dated = digest("exec", how, &epoch("2000000"));
        assert_ne!(first, dated);
        // Times beyond it are cut off.
        touch(&Path::new(&tree).join("etc"), 9_000_000, 3);
        assert_eq!(dated, digest("exec", how, &epoch("2000000")));
        touch(&Path::new(&tree).join("etc"), 3_000_000, 0);
    }
}

/// A history has times, which `umoci stat` wants to see.
pub fn umoci_tells_of_the_history() {
    let scratch = Scratch::new("pack-stat");
    let conex = Conex::new(&scratch);
    let tree = tree(&scratch, "tree", &[("etc/x", "x")]);
    let image = format!("{}:1", scratch.arg("layout"));
    conex.ok(&["pack", &tree, &format!("oci:{image}")]);
    conex.ok(&["unpack", &format!("oci:{image}"), &scratch.arg("rootfs")]);
    fs::write(scratch.join("rootfs/new"), "").unwrap();
    conex.ok(&["repack", &scratch.arg("rootfs"), &format!("oci:{image}")]);
    let stat = run_partner("umoci", &["stat", "--json", "--image", &image]);
    let stat: Value = serde_json::from_str(&stat).unwrap();
    let made: Vec<_> = stat["history"].as_array().unwrap().iter().collect();
    assert_eq!((made.len(), &made[1]["created_by"]), (2, &json!("conex repack")), "{stat}");
    assert_eq!(made[0]["created"], "1970-01-01T00:00:00Z");
}

/// Modes, owners, times, links and attributes alone are changes as well.
pub fn changes_of_metadata_become_a_layer() {
    let scratch = Scratch::new("repack-meta");
    let conex = Conex::new(&scratch);
    let names = ["mode", "owner", "time", "link", "same", "xattr", "d/inner"];
    let files: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
    let tree = tree(&scratch, "tree", &files);
    symlink("mode", Path::new(&tree).join("l")).unwrap();
    let image = format!("oci:{}:1", scratch.arg("layout"));
    conex.ok(&["pack", &tree, &image]);
    conex.ok(&["unpack", &image, &scratch.arg("rootfs")]);
    let root = scratch.join("rootfs");
    let before = fs::metadata(root.join("time")).unwrap().mtime();
    fs::set_permissions(root.join("mode"), fs::Permissions::from_mode(0o4711)).unwrap();
    touch(&root.join("time"), before + 5, 0);
    fs::hard_link(root.join("link"), root.join("linked")).unwrap();
    let mut expected = vec!["link", "linked", "mode", "time"];
    if rustix::process::geteuid().is_root() {
        chown(root.join("owner"), Some(7), Some(8)).unwrap();
        lchown(root.join("l"), Some(9), None).unwrap();
        expected.extend(["owner", "l"]);
    }
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(root.join("xattr"), "user.a", b"1", flags).is_ok() {
        rustix::fs::setxattr(root.join("d"), "user.b", b"2", flags).unwrap();
        expected.extend(["xattr", "d"]);
    }
    expected.sort_unstable();
    touch(&root, 2_000_000, 7);
    conex.ok(&["repack", &root.display().to_string(), &image]);
    let layer = conex.json(&["ls", "--layer", "2", &image]);
    let mut found: Vec<_> =
        layer.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    found.retain(|path| !path.is_empty());
    found.sort_unstable();
    assert_eq!(found, expected);
    conex.ok(&["unpack", &image, &scratch.arg("again")]);
    assert_same(&root, &scratch.join("again"));
}

/// An index keeps its other images, also where it is within another.
pub fn an_index_keeps_its_other_images() {
    let scratch = Scratch::new("repack-index");
    let conex = Conex::new(&scratch);
    let made = Handmade::new(scratch.join("layout"));
    let mut one = made.image(&[&vec![0; 1024]]);
    one["platform"] =
        json!({"architecture": conex_spec::Platform::host().architecture, "os": "linux"});
    let mut other = one.clone();
    other["digest"] = made.image(&[&vec![0; 2048]])["digest"].clone();
    other["platform"] = json!({"architecture": "riscv64", "os": "linux"});
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = |entries: &[&Value]| {
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries,
            "annotations": {"kept": "yes"}});
        made.document(media_type, &index)
    };
    let inner = index(&[&one]);
    let image = made.finish(&index(&[&other, &inner]));
    conex.ok(&["unpack", &image, &scratch.arg("rootfs")]);
    fs::write(scratch.join("rootfs/new"), "new").unwrap();
    conex.ok(&["repack", &scratch.arg("rootfs"), &image]);
    let layout = scratch.join("layout");
    let index = document(&layout, &tagged(&layout, "latest"));
    assert_eq!(index["annotations"]["kept"], "yes");
    assert_eq!(index["manifests"][0]["digest"], other["digest"]);
    let inner = document(&layout, index["manifests"][1]["digest"].as_str().unwrap());
    assert_ne!(inner["manifests"][0]["digest"], one["digest"]);
    assert_eq!(inner["manifests"][0]["platform"], one["platform"]);
    assert_eq!(conex.ok(&["cat", &image, "new"]), "new");
    assert!(!conex.ok(&["ls", "-R", &image, "--platform", "linux/riscv64"]).contains("new"));
}

/// Layers that both images have are read once, and not at all where that is all they have. A layer is
/// never downloaded twice.
pub fn layers_are_downloaded_once() {
    let scratch = Scratch::new("read-once");
    let conex = Conex::new(&scratch);
    let mut registry = Registry::start(&scratch);
    let base = tree(&scratch, "base", &[("etc/x", "x"), ("etc/y", "y"), ("lib/z", "z")]);
    let top = tree(&scratch, "top", &[("etc/x", "changed")]);
    let image = |registry: &Registry, tag: &str| registry.image(&format!("app:{tag}"));
    let (one, two) = (image(&registry, "1"), image(&registry, "2"));
    conex.ok(&["pack", &base, &one]);
    conex.ok(&["pack", &base, &top, &two]);
    conex.ok(&["pack", &base, &image(&registry, "3"), "--label", "a=b"]);
    let third = image(&registry, "3");
    let layers = conex.json(&["inspect", &two]);
    let digests: Vec<String> = layers["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect();
    let mut reads = |args: &[&str], code: i32| {
        registry.requests();
        let out = conex.command(args).output().unwrap();
        assert_eq!(
            out.status.code(),
            Some(code),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let requests = registry.requests();
        let gets = |digest: &String| {
            let of = |request: &&crate::support::daemon::Request| {
                request.method == "GET" && request.target.ends_with(digest.as_str())
            };
            requests.iter().filter(of).count()
        };
        digests.iter().map(gets).collect::<Vec<_>>()
    };
    assert_eq!(reads(&["diff", &one, &two, "--stat"], 1), [1, 1]);
    assert_eq!(reads(&["diff", &one, &third], 1), [0, 0]);
    assert_eq!(reads(&["ls", &two], 0), [1, 1]);
    assert_eq!(reads(&["cat", &two, "etc/x"], 0), [0, 1]);
    assert_eq!(reads(&["cat", &two, "lib/z"], 0), [1, 1]);
    assert_eq!(reads(&["export", &two, &scratch.arg("all.tar")], 0), [1, 1]);
    assert_eq!(reads(&["export", "--path", "etc/x", &two, &scratch.arg("x.tar")], 0), [0, 1]);
    assert_eq!(reads(&["unpack", "--layers", &two, &scratch.arg("layers")], 0), [1, 1]);
}

/// The kernel's own overlay says what was changed.
pub fn the_upper_folder_of_an_overlay_becomes_a_layer() {
    let scratch = Scratch::new("repack-overlay");
    let conex = Conex::new(&scratch);
    let files = [("etc/old", "x"), ("etc/x", "x"), ("gone/deep/x", "x"), ("new/x", "x")];
    let base = tree(&scratch, "base", &files);
    let image = format!("oci:{}:1", scratch.arg("layout"));
    conex.ok(&["pack", &base, &image]);
    conex.ok(&["unpack", &image, &scratch.arg("lower")]);
    for name in ["upper", "work", "merged"] {
        scratch.folder(name);
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off",
        scratch.arg("lower"),
        scratch.arg("upper"),
        scratch.arg("work")
    );
    let merged = scratch.join("merged");
    run_partner("mount", &["-t", "overlay", "overlay", "-o", &options, &scratch.arg("merged")]);
    fs::write(merged.join("etc/x"), "changed").unwrap();
    fs::remove_file(merged.join("etc/old")).unwrap();
    fs::remove_dir_all(merged.join("gone")).unwrap();
    // Made anew: the kernel marks it as opaque.
    fs::remove_dir_all(merged.join("new")).unwrap();
    fs::create_dir(merged.join("new")).unwrap();
    fs::write(merged.join("new/y"), "y").unwrap();
    let next = format!("oci:{}:2", scratch.arg("layout"));
    let upper = scratch.arg("upper");
    let report = conex.json(&["repack", "--overlay-upper", &upper, &next, "--base", &image]);
    assert_eq!((&report["changed"], &report["removed"]), (&5.into(), &3.into()));
    conex.ok(&["unpack", &next, &scratch.arg("again")]);
    assert_same(&merged, &scratch.join("again"));
    let layer = conex.ok(&["ls", "--layer", "2", &next]);
    assert_eq!(layer, ".\netc\netc/.wh.old\netc/x\n.wh.gone\nnew\nnew/.wh..wh..opq\nnew/y\n");
    run_partner("umount", &[&scratch.arg("merged")]);
}
