//! The tar reader beside four others: the crate `tar`, Python's tarfile, GNU tar and bsdtar. Whatever the
//! reader takes, each of them takes for the same entries, or refuses: nothing can hide from one of
//! them in a layer that conex unpacks (rules T1, T2, T4). Tars of every dialect are made with a fixed
//! seed, and then damaged at random. A reader that is not installed is named as skipped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests may stop at the first surprise, and run programs"
)]

#[path = "../common/mod.rs"]
mod common;

mod generate;
mod readers;

use std::fs;
use std::path::PathBuf;

use generate::{Dice, damaged, sound};
use readers::{READERS, Row, ours};

/// How many tars of each sort there are; `CONEX_DIFFERENTIAL` says how many are damaged.
const SOUND: u64 = 150;
const DAMAGED: u64 = 600;

#[test]
fn every_reader_sees_the_same_entries() {
    let tars: Vec<_> = (0..SOUND).map(|seed| sound(&mut Dice::new(seed))).collect();
    let taken = compare(&tars);
    // The generator makes what honest writers write.
    assert_eq!(taken, tars.len(), "some are refused");
}

#[test]
fn damage_is_refused_or_seen_by_all() {
    let asked = std::env::var("CONEX_DIFFERENTIAL").ok().and_then(|count| count.parse().ok());
    let tars: Vec<_> =
        (0..asked.unwrap_or(DAMAGED)).map(|seed| damaged(&mut Dice::new(1_000 + seed))).collect();
    let taken = compare(&tars);
    // Most of it is refused, and some of it harmless: a test of only one of them would be none.
    assert!(taken > tars.len() / 20 && taken < tars.len() * 9 / 10, "{taken}");
}

/// Compares what all make of these tars; returns how many conex takes.
fn compare(tars: &[Vec<u8>]) -> usize {
    let folder = common::temp_dir();
    let mine: Vec<_> = tars.iter().map(|tar| ours(tar)).collect();
    // Only these are of interest: what conex refuses nobody unpacks.
    let taken: Vec<(usize, &Vec<Row>)> =
        mine.iter().enumerate().filter_map(|(i, rows)| Some((i, rows.as_ref()?))).collect();
    let files: Vec<PathBuf> = taken
        .iter()
        .map(|(i, _)| {
            let path = folder.path().join(format!("{i}.tar"));
            fs::write(&path, &tars[*i]).unwrap();
            path
        })
        .collect();
    let mut differing = Vec::new();
    for reader in READERS {
        let Some(lists) = (reader.read)(&files) else {
            eprintln!("skipped: {} is not there", reader.name);
            continue;
        };
        let mut same = 0;
        for ((i, rows), theirs) in taken.iter().zip(lists) {
            let Some(theirs) = theirs else { continue };
            let seen = |rows: &[Row]| rows.iter().map(reader.sees).collect::<Vec<_>>();
            let (mine, theirs) = (seen(rows), seen(&theirs));
            // Python's reader ends quietly at a header that it does not take.
            let quits = reader.quits && theirs.len() < mine.len() && mine.starts_with(&theirs);
            if quits {
                continue;
            }
            if mine == theirs {
                same += 1;
            } else if !(reader.excuse)(&tars[*i]) {
                let at = mine.iter().zip(&theirs).position(|(a, b)| a != b);
                let at = at.unwrap_or(mine.len().min(theirs.len()));
                differing.push(format!(
                    "tar {i}, {}, entry {at}\n  ours   {}\n  theirs {}",
                    reader.name,
                    mine.get(at).map_or("none".into(), ToString::to_string),
                    theirs.get(at).map_or("none".into(), ToString::to_string)
                ));
            }
        }
        // A reader that refuses all would agree with everyone.
        assert!(same * 3 > taken.len(), "{} agrees on {same} of {}", reader.name, taken.len());
    }
    assert!(
        differing.is_empty(),
        "{}\n{}",
        differing.len(),
        differing[..differing.len().min(25)].join("\n")
    );
    taken.len()
}
