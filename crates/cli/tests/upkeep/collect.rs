//! What is collected, and what is not.

use std::fs;
use std::process::Command;

use conex_store::commit::Folder;
use serde_json::{Value, json};

use crate::support::layout::{Handmade, blob, tags};
use crate::support::program::{Conex, Run, run};
use crate::support::scratch::Scratch;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;
const UNSOUND: i32 = 4;
const IO: i32 = 7;

/// Images `a` and `b`, which share a layer, in a layout and in the local store.
pub struct World {
    pub scratch: Scratch,
    pub conex: Conex,
}

pub const SHARED: usize = 5000;
pub const OWN: usize = 3000;

impl World {
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let conex = Conex::new(&scratch);
        let world = Self { scratch, conex };
        for (seed, name) in [(1, "a"), (2, "b")] {
            let made = Handmade::new(world.scratch.join(name));
            let image = made.finish(&made.image(&[&noise(0, SHARED), &noise(seed, OWN)]));
            for place in world.places() {
                world.conex.ok(&["copy", &image, &named(&place, name)]);
            }
        }
        world
    }

    /// Both places.
    pub fn places(&self) -> [String; 2] {
        [format!("oci:{}", self.scratch.arg("layout")), "store:".into()]
    }

    /// The folder of a place.
    pub fn folder(&self, place: &str) -> std::path::PathBuf {
        self.scratch.join(if place == "store:" { "store" } else { "layout" })
    }

    pub fn blobs(&self, place: &str) -> usize {
        fs::read_dir(self.folder(place).join("blobs/sha256")).unwrap().count()
    }

    fn gc(&self, place: &str, args: &[&str]) -> Value {
        self.conex.json(&[&["gc", place], args].concat())
    }
}

/// An image of a place.
pub fn named(place: &str, name: &str) -> String {
    if place == "store:" { format!("store:{name}") } else { format!("{place}:{name}") }
}

pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    conex_testkit::images::noise(seed, length).to_vec()
}

pub fn what_has_no_name_is_collected() {
    let world = World::new("collect");
    for place in world.places() {
        let layout = world.folder(&place);
        // What others left among the blobs is theirs.
        fs::write(layout.join("blobs/sha256/.tmp-of-another"), "x").unwrap();
        fs::write(layout.join(".conex/stage/left-by-the-dead"), "x").unwrap();
        assert_eq!(world.gc(&place, &["--grace=0s"])["removed"]["blobs"], 0);
        assert!(!layout.join(".conex/stage/left-by-the-dead").exists());
        world.conex.ok(&["rm", &named(&place, "a")]);
        let planned = world.gc(&place, &["--grace=0s", "--dry-run"]);
        assert_eq!(planned["removed"]["blobs"], 3, "{planned}");
        assert_eq!(world.blobs(&place), 8);
        let done = world.gc(&place, &["--grace=0s"]);
        assert_eq!(done["digests"], planned["digests"]);
        assert_eq!(world.blobs(&place), 5);
        assert!(layout.join("blobs/sha256/.tmp-of-another").exists());
        world.conex.ok(&["fsck", &place]);
        world.conex.ok(&["rm", &named(&place, "b")]);
        assert_eq!(world.gc(&place, &["--grace=0s"])["needed"]["blobs"], 0);
        assert_eq!(world.blobs(&place), 1);
    }
}

pub fn young_content_stays() {
    let world = World::new("young");
    for place in world.places() {
        world.conex.ok(&["rm", &named(&place, "a"), &named(&place, "b")]);
        let report = world.gc(&place, &[]);
        assert_eq!(
            (&report["removed"]["blobs"], &report["young"]["blobs"]),
            (&json!(0), &json!(7))
        );
        assert_eq!(world.gc(&place, &["--grace=1h"])["removed"]["blobs"], 0);
        std::thread::sleep(std::time::Duration::from_millis(2100));
        assert_eq!(world.gc(&place, &["--grace=1s"])["removed"]["blobs"], 7);
    }
}

/// Whoever uses a place has a share in it.
pub fn a_place_in_use_is_left_alone() {
    let world = World::new("in-use");
    for place in world.places() {
        world.conex.ok(&["rm", &named(&place, "a")]);
        let user = Folder::open(&world.folder(&place)).unwrap();
        user.share();
        let args = ["gc", &place, "--grace=0s", "--wait=100ms"];
        let run = world.conex.run(&args);
        assert!(run.fails_with(FAILED).contains("in use"), "{}", run.err);
        assert_eq!(world.blobs(&place), 7);
        drop(user);
        world.conex.ok(&args);
        assert_eq!(world.blobs(&place), 4);
    }
}

pub fn a_damaged_index_stops_the_collection() {
    let world = World::new("unknown");
    for place in world.places() {
        let image = world.conex.json(&["inspect", &named(&place, "a")]);
        let manifest = blob(&world.folder(&place), image["root"]["digest"].as_str().unwrap());
        fs::write(&manifest, "{").unwrap();
        world.conex.ok(&["rm", &named(&place, "b")]);
        let run = world.conex.run(&["gc", &place, "--grace=0s"]);
        assert!(run.fails_with(UNSOUND).contains("repair"), "{}", run.err);
        assert_eq!(world.blobs(&place), 7);
    }
}

