//! What layers mean: changesets over existing files, whiteouts, times and owners of
//! directories. image-spec, layer.md, "Applying Changesets".

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Forge, World, forge, has, is_root, odd, options, put};
use conex_layer::unpack::{Devices, LayerInput, Options, Unpacker};
use conex_layer::{IdMap, Ids};
use conex_spec::{Compression, Digest, Error, Kind};
use conex_tar::Code;

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// A directory with owner, mode and time.
fn dir(forge: Forge, name: &str, mode: u32, owner: u32, mtime: &str) -> Forge {
    forge.pax(&[("mtime", mtime.as_bytes())]).header(name, b'5', 0, |block| {
        put(block, 100, format!("{mode:07o}\0").as_bytes());
        put(block, 108, format!("{owner:07o}\0").as_bytes());
        put(block, 116, format!("{owner:07o}\0").as_bytes());
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
}

fn see(path: &Path) -> Seen {
    let meta = fs::symlink_metadata(path).unwrap();
    Seen {
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
    }
}

/// As root the owner is the layer's, else one's own.
fn seen(mode: u32, owner: u32, mtime: (i64, i64)) -> Seen {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = if is_root() { (owner, owner) } else { own };
    Seen { mode, owner, mtime }
}

#[test]
fn directories_have_the_time_of_their_last_entry() {
    let tar = dir(forge(), "d/", 0o755, 0, "100.5");
    let tar = dir(tar, "d/e/", 0o700, 7, "200");
    let tar = tar.file("d/e/f", "x").file("top", "x").file("d/late", "x");
    let world = World::new();
    world.unpack(&[dir(tar, "./", 0o711, 0, "50.000000001").end()]).unwrap();
    assert_eq!(see(&world.path("d")), seen(0o755, 0, (100, 500_000_000)));
    assert_eq!(see(&world.path("d/e")), seen(0o700, 7, (200, 0)));
    assert_eq!(see(&world.target()), seen(0o711, 0, (50, 1)));
}

#[test]
fn an_implied_directory_keeps_what_a_lower_layer_gave_it() {
    let lower = dir(forge(), "d/", 0o3750, 9, "100.5");
    let lower = dir(lower, "d/sub/", 0o700, 9, "200").end();
    let above = forge().file("d/sub/new", "x").file("d/.wh.sub2", "").symlink("d/l", "x").end();
    let world = World::new();
    world.unpack(&[lower, above]).unwrap();
    assert_eq!(see(&world.path("d")), seen(0o3750, 9, (100, 500_000_000)));
    assert_eq!(see(&world.path("d/sub")), seen(0o700, 9, (200, 0)));
}

#[test]
fn a_directory_that_nobody_describes_is_roots_and_of_1970() {
    let world = World::new();
    world.unpack(&[forge().file("x/y/z", "x").end()]).unwrap();
    for name in ["", "x", "x/y"] {
        assert_eq!(see(&world.path(name)), seen(0o755, 0, (0, 0)), "{name}");
    }
}

#[test]
fn no_layers_make_an_empty_directory() {
    let world = World::new();
    world.unpack(&[]).unwrap();
    assert_eq!(fs::read_dir(world.target()).unwrap().count(), 0);
}

#[test]
fn later_layers_replace_files_of_any_kind() {
    let kinds = |name: &str| -> Vec<Forge> {
        vec![
            forge().file(name, "file"),
            forge().dir(name).file(format!("{name}/child"), ""),
            forge().symlink(name, "elsewhere"),
            forge().header(name, b'6', 0, |_| {}),
        ]
    };
    let alone: Vec<String> = kinds("n").into_iter().map(|tar| kind(&[tar.end()])).collect();
    for (i, lower) in kinds("n").into_iter().enumerate() {
        for (j, upper) in kinds("n").into_iter().enumerate() {
            let found = kind(&[lower.clone().end(), upper.end()]);
            assert_eq!(found, alone[j], "{i} under {j}");
        }
    }
}

fn kind(layers: &[Vec<u8>]) -> String {
    let world = World::new();
    let report = world.unpack(layers).unwrap();
    assert_eq!(odd(&report), [""; 0]);
    format!("{:?}", fs::symlink_metadata(world.path("n")).unwrap().file_type())
}

/// "When processing the second layer, `a/.wh..wh..opq` is applied first, … regardless of the
/// ordering in which the whiteout file was encountered": both examples of the spec.
#[test]
fn opaque_whiteouts_in_either_order() {
    let base = || forge().dir("a/").dir("a/b/").dir("a/b/c/").file("a/b/c/bar", "bar").end();
    let first = forge().dir("a/").file("a/.wh..wh..opq", "").dir("a/b/").dir("a/b/c/");
    let last = forge().dir("a/").dir("a/b/").dir("a/b/c/").file("a/b/c/foo", "foo");
    for layer in [first.file("a/b/c/foo", "foo"), last.file("a/.wh..wh..opq", "")] {
        let world = World::new();
        world.unpack(&[base(), layer.end()]).unwrap();
        assert_eq!(text(world.path("a/b/c/foo")), "foo");
        assert!(!world.path("a/b/c/bar").exists());
    }
}

/// "Once a whiteout is applied": the spec's example of explicit whiteouts.
#[test]
fn explicit_whiteouts() {
    let base = forge().file("file1", "").file("a/file2", "").dir("b/").file("c/file3", "").end();
    let next =
        forge().file(".wh.file1", "").file("a/.wh.file2", "").file(".wh.b", "").file("file4", "");
    let world = World::new();
    world.unpack(&[base, next.end()]).unwrap();
    let exists = |name: &str| world.path(name).exists();
    assert!(exists("a") && exists("c/file3") && exists("file4"));
    assert!(!exists("file1") && !exists("a/file2") && !exists("b"));
    assert!(!exists(".wh.file1") && !exists(".wh.b"));
}

/// A directory that is deleted and only implied again is a new one, in either order.
#[test]
fn a_hidden_and_implied_directory_is_new() {
    let base = || {
        let tar = dir(forge(), "d/", 0o700, 5, "100");
        tar.file("d/old", "").file("d/e/old", "").end()
    };
    let before = forge().file(".wh.d", "").file("d/e/new", "");
    let after = forge().file("d/e/new", "").file(".wh.d", "");
    for layer in [before, after] {
        let world = World::new();
        world.unpack(&[base(), layer.end()]).unwrap();
        assert!(world.path("d/e/new").exists());
        assert!(!world.path("d/old").exists() && !world.path("d/e/old").exists());
        assert_eq!(see(&world.path("d")), seen(0o755, 0, (0, 0)));
    }
    // With an entry of its own it has what the entry says.
    let own = dir(forge(), "d/", 0o711, 6, "300").file("d/new", "").file(".wh.d", "").end();
    let world = World::new();
    world.unpack(&[base(), own]).unwrap();
    assert_eq!(see(&world.path("d")), seen(0o711, 6, (300, 0)));
    assert!(!world.path("d/old").exists());
}

#[test]
fn a_whiteout_alone_implies_nothing() {
    let base = forge().file("d/old", "").end();
    let layer = forge().file("d/.wh.old", "").file(".wh.d", "").end();
    let world = World::new();
    world.unpack(&[base, layer]).unwrap();
    assert!(!world.path("d").exists());
    // But a file after a whiteout in the same directory does.
    let base = forge().file("d/old", "").end();
    let layer = forge().file("d/.wh.old", "").file("d/new", "").file(".wh.d", "").end();
    let world = World::new();
    world.unpack(&[base, layer]).unwrap();
    assert!(world.path("d/new").exists());
}

#[test]
fn entries_through_links_of_lower_layers() {
    let base = forge()
        .dir("usr/")
        .dir("usr/lib/")
        .symlink("lib", "usr/lib")
        .symlink("up", "usr/../usr/lib/..")
        .end();
    let layer =
        forge().file("lib/a", "a").file("usr/lib/b", "b").file("lib/c", "c").file("up/d", "d");
    let world = World::new();
    world.unpack(&[base, layer.link("lib/h", "lib/a").end()]).unwrap();
    for (name, content) in [("a", "a"), ("b", "b"), ("c", "c"), ("../d", "d"), ("h", "a")] {
        assert_eq!(text(world.path("usr/lib").join(name)), content);
    }
    assert!(fs::symlink_metadata(world.path("lib")).unwrap().is_symlink());
}

/// The files of the first names are made by other threads than those of the second, which have
/// the same last components.
#[test]
fn a_hard_link_finds_its_file_among_others_of_the_same_last_name() {
    let world = World::new();
    let lower = forge().file("a/x", "old").file("b/y", "old").end();
    let above = forge().file("a/x", "new").file("b/x", "other").link("h", "a/x");
    let above = above.file("c/1/x", "mine").file("d/1/x", "theirs").link("e/1/x", "c/1/x");
    world.unpack(&[lower, above.end()]).unwrap();
    assert_eq!(text(world.path("h")), "new");
    assert_eq!(text(world.path("e/1/x")), "mine");
    let ino = |name: &str| fs::metadata(world.path(name)).unwrap().ino();
    assert_eq!([ino("h"), ino("e/1/x")], [ino("a/x"), ino("c/1/x")]);
}

#[test]
fn hard_links_share_an_inode_and_are_broken_by_replacement() {
    let base = forge().file("a", "old").link("b", "a").link("d/c", "./b").end();
    let world = World::new();
    world.unpack(std::slice::from_ref(&base)).unwrap();
    assert_eq!(fs::metadata(world.path("d/c")).unwrap().nlink(), 3);
    let world = World::new();
    world.unpack(&[base, forge().file("a", "new").end()]).unwrap();
    assert_eq!((text(world.path("a")), text(world.path("b"))), ("new".into(), "old".into()));
    assert_eq!(fs::metadata(world.path("b")).unwrap().nlink(), 2);
}

#[test]
fn owners_and_times_of_all_kinds() {
    let owned = |forge: Forge, name: &str, flag: u8| {
        forge.pax(&[("mtime", b"7.25"), ("uid", b"1234"), ("gid", b"5678")]).header(
            name,
            flag,
            0,
            |block| put(block, 157, b"target"),
        )
    };
    let tar = owned(owned(owned(owned(forge(), "f", b'0'), "l", b'2'), "p", b'6'), "d", b'5');
    let world = World::new();
    world.unpack(&[tar.end()]).unwrap();
    for name in ["f", "l", "p", "d"] {
        let found = see(&world.path(name));
        assert_eq!(found.mtime, (7, 250_000_000), "{name}");
        if is_root() {
            assert_eq!(found.owner, (1234, 5678), "{name}");
        }
    }
}

#[test]
fn large_and_small_files_keep_their_bytes() {
    let content = |n: usize| -> Vec<u8> { (0..n).map(|i| (i % 251) as u8).collect() };
    let sizes = [0, 1, 511, 512, 513, 65_535, 65_536, 65_537, 262_144, 1_000_003];
    let mut tar = forge();
    for size in sizes {
        tar = tar.file(format!("f{size}"), content(size));
    }
    let world = World::new();
    let report = world.unpack(&[tar.end()]).unwrap();
    assert_eq!(report.bytes, sizes.iter().sum::<usize>() as u64);
    for size in sizes {
        assert_eq!(fs::read(world.path(&format!("f{size}"))).unwrap(), content(size));
    }
}

#[test]
fn thousands_of_files_in_parcels() {
    let mut tar = forge();
    for i in 0..3000 {
        tar = tar.file(format!("d{}/f{i}", i % 7), format!("content {i}"));
    }
    let world = World::new();
    let report = world.unpack(&[tar.end()]).unwrap();
    assert_eq!(report.entries, 3000);
    for i in 0..3000 {
        assert_eq!(text(world.path(&format!("d{}/f{i}", i % 7))), format!("content {i}"));
    }
}

fn layer(tar: Vec<u8>) -> LayerInput {
    LayerInput {
        compression: Compression::None,
        diff_id: Digest::sha256(&tar),
        reader: Box::new(std::io::Cursor::new(tar)),
        name: "layer".into(),
    }
}

#[test]
fn after_a_failure_nothing_can_be_published() {
    let temp = common::temp_dir();
    let mut unpacker = Unpacker::new(&temp.path().join("t"), options()).unwrap();
    unpacker.apply(layer(forge().file("../x", "").end())).unwrap_err();
    let sound = layer(forge().file("x", "").end());
    assert_eq!(unpacker.apply(sound).unwrap_err().kind(), Kind::Usage);
    assert_eq!(unpacker.publish().unwrap_err().kind(), Kind::Usage);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn the_staging_folder_is_private() {
    let temp = common::temp_dir();
    let mut unpacker = Unpacker::new(&temp.path().join("t"), Options::default()).unwrap();
    unpacker.apply(layer(forge().mode("./", b'5', 0o777).end())).unwrap();
    let entry = fs::read_dir(temp.path()).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.metadata().unwrap().mode() & 0o7777, 0o700);
    unpacker.publish().unwrap();
    assert_eq!(fs::metadata(temp.path().join("t")).unwrap().mode() & 0o7777, 0o777);
}

/// The staging folder inherits nothing from where it lies.
#[test]
fn a_set_group_id_parent_does_not_reach_the_image() {
    let temp = common::temp_dir();
    let mode = rustix::fs::Mode::from_raw_mode(0o2755);
    rustix::fs::chmod(temp.path(), mode).unwrap();
    let tar = forge().dir("d/").file("d/f", "").end();
    let mut unpacker = Unpacker::new(&temp.path().join("t"), options()).unwrap();
    unpacker.apply(layer(tar)).unwrap();
    unpacker.publish().unwrap();
    assert_eq!(see(&temp.path().join("t/d")).mode, 0o755);
}

#[test]
fn faults_of_the_reader_come_out_whole() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(Error::new(Kind::Mismatch, "blob is damaged").expected("a").found("b").into())
        }
    }
    let temp = common::temp_dir();
    let mut unpacker = Unpacker::new(&temp.path().join("t"), options()).unwrap();
    let input = LayerInput { reader: Box::new(Failing), ..layer(Vec::new()) };
    let err = unpacker.apply(input).unwrap_err();
    assert_eq!((err.kind(), err.expected_value()), (Kind::Mismatch, Some("a")));
    assert_eq!(err.message(), "layer: blob is damaged");
}

