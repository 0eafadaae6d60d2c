//! `conex cat`: one file of an image, from the layers that decide what it is.

use std::collections::BTreeSet;
use std::io::Write;

use conex_layer::tree::{Found, Newest, contents};
use conex_spec::{Descriptor, Error, Kind as Fault, Location, Platform, Result};
use conex_tar::{Entry, Kind, Piece, show};

use crate::files::Files;
use crate::open::Context;

/// Writes the content of a file to `out`. Links are followed inside the image.
///
/// Layers are read from the newest on, until one tells what the path is: the others are not fetched. The
/// one that has the content is read twice, so that nothing comes out of a layer that is not what its
/// digest says; from far away it comes once, and waits in a file without a name.
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
    let files = files.keeping(context.keeper());
    let (layer, entry) = find(&files, path).await.map_err(doing)?;
    write(&files, &layer, &entry, out).await.map_err(doing)
}

/// The layer and the entry that has the content.
async fn find(files: &Files, path: &[u8]) -> Result<(Descriptor, Entry)> {
    let mut newest = Newest::default();
    for (unread, layer) in files.layers().iter().enumerate().rev() {
        newest.push(files.listing(layer, false).await?);
        let Some(tree) = newest.tree(unread)? else { continue };
        let node = match tree.look(path)? {
            Found::Node(node) => node,
            Found::Missing => return Err(missing(path)),
            Found::Unknown => continue,
        };
        let entry = tree.entry(node);
        return match tree.layer(node) {
            Some(layer) if entry.kind == Kind::File => Ok((files.layers()[layer].clone(), entry)),
            _ => Err(no_file(path, &entry.kind)),
        };
    }
    Err(missing(path))
}

async fn write(
    files: &Files,
    layer: &Descriptor,
    entry: &Entry,
    mut out: impl Write + Send + 'static,
) -> Result<()> {
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
