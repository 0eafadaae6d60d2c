//! The tree of an image is what unpacking it writes; `unpack` and the kernel are the oracle.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use common::tree::{flatten, layer as layer_of, snapshot};
use common::{forge, is_root, options, temp_dir};
use conex_layer::Root;
use conex_layer::flatten::Limits;
use conex_layer::pack::{Options, Plan, pack_changes};
use conex_layer::tree::{Change, Found, Listing, Newest, Tree, compare, hash_file};
use conex_layer::unpack::{LayerInput, Unpacker};
use conex_spec::{Compression, Digest, Result};
use conex_tar::{Entry, Kind, Time, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn unpack(target: &Path, layers: &[Vec<u8>]) -> Result<()> {
    let mut unpacker = Unpacker::new(target, options())?;
    for layer in layers {
        unpacker.apply(LayerInput {
            compression: Compression::None,
            diff_id: Digest::sha256(layer),
            reader: Box::new(Cursor::new(layer.clone())),
            name: "layer".into(),
        })?;
    }
    unpacker.publish().map(drop)
}

fn tree(layers: &[Vec<u8>]) -> Result<Tree> {
    let mut tree = Tree::default();
    for layer in layers {
        tree.apply(Arc::new(Listing::read(&layer[..], true)?))?;
    }
    Ok(tree)
}

fn folder(dir: &Path) -> Tree {
    let mut tree = Tree::default();
    tree.apply(Arc::new(Listing::of_folder(dir).unwrap())).unwrap();
    tree
}

fn differences(image: &Tree, disk: &Tree, dir: &Path) -> Vec<String> {
    let root = Root::open(dir).unwrap();
    let changes = compare(image, disk, &mut |a, b| {
        Ok(image.hash(a).unwrap() == &hash_file(&root, &disk.path(b)).unwrap())
    });
    let show = |change: &Change| {
        let old = change.old.map(|node| image.entry(node));
        format!("{change:?} {old:?} {:?}", change.new.map(|node| disk.entry(node)))
    };
    changes.unwrap().iter().map(show).collect()
}

/// All refuse the layers, or the tree, the disk and one tar of all layers are the same.
fn check(layers: &[Vec<u8>]) {
    let temp = temp_dir();
    let target = temp.path().join("rootfs");
    match (unpack(&target, layers), tree(layers)) {
        (Ok(()), Ok(image)) => {
            let differences = differences(&image, &folder(&target), &target);
            assert!(differences.is_empty(), "{differences:#?}");
            let layers: Vec<_> = layers.iter().cloned().map(layer_of).collect();
            let one = flatten(&layers, Limits::default()).unwrap();
            let flat = temp.path().join("flat");
            unpack(&flat, &[one]).unwrap();
            assert_eq!(snapshot(&target), snapshot(&flat));
        }
        (Err(_), Err(_)) => {}
        (unpacked, tree) => panic!("{unpacked:?} {:?}", tree.map(|tree| tree.count())),
    }
}

#[test]
fn layers_are_merged_as_they_are_unpacked() {
    if !is_root() {
        return;
    }
    let base = || forge().dir("d").file("d/old", "1").file("f", "2").symlink("l", "d");
    check(&[base().end(), forge().file("l/new", "x").file("d/.wh.old", "").end()]);
    check(&[base().end(), forge().file("d/in", "x").file("d/.wh..wh..opq", "").end()]);
    check(&[base().end(), forge().file(".wh.d", "").file("d/in", "x").end()]);
    check(&[base().end(), forge().file("f/below", "x").end()]);
    check(&[base().end(), forge().dir("l").file("l/a", "x").link("l/b", "d/old").end()]);
    check(&[base().end(), forge().link("d/old", "f").link("again", "/d/old").end()]);
    check(&[forge().dir("d").symlink("l", "d").file("l/a", "").dir("l").file("l/b", "").end()]);
    // Files in the place of directories, the inner one by another thread than the outer one.
    let nested = forge().file("z", "").file("a/a", "1").file("a", "2");
    check(&[forge().file("a/a/a", "").end(), nested.end()]);
    check(&[forge().file("../x", "").end()]);
    check(&[forge().symlink("loop", "loop").file("loop/x", "").end()]);
    check(&[forge().link("a", "nothing").end()]);
    check(&[forge().file("d", "").file("d/x", "").end()]);
}

#[test]
fn paths_lead_where_they_would_in_a_container() {
    let layer = forge()
        .dir("usr/lib")
        .file("usr/lib/real", "x")
        .symlink("lib", "/usr/lib")
        .symlink("usr/lib/link", "../../../lib/real")
        .symlink("loop", "loop")
        .end();
    let tree = tree(&[layer]).unwrap();
    let path = |path: &[u8]| tree.find(path).unwrap().map(|node| tree.path(node));
    assert_eq!(path(b"/lib/link").unwrap(), b"usr/lib/real");
    assert_eq!(path(b"../lib/../lib/real").unwrap(), b"usr/lib/real");
    assert_eq!(path(b"").unwrap(), b"");
    assert_eq!(path(b"lib/real/x"), None);
    assert_eq!(path(b"missing"), None);
    assert!(tree.find(b"loop").is_err());
    assert!(tree.find_name(b"loop").unwrap().is_some());
    assert_eq!(tree.layer(tree.find(b"usr/lib/real").unwrap().unwrap()), Some(0));
    assert_eq!(tree.layer(tree.find(b"usr").unwrap().unwrap()), None);
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        20 => select(vec!["a", "b", "c", "d", "e", "f"]),
        1 => select(vec!["..", "."]),
    ];
    vec(name, 1..4).prop_map(|parts| parts.join("/"))
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let kind = prop_oneof![
        6 => Just(Kind::File),
        6 => Just(Kind::Dir),
        2 => path().prop_map(|path| Kind::Symlink(path.into_bytes())),
        1 => path().prop_map(|path| Kind::Symlink(format!("/{path}").into_bytes())),
        1 => path().prop_map(|path| Kind::HardLink(path.into_bytes())),
        1 => Just(Kind::Fifo),
        1 => (0..2_u32).prop_map(|minor| Kind::CharDevice { major: 0, minor }),
    ];
    let whiteout = prop_oneof![
        6 => Just(None),
        2 => select(vec!["a", "b", "c", "d"]).prop_map(|name| Some(format!("/.wh.{name}"))),
        1 => Just(Some("/.wh..wh..opq".to_owned())),
    ];
    let of = (path(), kind, whiteout, 0..4_u32, 0..3_i64, "[xy]{0,2}");
    of.prop_map(|(mut path, mut kind, whiteout, owner, secs, content)| {
        if let Some(whiteout) = whiteout {
            path += &whiteout;
            kind = Kind::File;
        }
        let mut entry = Entry::new(path, kind);
        entry.mode = 0o700 + owner * 8;
        entry.uid = owner;
        entry.mtime = Time { secs, nanos: owner };
        let content = if entry.kind == Kind::File { content.into_bytes() } else { Vec::new() };
        entry.size = content.len() as u64;
        (entry, content)
    })
}

