//! `kill -9` and Ctrl-C in the middle of a transfer.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use conex_spec::Digest;
use conex_testkit::proxy::{Fault, Place, Proxy, What};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::daemon::Registry;
use crate::support::program::Conex;
use crate::world::{EARLIER, World, noise};

const NETWORK: i32 = 6;
const LAYER: usize = 32 << 20;
/// Where in the layer it happens, in bytes.
const MIDDLE: u64 = 10 << 20;

pub fn of_the_registry_while_pulling() {
    let world = World::new("death-pull");
    let registry = Registry::start(&world.scratch);
    world.conex.ok(&["push", &registry.image("big:1"), "--from", &big(&world)]);
    let proxy = Proxy::start(&registry.address);
    proxy.add(Fault::down(Place::Byte(MIDDLE), death_of(&registry)).at(&layer()));
    let run = world.conex.run(&["pull", &proxy.image("big:1")]);
    assert_eq!(proxy.happened(), 1);
    run.fails_with(NETWORK);
    world.assert_intact();
    drop(registry);
    let registry = Registry::start(&world.scratch);
    world.conex.ok(&["pull", &registry.image("big:1")]);
    world.conex.ok(&["validate", &format!("store:{}", registry.image("big:1"))]);
}

pub fn of_the_registry_while_pushing() {
    let world = World::new("death-push");
    let registry = Registry::start(&world.scratch);
    world.conex.ok(&["copy", EARLIER, &registry.image("earlier:1")]);
    let image = big(&world);
    let proxy = Proxy::start(&registry.address);
    let layer = layer().replace(':', "%3A");
    proxy.add(Fault::up("PUT", Place::Byte(MIDDLE), death_of(&registry)).at(&layer));
    let run = world.conex.run(&["push", &proxy.image("big:1"), "--from", &image]);
    assert_eq!(proxy.happened(), 1);
    run.fails_with(NETWORK);
    world.assert_intact();
    drop(registry);
    // What was acknowledged is there, what was not is not, and the push can be done again.
    let registry = Registry::start(&world.scratch);
    world.conex.ok(&["validate", &registry.image("earlier:1")]);
    world.conex.run(&["inspect", &registry.image("big:1")]).fails_with(3);
    crate::world::assert_no_halves(&world.scratch.join("registry"));
    world.conex.ok(&["push", &registry.image("big:1"), "--from", &image]);
    world.conex.ok(&["validate", &registry.image("big:1")]);
}

/// What had come is not moved again, by the count of a wire between the two.
pub fn of_conex_while_pulling() {
    let world = World::new("death-conex");
    let registry = Registry::start(&world.scratch);
    world.conex.ok(&["push", &registry.image("big:1"), "--from", &big(&world)]);
    let layout = world.scratch.join("to");
    for (to, signal) in [
        (EARLIER.replace("earlier", "big"), Signal::KILL),
        (format!("oci:{}:1", layout.display()), Signal::INT),
    ] {
        let wire = Proxy::start(&registry.address);
        wire.add(Fault::down(Place::Byte(MIDDLE), What::Stall).at(&layer().replace(':', "%3A")));
        wire.add(Fault::down(Place::Byte(MIDDLE), What::Stall).at(&layer()));
        kill_when_stalled(&world.conex, &wire, &["copy", &wire.image("big:1"), &to], signal);
        assert!(wire.down() >= MIDDLE, "{}", wire.down());
        // The next run removes what the dead one had staged.
        Conex::ok(&world.conex, &["images"]);
        world.assert_intact();
        world.conex.ok(&["copy", &wire.image("big:1"), &to]);
        world.conex.ok(&["validate", &to]);
        assert_little_twice(wire.down());
        assert!(!std::fs::exists(layout.join(".conex/partial").join(layer())).unwrap());
        if to.starts_with("store:") {
            world.conex.ok(&["rm", &to]);
        }
    }
}

pub fn of_conex_while_pushing() {
    for (signal, name) in [(Signal::KILL, "death-push-kill"), (Signal::INT, "death-push-int")] {
        push_dies_of(signal, &World::new(name));
    }
}