#[test]
fn limits_hold_over_all_layers() {
    let limited = Options { max_entries: 3, ..options() };
    let temp = common::temp_dir();
    let mut unpacker = Unpacker::new(&temp.path().join("t"), limited).unwrap();
    unpacker.apply(layer(forge().dir("a").dir("b").end())).unwrap();
    let err = unpacker.apply(layer(forge().dir("c").dir("d").end())).unwrap_err();
    assert_eq!(err.kind(), Kind::Limit);
    let limited = Options { max_bytes: Some(6000), ..options() };
    let mut unpacker = Unpacker::new(&temp.path().join("t"), limited).unwrap();
    unpacker.apply(layer(forge().file("a", "x").end())).unwrap();
    unpacker.apply(layer(forge().file("b", "x").end())).unwrap();
    let err = unpacker.apply(layer(forge().file("c", "x").end())).unwrap_err();
    assert_eq!(err.kind(), Kind::Limit, "{err}");
}

#[test]
fn a_deleted_name_may_come_back_in_a_third_layer() {
    let world = World::new();
    let layers = [
        forge().file("d/x", "one").end(),
        forge().file(".wh.d", "").end(),
        forge().file("d/y", "three").end(),
    ];
    let report = world.unpack(&layers).unwrap();
    assert!(!world.path("d/x").exists() && world.path("d/y").exists());
    assert!(!has(&report, Code::DuplicateEntry));
}