fn layer() -> impl Strategy<Value = Vec<u8>> {
    vec(entry(), 0..7).prop_map(|entries| {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in entries {
            writer.append(&entry, &content[..]).unwrap();
        }
        writer.finish().unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn any_layers_are_merged_as_they_are_unpacked(layers in vec(layer(), 1..4)) {
        if is_root() {
            check(&layers);
        }
    }

    /// Layers from the newest on never tell anything else than all of them.
    #[test]
    fn the_newest_layers_are_right_or_silent(layers in vec(layer(), 1..5), path in path()) {
        let Ok(whole) = tree(&layers) else { return Ok(()) };
        let Ok(found) = whole.find(path.as_bytes()) else { return Ok(()) };
        let mut newest = Newest::default();
        for (unread, layer) in layers.iter().enumerate().rev() {
            newest.push(Arc::new(Listing::read(&layer[..], false).unwrap()));
            let Some(tree) = newest.tree(unread).unwrap() else { continue };
            let expected = found.map(|node| (whole.path(node), whole.place(node)));
            match tree.look(path.as_bytes()) {
                // What a directory is like may be said further below.
                Ok(Found::Node(node)) if tree.is_dir(node) => {
                    prop_assert!(found.is_some_and(|found| whole.is_dir(found)), "{} unread", unread);
                }
                Ok(Found::Node(node)) => {
                    prop_assert_eq!(Some((tree.path(node), tree.place(node))), expected, "{} unread", unread);
                }
                Ok(Found::Missing) => prop_assert_eq!(found, None, "{} unread", unread),
                Ok(Found::Unknown) | Err(_) => {}
            }
        }
    }

    /// The changes between two trees, applied to the first, make the second.
    #[test]
    fn changes_make_one_tree_of_another(
        old in vec(layer(), 1..3),
        new in vec(layer(), 1..3),
    ) {
        let temp = temp_dir();
        let (a, b) = (temp.path().join("a"), temp.path().join("b"));
        if !is_root() || unpack(&a, &old).is_err() || unpack(&b, &new).is_err() {
            return Ok(());
        }
        let (image, disk) = (tree(&old).unwrap(), folder(&b));
        let root = Root::open(&b).unwrap();
        let changes = compare(&image, &disk, &mut |x, y| {
            Ok(image.hash(x).unwrap() == &hash_file(&root, &disk.path(y)).unwrap())
        }).unwrap();
        let plan = Plan::new(&disk, &image, &changes);
        prop_assert_eq!(plan.is_empty(), changes.is_empty());
        let mut layer = Vec::new();
        let settings = conex_tar::compression::Settings {
            compression: Compression::None,
            ..Default::default()
        };
        let options = Options { settings, ..Options::default() };
        pack_changes(&b, &mut layer, &options, &plan).unwrap();
        let layers = [&old[..], &[layer]].concat();
        let differences = differences(&tree(&layers).unwrap(), &disk, &b);
        prop_assert!(differences.is_empty(), "{:#?}", differences);
        check(&layers);
    }
}
