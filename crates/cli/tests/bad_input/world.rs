//! A person with an image in the local store, who is about to meet bad input.

use std::fs;
use std::path::Path;

use conex_spec::Digest;
use serde_json::json;

use crate::support::layout::Handmade;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

/// The image that must come through everything.
pub const EARLIER: &str = "store:registry.example/earlier:1";

#[derive(Debug)]
pub struct World {
    pub scratch: Scratch,
    pub conex: Conex,
}

impl World {
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let conex = Conex::new(&scratch);
        let world = Self { scratch, conex };
        world.add_earlier();
        world
    }

    /// With the store on another file system.
    pub fn with_store(name: &str, mount: impl FnOnce(&Path)) -> Self {
        let scratch = Scratch::new(name);
        mount(&scratch.folder("disk"));
        let conex = Conex::new(&scratch).with_store(scratch.join("disk/store"));
        let world = Self { scratch, conex };
        world.add_earlier();
        world
    }

    fn add_earlier(&self) {
        let made = self.handmade("earlier");
        let image = made.finish(&made.image(&[&noise(1000, 10_000), &noise(1001, 10_000)]));
        self.conex.ok(&["copy", &image, EARLIER]);
    }

    pub fn handmade(&self, name: &str) -> Handmade {
        Handmade::new(self.scratch.join(name))
    }

    /// The earlier image is sound, and nothing else has a name or lies there by half.
    pub fn assert_intact(&self) {
        let images = self.conex.json(&["images"]);
        assert_eq!(images.as_array().unwrap().len(), 1, "{images}");
        assert_eq!(self.conex.json(&["validate", EARLIER])["findings"], json!([]));
        assert_no_halves(self.conex.store());
    }
}

/// Every blob is what its name says, and nothing is staged.
pub fn assert_no_halves(folder: &Path) {
    let blobs = fs::read_dir(folder.join("blobs/sha256")).into_iter().flatten().flatten();
    for blob in blobs {
        let content = fs::read(blob.path()).unwrap();
        assert_eq!(blob.file_name().to_str().unwrap(), Digest::sha256(&content).encoded());
    }
    let staged = fs::read_dir(folder.join(".conex/stage")).into_iter().flatten().count();
    assert_eq!(staged, 0, "staged files are left in {}", folder.display());
}

/// Nothing of this name is there, nor a hidden folder beside it.
pub fn assert_absent(target: &Path) {
    assert!(fs::symlink_metadata(target).is_err(), "{} is there", target.display());
    let beside =
        fs::read_dir(target.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let hidden: Vec<_> = beside.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(hidden.is_empty(), "{hidden:?} is left");
}

pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    conex_testkit::images::noise(seed, length).to_vec()
}
