//! A full disk: a small memory file system.

use std::path::Path;
use std::process::Command;

use crate::layers::tar;
use crate::support::daemon::Registry;
use crate::support::program::{Conex, run};
use crate::support::scratch::Scratch;
use crate::world::{World, assert_absent, noise};

const MACHINE: i32 = 7;
/// The size of the disk in bytes, and that of a layer which does not fit.
const DISK: usize = 4 << 20;
const LAYER: usize = 8 << 20;

pub fn full_while_pulling() {
    let world = World::with_store("full-store", mount);
    let registry = Registry::start(&world.scratch);
    world.conex.ok(&["push", &registry.image("big:1"), "--from", &big(&world)]);
    for _ in 0..2 {
        let run = world.conex.run(&["pull", &registry.image("big:1")]);
        let error = run.fails_with(MACHINE);
        assert!(error.contains("No space left") || error.contains("full"), "{error}");
        world.assert_intact();
    }
    // What fits still goes in.
    world.conex.ok(&["copy", crate::world::EARLIER, "store:again"]);
}

pub fn full_while_unpacking() {
    let world = World::new("full-unpack");
    mount(&world.scratch.folder("disk"));
    let rootfs = world.scratch.join("disk/rootfs");
    for bundle in [&["--bundle"][..], &[]] {
        let image = big(&world);
        let run =
            world.conex.run(&[&["unpack", &image, &rootfs.display().to_string()], bundle].concat());
        // The free space is the limit of what a layer may hold, and seen before the disk is full.
        assert!([Some(MACHINE), Some(8)].contains(&run.code), "{:?} {}", run.code, run.err);
        run.fails_with(run.code.unwrap());
        assert_absent(&rootfs);
    }
    world.assert_intact();
}

/// Room for bytes, none for files: what no limit foresees.
pub fn out_of_files_while_unpacking() {
    let world = World::new("full-inodes");
    let disk = world.scratch.folder("disk");
    let options = "size=128m,nr_inodes=100";
    run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "conex-tests"]).arg(&disk));
    let names: Vec<_> = (0..200).map(|number| format!("file-{number}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), b'0', "", &b"x"[..])).collect();
    let made = world.handmade("many");
    let image = made.finish(&made.image(&[&tar(&entries)]));
    let rootfs = disk.join("rootfs");
    for bundle in [&["--bundle"][..], &[]] {
        let args = ["unpack", &image, &rootfs.display().to_string()];
        world.conex.run(&[&args[..], bundle].concat()).fails_with(MACHINE);
        assert_absent(&rootfs);
    }
    world.assert_intact();
}

pub fn full_while_serving() {
    let scratch = Scratch::new("full-registry");
    mount(&scratch.folder("registry"));
    let registry = Registry::start(&scratch);
    let world = World::new("full-push");
    world.conex.ok(&["copy", crate::world::EARLIER, &registry.image("earlier:1")]);
    let run = world.conex.run(&["push", &registry.image("big:1"), "--from", &big(&world)]);
    assert!(matches!(run.code, Some(6 | 7)), "{:?} {}", run.code, run.err);
    run.fails_with(run.code.unwrap());
    world.assert_intact();
    world.conex.run(&["inspect", &registry.image("big:1")]).fails_with(3);
    Conex::new(&scratch).ok(&["validate", &registry.image("earlier:1")]);
    // There is room again for what fits: the bytes that came in vain are gone.
    let made = world.handmade("small");
    let small = made.finish(&made.image(&[&noise(60, DISK / 2)]));
    world.conex.ok(&["push", &registry.image("small:1"), "--from", &small]);
}

fn big(world: &World) -> String {
    let made = world.handmade("big");
    made.finish(&made.image(&[&tar(&[("big", b'0', "", &noise(50, LAYER))])]))
}

/// Unmounted when the folder of the test goes away.
fn mount(dir: &Path) {
    let size = format!("size={DISK}");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "conex-tests"]).arg(dir));
}
