//! Single layers as other programs read them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::docker::{docker, engine};
use crate::fixture::tree;
use crate::support::daemon::Registry;
use crate::support::program::{Conex, run_partner};
use crate::support::scratch::Scratch;
use crate::support::tree::{assert_same, differences};
use crate::umoci::restore_empty;

/// GNU tar sees the tree in a layer of every compression.
pub fn tar_reads_them_all() {
    let scratch = Scratch::new("tar-layers");
    let conex = Conex::new(&scratch);
    for (how, more) in [
        ("gzip", &[][..]),
        ("gzip", &["--level", "1"]),
        ("gzip", &["--level", "9"]),
        ("zstd", &[]),
        ("zstd", &["--long", "--level", "1"]),
        ("none", &[]),
    ] {
        let name = format!("{how}{}", more.concat());
        let (place, out) =
            (format!("oci:{}", scratch.arg(&name)), scratch.folder(&format!("{name}-tree")));
        let args = ["pack", &tree().display().to_string(), &place, "--compression", how];
        let report = conex.json(&[&args[..], more].concat());
        let digest = report["layers"][0]["digest"].as_str().unwrap();
        let blob = scratch.join(&name).join("blobs").join(digest.replace(':', "/"));
        let (blob, out) = (blob.display().to_string(), out.display().to_string());
        run_partner("tar", &["--xattrs", "--xattrs-include=*", "-xf", &blob, "-C", &out]);
        assert_same(tree(), out.as_ref());
        // What another program made of it gives the same layer again.
        let place = format!("oci:{}", scratch.arg(&format!("{name}-again")));
        let args = ["pack", &out, &place, "--compression", how];
        assert_eq!(conex.json(&[&args[..], more].concat())["layers"][0]["digest"], digest);
        std::fs::remove_dir_all(&out).unwrap();
    }
}

/// The Docker engine keeps each layer as a folder: it is the tree, whatever the compression.
pub fn docker_sees_them_all() {
    let scratch = Scratch::new("docker-layers");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    for more in [&[][..], &["--level", "1"], &["--compression", "none"]] {
        sees(&conex, &registry.image("debian:gzip"), more);
    }
    // An engine that is too old says so itself.
    for more in [&["--compression", "zstd"][..], &["--compression", "zstd", "--long"]] {
        if docker(&["version", "--format", "{{.Server.Version}}"]).starts_with("20.") {
            continue;
        }
        sees(&conex, &registry.image("debian:zstd"), more);
    }
}

fn sees(conex: &Conex, image: &str, more: &[&str]) {
    let args = ["pack", &tree().display().to_string(), image, "--label", "of=conex"];
    conex.ok(&[&args[..], more].concat());
    docker(&["pull", "--quiet", image]);
    let upper = docker(&["image", "inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", image]);
    let folder = match upper.trim() {
        // Without overlay the engine copies: one folder more for each image.
        "" | "<no value>" => newest(&engine().join("data/vfs/dir")),
        upper => upper.into(),
    };
    restore_empty(&folder, tree());
    // The root's time is that of the folder; all else is the layer's.
    let differences = differences(tree(), &folder);
    let odd: Vec<_> = differences.iter().filter(|line| !line.starts_with("\"/\" ")).collect();
    docker(&["image", "rm", image]);
    assert!(odd.is_empty(), "{more:?}: {} differences\n{}", odd.len(), odd[0]);
}

fn newest(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.max_by_key(|entry| entry.metadata().unwrap().ctime()).unwrap().path()
}

/// umoci unpacks what `conex repack` put upon an image to the tree that was changed.
pub fn umoci_unpacks_what_conex_repacked() {
    let scratch = Scratch::new("umoci-repacked");
    let conex = Conex::new(&scratch);
    let (base, tree) = (crate::fixture::packed(), scratch.arg("rootfs"));
    let image = format!("oci:{}:2", scratch.arg("layout"));
    conex.ok(&["unpack", base, &tree]);
    let root = scratch.join("rootfs");
    std::fs::write(root.join("etc/added"), "new").unwrap();
    std::fs::remove_file(root.join("etc/hostname")).ok();
    std::fs::remove_dir_all(root.join("usr/share/doc")).unwrap();
    std::fs::hard_link(root.join("etc/passwd"), root.join("etc/passwd-linked")).unwrap();
    conex.ok(&["repack", &tree, &image, "--base", base]);
    let theirs = scratch.arg("theirs");
    let layout = image.split_once(':').unwrap().1;
    run_partner("umoci", &["raw", "unpack", "--image", layout, &theirs]);
    let text = conex.command(&["diff", &tree, &theirs]).output().unwrap();
    // An attribute with an empty value is none to Go's reader of tars.
    let text = String::from_utf8(text.stdout).unwrap();
    let odd = |line: &&str| line.starts_with("M  ") && !line.ends_with("  xattrs");
    assert!(!text.lines().any(|line| line.starts_with(['A', 'D']) || odd(&line)), "{text}");
}