fn push_dies_of(signal: Signal, world: &World) {
    let registry = Registry::start(&world.scratch);
    let image = big(world);
    let wire = Proxy::start(&registry.address);
    wire.add(Fault::up("PUT", Place::Byte(MIDDLE), What::Stall).at(&layer().replace(':', "%3A")));
    let args = ["push", &wire.image("big:1"), "--from", &image];
    kill_when_stalled(&world.conex, &wire, &args, signal);
    let uploads = world.conex.store().join(".conex/uploads");
    let kept: Vec<_> = std::fs::read_dir(&uploads).unwrap().flatten().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let summary = &world.conex.json(&args)["summary"];
    // What the dead process had sent is told apart.
    let [moved, resumed] = ["moved", "resumed"].map(|part| summary[part]["bytes"].as_u64());
    assert!(resumed > Some(MIDDLE / 2) && moved < Some(LAYER as u64 - MIDDLE / 2), "{summary}");
    world.conex.ok(&["validate", &registry.image("big:1")]);
    assert_little_twice(wire.up());
    assert!(!uploads.exists(), "a location is kept no longer than its upload");
}

fn death_of(registry: &Registry) -> What {
    let pid = Pid::from_raw(registry.pid().cast_signed()).unwrap();
    What::Do(Arc::new(move || kill_process(pid, Signal::KILL).unwrap()))
}

fn kill_when_stalled(conex: &Conex, wire: &Proxy, args: &[&str], signal: Signal) {
    let mut child =
        conex.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wire.wait(1);
    // What passed the wire may still be on its way through the program.
    std::thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), (signal == Signal::INT).then_some(130));
    wire.hang_up();
    wire.clear();
}

/// Of what had come when it broke off at the middle, nine of ten bytes did not move again.
fn assert_little_twice(passed: u64) {
    let twice = passed - LAYER as u64;
    assert!(twice <= MIDDLE / 10, "{twice} bytes moved twice");
}

fn layer() -> String {
    Digest::sha256(&noise(70, LAYER)).to_string()
}

pub fn of_conex_while_unpacking() {
    let world = World::new("death-unpack");
    let registry = Registry::start(&world.scratch);
    let tree = world.scratch.folder("tree");
    std::fs::write(tree.join("big"), noise(71, LAYER)).unwrap();
    let image = registry.image("tree:1");
    world.conex.ok(&["pack", tree.to_str().unwrap(), &image]);
    let manifest: Value =
        serde_json::from_str(&world.conex.ok(&["manifest", "get", &image])).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let folder = world.scratch.folder("unpacked");
    let target = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    for bundle in [&[][..], &["--bundle"]] {
        let proxy = Proxy::start(&registry.address);
        proxy.add(Fault::down(Place::Byte(MIDDLE), What::Stall).at(layer));
        let (slow, dead) = (proxy.image("tree:1"), target("dead"));
        let args = [&["unpack", &slow, &dead], bundle].concat();
        let mut command = world.conex.command(&args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        proxy.wait(1);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!folder.join("dead").exists());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "what it had begun");
        // The next run beside it removes what the dead one had staged.
        world.conex.ok(&[&["unpack", &image, &target("alive")], bundle].concat());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "what is alive");
        std::fs::remove_dir_all(folder.join("alive")).unwrap();
    }
}

/// A file of an artifact, there and back: what has moved moves no more.
pub fn of_conex_with_an_artifact() {
    let world = World::new("death-artifact");
    let registry = Registry::start(&world.scratch);
    let (dir, out) = (world.scratch.folder("files"), world.scratch.join("out"));
    std::fs::write(dir.join("big"), noise(70, LAYER)).unwrap();
    std::fs::write(dir.join("small"), "small").unwrap();
    let (dir, to) = (dir.to_str().unwrap(), out.to_str().unwrap());
    let blob = layer().replace(':', "%3A");
    let wire = Proxy::start(&registry.address);
    let at = wire.image("big:1");
    wire.add(Fault::up("PUT", Place::Byte(MIDDLE), What::Stall).at(&blob));
    let push = ["artifact", "push", dir, &at, "--folder", "files", "--flat"];
    kill_when_stalled(&world.conex, &wire, &push, Signal::KILL);
    world.conex.run(&["inspect", &registry.image("big:1")]).fails_with(3);
    world.conex.ok(&push);
    assert_little_twice(wire.up());
    wire.add(Fault::down(Place::Byte(MIDDLE), What::Stall).at(&layer()));
    let pull = ["artifact", "pull", &at, to];
    kill_when_stalled(&world.conex, &wire, &pull, Signal::KILL);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "nothing has its name");
    let pulled = world.conex.json(&pull);
    assert!(pulled["files"][0]["resumed"].as_u64() > Some(MIDDLE / 2), "{pulled}");
    assert_little_twice(wire.down());
    assert!(std::fs::read(out.join("big")).unwrap() == noise(70, LAYER));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 2, "the stage is gone");
}

fn big(world: &World) -> String {
    let made = world.handmade("big");
    made.finish(&made.image(&[&noise(70, LAYER)]))
}
