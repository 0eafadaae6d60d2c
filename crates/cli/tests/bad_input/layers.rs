//! Layers that reach for what is not theirs.

use std::fs;

use serde_json::json;

use crate::hostile;
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

/// What no file system could hold, or what stands for nothing, is as unsound to whoever only lists it.
pub fn what_cannot_be_unpacked() {
    let pax = |records: &[(&str, &[u8])]| {
        let record = |(key, value): &(&str, &[u8])| {
            let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let digits = |length: usize| length.to_string().len();
            let length = rest.len() + digits(rest.len() + digits(rest.len()));
            [length.to_string().as_bytes(), &rest].concat()
        };
        records.iter().flat_map(record).collect::<Vec<u8>>()
    };
    refused(&[("a", SYMLINK, "b", b""), ("b", SYMLINK, "a", b""), ("a/x", FILE, "", b"")]);
    refused(&[("a", FILE, "", b""), ("a/x", FILE, "", b"")]);
    refused(&[("a", HARD_LINK, "a", b"")]);
    refused(&[(".", SYMLINK, "/tmp", b"")]);
    for records in [
        &[("path", &b"n".repeat(256)[..])][..],
        &[("SCHILY.xattr.user.a", &b"v".repeat(70_000))],
        &[(&format!("SCHILY.xattr.user.{}", "n".repeat(251)), b"v")],
        &[("SCHILY.xattr.user.", b"v")],
        &[("SCHILY.xattr.security.capability", b"all of them")],
        &[("SCHILY.xattr.system.posix_acl_access", b"everyone")],
    ] {
        refused(&[("PaxHeaders/x", b'x', "", &pax(records)), ("x", FILE, "", b"")]);
    }
    let target = pax(&[("linkpath", &b"t/".repeat(2100))]);
    refused(&[("PaxHeaders/x", b'x', "", &target), ("x", SYMLINK, "y", b"")]);
}

/// A name twice is one file to one reader, and another to another (rule T4).
pub fn what_is_ambiguous_is_refused_on_request() {
    let (world, image) = world(&[("x", FILE, "", b"first"), ("x", FILE, "", b"last")]);
    let to = world.scratch.join("unpacked/rootfs");
    let dir = to.display().to_string();
    let pulled = format!("{}/bad:latest", hostile::serve(&world.scratch.join("bad"), &[]));
    for verb in [
        &["unpack", &image, &dir][..],
        &["unpack", "--bundle", &image, &dir],
        &["unpack", "--path", "x", &image, &dir],
        &["unpack", "--layers", &image, &dir],
        &["pull", "--unpack", &dir, &pulled],
    ] {
        let run = world.conex.run(&[verb, &["--strict"]].concat());
        assert!(run.fails_with(UNSOUND).contains("twice"), "{}", run.err);
        assert_absent(&to);
    }
    assert!(world.conex.ok(&["unpack", &image, &dir]).contains("twice"));
    assert_eq!(fs::read(to.join("x")).unwrap(), b"last");
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
    let empty = world.scratch.folder("empty").display().to_string();
    let to = rootfs.display().to_string();
    let pulled = format!("{}/bad:latest", hostile::serve(&world.scratch.join("bad"), &[]));
    for verb in [
        &["unpack", &image, &to][..],
        &["unpack", "--bundle", &image, &to],
        &["unpack", "--rootless", &image, &to],
        &["unpack", "--layers", &image, &to],
        &["unpack", "--path", "x", &image, &to],
        &["pull", "--unpack", &to, &pulled],
        &["export", &image, &to],
        &["diff", &image, &empty],
        &["repack", &empty, &format!("oci:{}:1", world.scratch.arg("next")), "--base", &image],
        &["ls", "-R", &image],
        &["cat", &image, "x"],
    ] {
        let run = world.conex.run(verb);
        assert_eq!(run.code, Some(UNSOUND), "{verb:?} {entries:?}: {}{}", run.out, run.err);
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
