//! Layers that reach for what is not theirs.

use std::fs;

use serde_json::json;

use crate::support::layout;
use crate::world::{World, assert_absent};

const UNSOUND: i32 = 4;
const FILE: u8 = b'0';
const HARD_LINK: u8 = b'1';
const SYMLINK: u8 = b'2';
const FOLDER: u8 = b'5';

/// An entry of a tar: name, type, link target, content.
pub type Entry<'a> = (&'a str, u8, &'a str, &'a [u8]);

pub fn names_that_leave_the_root() {
    let bad: [&[Entry<'_>]; 5] = [
        &[("../canary", FILE, "", b"bad")],
        &[("folder", FOLDER, "", b""), ("folder/../../canary", FILE, "", b"bad")],
        &[("/../canary", FILE, "", b"bad")],
        &[("..", FOLDER, "", b"")],
        &[(".wh...", FILE, "", b"")],
    ];
    bad.into_iter().for_each(refused);
}

pub fn links_that_leave_the_root() {
    for bad in [
        &[("link", HARD_LINK, "../canary", b"" as &[u8])][..],
        &[("link", HARD_LINK, "../../../../../../../../etc/passwd", b"")],
        &[("link", HARD_LINK, "/etc/passwd", b"")],
        &[("up", SYMLINK, "..", b""), ("link", HARD_LINK, "up/canary", b"")],
    ] {
        refused(bad);
    }
    // These are followed inside the root, as the kernel does for a process that lives there.
    for held in [
        &[("up", SYMLINK, "..", b"" as &[u8]), ("up/canary", FILE, "", b"bad")][..],
        &[("up", SYMLINK, "/", b""), ("up/canary", FILE, "", b"bad")],
        &[("a", SYMLINK, "b", b""), ("b", SYMLINK, "../..", b""), ("a/canary", FILE, "", b"bad")],
    ] {
        let (world, image) = world(held);
        let rootfs = world.scratch.folder("unpacked").join("rootfs");
        world.conex.ok(&["unpack", &image, &rootfs.display().to_string()]);
        assert_eq!(fs::read(rootfs.join("canary")).unwrap(), b"bad");
        assert_canary(&world);
    }
}

pub fn a_wrong_diff_id() {
    let world = World::new("diff-id");
    let made = world.handmade("bad");
    let layer =
        made.blob("application/vnd.oci.image.layer.v1.tar", &tar(&[("file", FILE, "", b"x")]));
    let config = json!({"architecture": conex_spec::Platform::host().architecture, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))]}});
    let config = made.document("application/vnd.oci.image.config.v1+json", &config);
    let image = made.finish(&made.manifest(&config, &[layer]));
    let rootfs = world.scratch.folder("unpacked").join("rootfs");
    world.conex.run(&["unpack", &image, &rootfs.display().to_string()]).fails_with(UNSOUND);
    assert_absent(&rootfs);
    let validated = world.conex.run(&["validate", &image]);
    assert_eq!(validated.code, Some(UNSOUND), "{}", validated.out);
}

fn refused(entries: &[Entry<'_>]) {
    let (world, image) = world(entries);
    let rootfs = world.scratch.folder("unpacked").join("rootfs");
    for bundle in [&["--bundle"][..], &[]] {
        let run =
            world.conex.run(&[&["unpack", &image, &rootfs.display().to_string()], bundle].concat());
        assert_eq!(run.code, Some(UNSOUND), "{entries:?}: {}{}", run.out, run.err);
        run.fails_with(UNSOUND);
        assert_absent(&rootfs);
        assert_canary(&world);
    }
    world.assert_intact();
}

fn world(entries: &[Entry<'_>]) -> (World, String) {
    let world = World::new("layer");
    fs::write(world.scratch.folder("unpacked").join("canary"), "untouched").unwrap();
    let made = world.handmade("bad");
    let image = made.finish(&made.image(&[&tar(entries)]));
    assert_eq!(layout::tags(&made.dir), ["latest"]);
    (world, image)
}

fn assert_canary(world: &World) {
    assert_eq!(fs::read(world.scratch.join("unpacked/canary")).unwrap(), b"untouched");
}

/// A tar in the ustar format, written by hand so that it may hold any name.
pub fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, kind, target, content) in entries {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, if *kind == FOLDER { b"0000755" } else { b"0000644" });
        put(108, b"0000000\x000000000");
        put(124, format!("{:011o}\0{:011o}", content.len(), 1_000_000_000).as_bytes());
        put(148, b"        ");
        put(156, &[*kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend(header);
        tar.extend(*content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend([0; 1024]);
    tar
}
