//! Each layer in a folder of its own: stacked by overlayfs, they are the tree that unpacking gives.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests may stop at the first surprise, and mount"
)]

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::random::layers;
use common::tree::{Layer, folders, layer, snapshot};
use common::{Forge, forge, is_root, options, put, unpack_to};
use conex_layer::flatten::Marks;
use conex_layer::unpack::Options;
use proptest::prelude::*;

/// A mounted stack, which goes with this.
struct Stack(PathBuf);

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Stacks folders; nothing where this machine mounts no overlay.
fn stack(dir: &Path, layers: usize) -> Option<Stack> {
    let at = dir.parent().unwrap().join("stacked");
    fs::create_dir(&at).unwrap();
    let names: Vec<_> = (1..=layers).rev().map(|n| n.to_string()).collect();
    // A stack of one is none; an empty folder changes nothing.
    fs::create_dir(dir.join("0")).unwrap();
    let option = format!("lowerdir={}:0", names.join(":"));
    let mut mount = Command::new("mount");
    mount.args(["-t", "overlay", "overlay", "-o", &option]).arg(&at).current_dir(dir);
    let mounted = mount.stderr(std::process::Stdio::null()).status();
    mounted.is_ok_and(|status| status.success()).then_some(Stack(at))
}

/// Without the number of names, which overlayfs counts for each layer.
fn seen(root: &Path) -> BTreeMap<String, String> {
    let plain = |line: String| {
        let (head, rest) = line.split_once(" links ").unwrap();
        let (_, rest) = rest.split_once(' ').unwrap();
        format!("{head} {rest}")
    };
    snapshot(root).into_iter().map(|(name, line)| (name, plain(line))).collect()
}

/// Whether the stack is what unpacking gives; true as well where nothing can be mounted.
fn compare(layers: &[Layer]) {
    let temp = common::temp_dir();
    let dir = temp.path().join("layers");
    folders(&dir, layers, Marks::Trusted, options()).unwrap();
    let rootfs = temp.path().join("rootfs");
    unpack_to(&rootfs, layers, options()).unwrap();
    let Some(stack) = stack(&dir, layers.len()) else {
        println!("skipped: this machine mounts no overlay");
        return;
    };
    assert_eq!(seen(&stack.0), seen(&rootfs));
}

fn device(forge: Forge, name: &str, major: &str) -> Forge {
    forge.header(name, b'3', 0, |block| {
        put(block, 329, major.as_bytes());
        put(block, 337, b"0000000\0");
    })
}

#[test]
fn whiteouts_links_and_implied_folders() {
    if !is_root() {
        return;
    }
    let lower = forge().mode("d/", b'5', 0o700).file("d/a", "a").file("d/b", "b").link("c", "d/b");
    let lower = lower.dir("usr/").dir("usr/lib/").file("usr/lib/x", "x").symlink("lib", "usr/lib");
    let lower =
        lower.dir("gone/").file("gone/x", "").dir("again/").file("again/old", "").file("f", "");
    let middle =
        forge().file("d/.wh.a", "").file("lib/new", "n").file(".wh.gone", "").link("e", "c");
    let middle =
        middle.file("again/new", "").file("again/.wh..wh..opq", "").dir("f/").file("f/x", "");
    let upper = forge().dir("gone/").file("gone/y", "").file("usr/lib/x", "2").file(".wh.f", "");
    let upper = upper.file(".wh.never", "").file("d/sub/deep", "");
    let layers: Vec<_> = [lower, middle, upper].into_iter().map(|tar| layer(tar.end())).collect();
    compare(&layers);

    let temp = common::temp_dir();
    let dir = temp.path().join("layers");
    folders(&dir, &layers, Marks::Trusted, options()).unwrap();
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let whiteout = dir.join("2/d/.wh.a");
    assert!(!whiteout.exists());
    let whiteout = dir.join("2/d/a").symlink_metadata().unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    // The folder keeps what the lower layer gave it, and a file of several names stays one.
    assert_eq!(dir.join("2/d").metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(
        dir.join("2/e").metadata().unwrap().ino(),
        dir.join("2/d/b").metadata().unwrap().ino()
    );
    assert!(dir.join("2/usr/lib/new").exists() && !dir.join("2/lib").exists());
    assert!(!dir.join("3/never").exists());
}

/// Rules U9 and U11: what marks a whiteout for overlayfs is not taken from a layer.
#[test]
fn layers_forge_no_marks() {
    if !is_root() {
        return;
    }
    let lower = forge().dir("d/").file("d/keep", "keep").file("f", "f").end();
    let marks = [
        ("SCHILY.xattr.trusted.overlay.opaque", &b"y"[..]),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
    ];
    let upper = device(forge().pax(&marks).dir("d/"), "f", "0000000\0").end();
    let layers = [layer(lower), layer(upper)];
    compare(&layers);
    let temp = common::temp_dir();
    let dir = temp.path().join("layers");
    folders(&dir, &layers, Marks::Trusted, options()).unwrap();
    assert!(dir.join("2/f").metadata().unwrap().is_file());
    assert_eq!(rustix::fs::llistxattr(dir.join("2/d"), &mut [0_u8; 100][..]).unwrap_or(0), 0);
}

/// Without root the marks are in the namespace that anyone may write.
#[test]
fn marks_without_privilege() {
    let lower = forge().dir("d/").file("d/old", "").file("f", "").end();
    let upper = forge().dir("d/").file("d/.wh..wh..opq", "").file(".wh.f", "").end();
    let temp = common::temp_dir();
    let dir = temp.path().join("layers");
    let options = Options { privileged: Some(false), ..options() };
    folders(&dir, &[layer(lower), layer(upper)], Marks::User, options).unwrap();
    let mut value = [0; 8];
    let n = rustix::fs::lgetxattr(dir.join("2/d"), "user.overlay.opaque", &mut value[..]).unwrap();
    assert_eq!(&value[..n], b"y");
    assert!(dir.join("2/f").symlink_metadata().unwrap().file_type().is_char_device());
}

/// What a lower layer has in a folder is gone where the folder was a file in between.
#[test]
fn a_folder_that_was_a_file_is_a_new_one() {
    if !is_root() {
        return;
    }
    for upper in [
        forge().file("l/b", "").file("l", "").dir("l/"),
        forge().dir("l/").file("l", "").dir("l/").file("l/c", ""),
        forge().file("l/sub/y", "").file("l/sub", "").dir("l/sub/").file("l/sub/z", ""),
    ] {
        let lower = forge().file("l/a", "").file("l/sub/x", "");
        compare(&[layer(lower.end()), layer(upper.end())]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_stack_is_the_same_tree(layers in layers()) {
        if is_root() {
            compare(&layers);
        }
    }
}
