//! Unpacks an image: its layers, in order, become one directory.
//!
//! Everything is written to a private folder beside the target and checked there; one rename
//! makes it visible. A layer that fails, or whose bytes are not those of its diff ID, leaves
//! nothing behind.
//!
//! # Security
//! Layers are hostile. Every name is resolved inside the tree through held directory
//! descriptors, attributes are set on open files, and what a layer asks for beyond its own
//! files is refused or reported: see the rules in `cursor`, `apply` and `xattr`. Where the kernel has
//! Landlock, the threads that do it can open nothing outside of the private folder.

mod above;
mod apply;
mod confine;
mod crew;
mod cursor;
mod deferred;
mod file;
mod level;
mod parcel;
pub(crate) mod pipeline;
mod remove;
pub(crate) mod room;
mod seen;
mod staging;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use conex_spec::{Algorithm, Compression, Digest, Error, Kind, Result};
use conex_tar::{Code, Warning, Warnings};

use self::above::Above;
use self::apply::Applier;
use self::confine::confined;
use self::cursor::Cursor;
use self::room::Room;
use self::seen::Seen;
use self::staging::{Shape, Staging};
use crate::ids::Ids;
use crate::mtree;
use crate::root::Root;

/// How many set-id files and files with capabilities are listed by name.
const MAX_LISTED: usize = 1000;

/// What one reader takes for one tree, and another for another.
const AMBIGUOUS: [Code; 6] = [
    Code::DuplicateEntry,
    Code::TrailingData,
    Code::RepeatedPaxKey,
    Code::SizesDiffer,
    Code::SizeIgnored,
    Code::WhiteoutContent,
];

/// What is said of a file whose name the layer had already.
const TWICE: &str = "appears twice in one layer, the last entry counts";

/// What to do with character and block devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// Make them where the process may, which is what a root file system for a container
    /// needs; elsewhere replace them.
    #[default]
    Create,
    /// An empty file in the place of each.
    Replace,
    /// Nothing in the place of each.
    Skip,
}

/// How to unpack.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What becomes of devices.
    pub devices: Devices,
    /// Whether the process may change owners and make devices; by default, whether it is root.
    pub privileged: Option<bool>,
    /// Whose the files become.
    pub ids: Ids,
    /// The most bytes that all layers may have uncompressed, and that all files may have
    /// together; by default what the file system has free, less a reserve.
    pub max_bytes: Option<u64>,
    /// The most entries of all layers together.
    pub max_entries: u64,
    /// Whether everything is on the disk before it becomes visible, so that a power cut leaves
    /// either the whole tree or none.
    pub sync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            devices: Devices::default(),
            privileged: None,
            ids: Ids::default(),
            max_bytes: None,
            max_entries: 10_000_000,
            sync: true,
        }
    }
}

/// One layer to be applied.
pub struct LayerInput {
    /// As the media type of its descriptor says.
    pub compression: Compression,
    /// The digest of the uncompressed bytes, from the image's config.
    pub diff_id: Digest,
    /// The compressed bytes. Whether they have the descriptor's digest is the reader's to
    /// check, and its error comes out whole.
    pub reader: Box<dyn Read + Send>,
    /// What the layer is called in errors.
    pub name: String,
}

impl std::fmt::Debug for LayerInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LayerInput({}, {})", self.name, self.compression)
    }
}

/// What one layer held, or, summed up, what all of them held.
#[derive(Clone, Debug, Default)]
pub struct LayerReport {
    /// Entries in the tar, whiteouts included.
    pub entries: u64,
    /// Bytes of content in its files, holes included.
    pub bytes: u64,
    /// Bytes of the uncompressed tar.
    pub uncompressed: u64,
    /// Files with the set-user-id or set-group-id bit.
    pub set_id: u64,
    /// Files with capabilities.
    pub capable: u64,
    /// The names of such files as in the tar, the first thousand.
    pub privileged: Vec<Vec<u8>>,
    /// What was odd.
    pub warnings: Warnings,
}

/// What the image held; see [`LayerReport`].
pub type Report = LayerReport;

/// An image being unpacked. Dropped without [`Unpacker::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Unpacker {
    // Dropped first: its descriptors lie in the staging folder.
    cursor: Cursor,
    root: Root,
    staging: Staging,
    options: Options,
    room: Room,
    total: Report,
    layers: usize,
    /// While layers are applied from the top down.
    above: Option<Above>,
    failed: bool,
}

impl Unpacker {
    /// Prepares a private folder beside `target`, which must not exist or be an empty
    /// directory, and whose parent must exist.
    pub fn new(target: &Path, options: Options) -> Result<Self> {
        Self::begin(Staging::new(target, Shape::Rootfs)?, options)
    }

