//! The layers of an image as one tree in memory, and that tree as one tar.
//!
//! Layers are read twice: first their names, which become a [`Tree`], the lowest layer first; then
//! the contents that the tree still shows, which go
//! out as they come. So what is written is the same tree, whatever links and whiteouts the layers
//! have, and memory holds names and attributes but no content.
//!
//! Files come first in the tar; then directories, each before the links and devices in it. A reader
//! that gives a directory its time when it has left it, as GNU tar does, then gets all of them right.
//!
//! # Single files
//! Where only some paths are wanted, the newest layers are looked at first. [`Parts::settle`] tells
//! whether they suffice: whether no lower layer could change what the paths stand for.

mod plan;
mod stream;

pub use stream::Stream;

use std::sync::Arc;

use conex_spec::{Error, Kind, Result};
use conex_tar::{Warnings, show};

use self::plan::{Choice, Plan};
use crate::tree::{Listing, Newest, Tree};
use crate::unpack::LayerInput;
use crate::unpack::pipeline;
use crate::unpack::room::Room;

/// How much of an image is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes that a layer may have uncompressed, and that all files may have together,
    /// holes included.
    pub max_bytes: u64,
    /// The most entries of all layers together: each takes some 200 bytes of memory.
    pub max_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 1 << 40, max_entries: 3_000_000 }
    }
}

impl Limits {
    fn room(self) -> Room {
        Room::new(Some(self.max_bytes), None)
    }
}

/// What is left of them.
#[derive(Clone, Copy, Debug)]
struct Left {
    limits: Limits,
    entries: u64,
    room: Room,
}

/// The tree of a whole image, layer by layer.
#[derive(Debug)]
pub struct Flattener {
    tree: Tree,
    left: Left,
}

/// In which namespace overlayfs looks for its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marks {
    /// `trusted.overlay`, which only root may set.
    #[default]
    Trusted,
    /// `user.overlay`, for mounts with the option `userxattr`.
    User,
}

impl Flattener {
    /// Begins with an empty tree.
    pub fn new(limits: Limits) -> Self {
        Self { tree: Tree::default(), left: Left::new(limits) }
    }

    /// Adds the names of the next layer, the lowest one first. Its diff ID is checked.
    pub fn apply(&mut self, layer: LayerInput) -> Result<()> {
        let name = layer.name.clone();
        let applied = self.left.list(layer).and_then(|listing| self.tree.apply(Arc::new(listing)));
        applied.map_err(|err| err.context(name))
    }

    /// What the last layer changes, as overlayfs stacks it upon those below: whiteouts are devices
    /// 0:0, and what a directory hides is in its attribute `overlay.opaque`. Folders that the layer
    /// only implies have the attributes that the lower layers gave them.
    /// Linux, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
    pub fn top(self, marks: Marks) -> Flat {
        let plan = Plan::top(&self.tree);
        Flat { flattener: self, plan, marks }
    }

    /// What was odd about the layers.
    pub fn warnings(&self) -> &Warnings {
        self.tree.warnings()
    }

    /// The tree is whole: all of it is to be written.
    pub fn finish(self) -> Flat {
        let plan = Plan::new(&self.tree, &Choice::default());
        Flat { flattener: self, plan, marks: Marks::default() }
    }
}

/// A tree that is ready to be written.
#[derive(Debug)]
pub struct Flat {
    flattener: Flattener,
    plan: Plan,
    marks: Marks,
}

impl Flat {
    /// Which layers have content that is to be written, from 0, the lowest one.
    pub fn layers(&self) -> Vec<usize> {
        self.plan.layers().into_iter().collect()
    }

    /// What was odd about the layers.
    pub fn warnings(&self) -> &Warnings {
        self.flattener.warnings()
    }

    /// The tree, for more layers.
    pub fn into_flattener(self) -> Flattener {
        self.flattener
    }
}

/// Parts of an image, looked for in its newest layers first.
#[derive(Debug)]
pub struct Parts {
    paths: Vec<Vec<u8>>,
    newest: Newest,
    left: Left,
}

impl Parts {
    /// Looks for these paths, which are cleaned like the names of a tar.
    pub fn new(paths: Vec<Vec<u8>>, limits: Limits) -> Self {
        Self { paths, newest: Newest::default(), left: Left::new(limits) }
    }

    /// Reads the names of the next layer, the newest one first. Its diff ID is checked.
    pub fn read(&mut self, layer: LayerInput) -> Result<()> {
        let name = layer.name.clone();
        let listing = self.left.list(layer).map_err(|err| err.context(name))?;
        self.newest.push(Arc::new(listing));
        Ok(())
    }

    /// The wanted parts, or nothing where some of the `below` layers that were not read yet could
    /// change them.
    pub fn settle(&self, below: usize) -> Result<Option<Flat>> {
        let Some(tree) = self.newest.tree(below)? else { return Ok(None) };
        let choice = Choice::find(&tree, &self.paths)?;
        Ok(choice.map(|choice| {
            let plan = Plan::new(&tree, &choice);
            let flattener = Flattener { tree, left: self.left };
            Flat { flattener, plan, marks: Marks::default() }
        }))
    }
}

impl Left {
    fn new(limits: Limits) -> Self {
        Self { limits, entries: limits.max_entries, room: limits.room() }
    }

    /// The names of a layer.
    fn list(&mut self, layer: LayerInput) -> Result<Listing> {
        let (entries, room) = (&mut self.entries, &mut self.room);
        read(layer, self.limits, |stream| {
            Listing::read_within(stream, false, &mut |entry| {
                *entries = entries.checked_sub(1).ok_or_else(|| {
                    Error::new(Kind::Limit, "image has too many entries")
                        .found(format!("one more, {}", show(&entry.path)))
                })?;
                room.take(entry.size)
            })
        })
    }
}

/// Reads a layer to its end, hashing what `consume` sees, and checks that it is the one of its
/// diff ID.
fn read<T>(
    layer: LayerInput,
    limits: Limits,
    consume: impl FnOnce(pipeline::Stream) -> Result<T>,
) -> Result<T> {
    let algorithm = layer.diff_id.algorithm()?;
    let room = limits.room();
    let (value, digest, _) =
        pipeline::run(layer.reader, layer.compression, algorithm, room, consume)?;
    layer.diff_id.check(&digest, || "layer is not the one of the diff ID".into())?;
    Ok(value)
}
