//! Thousands of small files, made by several threads: the tree is the one that the order of the layer
//! says, whatever meets in it. The tree in memory, which knows no threads, is the measure.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use common::{Forge, World, forge, has};
use conex_tar::Code;

/// Numbers that are the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Entries whose names meet often: files over files, over folders, over links, and back; hard links
/// to what was just made; folders that get their attributes after their files.
fn layer(dice: &mut Dice, there: &mut BTreeMap<String, u8>, entries: usize) -> Vec<u8> {
    let mut tar = Forge::default();
    let mut made = BTreeMap::new();
    for number in 0..entries {
        let dir = format!("d{}/e{}", dice.roll(5), dice.roll(6));
        let name = format!("{dir}/n{}", dice.roll(40));
        let kind = match dice.roll(20) {
            0 => b'5',
            1 => b'2',
            2 => b'1',
            3 => b'D',
            4 if !made.contains_key(&name) => b'W',
            5 => b'B',
            _ => b'0',
        };
        tar = match kind {
            b'0' => tar.file(&name, format!("content {number}")),
            b'5' => tar.mode(&name, b'5', 0o700),
            b'2' => tar.symlink(&name, "../../d1"),
            // Too large to be handed over.
            b'B' => tar.file(&name, vec![b'b'; 70_000]),
            b'D' => tar.mode(&dir, b'5', 0o710 + dice.roll(8) as u32),
            b'W' => tar.file(format!("{dir}/.wh.{}", name.rsplit('/').next().unwrap()), ""),
            _ => {
                let known: Vec<_> = there.iter().filter(|(_, kind)| **kind == b'0').collect();
                let Some((target, _)) = known.get(dice.roll(known.len().max(1) as u64) as usize)
                else {
                    continue;
                };
                if **target == name {
                    continue;
                }
                tar.link(&name, target.as_str())
            }
        };
        match kind {
            b'D' => {}
            b'W' => drop(there.remove(&name)),
            b'1' | b'B' => drop(there.insert(name.clone(), b'0')),
            kind => drop(there.insert(name.clone(), kind)),
        }
        made.insert(name, ());
    }
    tar.end()
}

#[test]
fn what_meets_is_as_if_one_had_made_it() {
    for seed in 0..3 {
        let (mut dice, mut there) = (Dice(seed), BTreeMap::new());
        let layers: Vec<_> =
            [3000, 1000, 300].map(|entries| layer(&mut dice, &mut there, entries)).into();
        let report = World::new().unpack(&layers).unwrap();
        assert!(has(&report, Code::DuplicateEntry), "{seed}");
    }
}

/// Every folder has its own time, whoever made the last file in it, and warnings come in the order of
/// the layer.
#[test]
fn folders_have_their_times_and_warnings_their_order() {
    let mut tar = forge();
    for dir in 0..300 {
        tar = tar.dir(format!("{dir}/"));
        for file in 0..30 {
            tar = tar.file(format!("{dir}/{file}"), "x");
        }
        tar = tar.file(format!("{dir}/7"), "again");
    }
    let world = World::new();
    let report = world.unpack(&[tar.end()]).unwrap();
    for dir in 0..300 {
        let path = world.path(&dir.to_string());
        // As the header of the forge says: 1750 in octal.
        assert_eq!(fs::metadata(&path).unwrap().mtime(), 0o1750, "{dir}");
        assert_eq!(fs::read_to_string(path.join("7")).unwrap(), "again");
        assert_eq!(fs::metadata(path.join("8")).unwrap().mtime(), 0o1750);
    }
    assert_eq!(report.warnings.count(), 300);
    let told: Vec<_> = report.warnings.kept().iter().map(|w| w.path.clone()).collect();
    let expected: Vec<_> = (0..100).map(|dir| format!("{dir}/7").into_bytes()).collect();
    assert_eq!(told, expected);
}

/// The first failure ends it, with thousands of files before and behind it, and is told. What a thread
/// that writes meets is a test of the crew.
#[test]
fn a_file_that_cannot_be_made_is_told() {
    let mut tar = forge();
    for file in 0..500 {
        tar = tar.file(format!("d/{file}"), "x");
    }
    tar = tar.pax(&[("path", &[b'n'; 256])]).file("n", "x");
    for file in 0..5000 {
        tar = tar.file(format!("e/{file}"), "x");
    }
    let err = World::new().unpack(&[tar.end()]).unwrap_err().to_string();
    assert!(err.contains("component of a name is too long"), "{err}");
}
