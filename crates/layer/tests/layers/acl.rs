//! Access control lists of directories, which reach nothing that is made in them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may stop at the first surprise")]

use crate::common;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::tree::{input, layer, xattrs};
use common::{Forge, World, forge, options};
use conex_layer::unpack::{Options, Unpacker};
use conex_layer::{Ids, Root, mtree};
use conex_tar::Code;

/// What `setfacl -m u:77:rwx` writes, as the kernel keeps it.
const ACL: &[u8] = &[
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0, 77, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255,
    255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

fn with_acl(tar: Forge, kind: &str) -> Forge {
    tar.pax(&[(&format!("SCHILY.xattr.system.posix_acl_{kind}"), ACL)])
}

/// What a directory would hand down to new files is not in the layer.
#[test]
fn nothing_inherits_an_access_control_list() {
    for name in ["./", "d/"] {
        let world = World::new();
        let file = |tar: Forge| tar.file("d/f", "x").dir("d/e/");
        let one = file(with_acl(forge(), "default").dir(name)).end();
        let report = world.unpack(&[one]).unwrap();
        if report.warnings.has(Code::XattrRefused) {
            return;
        }
        assert_eq!(xattrs(&world.path("d/f")), []);
        assert_eq!(xattrs(&world.path("d/e")), []);
        let kept = xattrs(&world.target().join(name));
        assert_eq!(kept, [("system.posix_acl_default".to_owned(), ACL.to_vec())]);

        let world = World::new();
        let upper = with_acl(forge(), "default").dir(name).end();
        world.unpack(&[file(forge().dir(name)).end(), upper]).unwrap();
        assert_eq!(xattrs(&world.path("d/f")), []);
    }
}

/// A list that keeps even the owner out, and the mode that goes with it, come last.
#[test]
fn a_directory_with_a_list_of_its_own_is_filled_first() {
    let world = World::new();
    let lower = with_acl(forge(), "access").mode("d/", b'5', 0o670).file("d/f", "x").end();
    let upper = forge().dir("other/").file("d/g", "y").end();
    world.unpack(&[lower, upper]).unwrap();
    if !xattrs(&world.path("d")).is_empty() {
        assert_eq!(mode_of(&world.path("d")), 0o670);
    }

    let world = World::new();
    let lower = with_acl(forge(), "access").mode("./", b'5', 0o700).end();
    world.unpack(&[lower, forge().mode("./", b'5', 0o700).end()]).unwrap();
    assert_eq!(mode_of(&world.target()), 0o700);
}

/// Without privilege the root gets its mode and its list when it has its place, and the manifest tells
/// of both all the same.
#[test]
fn a_manifest_tells_the_root_as_it_will_be() {
    for mode in [0o770, 0o555] {
        let world = World::new();
        let tar = with_acl(forge(), "access").mode("./", b'5', mode).file("f", "x").end();
        let options = Options { privileged: Some(false), ids: Ids::rootless(), ..options() };
        let mut unpacker = Unpacker::new(&world.target(), options).unwrap();
        unpacker.apply(input(0, &layer(tar))).unwrap();
        let mut manifest = Vec::new();
        unpacker.manifest(&mut manifest).unwrap();
        unpacker.publish().unwrap();
        let root = Root::open(&world.target()).unwrap();
        assert_eq!(mtree::check(&root, &manifest[..]).unwrap(), []);
    }
}

fn mode_of(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}