/// Without privilege a set-ID program would run as whoever unpacked it. Rule U10.
#[test]
fn set_id_bits_go_with_their_owner() {
    let of_another = |block: &mut [u8; 512]| {
        put(block, 100, b"0006755\0");
        put(block, 108, b"0001750\0");
    };
    let tar = forge().header("root", b'0', 0, of_another).mode("folder/", b'5', 0o2755).end();
    let digest = Digest::sha256(&tar);
    for (privileged, expected) in [(true, 0o6755), (false, 0o755)] {
        let options = Options { privileged: Some(privileged), ..options() };
        let world = World::new();
        let layers = [(Compression::None, tar.clone(), digest.clone())];
        if privileged && !rustix::process::geteuid().is_root() {
            continue;
        }
        let report = common::unpack_to(&world.target(), &layers, options).unwrap();
        let mode = |name| fs::metadata(world.path(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("root"), mode("folder")), (expected, 0o2755));
        assert_eq!(report.set_id, u64::from(privileged));
        assert_eq!(has(&report, Code::SetIdDropped), !privileged);
    }
}

/// Without privilege attributes cannot be set on a file that may not be written.
#[test]
fn attributes_of_read_only_files() {
    let tar = forge().pax(&[("SCHILY.xattr.user.a", b"1")]).mode("f", b'0', 0o444).end();
    let unprivileged = Options { privileged: Some(false), ..options() };
    let digest = Digest::sha256(&tar);
    let world = World::new();
    let report = world.unpack_as(&[(Compression::None, tar, digest)], unprivileged).unwrap();
    assert_eq!(fs::metadata(world.path("f")).unwrap().mode() & 0o7777, 0o444);
    if !has(&report, Code::XattrRefused) {
        let length = rustix::fs::getxattr(world.path("f"), "user.a", &mut [0; 8][..]).unwrap();
        assert_eq!(length, 1);
    }
}

