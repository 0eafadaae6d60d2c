//! Content that is not what its descriptor says.

use std::fs;
use std::path::{Path, PathBuf};

use conex_testkit::proxy::{Fault, Place, Proxy, What};
use serde_json::{Value, json};

use crate::hostile::{Lie, serve};
use crate::support::daemon::Registry;
use crate::support::layout::{self, Handmade};
use crate::support::scratch::Scratch;
use crate::world::{EARLIER, World, assert_absent, assert_no_halves, noise};

const NOT_FOUND: i32 = 3;
const UNSOUND: i32 = 4;
const NETWORK: i32 = 6;

pub fn a_flipped_byte_in_a_layout() {
    for part in 0..3 {
        let world = World::new("flip-layout");
        let registry = Registry::start(&world.scratch);
        let (made, image) = image(&world, "bad");
        let digest = part_of(&made, part);
        flip(&layout::blob(&made.dir, &digest));
        let to = world.scratch.join("to");
        for to in [format!("oci:{}:1", to.display()), registry.image("bad:1"), "store:bad".into()] {
            let run = world.conex.run(&["copy", &image, &to]);
            let error = run.fails_with(UNSOUND);
            // Who reads it must learn which content is meant.
            assert!(error.contains(&digest) || error.contains(&digest[..19]), "{digest}: {error}");
            assert_no_halves(&world.scratch.join("to"));
        }
        let rootfs = world.scratch.join("unpacked/rootfs");
        fs::create_dir_all(rootfs.parent().unwrap()).unwrap();
        world.conex.run(&["unpack", &image, &rootfs.display().to_string()]).fails_with(UNSOUND);
        assert_absent(&rootfs);
        world.conex.run(&["inspect", &registry.image("bad:1")]).fails_with(3);
        world.assert_intact();
    }
}

pub fn a_flipped_byte_from_a_registry() {
    for part in 0..3 {
        lie(part, Lie::Flip, &[UNSOUND]);
    }
}

pub fn a_truncated_body() {
    for part in 0..3 {
        lie(part, Lie::Shorter, &[UNSOUND, NETWORK]);
    }
    // The connection may have broken: it is tried again for a while.
    for part in 0..3 {
        let world = World::new("cut-off");
        let (made, _) = image(&world, "bad");
        let digest = part_of(&made, part);
        let served = serve(&made.dir, &[(&digest, Lie::CutOff)]);
        world.conex.run(&["pull", &format!("{served}/bad:latest")]).fails_with(NETWORK);
        world.assert_intact();
    }
}

pub fn a_wrong_size() {
    for part in 1..3 {
        lie(part, Lie::Longer, &[UNSOUND]);
    }
    // The descriptor is wrong, and the content what its digest says.
    for size in [9_999, 10_001, 0, 1_u64 << 62] {
        let world = World::new("size");
        let made = world.handmade("bad");
        let mut layer = made.blob("application/vnd.oci.image.layer.v1.tar", &noise(7, 10_000));
        let config = json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [&layer["digest"]]}});
        let config = made.document("application/vnd.oci.image.config.v1+json", &config);
        layer["size"] = json!(size);
        let image = made.finish(&made.manifest(&config, &[layer]));
        refuses(&world, &image, &[UNSOUND]);
        let served = serve(&made.dir, &[]);
        refuses(&world, &format!("{served}/bad:latest"), &[UNSOUND, NETWORK]);
    }
}

/// "a manifest that is both": what one tool takes for an image is an index to another.
pub fn a_manifest_that_is_an_index_too() {
    for media_type in
        ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"]
    {
        let world = World::new("both");
        let made = world.handmade("bad");
        let image = made.image(&[&noise(8, 10_000)]);
        let mut both: Value = layout::document(&made.dir, image["digest"].as_str().unwrap());
        both["manifests"] = json!([image]);
        both["mediaType"] = json!(media_type);
        let image = made.finish(&made.document(media_type, &both));
        refuses(&world, &image, &[UNSOUND]);
        let served = serve(&made.dir, &[]);
        refuses(&world, &format!("{served}/bad:latest"), &[UNSOUND]);
    }
}

pub fn a_flipped_byte_in_the_folder_of_a_registry() {
    let world = World::new("flip-registry");
    let registry = Registry::start(&world.scratch);
    let (made, image) = image(&world, "bad");
    world.conex.ok(&["push", &registry.image("bad:1"), "--from", &image]);
    let digest = part_of(&made, 2);
    flip(&layout::blob(&world.scratch.join("registry"), &digest));
    // The registry does not serve it, so for its clients it is not there.
    refuses(&world, &registry.image("bad:1"), &[NOT_FOUND]);
}

/// What was pulled and then damaged is found, and a new pull mends it.
pub fn a_flipped_byte_in_the_local_store() {
    let world = World::new("flip-store");
    let registry = Registry::start(&world.scratch);
    let name = registry.image("app:1");
    let (made, image) = image(&world, "good");
    world.conex.ok(&["push", &name, "--from", &image]);
    world.conex.ok(&["pull", &name]);
    let digest = part_of(&made, 2);
    flip(&layout::blob(world.conex.store(), &digest));
    let stored = format!("store:{name}");
    let validated = world.conex.run(&["validate", &stored]);
    assert_eq!(validated.code, Some(UNSOUND), "{}", validated.err);
    world.conex.run(&["copy", &stored, &registry.image("other:1")]).fails_with(UNSOUND);
    world.conex.ok(&["pull", &name]);
    world.conex.ok(&["validate", &stored]);
    world.conex.ok(&["validate", EARLIER]);
}

