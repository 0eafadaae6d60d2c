//! The layers of an image as one tree in memory, and that tree as one tar.
//!
//! Layers are read twice: first their names, the lowest layer first, by exactly the rules by which
//! [`crate::unpack`] writes them to a disk; then the contents that the tree still shows, which go
//! out as they come. So what is written is the same tree, whatever links and whiteouts the layers
//! have, and memory holds names and attributes but no content.
//!
//! Files come first in the tar; then directories, each before the links and devices in it. A reader
//! that gives a directory its time when it has left it, as GNU tar does, then gets all of them right.
//!
//! # Single files
//! Where only some paths are wanted, the newest layers are looked at first. [`Parts::settle`] tells
//! whether they suffice: whether no lower layer could change what the paths stand for.

mod apply;
mod plan;
mod stream;
mod tree;

pub use stream::Stream;

use conex_spec::{Error, Kind, Result};
use conex_tar::{Entry, Reader, Warnings};

use self::apply::Applier;
use self::plan::{Choice, Plan};
use self::tree::Nodes;
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

/// The tree of a whole image, layer by layer.
#[derive(Debug)]
pub struct Flattener {
    nodes: Nodes,
    /// Whether there is a layer in it.
    started: bool,
    limits: Limits,
    entries_left: u64,
    room: Room,
    warnings: Warnings,
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
        Self {
            nodes: Nodes::new(false),
            started: false,
            limits,
            entries_left: limits.max_entries,
            room: limits.room(),
            warnings: Warnings::default(),
        }
    }

    /// Adds the names of the next layer, the lowest one first. Its diff ID is checked.
    pub fn apply(&mut self, layer: LayerInput) -> Result<()> {
        if self.started {
            self.nodes.next_layer();
        }
        let name = layer.name.clone();
        let mut applier = Applier {
            nodes: &mut self.nodes,
            warnings: &mut self.warnings,
            entries_left: &mut self.entries_left,
            room: &mut self.room,
        };
        read(layer, self.limits, |stream| applier.apply(stream))
            .map_err(|err| err.context(name))?;
        self.started = true;
        Ok(())
    }

    /// What the last layer changes, as overlayfs stacks it upon those below: whiteouts are devices
    /// 0:0, and what a directory hides is in its attribute `overlay.opaque`. Folders that the layer
    /// only implies have the attributes that the lower layers gave them.
    /// Linux, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
    pub fn top(self, marks: Marks) -> Flat {
        let plan = Plan::top(&self.nodes);
        Flat { flattener: self, plan, marks }
    }

    /// What was odd about the layers.
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// The tree is whole: all of it is to be written.
    pub fn finish(mut self) -> Flat {
        self.nodes.next_layer();
        let plan = Plan::new(&self.nodes, &Choice::default());
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
        self.plan.layers().into_iter().map(|layer| layer as usize).collect()
    }

    /// What was odd about the layers.
    pub fn warnings(&self) -> &Warnings {
        &self.flattener.warnings
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
    limits: Limits,
    entries_left: u64,
    /// The entries of the layers that were read, newest layer first.
    layers: Vec<Vec<Entry>>,
    warnings: Warnings,
}

impl Parts {
    /// Looks for these paths, which are cleaned like the names of a tar.
    pub fn new(paths: Vec<Vec<u8>>, limits: Limits) -> Self {
        let entries_left = limits.max_entries;
        Self { paths, limits, entries_left, layers: Vec::new(), warnings: Warnings::default() }
    }

    /// Reads the names of the next layer, the newest one first. Its diff ID is checked.
    pub fn read(&mut self, layer: LayerInput) -> Result<()> {
        let name = layer.name.clone();
        let left = &mut self.entries_left;
        let entries = read(layer, self.limits, |stream| {
            let mut reader = Reader::from_buffered(stream);
            let mut entries = Vec::new();
            while let Some(entry) = reader.next_entry()? {
                let limit = || Error::new(Kind::Limit, "image has too many entries");
                *left = left.checked_sub(1).ok_or_else(limit)?;
                entries.push(entry);
            }
            self.warnings.append(reader.take_warnings());
            Ok(entries)
        });
        self.layers.push(entries.map_err(|err| err.context(name))?);
        Ok(())
    }

    /// The wanted parts, or nothing where some of the `below` layers that were not read yet could
    /// change them.
    pub fn settle(&self, below: usize) -> Result<Option<Flat>> {
        let mut nodes = Nodes::new(below > 0);
        let mut warnings = self.warnings.clone();
        let applied = self.apply(&mut nodes, below, &mut warnings);
        // What looks wrong may only be a part of what is right.
        if below > 0 && (applied.is_err() || nodes.unsure) {
            return Ok(None);
        }
        applied?;
        let choice = Choice::find(&nodes, &self.paths)?;
        nodes.next_layer();
        Ok(choice.map(|choice| {
            let plan = Plan::new(&nodes, &choice);
            let flattener = Flattener { nodes, warnings, ..Flattener::new(self.limits) };
            Flat { flattener, plan, marks: Marks::default() }
        }))
    }

    fn apply(&self, nodes: &mut Nodes, below: usize, warnings: &mut Warnings) -> Result<()> {
        let (mut entries_left, mut room) = (u64::MAX, self.limits.room());
        for (i, entries) in self.layers.iter().rev().enumerate() {
            nodes.layer = u32::try_from(below + i).unwrap_or(u32::MAX);
            let mut applier = Applier {
                nodes: &mut *nodes,
                warnings: &mut *warnings,
                entries_left: &mut entries_left,
                room: &mut room,
            };
            for (number, entry) in entries.iter().enumerate() {
                applier.next(entry, number as u64)?;
            }
        }
        Ok(())
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