/// As umoci does without root: owners are remembered in an attribute.
#[test]
fn owners_that_cannot_be_given_are_remembered() {
    let tar = dir(forge(), "d/", 0o755, 33, "1").file("root", "");
    let tar = dir(tar, "sub/", 0o2755, 0, "1");
    let suid = tar.header("suid", b'0', 0, |block| put(block, 100, b"0004755\0"));
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let ids = Ids { users: IdMap::only_root(uid), groups: IdMap::only_root(gid), remember: true };
    let options = Options { privileged: Some(false), ids, ..options() };
    let tar = suid.end();
    let layer = (Compression::None, tar.clone(), Digest::sha256(&tar));
    let world = World::new();
    let report = common::unpack_to(&world.target(), &[layer], options).unwrap();
    let attribute = |name: &str| {
        let mut value = [0; 16];
        let n = rustix::fs::lgetxattr(world.path(name), "user.rootlesscontainers", &mut value[..]);
        n.map(|n| value[..n].to_vec()).unwrap_or_default()
    };
    assert_eq!(attribute("d"), [0x08, 33, 0x10, 33]);
    assert_eq!(attribute("root"), [0; 0]);
    assert_eq!(see(&world.path("d")).owner, (uid, gid));
    // Others could run it.
    assert_eq!(see(&world.path("suid")).mode, 0o755);
    assert!(has(&report, Code::SetIdDropped));
}

