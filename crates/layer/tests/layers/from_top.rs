//! Layers from the newest to the oldest one: the same tree as in their order, without what is hidden ever
//! being there, or a plain word that this way does not tell.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::random::layers;
use common::tree::{Layer, layer, snapshot};
use common::{Forge, forge, options, unpack_from_top, unpack_to};
use conex_layer::Ids;
use conex_layer::unpack::Options;
use conex_spec::Result;
use proptest::prelude::*;

/// Whether the layers can be told from the top; if so, the tree must be the one of their order.
fn compare(layers: &[Layer], options: Options) -> Result<bool> {
    let temp = common::temp_dir();
    let (ours, plain) = (temp.path().join("ours"), temp.path().join("plain"));
    let Some(_) = unpack_from_top(&ours, layers, options)? else { return Ok(false) };
    unpack_to(&plain, layers, options).unwrap();
    assert_eq!(snapshot(&ours), snapshot(&plain));
    Ok(true)
}

fn check(layers: &[Forge]) -> bool {
    let layers: Vec<_> = layers.iter().map(|tar| layer(tar.clone().end())).collect();
    let told = compare(&layers, options()).unwrap();
    assert_eq!(compare(&layers, rootless()).unwrap(), told);
    told
}

fn rootless() -> Options {
    Options { privileged: Some(false), ids: Ids::rootless(), ..options() }
}

#[test]
fn what_images_are_made_of_is_told() {
    let base = || {
        forge()
            .mode("etc/", b'5', 0o750)
            .file("etc/keep", "keep")
            .file("etc/motd", "old")
            .dir("var/")
            .dir("var/cache/")
            .file("var/cache/big", "big")
            .symlink("lib", "usr/lib")
            .link("etc/also", "etc/keep")
    };
    for upper in [
        // Replaced, deleted, emptied, and more of it.
        forge().mode("etc/", b'5', 0o700).file("etc/motd", "new"),
        forge().file("etc/motd", "new"),
        forge().dir("etc/").file("etc/.wh.motd", ""),
        forge().file(".wh.etc", ""),
        forge().dir("var/").dir("var/cache/").file("var/cache/.wh..wh..opq", ""),
        forge().dir("var/").file("var/cache/new", ""),
        // Other things in the place of folders, files and links.
        forge().file("var", "a file"),
        forge().symlink("var", "etc"),
        forge().dir("lib/").file("lib/x", ""),
        forge().dir("etc/").dir("etc/motd/").file("etc/motd/x", ""),
        forge().file(".wh.lib", ""),
        // Nothing is there any more, but its folder.
        forge().file("new/deep/file", ""),
        forge().link("also", "new").file("new", "").link("also", "new"),
    ] {
        let named = [base(), upper.clone()];
        let told = check(&named);
        // A hard link before its target is an error, and not for this order to tell.
        assert!(told || upper.0.starts_with(b"also"));
        assert_eq!(check(&[base(), upper, forge().dir("etc/").file("etc/more", "")]), told);
    }
}

#[test]
fn what_means_something_else_from_the_top_is_not_told() {
    let base = || forge().dir("usr/").dir("usr/lib/").symlink("lib", "usr/lib").file("file", "");
    for upper in [
        // Through a link of the lower layer.
        forge().file("lib/x", ""),
        forge().file("lib/.wh.x", ""),
        forge().file("lib/x", "").dir("lib/"),
        // Through one of its own.
        forge().symlink("link", "usr").file("link/x", ""),
        // Hard links to what lower layers have.
        forge().link("hard", "file"),
        // What its own folder makes room for.
        forge().dir("x/").file("x/y", "").file("x", ""),
    ] {
        assert!(!check(&[base(), upper]));
    }
    // A hard link to a file that a newer layer replaces.
    let newer = forge().file("file", "newer");
    assert!(!check(&[base().link("hard", "file"), newer.clone()]));
    assert!(check(&[base().link("hard", "file"), newer.clone().file("hard", "")]));
    assert!(check(&[base(), newer.link("hard", "file")]));
}

/// A hidden entry's folder is there, even if no layer has an entry for it.
#[test]
fn hidden_entries_still_imply_their_folders() {
    let lower = forge().file("a/b/c", "");
    assert!(check(&[lower.clone(), forge().file("a/b/.wh.c", "")]));
    assert!(check(&[lower.clone(), forge().file("a/.wh.b", "")]));
    assert!(check(&[lower, forge().file(".wh..wh..opq", "").file("a/x", "")]));
}

/// What is not written is not told of either.
#[test]
fn hidden_files_are_not_written() {
    let lower = forge().mode("program", b'0', 0o4755).mode("device", b'3', 0o600);
    let upper = forge().file("program", "another").file(".wh.device", "");
    let layers = [layer(lower.end()), layer(upper.end())];
    let temp = common::temp_dir();
    let report = unpack_from_top(&temp.path().join("a"), &layers, options()).unwrap().unwrap();
    assert_eq!((report.set_id, report.entries, common::odd(&report).len()), (0, 4, 0));
    let report = unpack_to(&temp.path().join("b"), &layers, options()).unwrap();
    assert_eq!((report.entries, report.set_id > 0), (4, common::is_root()));
}

/// The same twice in one layer is told of, though neither is written.
#[test]
fn duplicates_below_are_told_of() {
    let lower = forge().file("f", "1").file("f", "2").dir("d/").dir("d/");
    let upper = forge().file("f", "3").file(".wh.d", "");
    let layers = [layer(lower.end()), layer(upper.end())];
    let temp = common::temp_dir();
    let report = unpack_from_top(&temp.path().join("a"), &layers, options()).unwrap().unwrap();
    assert_eq!(common::odd(&report).len(), 2);

    let lower = forge().dir("./").dir("./").file("x", "");
    let layers = [layer(lower.end()), layer(forge().dir("./").file("y", "").end())];
    let report = unpack_from_top(&temp.path().join("b"), &layers, options()).unwrap().unwrap();
    assert_eq!(common::odd(&report).len(), 1);
}

#[test]
fn random_layers_are_the_same_tree() {
    let told = AtomicU32::new(0);
    let config = ProptestConfig { cases: 300, ..ProptestConfig::default() };
    proptest!(config, |(layers in layers())| {
        for options in [options(), rootless()] {
            told.fetch_add(u32::from(compare(&layers, options).unwrap_or(false)), Ordering::Relaxed);
        }
    });
    let told = told.into_inner();
    assert!(told > 150, "only {told} of 600 could be told");
}
