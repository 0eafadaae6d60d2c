//! Power cuts while conex writes to layouts and to the local store.

use std::path::Path;
use std::process::Command;

use crate::disk::{Disk, Event};
use crate::filesystem::{BTRFS, CARELESS_EXT4, EXT4, FileSystem, XFS};
use crate::history::{FOLDER, History, Names, Place, Step, listing};
use crate::replay::{State, copy_sparse, replay, states};
use crate::support::layout::{Handmade, tagged};
use crate::support::program::{Conex, run};
use crate::support::scratch::Scratch;

/// How many states are looked at where nothing else is said, over all histories.
const STATES: usize = 525;
/// How many histories there are: the cases below that call [`survives`].
const HISTORIES: usize = 15;

pub fn layout_on_ext4() {
    survives(&layout_history(), EXT4);
}

pub fn layout_on_careless_ext4() {
    survives(&layout_history(), CARELESS_EXT4);
}

pub fn layout_on_xfs() {
    survives(&layout_history(), XFS);
}

pub fn layout_on_btrfs() {
    survives(&layout_history(), BTRFS);
}

pub fn archives_on_ext4() {
    survives(&archives_history(), EXT4);
}

pub fn archives_on_careless_ext4() {
    survives(&archives_history(), CARELESS_EXT4);
}

pub fn archives_on_btrfs() {
    survives(&archives_history(), BTRFS);
}

pub fn trees_on_careless_ext4() {
    survives(&trees_history(), CARELESS_EXT4);
}

pub fn trees_on_xfs() {
    survives(&trees_history(), XFS);
}

pub fn store_on_ext4() {
    survives(&store_history(), EXT4);
}

pub fn store_on_xfs() {
    survives(&store_history(), XFS);
}

pub fn store_on_btrfs() {
    survives(&store_history(), BTRFS);
}

pub fn registry_on_ext4() {
    survives(&registry_history(), EXT4);
}

pub fn registry_on_careless_ext4() {
    survives(&registry_history(), CARELESS_EXT4);
}

pub fn registry_on_xfs() {
    survives(&registry_history(), XFS);
}

/// A copy that nobody made durable is lost, and that is noticed.
pub fn a_loss_is_seen() {
    let history = layout_history();
    let source = history.scratch.join("built");
    history.conex.ok(&[
        "copy",
        &images(&history.scratch)[0].0,
        &format!("oci:{}:a", source.display()),
    ]);
    let (base, log) = record(&history, EXT4, |mounted, _| {
        run(Command::new("cp").arg("-r").arg(&source).arg(mounted.join(FOLDER)));
    });
    let failed = replay(&history, &base, EXT4, &log, &states(&log, STATES / HISTORIES));
    assert!(!failed.is_empty(), "a plain copy survived every cut");
}

fn survives(history: &History, file_system: FileSystem) {
    let (base, log) = record(history, file_system, |mounted, step| {
        history.step(step, mounted).ok();
    });
    let count = std::env::var("CONEX_CRASH_STATES").map_or(STATES, |count| count.parse().unwrap());
    let states = states(&log, count / HISTORIES);
    let failed = replay(history, &base, file_system, &log, &states);
    eprintln!(
        "{}: {} states of {} events, {} failed",
        file_system.name,
        states.len(),
        log.len(),
        failed.len()
    );
    assert!(failed.is_empty(), "{} of {} states: {}", failed.len(), states.len(), first(&failed));
}

fn first(failed: &[(State, String)]) -> String {
    failed.iter().take(3).map(|(state, err)| format!("\n{state:?}: {err}")).collect()
}

/// Does all steps on a new disk; returns the disk as it was before, and what reached it.
fn record(
    history: &History,
    file_system: FileSystem,
    mut step: impl FnMut(&Path, usize),
) -> (std::path::PathBuf, Vec<Event>) {
    let base = history.scratch.join("base");
    file_system.make(&base);
    if matches!(history.place, Place::Archives | Place::Trees) {
        let mounted = file_system.mount(&base, history.scratch.join("recorded"));
        std::fs::create_dir(mounted.path().join(FOLDER)).unwrap();
    }
    let live = history.scratch.join("live");
    copy_sparse(&base, &live);
    let disk = Disk::new(&live, &history.scratch.join("fuse"));
    let mounted = file_system.mount(&disk.file(), history.scratch.join("recorded"));
    for number in 0..history.steps.len() {
        disk.note(Event::Started(number));
        step(mounted.path(), number);
        disk.note(Event::Acknowledged(number));
    }
    // What is written while the file system is put away belongs to no cut; but it does no harm.
    drop(mounted);
    (base, disk.end())
}

/// Images go into a layout, get further names, a name moves on, one goes, and so does what nobody
/// needs any more.
fn layout_history() -> History {
    let scratch = Scratch::new("power-layout");
    let conex = Conex::new(&scratch);
    let images = images(&scratch);
    let mut steps = Steps::default();
    steps.add(&["copy", &images[0].0, "oci:DISK/place:a"], "a", &images[0].1);
    steps.add(&["copy", &images[1].0, "oci:DISK/place:b"], "b", &images[1].1);
    steps.add(&["tag", "oci:DISK/place:a", "c"], "c", &images[0].1);
    steps.add(&["copy", &images[2].0, "oci:DISK/place:a"], "a", &images[2].1);
    steps.remove(&["rm", "oci:DISK/place:b"], "b");
    steps.same(&["gc", "oci:DISK/place", "--grace", "0s"]);
    steps.add(&["copy", &images[1].0, "oci:DISK/place:d"], "d", &images[1].1);
    History { scratch, conex, steps: steps.steps, place: Place::Layout }
}

