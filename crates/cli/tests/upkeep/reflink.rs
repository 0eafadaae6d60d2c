//! File systems on which two files share blocks until one of them is changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::collect::noise;
use crate::damage::flip_one_bit;
use crate::support::layout::{Handmade, blob};
use crate::support::program::{Conex, run_partner};
use crate::support::scratch::Scratch;

const DISK: u64 = 400 << 20;
const LAYER: usize = 32 << 20;

pub fn shares_blocks_on_xfs() {
    shares_blocks("mkfs.xfs", &["-q"]);
}

pub fn shares_blocks_on_btrfs() {
    shares_blocks("mkfs.btrfs", &["-q"]);
}

fn shares_blocks(mkfs: &str, options: &[&str]) {
    let scratch = Scratch::new(mkfs);
    let image = scratch.join("disk.img");
    fs::File::create(&image).unwrap().set_len(DISK).unwrap();
    let image = image.display().to_string();
    run_partner(mkfs, &[options, &[&image]].concat());
    let disk = scratch.folder("disk");
    run_partner("mount", &["-o", "loop", &image, &disk.display().to_string()]);
    let conex = Conex::new(&scratch).with_store(disk.join("store"));
    let made = Handmade::new(disk.join("a"));
    let layer = noise(1, LAYER);
    let from = made.finish(&made.image(&[&layer]));
    let to = |name: &str| format!("oci:{}:1", disk.join(name).display());
    // The first copy is hashed, since nobody sealed the original; the second only looked at.
    for (from, to) in [(&from, &to("b")), (&to("b"), &to("c")), (&to("c"), &"store:x".to_owned())] {
        let before = free(&disk);
        let report = conex.json(&["copy", from, to]);
        assert_eq!(report["summary"]["adopted"]["blobs"], 2, "{report}");
        assert!(before.saturating_sub(free(&disk)) < LAYER as u64 / 4, "blocks are not shared");
    }
    // No file has two names: damage to one is not damage to the other.
    let digest = conex_spec::Digest::sha256(&layer).to_string();
    let file = |name: &str| blob(&disk.join(name), &digest);
    assert_eq!(fs::metadata(file("c")).unwrap().nlink(), 1);
    flip_one_bit(&file("b"));
    assert_eq!(fs::read(file("c")).unwrap(), layer);
    // Content that is not what its digest names is not taken over.
    conex.run(&["copy", &to("b"), &to("d")]).fails_with(4);
    conex.ok(&["copy", &to("c"), &to("b")]);
    assert_eq!(fs::read(file("b")).unwrap(), layer);
    conex.ok(&["fsck", &format!("oci:{}", disk.join("b").display())]);
    run_partner("umount", &[&disk.display().to_string()]);
}

fn free(disk: &Path) -> u64 {
    rustix::fs::syncfs(fs::File::open(disk).unwrap()).unwrap();
    let stat = rustix::fs::statvfs(disk).unwrap();
    stat.f_bfree * stat.f_frsize
}
