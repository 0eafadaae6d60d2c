//! All layers as one tar, and single files out of an image: always the tree that unpacking gives.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::collections::BTreeMap;

use common::random::layers;
use common::tree::{Layer, flatten, input, layer, snapshot, write};
use common::{World, forge, options, unpack_to};
use conex_layer::flatten::{Limits, Parts};
use conex_spec::{Digest, Kind, Result};
use conex_tar::Reader;
use proptest::prelude::*;

fn names(tar: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(tar);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

/// The parts of an image, and how many layers were read for them.
fn parts(layers: &[Layer], paths: &[&str]) -> Result<(Vec<String>, usize)> {
    let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    let mut parts = Parts::new(paths, Limits::default());
    for below in (0..layers.len()).rev() {
        parts.read(input(below, &layers[below]))?;
        if let Some(flat) = parts.settle(below)? {
            return Ok((names(&write(layers, flat)?), layers.len() - below));
        }
    }
    panic!("all layers must do");
}

fn image() -> Vec<Layer> {
    let lower =
        forge().dir("etc/").file("etc/os", "1").file("etc/old", "x").dir("usr/").dir("usr/lib/");
    let lower = lower.file("usr/lib/a", "a").symlink("lib", "usr/lib").file("data", "d");
    let middle =
        forge().dir("etc/").file("etc/os", "2").file("etc/.wh.old", "").link("etc/same", "data");
    let upper = forge()
        .dir("etc/")
        .file("etc/motd", "hi")
        .dir("srv/")
        .file("srv/.wh..wh..opq", "")
        .file("srv/x", "");
    [lower, middle, upper].into_iter().map(|tar| layer(tar.end())).collect()
}

#[test]
fn files_come_first_and_directories_with_their_links() {
    let tar = flatten(&image(), Limits::default()).unwrap();
    let expected = [
        "usr/lib/a",
        "data",
        "etc/same",
        "etc/os",
        "etc/motd",
        "srv/x",
        "etc/",
        "lib",
        "srv/",
        "usr/",
        "usr/lib/",
        "./",
    ];
    assert_eq!(names(&tar), expected);
}

#[test]
fn single_files_need_no_more_layers_than_can_have_them() {
    for (path, expected, read) in [
        ("etc/motd", &["etc/motd", "etc/"][..], 1),
        ("/etc/./os", &["etc/os", "etc/"], 2),
        ("srv", &["srv/x", "srv/"], 1),
        ("etc/same", &["etc/same", "etc/", "./"], 3),
        ("lib/a", &["usr/lib/a", "lib", "usr/", "usr/lib/", "./"], 3),
        ("lib", &["lib", "./"], 3),
    ] {
        let (names, layers) = parts(&image(), &[path]).unwrap();
        assert_eq!((&names[..], layers), (&expected.map_to_strings()[..], read), "{path}");
    }
    let (all, _) = parts(&image(), &["/"]).unwrap();
    assert_eq!(all, names(&flatten(&image(), Limits::default()).unwrap()));
    for path in ["etc/old", "etc/motd/x", "nothing", "srv/y"] {
        assert_eq!(
            parts(&image(), &["etc/motd", path]).unwrap_err().kind(),
            Kind::NotFound,
            "{path}"
        );
    }
    assert_eq!(parts(&image(), &["../x"]).unwrap_err().kind(), Kind::Usage);
}

trait MapToStrings {
    fn map_to_strings(&self) -> Vec<String>;
}

impl MapToStrings for &[&str] {
    fn map_to_strings(&self) -> Vec<String> {
        self.iter().map(|&text| text.to_owned()).collect()
    }
}

/// A layer that names files through a link of a lower one shows only there what it changes.
#[test]
fn names_through_links_are_not_taken_for_what_they_look_like() {
    let lower =
        forge().dir("usr/").dir("usr/lib/").file("usr/lib/a", "old").symlink("lib", "usr/lib");
    let upper = forge().file("lib/a", "new");
    let layers = [lower, upper].map(|tar| layer(tar.end()));
    let (found, read) = parts(&layers, &["usr/lib/a"]).unwrap();
    assert_eq!((found[0].as_str(), read), ("usr/lib/a", 2));
    let world = World::new();
    world.unpack(&[layers[0].1.clone(), layers[1].1.clone()]).unwrap();
    assert_eq!(std::fs::read(world.path("usr/lib/a")).unwrap(), b"new");
}

/// Both ways to the tree are compared by the world itself.
#[test]
fn attributes_of_the_root_are_those_of_the_last_layer() {
    let root = |name: &str| forge().pax(&[(name, b"x")]).dir("./").end();
    let world = World::new();
    world.unpack(&[root("SCHILY.xattr.user.a"), root("SCHILY.xattr.user.b")]).unwrap();
    let mut names = [0; 100];
    let n = rustix::fs::llistxattr(world.target(), &mut names[..]).unwrap();
    assert_eq!(&names[..n], b"user.b\0");
}

#[test]
fn limits_hold() {
    let limits = Limits { max_entries: 3, ..Limits::default() };
    assert_eq!(flatten(&image(), limits).unwrap_err().kind(), Kind::Limit);
    let limits = Limits { max_bytes: 1000, ..Limits::default() };
    assert_eq!(flatten(&image(), limits).unwrap_err().kind(), Kind::Limit);
    let mut wrong = image();
    wrong[1].2 = Digest::sha256(b"another");
    assert_eq!(flatten(&wrong, Limits::default()).unwrap_err().kind(), Kind::Mismatch);
}

fn unpacked(layers: &[Layer]) -> BTreeMap<String, String> {
    let temp = common::temp_dir();
    let target = temp.path().join("rootfs");
    unpack_to(&target, layers, options()).unwrap();
    snapshot(&target)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn one_tar_is_the_same_tree(layers in layers()) {
        let tar = flatten(&layers, Limits::default()).unwrap();
        prop_assert_eq!(unpacked(&layers), unpacked(&[layer(tar)]));
    }

    /// Whichever path is asked for, and however few layers were read.
    #[test]
    fn parts_are_those_of_the_whole(layers in layers()) {
        let whole = unpacked(&layers);
        for path in whole.keys().filter(|path| !path.is_empty()) {
            let mut parts = Parts::new(vec![path.as_bytes().to_vec()], Limits::default());
            for below in (0..layers.len()).rev() {
                parts.read(input(below, &layers[below])).unwrap();
                if let Some(flat) = parts.settle(below).unwrap() {
                    let part = unpacked(&[layer(write(&layers, flat).unwrap())]);
                    for (name, line) in part {
                        let plain = |line: &str| line.split(" links ").next().unwrap().to_owned();
                        prop_assert_eq!(plain(&line), plain(&whole[&name]), "{} for {}", name, path);
                    }
                    break;
                }
            }
        }
    }
}
