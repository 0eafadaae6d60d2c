//! Archives and engines: what conex writes, others take, and the other way around.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use conex_spec::Digest;
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::layout::{self, Handmade};
use crate::support::program::{Conex, find, partner, run, run_partner};
use crate::support::scratch::Scratch;

/// A small image whose layers are tars, and its diff IDs.
fn image(scratch: &Scratch) -> (String, Vec<String>) {
    let tar = |name: &str| {
        let folder = scratch.folder(&format!("tree-{name}"));
        fs::write(folder.join(name), name.repeat(3000)).unwrap();
        let file = scratch.arg(&format!("{name}.tar"));
        let args =
            ["--create", "--file", &file, "--directory", &folder.display().to_string(), name];
        run_partner("tar", &args);
        fs::read(file).unwrap()
    };
    let layers = [tar("first"), tar("second")];
    let made = Handmade::new(scratch.join("made"));
    let root = made.image(&[&layers[0], &layers[1]]);
    let diff_ids = layers.iter().map(|layer| Digest::sha256(layer).to_string()).collect();
    (made.finish(&root), diff_ids)
}

fn diff_ids(conex: &Conex, scratch: &Scratch, from: &str) -> Vec<String> {
    let back = scratch.join("back");
    let _ = fs::remove_dir_all(&back);
    conex.ok(&["copy", from, &format!("oci:{}:1", back.display())]);
    let manifest = layout::document(&back, &layout::tagged(&back, "1"));
    let config = layout::document(&back, manifest["config"]["digest"].as_str().unwrap());
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    ids.iter().map(layout::text).collect()
}

/// An archive goes through skopeo, and umoci sees the layout in it.
pub fn skopeo_and_umoci_read_and_write_them() {
    let scratch = Scratch::new("archives");
    let conex = Conex::new(&scratch);
    let (from, ids) = image(&scratch);
    let digest = layout::tagged(&scratch.join("made"), "latest");
    for form in ["oci-archive", "docker-archive"] {
        let ours = format!("{form}:{}", scratch.arg(&format!("{form}.tar")));
        conex.ok(&["copy", &from, &format!("{ours}:app:1")]);
        let theirs = format!("{form}:{}", scratch.arg(&format!("{form}-theirs.tar")));
        run_partner("skopeo", &["copy", &ours, &format!("{theirs}:app:2")]);
        assert_eq!(diff_ids(&conex, &scratch, &format!("{theirs}:app:2")), ids);
        assert_sound(&conex, &format!("{theirs}:app:2"));
        let unpacked = scratch.folder(&format!("{form}-unpacked"));
        let file = scratch.arg(&format!("{form}.tar"));
        let folder = unpacked.display().to_string();
        run_partner("tar", &["--extract", "--file", &file, "--directory", &folder]);
        assert_eq!(layout::roots(&unpacked)[0]["digest"], digest.as_str());
        run_partner("umoci", &["ls", "--layout", &folder]);
    }
    // The old form, with links between folders of layers, and compressed as a whole.
    let old = scratch.arg("docker-archive-theirs.tar");
    run_partner("gzip", &["--keep", &old]);
    let packed = format!("docker-archive:{old}.gz:app:2");
    assert_eq!(diff_ids(&conex, &scratch, &packed), ids);
}

/// `docker save` → conex → `docker load`, and the socket both ways.
pub fn docker_saves_and_loads_them() {
    let docker = |args: &[&str]| crate::docker::docker(args);
    let socket = format!("unix://{}", crate::docker::engine().arg("socket"));
    through_an_engine("docker-archives", &socket, &docker, "archived/by-docker");
}

pub fn podman_saves_and_loads_them() {
    let scratch = Scratch::new("pods");
    // Podman takes no longer path than fifty bytes for its folder `run`.
    let podman = |args: &[&str]| run(crate::podman::podman(&scratch).args(args));
    let socket = format!("unix://{}", scratch.arg("socket"));
    let mut command = Command::new(find("podman").unwrap());
    let same = crate::podman::podman(&scratch);
    for (name, value) in same.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.env(name, value);
    }
    // What `partner` puts before the program is no part of the engine's own command line.
    command.args(same.get_args().skip_while(|arg| *arg != "--root"));
    command.args(["system", "service", "--time", "0", &socket]);
    let _engine = Daemon::start(&scratch, &mut command);
    for _ in 0..600 {
        if scratch.join("socket").exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    through_an_engine("podman-archives", &socket, &podman, "localhost/archived/by-podman");
}

