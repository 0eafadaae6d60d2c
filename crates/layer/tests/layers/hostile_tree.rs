//! Hostile layers, one row of the threat table each, rows 1 to 30 and 46 to 47: names, links,
//! whiteouts, duplicates, devices. Each is applied on top of a sound lower layer, with a canary
//! beside the target that must not change.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use common::verdict::Verdict::{Accept, Reject, Warn};
use common::verdict::{check, judge, ok, table, text};
use common::{Forge, World, forge, has, is_root, lower, options, put};
use conex_layer::unpack::{Devices, Options};
use conex_spec::{Compression, Digest};
use conex_tar::Code;

#[test]
fn names_rows_1_to_4_and_46_to_47() {
    table(vec![
        ("1", forge().file("../esc", "x").end(), Reject("leaves the root")),
        ("2", forge().file("a/../../esc", "x").end(), Reject("leaves the root")),
        ("3", forge().file("/abs", "x").end(), Accept(|t| assert_eq!(text(t.join("abs")), "x"))),
        ("4", forge().file("/../x", "x").end(), Reject("leaves the root")),
        ("46", forge().file("", "x").end(), Reject("empty name")),
        (
            "47",
            forge().mode("/", b'5', 0o710).end(),
            Accept(|t| assert_eq!(fs::metadata(t).unwrap().mode() & 0o7777, 0o710)),
        ),
        ("mid", forge().file("a/../x", "x").end(), Accept(|t| assert_eq!(text(t.join("x")), "x"))),
    ]);
}

/// Rules U2, U3. The links lead to the canary's folder.
#[test]
fn links_rows_5_to_7() {
    for name in ["s", "chain", "abs"] {
        let world = World::new();
        let outside = world.outside_bytes();
        let inside = [b"s/", &outside[1..], b"/new"].concat();
        let tar = match name {
            // 5: the link's target is taken inside the root.
            "s" => forge().symlink("s", &outside).file("s/secret", "in").end(),
            // 6: a chain of links, some relative.
            "chain" => forge()
                .symlink("c0", &outside)
                .symlink("c1", "c0")
                .symlink("a/c2", "../../../c1")
                .file("a/c2/secret", "in")
                .file(inside, "in")
                .end(),
            // U3: the component between is a link.
            _ => forge()
                .symlink("x/escape", "../../../../../../../..")
                .symlink("a/l", "/x/escape")
                .file([b"a/l", &outside[..], b"/secret"].concat(), "in")
                .end(),
        };
        let result = world.unpack(&[lower(), tar]);
        result.unwrap_or_else(|err| panic!("{name}: {err}"));
        let inside = world.target().join(world.outside().strip_prefix("/").unwrap());
        assert_eq!(text(inside.join("secret")), "in", "{name}");
    }
    // 7: loops end in an error, of any length.
    check("7", forge().symlink("l", "l").file("l/x", "x").end(), &Reject("links"));
    let two = forge().symlink("p", "q").symlink("q", "p").file("p/x", "x").end();
    check("7 of two", two, &Reject("links"));
}

#[test]
fn chains_of_links_up_to_forty_are_followed() {
    for (length, works) in [(1, true), (39, true), (40, true), (41, false)] {
        let mut tar = forge().dir("real");
        for i in 0..length {
            let target = if i == 0 { "real".into() } else { format!("l{}", i - 1) };
            tar = tar.symlink(format!("l{i}"), target);
        }
        let tar = tar.file(format!("l{}/x", length - 1), "x").end();
        let world = World::new();
        assert_eq!(world.unpack(&[lower(), tar]).is_ok(), works, "{length}");
    }
}

/// Rule U4.
#[test]
fn the_root_rows_8_to_10() {
    for name in ["/", ".", "./", "a/.."] {
        for flag in [b'0', b'1', b'2', b'3', b'4', b'6'] {
            let tar = forge().header(name, flag, 0, |block| put(block, 157, b"etc/keep")).end();
            check("8-10", tar, &Reject("replace the root"));
        }
    }
}

