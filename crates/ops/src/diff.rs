//! `conex diff`: what differs between two images, layers or folders.

mod contents;
mod json;
mod side;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use conex_layer::tree::{Aspect, Change, ContentHash, Difference, NodeId, Tree, compare};
use conex_spec::{Digest, Error, Location, Platform, Result};

use crate::files::Row;
use crate::open::Context;

pub use self::json::Edit;
use self::side::Side;

/// Something to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// An image.
    Image(Location),
    /// A folder, or a file that holds a layer, written with `/`, `./` or `../` at its beginning.
    Path(PathBuf),
}

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which image of an index.
    pub platform: Platform,
    /// One layer of each image, by its number, 1 for the base, in place of all.
    pub layer: Option<usize>,
    /// What makes no difference.
    pub ignore: Vec<Aspect>,
    /// Whether the lines of text files are compared.
    pub content: bool,
}

/// What differs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The first one.
    pub old: Operand,
    /// The second one.
    pub new: Operand,
    /// The manifests' digests, of images.
    pub digests: Option<(Digest, Digest)>,
    /// Whether nothing differs: no file, no config, no manifest.
    pub same: bool,
    /// What differs between the manifests, the layers and the config's descriptor apart.
    pub manifest: Vec<Edit>,
    /// What differs between the configs, diff IDs apart.
    pub config: Vec<Edit>,
    /// The layers of images.
    pub layers: Option<Layers>,
    /// The files that differ, each folder before what is in it.
    pub files: Vec<FileChange>,
    /// What that comes to.
    pub sum: Sum,
}

/// How many layers there are, and their compressed bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layers {
    /// In both images.
    pub shared: usize,
    /// Only in the first.
    pub old: usize,
    /// Their bytes.
    pub old_bytes: u64,
    /// Only in the second.
    pub new: usize,
    /// Their bytes.
    pub new_bytes: u64,
    /// Those only in the first.
    pub only_old: Vec<OneLayer>,
    /// Those only in the second.
    pub only_new: Vec<OneLayer>,
}

/// A layer of one of both images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneLayer {
    /// Its place in the image, 1 for the base.
    pub number: usize,
    /// The digest of its blob.
    pub digest: Digest,
    /// Compressed bytes.
    pub size: u64,
}

/// A file that differs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// Where it is.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// What of it: `kind`, `content`, `target`, `device`, `mode`, `owner`, `time`, `xattrs`, `links`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<&'static str>,
    /// The file in the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Row>,
    /// The file in the second one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Row>,
    /// The lines that differ, as `diff -u` writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<String>,
}

/// What all files come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// Names that only the second one has.
    pub added: u64,
    /// Names that only the first one has.
    pub removed: u64,
    /// Names that differ.
    pub changed: u64,
    /// Bytes of content in what was added.
    pub added_bytes: u64,
    /// Bytes of content in what was removed.
    pub removed_bytes: u64,
    /// How much what changed has grown, in bytes; negative where it shrank.
    pub grown: i64,
}

/// Compares two of anything. Layers that both have are read once, and not hashed unless it matters;
/// two images of the same layers are not read at all.
///
/// # Errors
/// `NotFound` for what is not there, and what unpacking it would refuse.
pub async fn diff(
    context: &Context,
    old: &Operand,
    new: &Operand,
    options: &Options,
) -> Result<Report> {
    let spool = context.keeper();
    let (mut a, mut b) = futures_util::future::try_join(
        Side::open(context, old, options, &spool),
        Side::open(context, new, options, &spool),
    )
    .await?;
    let (manifest, config) = json::documents(&a, &b).await?;
    let mut files = Vec::new();
    if !a.is_same_as(&b) {
        side::read(&mut a, &mut b).await?;
        let changes = changes(&a, &b, &options.ignore).await?;
        let lines = match options.content {
            true => contents::lines(&a, &b, &changes).await?,
            false => HashMap::new(),
        };
        files = changes.iter().map(|change| told(&a.tree, &b.tree, change, &lines)).collect();
    }
    Ok(Report {
        old: old.clone(),
        new: new.clone(),
        digests: a.digest().zip(b.digest()),
        same: files.is_empty() && manifest.is_empty() && config.is_empty(),
        sum: Sum::of(&files),
        layers: a.layers_beside(&b),
        manifest,
        config,
        files,
    })
}

/// Where neither hashes nor layers in common tell whether content is the same, it is hashed.
async fn changes(a: &Side, b: &Side, ignore: &[Aspect]) -> Result<Vec<Change>> {
    let mut doubtful = Vec::new();
    let mut changes = compare(&a.tree, &b.tree, &mut |old, new| {
        doubtful.push((old, new));
        Ok(true)
    })?;
    if !doubtful.is_empty() {
        let old = a.hashes(doubtful.iter().map(|pair| pair.0)).await?;
        let new = b.hashes(doubtful.iter().map(|pair| pair.1)).await?;
        changes = compare(&a.tree, &b.tree, &mut |x, y| Ok(old.get(&x) == new.get(&y)))?;
    }
    changes.retain_mut(|change| matters(change, ignore));
    Ok(changes)
}

fn matters(change: &mut Change, ignore: &[Aspect]) -> bool {
    let Difference::Changed(aspects) = &mut change.difference else { return true };
    aspects.retain(|aspect| !ignore.contains(aspect));
    !aspects.is_empty()
}

fn told(old: &Tree, new: &Tree, change: &Change, lines: &HashMap<NodeId, String>) -> FileChange {
    let (from, to) =
        (change.old.map(|node| Row::of(old, node)), change.new.map(|node| Row::of(new, node)));
    let (word, aspects) = match &change.difference {
        Difference::Added => ("added", Vec::new()),
        Difference::Removed => ("removed", Vec::new()),
        Difference::Changed(aspects) => ("changed", aspects.iter().map(name).collect()),
    };
    let row = to.as_ref().or(from.as_ref());
    FileChange {
        path: row.map(|row| row.path.clone()).unwrap_or_default(),
        change: word,
        aspects,
        lines: change.new.and_then(|node| lines.get(&node).cloned()),
        old: from,
        new: to,
    }
}

/// What a person calls an aspect.
pub fn name(aspect: &Aspect) -> &'static str {
    match aspect {
        Aspect::Kind => "kind",
        Aspect::Content => "content",
        Aspect::Target => "target",
        Aspect::Device => "device",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Time => "time",
        Aspect::Xattrs => "xattrs",
        Aspect::Links => "links",
    }
}

impl Sum {
    fn of(files: &[FileChange]) -> Self {
        let mut sum = Self::default();
        for file in files {
            let (old, new) = (size(file.old.as_ref()), size(file.new.as_ref()));
            match file.change {
                "added" => (sum.added, sum.added_bytes) = (sum.added + 1, sum.added_bytes + new),
                "removed" => {
                    (sum.removed, sum.removed_bytes) = (sum.removed + 1, sum.removed_bytes + old);
                }
                _ => {
                    sum.changed += 1;
                    sum.grown += new.cast_signed() - old.cast_signed();
                }
            }
        }
        sum
    }
}

fn size(row: Option<&Row>) -> u64 {
    row.map_or(0, |row| row.size)
}

/// The hashes of some files.
type Hashes = HashMap<NodeId, ContentHash>;

impl FromStr for Operand {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_path = matches!(text, "." | "..")
            || ["/", "./", "../"].iter().any(|start| text.starts_with(start));
        if is_path { Ok(Self::Path(text.into())) } else { text.parse().map(Self::Image) }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(location) => location.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for Operand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
