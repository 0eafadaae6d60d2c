//! `conex unpack --bundle`: a folder that a runtime starts, with `rootfs` and `config.json`.

use std::sync::mpsc::channel;

use conex_layer::Ids;
use conex_layer::unpack::Unpacker;
use conex_spec::{Error, Location, Platform, Result};

use crate::open::Context;
use crate::runtime_config::{check_maps, runtime_config};
use crate::unpack::{MakeConfig, Report, Target, apply_layers, load, publish};

/// Unpacks the image that suits `platform` to a bundle, which appears whole or not at all.
pub async fn bundle(
    context: &Context,
    location: &Location,
    platform: &Platform,
    target: &Target,
) -> Result<Report> {
    let doing = || format!("cannot unpack {location}");
    check_maps(&target.options.ids, &Ids::rootless()).map_err(|err| err.context(doing()))?;
    let (source, image) =
        load(context, location, platform).await.map_err(|err| err.context(doing()))?;
    let begin = || Unpacker::bundle(&target.dir, target.options);
    let unpacked = apply_layers(context, &source, &image, begin).await;
    let unpacker = unpacked.map_err(|err| err.context(doing()))?;
    let (platform, root) = (image.config.platform(), image.root);
    let ids = target.options.ids;
    let (warn, warnings) = channel();
    let config: MakeConfig = Box::new(move |tree| {
        let made = runtime_config(&image.config, tree, &ids)?;
        // Whoever waits for the tree waits for these.
        let _ = warn.send(made.warnings);
        serde_json::to_vec_pretty(&made.document)
            .map_err(|err| Error::invalid("runtime config cannot be printed").source(err))
    });
    let tree = publish(unpacker, target, Some(config)).await;
    let mut tree = tree.map_err(|err| err.context(doing()))?;
    for warning in warnings.try_iter().flatten() {
        tree.odd += 1;
        tree.warnings.push(warning);
    }
    Ok(Report { image: root, platform, tree })
}