#[test]
fn owners_are_mapped() {
    if !is_root() {
        return;
    }
    let map = |text: &str| IdMap::new(&[text.parse().unwrap()]).unwrap();
    let ids = Ids { users: map("0:100000:100"), groups: map("0:200000:100"), remember: false };
    let options = Options { ids, ..options() };
    let unpack = |owner: u32| {
        let tar = dir(forge(), "d/", 0o755, owner, "1").file("e/f", "").end();
        let layer = (Compression::None, tar.clone(), Digest::sha256(&tar));
        let world = World::new();
        let result = common::unpack_to(&world.target(), &[layer], options);
        (world, result)
    };
    let (world, result) = unpack(99);
    result.unwrap();
    let owner = |name: &str| see(&world.path(name)).owner;
    assert_eq!(owner("d"), (100_099, 200_099));
    assert_eq!(
        (owner("e"), owner("e/f"), owner("")),
        ((100_000, 200_000), (100_000, 200_000), (100_000, 200_000))
    );
    assert_eq!(unpack(100).1.unwrap_err().kind(), Kind::Usage);
}

#[test]
fn the_root_twice_is_told_of_and_the_last_entry_counts() {
    let root = |name| forge().pax(&[(name, b"1")]).dir("./").0;
    let tar = [root("SCHILY.xattr.user.a"), root("SCHILY.xattr.user.b")].concat();
    let world = World::new();
    let report = world.unpack(&[Forge(tar).end()]).unwrap();
    assert!(report.warnings.has(Code::DuplicateEntry));
    let names: Vec<_> = common::tree::xattrs(&world.target()).into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["user.b"]);
}

/// The way to an entry may lead through a link that the entry itself replaces.
#[test]
fn a_link_is_not_taken_for_what_it_led_to() {
    let world = World::new();
    let lower = forge().symlink("a", ".").end();
    world.unpack(&[lower.clone(), forge().dir("a/a/").dir("a/a/b/").end()]).unwrap();
    assert!(world.path("a/a/b").is_dir());
    let world = World::new();
    // The file is in the way of what follows.
    world.unpack(&[lower, forge().file("a/a", "x").file("a/b", "y").end()]).unwrap_err();
}

/// What an image's link leads to on this machine is nothing to an image.
#[test]
fn a_device_that_is_left_out_leaves_no_link_in_its_place() {
    for target in ["/nowhere/at/all", "/etc/passwd"] {
        let world = World::new();
        let lower = forge().symlink("x", target).end();
        let upper = forge().mode("x", b'3', 0o600).end();
        let options = Options { devices: Devices::Skip, ..options() };
        let layers = [lower, upper].map(common::tree::layer);
        common::unpack_to(&world.target(), &layers, options).unwrap();
        assert!(world.path("x").symlink_metadata().is_err());
    }
}

#[test]
fn a_link_that_is_made_twice_is_told_of() {
    let world = World::new();
    let tar = forge().file("a", "").link("b", "a").link("b", "a").end();
    assert!(world.unpack(&[tar]).unwrap().warnings.has(Code::DuplicateEntry));
}
