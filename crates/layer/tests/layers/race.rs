//! Rule U8: someone swaps a directory and a link while a layer is unpacked. Whatever comes of
//! the layer, nothing outside changes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{World, forge};
use rustix::fs::{CWD, RenameFlags, renameat_with};

#[test]
fn swapping_directories_and_links_reaches_nothing_outside() {
    let world = World::new();
    let parent = world.target().parent().unwrap().to_owned();
    let stop = AtomicBool::new(false);
    let swaps = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                attack(&parent, &world, &swaps);
            }
        });
        let end = Instant::now() + Duration::from_millis(700);
        let mut rounds = 0;
        while Instant::now() < end || rounds < 3 {
            rounds += 1;
            let mut tar = forge().dir("victim/");
            for i in 0..300 {
                // Out of the directory and in again, so that it is opened each time.
                tar = tar.file("victim/secret", "evil").mode("victim/dir", b'5', 0o777);
                tar = tar.file(format!("other{i}"), "");
            }
            // The attack may make it fail; the checks of the world are what counts.
            if attacked_unpack(&world, tar.end()) {
                fs::remove_dir_all(world.target()).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(swaps.into_inner() > 1000, "the attack did not take place");
}

/// Only the canary counts here: the attacker's own link may be left behind.
fn attacked_unpack(world: &World, tar: Vec<u8>) -> bool {
    let digest = conex_spec::Digest::sha256(&tar);
    let layers = [(conex_spec::Compression::None, tar, digest)];
    let result = common::unpack_to(&world.target(), &layers, common::options());
    world.check_outside();
    result.is_ok()
}

/// Finds the staging folder and swaps its directory with a link to the outside.
fn attack(parent: &std::path::Path, world: &World, swaps: &AtomicU64) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(".conex-") {
            continue;
        }
        let root = entry.path().join("tree");
        let (victim, link) = (root.join("victim"), root.join("link"));
        if std::os::unix::fs::symlink(world.outside(), &link).is_err() {
            continue;
        }
        for _ in 0..500 {
            if renameat_with(CWD, &victim, CWD, &link, RenameFlags::EXCHANGE).is_err() {
                break;
            }
            swaps.fetch_add(1, Ordering::Relaxed);
        }
        let _ = fs::remove_file(&link);
    }
}