pub fn sizes_are_told_alone_and_shared() {
    let world = World::new("du");
    for place in world.places() {
        world.conex.ok(&["tag", &named(&place, "a"), "again"]);
        let report = world.conex.json(&["du", &place]);
        let images = report["images"].as_array().unwrap();
        assert_eq!(images.len(), 2, "{report}");
        for image in images {
            assert_eq!(image["shared"], SHARED);
            assert!(image["own"].as_u64().unwrap() > OWN as u64);
        }
        assert_eq!(report["unneeded"]["bytes"], 0);
        world.conex.ok(&["rm", &named(&place, "b")]);
        let report = world.conex.json(&["du", &place]);
        assert_eq!(report["images"][0]["names"].as_array().unwrap().len(), 2, "{report}");
        assert_eq!(report["images"][0]["shared"], 0);
        assert_eq!(report["unneeded"]["blobs"], 3);
    }
}

/// A digest goes with its names: they are told, and several only on request.
pub fn a_digest_takes_its_names_along() {
    let world = World::new("digests");
    let [layout, _] = world.places();
    world.conex.ok(&["tag", &named(&layout, "a"), "again"]);
    let image = world.conex.json(&["inspect", &named(&layout, "a")]);
    let by_digest = format!("{layout}@{}", image["digest"].as_str().unwrap());
    let run = world.conex.run(&["rm", &by_digest]);
    assert!(run.fails_with(USAGE).contains("a, again"), "{}", run.err);
    assert_eq!(tags(&world.scratch.join("layout")), ["a", "again", "b"]);
    let report = world.conex.json(&["rm", "--force", &by_digest]);
    let removed = [format!("{layout}:a"), format!("{layout}:again")];
    assert_eq!(report["removed"], json!(removed));
    assert_eq!(tags(&world.scratch.join("layout")), ["b"]);
    // One name needs no force.
    let image = world.conex.json(&["inspect", &named(&layout, "b")]);
    let by_digest = format!("{layout}@{}", image["digest"].as_str().unwrap());
    assert_eq!(world.conex.ok(&["rm", &by_digest]), format!("removed {layout}:b\n"));
    // In the local store a name is one of a repository, and goes by itself.
    let image = world.conex.json(&["inspect", &named("store:", "a")]);
    let by_digest = format!("{}@{}", named("store:", "a"), image["digest"].as_str().unwrap());
    let run = world.conex.run(&["rm", &by_digest]);
    assert!(run.fails_with(NOT_FOUND).contains("library/a:latest"), "{}", run.err);
}

/// The key of the seals is its owner's only; what others may read needs none.
pub fn another_persons_place_can_be_read() {
    let world = World::new("others");
    for (dir, mode) in
        [(world.scratch.path().to_owned(), "a+rX"), (world.conex.store().to_owned(), "a+rX")]
    {
        run(Command::new("chmod").args(["-R", mode]).arg(dir));
    }
    let key = world.conex.store().join(".conex/key");
    run(Command::new("chmod").arg("600").arg(&key));
    let stranger = |args: &[&str]| {
        let command = world.conex.command(args);
        let mut stranger = Command::new("setpriv");
        stranger.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        stranger.arg(command.get_program()).args(args);
        for (name, value) in command.get_envs() {
            value.map(|value| stranger.env(name, value));
        }
        Run::of(args, &stranger.output().unwrap())
    };
    for place in world.places() {
        for args in [&["images"][..], &["du"], &["fsck"]] {
            stranger(&[args, &[place.as_str()]].concat()).ok();
        }
        for command in ["inspect", "validate"] {
            stranger(&[command, &named(&place, "a")]).ok();
        }
        // What may be read is read; what may not is an error, not garbage.
        let image = world.conex.json(&["inspect", &named(&place, "a")]);
        let layer = image["layers"][0]["digest"].as_str().unwrap();
        let file = blob(&world.folder(&place), layer);
        run(Command::new("chmod").arg("000").arg(&file));
        for args in [&["fsck"][..], &["du"], &["gc", "--dry-run", "--grace=0s"]] {
            let run = stranger(&[args, &[place.as_str()]].concat());
            assert!(run.fails_with(IO).contains(file.to_str().unwrap()), "{}", run.err);
        }
        run(Command::new("chmod").arg("644").arg(&file));
    }
}

pub fn names_are_given_and_taken() {
    let world = World::new("names");
    for place in world.places() {
        let (a, new) = (named(&place, "a"), named(&place, "new"));
        world.conex.ok(&["tag", &a, "new"]);
        let digest = |name: &str| world.conex.json(&["inspect", name])["root"]["digest"].clone();
        assert_eq!(digest(&a), digest(&new));
        // One that is not there leaves the others alone.
        world.conex.run(&["rm", &new, &named(&place, "none")]).fails_with(NOT_FOUND);
        assert_eq!(world.conex.json(&["images", &place]).as_array().unwrap().len(), 3);
        world.conex.ok(&["rm", &new]);
        let images = world.conex.json(&["images", &place]);
        assert_eq!(images.as_array().unwrap().len(), 2, "{images}");
        assert!(images[0]["size"].as_u64().unwrap() > (SHARED + OWN) as u64);
        world.conex.run(&["gc", &a]).fails_with(USAGE);
    }
    assert_eq!(tags(&world.scratch.join("layout")), ["a", "b"]);
    world.conex.run(&["rm", "registry.example/app:1"]).fails_with(USAGE);
}