/// Images are pushed, a tag moves on, one goes, and so does what nobody needs any more; what went comes
/// again.
fn registry_history() -> History {
    let scratch = Scratch::new("power-registry");
    let conex = Conex::new(&scratch);
    let images = images(&scratch);
    let mut steps = Steps::default();
    let gc = ["registry", "gc", "DISK/place", "--grace", "0s", "--untagged"];
    steps.add(&["copy", &images[0].0, "REGISTRY/app:a"], "a", &images[0].1);
    steps.add(&["copy", &images[1].0, "REGISTRY/app:b"], "b", &images[1].1);
    steps.add(&["copy", &images[2].0, "REGISTRY/app:a"], "a", &images[2].1);
    steps.same(&gc);
    steps.remove(&["untag", "REGISTRY/app:b"], "b");
    steps.same(&gc);
    steps.add(&["copy", &images[1].0, "REGISTRY/app:c"], "c", &images[1].1);
    History { scratch, conex, steps: steps.steps, place: Place::Registry }
}

/// The same in the local store.
fn store_history() -> History {
    let scratch = Scratch::new("power-store");
    let conex = Conex::new(&scratch);
    let images = images(&scratch);
    let name = |tag: &str| format!("registry.example/{tag}");
    let mut steps = Steps::default();
    let mut copy = |from: &str, tag: &str, digest: &str| {
        steps.add(&["copy", from, &format!("store:{}", name(tag))], &name(tag), digest);
    };
    copy(&images[0].0, "a:1", &images[0].1);
    copy(&images[1].0, "b:1", &images[1].1);
    copy("store:registry.example/a:1", "c:1", &images[0].1);
    copy(&images[2].0, "a:1", &images[2].1);
    steps.remove(&["rm", "store:registry.example/b:1"], &name("b:1"));
    steps.same(&["gc", "--grace", "0s"]);
    steps.add(
        &["tag", "store:registry.example/a:1", "registry.example/d:1"],
        &name("d:1"),
        &images[2].1,
    );
    History { scratch, conex, steps: steps.steps, place: Place::Store }
}

/// Steps in the making, and the names after the last one.
#[derive(Default)]
struct Steps {
    steps: Vec<Step>,
    names: Names,
}

impl Steps {
    fn add(&mut self, arguments: &[&str], name: &str, digest: &str) {
        self.names.insert(name.to_owned(), digest.to_owned());
        self.same(arguments);
    }

    fn remove(&mut self, arguments: &[&str], name: &str) {
        self.names.remove(name);
        self.same(arguments);
    }

    fn same(&mut self, arguments: &[&str]) {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        self.steps.push(Step { arguments, names: self.names.clone() });
    }
}

/// Archives are written, and one is written anew.
fn archives_history() -> History {
    let scratch = Scratch::new("power-archives");
    let conex = Conex::new(&scratch);
    let images = images(&scratch);
    let mut steps = Steps::default();
    for (image, name) in images.iter().zip(["a.tar", "b.tar", "a.tar"]) {
        let to = format!("oci-archive:DISK/place/{name}");
        steps.add(&["copy", &image.0, &to], name, &image.1);
    }
    History { scratch, conex, steps: steps.steps, place: Place::Archives }
}

/// Images are unpacked.
fn trees_history() -> History {
    let scratch = Scratch::new("power-trees");
    let conex = Conex::new(&scratch);
    let mut steps = Steps::default();
    for (number, name) in (0..).zip(["one", "two", "three"]) {
        let tree = scratch.folder(&format!("tree{number}"));
        for file in 0..20 {
            let folder = tree.join(format!("folder{}", file % 5));
            std::fs::create_dir_all(&folder).unwrap();
            let content = conex_testkit::images::noise(number * 100 + file, 500 * file as usize);
            std::fs::write(folder.join(format!("file{file}")), content).unwrap();
        }
        let image = format!("oci:{}:latest", scratch.join(&format!("packed{number}")).display());
        conex.ok(&["pack", tree.to_str().unwrap(), &image]);
        let to = format!("DISK/place/{name}");
        steps.add(&["unpack", &image, &to], name, &listing(&tree).unwrap());
    }
    History { scratch, conex, steps: steps.steps, place: Place::Trees }
}

/// Three images with some layers of their own and one in common, as locations and digests.
fn images(scratch: &Scratch) -> Vec<(String, String)> {
    let common = conex_testkit::images::noise(1, 70_000);
    let image = |number: u64| {
        let made = Handmade::new(scratch.join(&format!("image{number}")));
        let own = conex_testkit::images::noise(number + 10, 30_000);
        let location = made.finish(&made.image(&[&common, &own]));
        (location, tagged(&made.dir, "latest"))
    };
    (0..3).map(image).collect()
}