    /// The same for a bundle, which is to be published with [`Unpacker::publish_bundle`].
    pub fn bundle(target: &Path, options: Options) -> Result<Self> {
        Self::begin(Staging::new(target, Shape::Bundle)?, options)
    }

    fn begin(staging: Staging, options: Options) -> Result<Self> {
        let creation = staging.probe()?;
        let privileged = options.privileged.unwrap_or(creation.uid == 0);
        let room = Room::new(options.max_bytes, staging.free_space());
        let (root, trash) = staging.open()?;
        let cursor =
            Cursor::new(root, Arc::new(Mutex::new(trash)), creation, privileged, options.ids)?;
        let root = Root::from_fd(staging.open()?.0);
        let mut unpacker = Self {
            cursor,
            root,
            staging,
            options,
            room,
            total: Report::default(),
            layers: 0,
            above: None,
            failed: false,
        };
        if unpacker.staging.shape() != Shape::Folders {
            let meta = unpacker.cursor.implied();
            unpacker.cursor.set_top(&meta, b"/")?;
        }
        Ok(unpacker)
    }

    /// Applies the next layer over what is there. After an error the unpacker can only be
    /// dropped.
    pub fn apply(&mut self, layer: LayerInput) -> Result<LayerReport> {
        self.above = None;
        let report = self.apply_layer(layer)?;
        self.total.add(&report);
        Ok(report)
    }

    /// Applies the next layer under what is there: the first one is the newest. What a newer layer hides is
    /// not written. False where only the order from the bottom up can tell what the layers mean; the
    /// unpacker can only be dropped then, as after an error.
    pub fn apply_below(&mut self, layer: LayerInput) -> Result<bool> {
        self.above.get_or_insert_default();
        let applied = self.apply_layer(layer);
        let is_lost = self.above.as_ref().is_some_and(Above::is_lost);
        match applied {
            Err(_) if is_lost => return Ok(false),
            Err(err) => return Err(err),
            Ok(mut report) => {
                // It is told as if the layers had come in their order.
                report.add(&self.total);
                self.total = report;
            }
        }
        if let Some(above) = &mut self.above {
            above.end_layer();
        }
        Ok(true)
    }

    fn apply_layer(&mut self, layer: LayerInput) -> Result<LayerReport> {
        let LayerInput { compression, diff_id, reader, name } = layer;
        self.apply_checked(reader, compression, Some(&diff_id), name)
    }

    fn apply_checked(
        &mut self,
        reader: Box<dyn Read + Send>,
        compression: Compression,
        diff_id: Option<&Digest>,
        name: String,
    ) -> Result<LayerReport> {
        self.check_sound()?;
        self.failed = true;
        let report = self.apply_inner(reader, compression, diff_id);
        let report = report.map_err(|err| if name.is_empty() { err } else { err.context(name) })?;
        self.failed = false;
        self.layers += 1;
        let used = report.uncompressed.max(report.bytes);
        self.room.bytes = self.room.bytes.saturating_sub(used);
        Ok(report)
    }

    /// A folder for several trees, each begun with [`Unpacker::begin_folder`]; only its owner may
    /// enter it.
    pub fn folders(target: &Path, options: Options) -> Result<Self> {
        Self::begin(Staging::new(target, Shape::Folders)?, options)
    }

    /// Begins the next tree, in a folder of this name.
    pub fn begin_folder(&mut self, name: &str) -> Result<()> {
        self.finish()?;
        self.cursor.set_own_deferred(&mut self.total.warnings)?;
        let (root, trash) = self.staging.make_folder(name)?;
        let (creation, privileged) = (self.cursor.creation, self.cursor.privileged);
        let held = root.try_clone();
        let held = held.map_err(|err| Error::from_io(err, || "cannot open a folder".into()))?;
        self.cursor =
            Cursor::new(root, Arc::new(Mutex::new(trash)), creation, privileged, self.options.ids)?;
        self.root = Root::from_fd(held);
        self.layers = 0;
        let meta = self.cursor.implied();
        self.cursor.set_top(&meta, b"/")
    }