fn through_an_engine(
    name: &str,
    socket: &str,
    engine: &dyn Fn(&[&str]) -> String,
    image_name: &str,
) {
    let scratch = Scratch::new(name);
    let conex = Conex::new(&scratch);
    let (from, ids) = image(&scratch);
    let [one, two] = [1, 2].map(|n| format!("{image_name}:{n}"));
    let file = scratch.arg("ours.tar");
    conex.ok(&["copy", &from, &format!("docker-archive:{file}:{one}")]);
    engine(&["load", "--input", &file]);
    let saved = scratch.arg("theirs.tar");
    engine(&["save", "--output", &saved, &one]);
    assert_eq!(diff_ids(&conex, &scratch, &format!("docker-archive:{saved}")), ids);
    assert_sound(&conex, &format!("docker-archive:{saved}"));
    several_at_once(&scratch, &conex, &from, engine, image_name);
    let with_engine = |args: &[&str]| {
        let output = conex.command(args).env("DOCKER_HOST", socket).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = with_engine(&["copy", &from, &format!("docker-daemon:{two}")]);
    assert_eq!(code, Some(0), "{text}");
    let back = format!("oci-archive:{}:1", scratch.arg("from-engine.tar"));
    let (code, text) = with_engine(&["copy", &format!("docker-daemon:{two}"), &back]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(diff_ids(&conex, &scratch, &back), ids);
    assert_sound(&conex, &back);
    if image_name.starts_with("localhost/") {
        // Podman writes layouts too.
        let theirs = scratch.arg("oci.tar");
        engine(&["save", "--format", "oci-archive", "--output", &theirs, &one]);
        assert_sound(&conex, &format!("oci-archive:{theirs}"));
    }
    let (code, text) = with_engine(&["inspect", "docker-daemon:conex/is-not-there:1"]);
    assert_eq!(code, Some(3), "{text}");
    engine(&["rmi", &one, &two]);
}

/// An archive of two images, as `docker save A B` writes it, both ways.
fn several_at_once(
    scratch: &Scratch,
    conex: &Conex,
    from: &str,
    engine: &dyn Fn(&[&str]) -> String,
    image_name: &str,
) {
    let tree = scratch.folder("another");
    fs::write(tree.join("file"), "another").unwrap();
    let tags = format!("oci:{}", scratch.arg("tags"));
    conex.ok(&["copy", from, &format!("{tags}:several-1"), "--tag", "several-2"]);
    conex.ok(&["pack", &tree.display().to_string(), &format!("{tags}:several-3")]);
    let file = scratch.arg("several.tar");
    conex.ok(&["copy", "--all-tags", &tags, &format!("docker-archive:{file}:{image_name}")]);
    assert_sound(conex, &format!("docker-archive:{file}"));
    engine(&["load", "--input", &file]);
    let names = ["1", "2", "3"].map(|n| format!("{image_name}:several-{n}"));
    let [one, two, three] = names.each_ref().map(String::as_str);
    let id = |name: &str| engine(&["image", "inspect", "--format", "{{.Id}}", name]);
    assert!(id(one) == id(two) && id(one) != id(three));
    let saved = scratch.arg("several-theirs.tar");
    let several: &[&str] = if image_name.starts_with("localhost/") {
        &["save", "--multi-image-archive", "--output", &saved, one, two, three]
    } else {
        &["save", "--output", &saved, one, two, three]
    };
    engine(several);
    assert_sound(conex, &format!("docker-archive:{saved}"));
    let back = format!("oci:{}", scratch.arg("several-back"));
    let copied = conex.json(&["copy", "--all-tags", &format!("docker-archive:{saved}"), &back]);
    let tags: Vec<_> = copied["copied"].as_array().unwrap().iter().map(|it| &it["tag"]).collect();
    assert_eq!(tags, ["several-1", "several-2", "several-3"]);
    assert_sound(conex, &back);
    engine(&["rmi", one, two, three]);
}

/// Standard output holds the archive and nothing else; standard input may be a pipe or a file.
pub fn standard_streams_hold_archives() {
    let scratch = Scratch::new("streams");
    let conex = Conex::new(&scratch);
    let (from, _) = image(&scratch);
    let digest = layout::tagged(&scratch.join("made"), "latest");
    let file = scratch.join("out.tar");
    let mut command = conex.command(&["copy", &from, "oci-archive:-:1", "--format", "json"]);
    let output = command.stdout(File::create(&file).unwrap()).output().unwrap();
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && report.contains(&digest), "{report}");
    inspect(&conex, Stdio::from(File::open(&file).unwrap()), &digest);
    let mut cat = partner("cat");
    let mut cat = cat.arg(Path::new(&file)).stdout(Stdio::piped()).spawn().unwrap();
    inspect(&conex, Stdio::from(cat.stdout.take().unwrap()), &digest);
    cat.wait().unwrap();
}

/// Every rule that is a MUST holds for what a partner wrote.
fn assert_sound(conex: &Conex, image: &str) {
    let run = conex.run(&["validate", image]);
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
}

fn inspect(conex: &Conex, input: Stdio, digest: &str) {
    let mut command = conex.command(&["inspect", "oci-archive:-:1", "--format", "json"]);
    let output = command.stdin(input).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.to_string().contains(digest), "{report}");
}