/// Rule U6.
#[test]
fn hard_links_rows_11_to_16() {
    table(vec![
        (
            "11",
            forge().link("h", "/etc/keep").end(),
            Accept(|t| assert_eq!(text(t.join("h")), "keep")),
        ),
        ("12", forge().link("h", "../../../etc/hostname").end(), Reject("leaves the root")),
        ("14", forge().link("h", "etc/missing").end(), Reject("not there")),
        ("15", forge().link("h", "etc").end(), Reject("directory")),
        ("16", forge().link("h", "later").file("later", "x").end(), Reject("not there")),
        (
            "a link to itself",
            forge().link("foo", "foo").end(),
            Accept(|t| assert_eq!(text(t.join("foo")), "foo of the lower layer")),
        ),
        (
            "a link to a link is not followed",
            forge().symlink("s", "etc/keep").link("h", "s").end(),
            Accept(|t| assert!(fs::symlink_metadata(t.join("h")).unwrap().is_symlink())),
        ),
        (
            "over an existing file",
            forge().link("foo", "etc/keep").end(),
            Accept(|t| assert_eq!(fs::metadata(t.join("foo")).unwrap().nlink(), 2)),
        ),
    ]);
    // 13: through a link to the host.
    let world = World::new();
    let tar = forge().symlink("s", world.outside_bytes()).link("h", "s/secret").end();
    let result = world.unpack(&[lower(), tar]);
    judge("13", &world, result, &Reject("not there"));
}

/// A hard link is never resolved against the working directory: the crate's own folder has a
/// `Cargo.toml` and is the working directory of its tests.
#[test]
fn hard_links_do_not_know_the_working_directory() {
    assert!(Path::new("Cargo.toml").exists());
    check("cwd", forge().link("h", "Cargo.toml").end(), &Reject("not there"));
    check("cwd", forge().link("h", "./src/lib.rs").end(), &Reject("not there"));
}

/// Rule U5.
#[test]
fn a_directory_replaces_a_link_row_17() {
    let world = World::new();
    let dir = [&world.outside_bytes()[..], b"/dir"].concat();
    let tar = forge()
        .symlink("d", &dir)
        .pax(&[("SCHILY.xattr.user.evil", b"1"), ("mtime", b"1.5")])
        .mode("d", b'5', 0o700)
        .file("d/x", "x")
        .end();
    let report = world.unpack(&[lower(), tar]).unwrap();
    assert!(has(&report, Code::DuplicateEntry));
    let meta = fs::symlink_metadata(world.path("d")).unwrap();
    assert!(meta.is_dir());
    assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()), (0o700, 1, 500_000_000));
    // The link may also come from the lower layer.
    let world = World::new();
    let link = forge().symlink("d", world.outside_bytes()).end();
    world.unpack(&[link, forge().mode("d", b'5', 0o700).end()]).unwrap();
    assert!(fs::symlink_metadata(world.path("d")).unwrap().is_dir());
}

/// Rule U7.
#[test]
fn whiteouts_rows_18_to_22_and_25() {
    table(vec![
        ("18", forge().file(".wh.", "").end(), Reject("whiteout")),
        ("19", forge().file(".wh..", "").end(), Reject("whiteout")),
        ("20", forge().file(".wh...", "").end(), Reject("whiteout")),
        ("20 below", forge().file("a/.wh...", "").end(), Reject("whiteout")),
        ("21 dir", forge().dir(".wh.foo").end(), Warn(Code::WhiteoutContent, no_foo)),
        ("21 full", forge().file(".wh.foo", "x").end(), Warn(Code::WhiteoutContent, no_foo)),
        ("21 link", forge().symlink(".wh.foo", "x").end(), Warn(Code::WhiteoutContent, no_foo)),
        (
            "21 child",
            forge().dir(".wh.foo").file(".wh.foo/x", "").end(),
            Reject("below a whiteout"),
        ),
        ("22", forge().file("foo", "new").file(".wh.foo", "").end(), Accept(new_foo)),
        ("22 before", forge().file(".wh.foo", "").file("foo", "new").end(), Accept(new_foo)),
        (
            "25",
            forge().file("a/new", "new").file("a/.wh..wh..opq", "").end(),
            Accept(|t| {
                assert_eq!(text(t.join("a/new")), "new");
                assert!(!t.join("a/lower").exists());
            }),
        ),
        (
            "of the root",
            forge().file(".wh..wh..opq", "").file("foo", "new").end(),
            Accept(|t| {
                new_foo(t);
                assert_eq!(fs::read_dir(t).unwrap().count(), 1);
            }),
        ),
        (
            "missing",
            forge().file("no/such/.wh.dir", "").end(),
            Accept(|t| assert!(!t.join("no").exists())),
        ),
        (
            "aufs",
            forge().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "").end(),
            Warn(Code::AufsMarker, ok),
        ),
    ]);
}

