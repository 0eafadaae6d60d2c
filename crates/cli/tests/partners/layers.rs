//! Single layers as other programs read them.

use crate::fixture::tree;
use crate::support::program::{Conex, run_partner};
use crate::support::scratch::Scratch;
use crate::support::tree::assert_same;

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
    }
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
