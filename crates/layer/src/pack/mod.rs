//! Packs a directory into a layer: the same tree gives the same bytes on every machine.
//!
//! Names are sorted by their bytes, nothing of the host but what image-spec, layer.md, "File
//! Attributes" asks for is written, and no link is followed. One thread reads the tree and makes
//! the tar, another hashes and compresses it.

mod merge;
mod output;
mod overlay;
mod owners;
mod patterns;
mod plan;
mod walk;

use std::io::Write;
use std::path::Path;

use conex_spec::{Digest, Result};
use conex_tar::{Time, Warnings, compression::Settings};

pub use self::owners::{IdRange, Owners};
pub use self::patterns::{Filter, Patterns};
pub use self::plan::Plan;

use self::patterns::Filtering;
use self::walk::{Choice, Walker};

/// How to pack.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Format and level of the compression.
    pub settings: Settings,
    /// Whose the files are.
    pub owners: Owners,
    /// Later times are written as this one; `SOURCE_DATE_EPOCH` of reproducible-builds.org.
    pub latest: Option<Time>,
    /// Whether files named `.wh.…` are packed as the whiteouts they will be. Otherwise they are
    /// an error: "it is not possible to create a filesystem which has a file or directory with
    /// a name beginning with `.wh.`" (image-spec, layer.md, "Whiteouts").
    pub whiteouts: bool,
    /// What is packed of the tree.
    pub filter: Filter,
    /// Whether the directory is the upper one of an overlay file system, whose marks of deleted files
    /// and opaque directories become whiteouts.
    pub overlay: bool,
    /// The folder that everything is in, as tools of artifacts write a packed folder; none for a layer.
    pub below: Option<Vec<u8>>,
    /// Whether a file with several names is packed once for each of them, and not with hard links.
    pub names_apart: bool,
}

/// A layer that was written.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The digest of the uncompressed tar, for the image's config.
    pub diff_id: Digest,
    /// The digest of the bytes written, for the descriptor.
    pub digest: Digest,
    /// How many bytes were written.
    pub size: u64,
    /// How many bytes the tar has uncompressed.
    pub uncompressed: u64,
    /// How many entries it has.
    pub entries: u64,
    /// How many of them were made of the marks of an overlay, or of a plan, to hide something.
    pub whiteouts: u64,
    /// What could not be packed as it is.
    pub warnings: Warnings,
}

/// Packs the tree below `dir` and writes the layer to `out`.
///
/// The tree must not change meanwhile: a file whose length changes is an error.
pub fn pack(dir: &Path, out: impl Write + Send, options: &Options) -> Result<Packed> {
    pack_over(&[dir], out, options)
}

/// Packs several trees as one, the lowest first: what a later one has replaces what earlier ones have,
/// and a file `.wh.NAME` hides it, where the options have whiteouts.
pub fn pack_over(
    dirs: &[impl AsRef<Path>],
    out: impl Write + Send,
    options: &Options,
) -> Result<Packed> {
    run(dirs, out, options, Choice::Filter(Filtering::new(&options.filter)))
}

/// Packs what a plan names of the tree below `dir`, and nothing else.
pub fn pack_changes(
    dir: &Path,
    out: impl Write + Send,
    options: &Options,
    plan: &Plan,
) -> Result<Packed> {
    run(&[dir], out, options, Choice::Plan(plan))
}

fn run(
    dirs: &[impl AsRef<Path>],
    out: impl Write + Send,
    options: &Options,
    choice: Choice<'_>,
) -> Result<Packed> {
    let walker = Walker::open(dirs, options, choice)?;
    let (walked, written) = output::run(out, options.settings, |tar| walker.walk(tar))?;
    Ok(Packed {
        diff_id: written.diff_id,
        digest: written.digest,
        size: written.size,
        uncompressed: written.uncompressed,
        entries: walked.entries,
        whiteouts: walked.whiteouts,
        warnings: walked.warnings,
    })
}
