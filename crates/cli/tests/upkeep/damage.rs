//! Damage: found, told by image, mended.

use std::fs;

use serde_json::json;

use crate::collect::{World, named};
use crate::support::layout::blob;

const UNSOUND: i32 = 4;

/// Scenario B15, row 90.
pub fn is_found_by_image_and_repaired() {
    let world = World::new("repair");
    for place in world.places() {
        let image = world.conex.json(&["inspect", &named(&place, "a")]);
        let digest = |of: &serde_json::Value| of["digest"].as_str().unwrap().to_owned();
        let (shared, own) = (digest(&image["layers"][0]), digest(&image["layers"][1]));
        let folder = world.folder(&place);
        flip_one_bit(&blob(&folder, &shared));
        fs::remove_file(blob(&folder, &own)).unwrap();
        fs::remove_file(blob(&folder, &digest(&image["root"]))).unwrap();
        let run = world.conex.run(&["fsck", &place, "--format", "json"]);
        assert_eq!(run.code, Some(UNSOUND));
        let found: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        let faults = found["faults"].as_array().unwrap();
        let of = |digest: &str| faults.iter().find(|fault| fault["digest"] == digest).cloned();
        let damaged = of(&shared).unwrap();
        assert_eq!(damaged["problem"], "damaged");
        assert_eq!(of(&digest(&image["root"])).unwrap()["problem"], "missing");
        // The other place has it all; the layer shows when the manifest is back.
        let other = world.scratch.arg("a");
        let report = world.conex.json(&["repair", &place, "--from", &format!("oci:{other}")]);
        assert_eq!(report["left"], json!([]), "{report}");
        assert_eq!(report["mended"]["blobs"], 3, "{report}");
        world.conex.ok(&["fsck", &place]);
        for name in ["a", "b"] {
            world.conex.ok(&["validate", &named(&place, name)]);
        }
    }
}

/// Five of five other tools take it for present.
pub fn is_replaced_by_a_copy() {
    let world = World::new("replace");
    for place in world.places() {
        let image = named(&place, "a");
        let described = world.conex.json(&["inspect", &image]);
        let layer = described["layers"][0]["digest"].as_str().unwrap().to_owned();
        let file = blob(&world.folder(&place), &layer);
        let sound = fs::read(&file).unwrap();
        let from = format!("oci:{}:latest", world.scratch.arg("a"));
        for damaged in [&flipped(&sound), &sound[..9]] {
            fs::write(&file, damaged).unwrap();
            let report = world.conex.json(&["copy", &from, &image]);
            let summary = &report["summary"];
            let replaced = [&summary["moved"]["blobs"], &summary["adopted"]["blobs"]];
            assert!(replaced.contains(&&json!(1)), "{report}");
            assert_eq!(fs::read(&file).unwrap(), sound);
        }
        // As a worn disk does it: nothing but the content tells.
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, flipped(&sound)).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
        world.conex.ok(&["copy", "--full", &from, &image]);
        assert_eq!(fs::read(&file).unwrap(), sound);
    }
}

pub fn flip_one_bit(file: &std::path::Path) {
    fs::write(file, flipped(&fs::read(file).unwrap())).unwrap();
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bytes.len() / 2] ^= 1;
    flipped
}