fn no_foo(target: &Path) {
    assert!(!target.join("foo").exists());
    assert!(!target.join(".wh.foo").exists());
}

fn new_foo(target: &Path) {
    assert_eq!(text(target.join("foo")), "new");
    assert!(!target.join(".wh.foo").exists());
}

#[test]
fn whiteouts_through_links_rows_23_and_24() {
    for whiteout in ["s/.wh.secret", "s/.wh..wh..opq"] {
        let world = World::new();
        let inside = &world.outside_bytes()[1..];
        let lower = forge()
            .symlink("s", world.outside_bytes())
            .file([inside, b"/secret"].concat(), "in")
            .end();
        world.unpack(&[lower, forge().file(whiteout, "").end()]).unwrap();
        let inside = world.target().join(world.outside().strip_prefix("/").unwrap());
        assert!(inside.is_dir() && !inside.join("secret").exists());
    }
    // A whiteout of a link removes the link itself.
    let world = World::new();
    let lower = forge().symlink("s", world.outside_bytes()).end();
    world.unpack(&[lower, forge().file(".wh.s", "").end()]).unwrap();
    assert!(fs::symlink_metadata(world.path("s")).is_err());
}

#[test]
fn duplicates_rows_26_to_28() {
    table(vec![
        (
            "26",
            forge().file("d", "first").file("d", "second").end(),
            Warn(Code::DuplicateEntry, |t| assert_eq!(text(t.join("d")), "second")),
        ),
        (
            "27 file, dir",
            forge().file("d", "x").dir("d").end(),
            Warn(Code::DuplicateEntry, |t| assert!(t.join("d").is_dir())),
        ),
        (
            "27 dir, file",
            forge().dir("d").file("d/child", "x").file("d", "last").end(),
            Warn(Code::DuplicateEntry, |t| assert_eq!(text(t.join("d")), "last")),
        ),
        (
            "27 dir, dir",
            forge().mode("d", b'5', 0o700).mode("d/", b'5', 0o711).end(),
            Warn(Code::DuplicateEntry, |t| {
                assert_eq!(fs::metadata(t.join("d")).unwrap().mode() & 0o777, 0o711);
            }),
        ),
        ("28", forge().file("new", "x").file("new/b", "y").end(), Reject("expected a directory")),
        (
            "28 over the lower layer",
            forge().file("foo/b", "y").end(),
            Accept(|t| assert_eq!(text(t.join("foo/b")), "y")),
        ),
        (
            "implied, then named",
            forge().file("n/x", "x").mode("n", b'5', 0o700).end(),
            Accept(|t| assert_eq!(fs::metadata(t.join("n")).unwrap().mode() & 0o777, 0o700)),
        ),
    ]);
}

fn device(forge: Forge, name: &str, flag: u8, major: u32, minor: u32) -> Forge {
    forge.header(name, flag, 0, |block| {
        put(block, 329, format!("{major:07o}\0").as_bytes());
        put(block, 337, format!("{minor:07o}\0").as_bytes());
    })
}

