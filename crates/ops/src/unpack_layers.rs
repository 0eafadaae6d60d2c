//! `conex unpack --layers`: one folder for each layer, ready to be stacked by overlayfs.
//!
//! ```text
//! DIR/1, DIR/2, …    the layers, the lowest one first
//! DIR/lowerdir       their names as overlayfs takes them, the uppermost first: `2:1`
//! ```

use conex_layer::flatten::{Flattener, Limits, Marks};
use conex_layer::unpack::Unpacker;
use conex_spec::{Error, Location, Platform, Result};
use conex_store::{Event, bridge};

use crate::layers::Layers;
use crate::open::Context;
use crate::unpack::{Report, Target, Tree, load, through_pipe};

/// How many layers overlayfs stacks: it takes at most 500, and their names in one page of memory.
const MOST: usize = 500;

/// Unpacks each layer of the image that suits `platform` to a folder of its own. Stacked upon each
/// other they are the tree that [`crate::unpack::unpack`] gives.
pub async fn unpack_layers(
    context: &Context,
    location: &Location,
    platform: &Platform,
    target: &Target,
    marks: Marks,
) -> Result<Report> {
    let doing = || format!("cannot unpack {location}");
    let (source, image) =
        load(context, location, platform).await.map_err(|err| err.context(doing()))?;
    let layers = Layers::kept(context, source.as_ref(), &image)?;
    check_number(layers.len()).map_err(|err| err.context(doing()))?;
    let unpacker = Unpacker::folders(&target.dir, target.options)?;
    let unpacked = apply(context, &layers, marks, unpacker).await;
    let unpacker = unpacked.map_err(|err| err.context(doing()))?;
    target.check(&unpacker).map_err(|err| err.context(doing()))?;
    let names: Vec<_> = (1..=layers.len()).rev().map(|number| number.to_string()).collect();
    let tree = bridge::blocking(move || {
        unpacker.write("lowerdir", (names.join(":") + "\n").as_bytes())?;
        unpacker.publish().map(Tree::from)
    });
    Ok(Report { platform: image.config.platform(), tree: tree.await?, image: image.root })
}

fn check_number(layers: usize) -> Result<()> {
    if layers <= MOST {
        return Ok(());
    }
    Err(Error::new(conex_spec::Kind::Limit, "image has more layers than overlayfs stacks")
        .expected(format!("at most {MOST}"))
        .found(layers)
        .hint("unpack it without `--layers`"))
}

async fn apply(
    context: &Context,
    layers: &Layers<'_>,
    marks: Marks,
    mut unpacker: Unpacker,
) -> Result<Unpacker> {
    let mut flattener = Flattener::new(Limits::default());
    for number in 0..layers.len() {
        let layer = layers.open_told(number).await?;
        let (begun, flat) = bridge::blocking(move || {
            flattener.apply(layer)?;
            unpacker.begin_folder(&(number + 1).to_string())?;
            Ok((unpacker, flattener.top(marks)))
        })
        .await?;
        let (applied, flat) = through_pipe(layers, flat, begun).await?;
        unpacker = applied;
        flattener = flat.into_flattener();
        context.observer.event(Event::Done(layers.descriptor(number)));
    }
    bridge::blocking(move || {
        unpacker.note(flattener.warnings());
        Ok(unpacker)
    })
    .await
}
