//! `conex unpack --bundle`: a folder that a runtime starts, with `rootfs` and `config.json`.

use std::path::Path;

use conex_layer::unpack::{Options, Unpacker};
use conex_spec::{Error, Location, Platform, Result};
use conex_store::bridge;

use crate::open::Context;
use crate::runtime_config::runtime_config;
use crate::unpack::{Report, Tree, apply_layers, load};

/// Unpacks the image that suits `platform` to a bundle, which appears whole or not at all.
pub async fn bundle(
    context: &Context,
    location: &Location,
    platform: &Platform,
    target: &Path,
    options: Options,
) -> Result<Report> {
    let doing = || format!("cannot unpack {location}");
    let (source, image) =
        load(context, location, platform).await.map_err(|err| err.context(doing()))?;
    let unpacker = Unpacker::bundle(target, options)?;
    let unpacked = apply_layers(context, &source, &image, unpacker).await;
    let unpacker = unpacked.map_err(|err| err.context(doing()))?;
    let (platform, root) = (image.config.platform(), image.root);
    let publish = move || {
        let config = |tree: &_| {
            serde_json::to_vec_pretty(&runtime_config(&image.config, tree)?)
                .map_err(|err| Error::invalid("runtime config cannot be printed").source(err))
        };
        unpacker.publish_bundle(config).map(Tree::from)
    };
    let tree = bridge::blocking(publish).await.map_err(|err| err.context(doing()))?;
    Ok(Report { image: root, platform, tree })
}