/// Rule U9.
#[test]
fn devices_row_29() {
    let tar = || {
        let tar = device(forge(), "null", b'3', 1, 3);
        let tar = device(tar, "loop", b'4', 7, 0);
        device(tar, "fifo", b'6', 0, 0).end()
    };
    let unpack = |options: Options| {
        let world = World::new();
        let tar = tar();
        let digest = Digest::sha256(&tar);
        let report = world.unpack_as(&[(Compression::None, tar, digest)], options).unwrap();
        (world, report)
    };
    let kind = |world: &World, name| fs::symlink_metadata(world.path(name)).map(|m| m.file_type());
    for privileged in [Some(false), None] {
        let (world, report) = unpack(Options { privileged, ..options() });
        assert!(kind(&world, "fifo").unwrap().is_fifo());
        if privileged.is_none() && is_root() {
            assert!(kind(&world, "null").unwrap().is_char_device());
            assert!(kind(&world, "loop").unwrap().is_block_device());
            assert_eq!(fs::metadata(world.path("null")).unwrap().rdev(), 0x103);
        } else {
            assert!(has(&report, Code::DeviceReplaced));
            assert!(kind(&world, "null").unwrap().is_file());
            assert!(kind(&world, "loop").unwrap().is_file());
        }
    }
    let (world, report) = unpack(Options { devices: Devices::Replace, ..options() });
    assert!(kind(&world, "null").unwrap().is_file() && has(&report, Code::DeviceReplaced));
    let (world, report) = unpack(Options { devices: Devices::Skip, ..options() });
    assert!(kind(&world, "null").is_err() && has(&report, Code::DeviceReplaced));
    assert!(kind(&world, "fifo").unwrap().is_fifo());
    // What overlayfs takes for a deleted file is never made.
    let zero = device(forge(), "a/lower", b'3', 0, 0).end();
    check("c 0 0", zero, &Warn(Code::DeviceReplaced, |t| assert_eq!(text(t.join("a/lower")), "")));
}

/// Rule U10.
#[test]
fn set_id_files_row_30() {
    let tar = forge()
        .mode("su", b'0', 0o6755)
        .mode("sg", b'0', 0o2755)
        .mode("dir/", b'5', 0o3775)
        .mode("dir/sub/", b'5', 0o755)
        .mode("dir/file", b'0', 0o644)
        .end();
    let world = World::new();
    let report = world.unpack(&[tar]).unwrap();
    if !is_root() {
        // They would speak of another owner.
        assert!(has(&report, Code::SetIdDropped) && report.set_id == 0);
        assert_eq!(fs::metadata(world.path("su")).unwrap().mode() & 0o7777, 0o755);
        return;
    }
    assert_eq!(report.set_id, 2);
    assert_eq!(report.privileged, [b"su".to_vec(), b"sg".to_vec()]);
    for (name, mode) in [("su", 0o6755), ("sg", 0o2755), ("dir", 0o3775), ("dir/sub", 0o755)] {
        assert_eq!(fs::metadata(world.path(name)).unwrap().mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn without_privilege_modes_come_last() {
    let tar = forge()
        .mode("./", b'5', 0o555)
        .mode("closed/", b'5', 0o000)
        .file("closed/file", "x")
        .mode("closed/inner/", b'5', 0o500)
        .file("closed/inner/file", "x")
        .header("owned", b'0', 0, |block| put(block, 108, b"0001750\0"))
        .end();
    let above =
        forge().file("closed/inner/second", "x").mode("closed/inner/third/", b'5', 0o300).end();
    let world = World::new();
    let layers: Vec<_> = [tar, above]
        .into_iter()
        .map(|tar| (Compression::None, tar.clone(), Digest::sha256(&tar)))
        .collect();
    let unprivileged = Options { privileged: Some(false), ..options() };
    let report = world.unpack_as(&layers, unprivileged).unwrap();
    assert!(has(&report, Code::OwnersKept));
    let mode = |name: &str| fs::metadata(world.path(name)).map(|m| m.permissions().mode() & 0o7777);
    assert_eq!(mode("").unwrap(), 0o555);
    assert_eq!(mode("closed").unwrap(), 0o000);
    // Open them again, so that they can be looked into and removed.
    for (name, expected) in
        [("closed", 0o000), ("closed/inner", 0o500), ("closed/inner/third", 0o300)]
    {
        assert_eq!(mode(name).unwrap(), expected, "{name}");
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(text(world.path("closed/inner/second")), "x");
    assert_eq!(
        fs::metadata(world.path("owned")).unwrap().uid(),
        rustix::process::geteuid().as_raw()
    );
    fs::set_permissions(world.target(), fs::Permissions::from_mode(0o700)).unwrap();
}

/// All of this once more, by someone without privilege.
#[test]
fn all_rows_as_nobody() {
    common::ways::again_as_nobody("hostile_tree::");
}