    /// Puts a file beside the trees.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        self.staging.write(name, content)
    }

    /// Applies a tar that this process makes itself, and for whose content it answers: the marks
    /// of overlayfs in it are its own.
    pub fn apply_own(&mut self, tar: Box<dyn Read + Send>) -> Result<LayerReport> {
        self.above = None;
        let report = self.apply_checked(tar, Compression::None, None, String::new())?;
        self.total.add(&report);
        Ok(report)
    }

    /// Writes a manifest of the tree, which is then ready to be published: [`crate::mtree`].
    pub fn manifest(&mut self, out: &mut impl std::io::Write) -> Result<()> {
        self.finish()?;
        let root = self.cursor.as_in_the_end(mtree::root_of)?;
        mtree::write_with(&self.root, root, out).map(drop)
    }

    /// Why a layer may be another tree to another reader, if there is a reason: names twice, sizes that
    /// differ, what stands behind its end (rules T1, T4, T5).
    pub fn ambiguity(&self) -> Option<&Warning> {
        self.total.warnings.kept().iter().find(|warning| AMBIGUOUS.contains(&warning.code))
    }

    /// Adds what was odd about the layers of which such a tar was made.
    pub fn note(&mut self, warnings: &Warnings) {
        self.total.warnings.append(warnings.clone());
    }

    /// Makes the tree visible under the name of the target.
    pub fn publish(mut self) -> Result<Report> {
        self.finish()?;
        self.make_visible()
    }

    /// Makes the bundle visible under the name of the target: `rootfs`, and beside it
    /// `config.json` with what `config` makes of the tree. Only its owner may enter the bundle:
    /// the tree holds set-user-id files (rule U10).
    pub fn publish_bundle(
        mut self,
        config: impl FnOnce(&Root) -> Result<Vec<u8>>,
    ) -> Result<Report> {
        self.finish()?;
        self.staging.write("config.json", &config(&self.root)?)?;
        self.make_visible()
    }

    fn finish(&mut self) -> Result<()> {
        self.check_sound()?;
        let warnings = &mut self.total.warnings;
        self.cursor.set_deferred(warnings)?;
        // Without privilege the root must be one that can be moved.
        if self.cursor.privileged { self.cursor.set_own_deferred(warnings) } else { Ok(()) }
    }

    fn make_visible(mut self) -> Result<Report> {
        if self.options.sync {
            self.staging.sync()?;
        }
        self.staging.publish()?;
        // A directory that cannot be written cannot be moved, so the root's own mode is last.
        self.cursor.set_own_deferred(&mut self.total.warnings)?;
        if self.options.sync {
            self.cursor.sync()?;
            self.staging.sync_parent()?;
        }
        Ok(std::mem::take(&mut self.total))
    }

    fn check_sound(&self) -> Result<()> {
        if self.failed {
            return Err(Error::new(Kind::Usage, "a layer of this image could not be unpacked"));
        }
        Ok(())
    }

    fn apply_inner(
        &mut self,
        reader: Box<dyn Read + Send>,
        compression: Compression,
        diff_id: Option<&Digest>,
    ) -> Result<LayerReport> {
        let algorithm = diff_id.map_or(Ok(Algorithm::Sha256), Digest::algorithm)?;
        self.cursor.seen = Seen::new(self.layers == 0);
        let room = self.room;
        let trash = Arc::clone(&self.cursor.trash);
        let (folder, threads) = (self.staging.folder(), crew::threads());
        let applier = Applier {
            cursor: &mut self.cursor,
            root: &self.root,
            above: self.above.as_mut(),
            devices: self.options.devices,
            own: diff_id.is_none(),
            // Nobody else may enter a bundle.
            keep_set_id: self.options.ids == Ids::default()
                || self.staging.shape() != Shape::Rootfs,
            room,
            entries_left: self.options.max_entries - self.total.entries,
            rooted: false,
            owners_noted: self.total.warnings.has(Code::OwnersKept),
            report: LayerReport::default(),
        };
        let apply = |stream| {
            // The applier goes away in there, and with it the last who could send them work.
            confined(folder, || crew::run(threads, &trash, |crew| applier.apply(crew, stream)))
        };
        let applied = pipeline::run(reader, compression, algorithm, room, apply);
        let ((mut report, warnings), digest, uncompressed) = applied?;
        if let Some(diff_id) = diff_id {
            diff_id.check(&digest, || "layer is not the one of the diff ID".into())?;
        }
        report.uncompressed = uncompressed;
        report.warnings.append(warnings);
        Ok(report)
    }
}

impl LayerReport {
    fn add(&mut self, layer: &Self) {
        self.entries += layer.entries;
        self.bytes += layer.bytes;
        self.uncompressed += layer.uncompressed;
        self.set_id += layer.set_id;
        self.capable += layer.capable;
        let room = MAX_LISTED.saturating_sub(self.privileged.len());
        self.privileged.extend(layer.privileged.iter().take(room).cloned());
        self.warnings.append(layer.warnings.clone());
    }
}
