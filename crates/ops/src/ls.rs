//! `conex ls`: the files of an image, without unpacking it.

use conex_layer::tree::{NodeId, Tree};
use conex_spec::{Error, Kind as Fault, Location, Platform, Result};
use conex_tar::show;

use crate::files::{Files, Row};
use crate::open::Context;

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A path in the image; the root without it. Links on the way are followed inside the image.
    pub path: Vec<u8>,
    /// Everything below, not just what is in the directory.
    pub recursive: bool,
    /// The directory itself, not what is in it.
    pub directory: bool,
    /// One layer as it stands, whiteouts and all, by its number, 1 for the base.
    pub layer: Option<usize>,
}

/// The files, in the order of their names; of a single layer in the order of its tar.
///
/// # Errors
/// `NotFound` where the image has no such path.
pub async fn ls(
    context: &Context,
    location: &Location,
    platform: &Platform,
    options: &Options,
) -> Result<Vec<Row>> {
    let doing = |err: Error| err.context(format!("cannot list {location}"));
    let files = Files::open(context, location, platform).await.map_err(doing)?;
    match options.layer {
        Some(number) => layer(&files, number, options).await.map_err(doing),
        None => rows(&files.tree().await.map_err(doing)?, options).map_err(doing),
    }
}

fn rows(tree: &Tree, options: &Options) -> Result<Vec<Row>> {
    let found =
        if options.directory { tree.find_name(&options.path)? } else { tree.find(&options.path)? };
    let missing = || {
        Error::new(Fault::NotFound, format!("no {} in the image", show(&options.path)))
            .hint("`conex ls -R LOCATION` lists everything")
    };
    let start = found.ok_or_else(missing)?;
    let nodes: Vec<NodeId> = match (options.recursive, tree.is_dir(start)) {
        (_, false) => vec![start],
        (true, true) => tree.walk(start).skip(usize::from(!options.directory)).collect(),
        (false, true) if options.directory => vec![start],
        (false, true) => tree.children(start),
    };
    Ok(nodes.into_iter().map(|node| Row::of(tree, node)).collect())
}

/// The entries of one layer at or below the path.
async fn layer(files: &Files, number: usize, options: &Options) -> Result<Vec<Row>> {
    let listing = files.listing(files.layer(number)?, false).await?;
    let wanted =
        conex_layer::Name::parse(if options.path.is_empty() { b"." } else { &options.path })?;
    let below = |name: &[u8]| {
        let rest = match wanted.as_bytes() {
            b"" => Some(name),
            dir => name.strip_prefix(dir).filter(|rest| rest.is_empty() || rest[0] == b'/'),
        };
        rest.is_some()
    };
    let entries = (0..listing.len()).filter(|&at| below(listing.name(at)));
    let rows = entries.filter_map(|at| listing.entry(at)).map(|entry| {
        let mut row = Row::entry(&entry);
        row.layer = Some(number);
        row
    });
    Ok(rows.collect())
}
