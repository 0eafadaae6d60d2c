//! `conex cat`: one file of an image, from the layers that decide what it is.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use conex_layer::tree::{Listing, Lookup, Newest, Tree, contents};
use conex_spec::{Descriptor, Error, Kind as Fault, Location, Platform, Result};
use conex_tar::{Kind, Piece, show};

use crate::files::Files;
use crate::open::Context;

/// Writes the content of a file to `out`. Links are followed inside the image.
///
/// Layers are read from the newest on, until one tells what the path is: the others are not fetched. The
/// one that has the content is read twice where it is not at hand, so that nothing comes out of a layer
/// that is not what its digest says.
///
/// # Errors
/// `NotFound` where the image has no such path, `Invalid` where it is no file.
pub async fn cat(
    context: &Context,
    location: &Location,
    platform: &Platform,
    path: &[u8],
    out: impl Write + Send + 'static,
) -> Result<()> {
    let doing = |err: Error| err.context(format!("cannot read {} of {location}", show(path)));
    let files = Files::open(context, location, platform).await.map_err(doing)?;
    let (layer, listing, place) = find(&files, path).await.map_err(doing)?;
    write(&files, &layer, &listing, place, out).await.map_err(doing)
}

/// The layer, its listing and the place of the entry that has the content.
async fn find(files: &Files, path: &[u8]) -> Result<(Descriptor, Arc<Listing>, usize)> {
    let (mut newest, mut listings) = (Newest::default(), Vec::new());
    for layer in files.layers().iter().rev() {
        let listing = files.listing(layer, false).await?;
        newest.push(Arc::clone(&listing));
        listings.push(listing);
        match newest.find(path)? {
            Lookup::Entry(at, place) => {
                let layer = files.layers()[files.layers().len() - 1 - at].clone();
                return Ok((layer, Arc::clone(&listings[at]), place));
            }
            Lookup::Missing => return Err(missing(path)),
            Lookup::Unknown => {}
        }
    }
    let mut tree = Tree::default();
    for listing in listings.iter().rev() {
        tree.apply(Arc::clone(listing))?;
    }
    let node = tree.find(path)?.ok_or_else(|| missing(path))?;
    let (layer, place) = tree.place(node).ok_or_else(|| no_file(path, &Kind::Dir))?;
    Ok((files.layers()[layer].clone(), Arc::clone(&tree.layers()[layer]), place))
}

async fn write(
    files: &Files,
    layer: &Descriptor,
    listing: &Listing,
    place: usize,
    mut out: impl Write + Send + 'static,
) -> Result<()> {
    let entry = listing.entry(place).ok_or_else(|| missing(b""))?;
    if entry.kind != Kind::File {
        return Err(no_file(&entry.path, &entry.kind));
    }
    let wanted = BTreeSet::from([entry.offset]);
    let work = move |tar: &mut dyn std::io::BufRead| {
        let fail = |err| Error::from_io(err, || "cannot write the content".into());
        contents(tar, &wanted, &mut |_, piece| match piece {
            Piece::Data(data) => out.write_all(data).map_err(fail),
            Piece::Hole(length) => zeros(&mut out, length).map_err(fail),
        })?;
        out.flush().map_err(fail)
    };
    files.read(layer, work).await
}

fn zeros(out: &mut impl Write, mut length: u64) -> std::io::Result<()> {
    let zeros = [0; 64 << 10];
    while length > 0 {
        let n = length.min(zeros.len() as u64);
        out.write_all(&zeros[..n as usize])?;
        length -= n;
    }
    Ok(())
}

fn missing(path: &[u8]) -> Error {
    Error::new(Fault::NotFound, format!("no {} in the image", show(path)))
        .hint("`conex ls -R LOCATION` lists everything")
}

fn no_file(path: &[u8], kind: &Kind) -> Error {
    Error::invalid(format!("{} has no content", show(path))).expected("a file").found(kind.noun())
}