/// What a mirror serves wrong comes from where the name says, in the same run, small or large.
pub fn a_flipped_byte_from_a_mirror() {
    let world = World::new("flip-mirror");
    let registry = Registry::start(&world.scratch);
    let made = world.handmade("good");
    let tar = crate::layers::tar(&[("file", b'0', "", &noise(6, 6 << 20))]);
    let image = made.finish(&made.image(&[&tar]));
    world.conex.ok(&["push", &registry.image("app:1"), "--from", &image]);
    let target = world.scratch.folder("unpacked");
    let [one, two] = ["one", "two"].map(|name| target.join(name).display().to_string());
    let pulled = world.scratch.join("to").display().to_string();
    let (layout, archive) = (format!("oci:{pulled}:1"), format!("oci-archive:{pulled}.tar:1"));
    // Another registry, which does not have the layer yet.
    let elsewhere = Scratch::new("flip-mirror-to");
    let other = Registry::start(&elsewhere);
    let copy = other.image("copy:1");
    let name = "registry.example/app:1";
    for words in [
        ["copy", name, &layout],
        ["copy", name, &archive],
        ["copy", name, &copy],
        ["unpack", name, &one],
        ["pull", name, "--progress=none"],
    ] {
        let mirror = Proxy::start(&registry.address);
        mirror.add(Fault::down(Place::LastByte, What::Flip).at(&digest_of(&tar)).times(9));
        let conf = format!(
            "[[registry]]\nlocation='registry.example/app'\n\
             [[registry.mirror]]\nlocation='{}'\n[[registry.mirror]]\nlocation='{}'\n",
            mirror.image("app"),
            registry.image("app")
        );
        fs::write(world.scratch.join("mirrors.conf"), conf).unwrap();
        let conf = world.scratch.arg("mirrors.conf");
        let run = world.conex.run(&[&words[..], &["--registries-conf", &conf]].concat());
        assert_eq!(run.code, Some(0), "{words:?}: {}", run.err);
        assert_eq!(mirror.happened(), 1, "{words:?}");
        assert!(run.err.contains("is passed over") || words[2].starts_with("--"), "{}", run.err);
    }
    for place in [&layout, &archive, &copy, &format!("store:{name}")] {
        world.conex.ok(&["validate", place]);
    }
    world.conex.ok(&["unpack", &image, &two]);
    assert!(fs::read(format!("{one}/file")).unwrap() == fs::read(format!("{two}/file")).unwrap());
}

fn digest_of(bytes: &[u8]) -> String {
    conex_spec::Digest::sha256(bytes).to_string()
}

/// A manifest (0), a config (1) or a layer (2) is not what it should be.
fn lie(part: usize, lie: Lie, codes: &[i32]) {
    let world = World::new("lie");
    let (made, _) = image(&world, "bad");
    let digest = part_of(&made, part);
    let served = serve(&made.dir, &[(&digest, lie)]);
    refuses(&world, &format!("{served}/bad:latest"), codes);
}

/// Every way in refuses it, and nothing is there afterwards.
fn refuses(world: &World, image: &str, codes: &[i32]) {
    let to = world.scratch.join("to");
    let rootfs = world.scratch.folder("unpacked").join("rootfs");
    let (layout, rootfs_arg) = (format!("oci:{}:1", to.display()), rootfs.display().to_string());
    let mut ways = vec![
        vec!["copy", image, &layout],
        vec!["copy", image, "store:bad"],
        vec!["unpack", image, &rootfs_arg],
    ];
    if !image.starts_with("oci:") {
        ways.push(vec!["pull", image]);
    }
    for args in ways {
        let run = world.conex.run(&args);
        let code = run.code.filter(|code| codes.contains(code)).unwrap_or(codes[0]);
        run.fails_with(code);
        assert_no_halves(&to);
        assert_absent(&rootfs);
        world.assert_intact();
    }
    assert!(!to.exists() || layout::tags(&to).is_empty());
}

fn image(world: &World, name: &str) -> (Handmade, String) {
    let made = world.handmade(name);
    let image =
        made.finish(&made.image(&[&crate::layers::tar(&[("file", b'0', "", &noise(5, 300_000))])]));
    (made, image)
}

/// The digest of the manifest (0), the config (1) or the layer (2).
fn part_of(made: &Handmade, part: usize) -> String {
    layout::content(&made.dir, &layout::tagged(&made.dir, "latest"))[part].0.clone()
}

fn flip(file: &PathBuf) {
    let mut bytes = fs::read(Path::new(file)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// The config fails at once, while a large layer is on its way: what was staged of it goes too.
pub fn one_failure_stops_what_else_is_on_its_way() {
    for _ in 0..5 {
        let world = World::new("stop");
        let made = world.handmade("bad");
        let image = made.finish(&made.image(&[&noise(9, 30 << 20)]));
        fs::remove_file(layout::blob(&made.dir, &part_of(&made, 1))).unwrap();
        let served = serve(&made.dir, &[]);
        for image in [image, format!("{served}/bad:latest")] {
            let to = world.scratch.join("to");
            let run = world.conex.run(&["copy", &image, &format!("oci:{}:1", to.display())]);
            run.fails_with(NOT_FOUND);
            assert_no_halves(&to);
        }
    }
}
