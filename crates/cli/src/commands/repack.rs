//! `conex repack`

use std::path::PathBuf;

use clap::Args;

use conex_layer::Ids;
use conex_layer::pack::Options;
use conex_ops::repack::{Recipe, Report, Unpacked, repack};
use conex_ops::{Context, CopyOptions};
use conex_spec::{Location, Platform, Result};

use super::layers::LayerArgs;
use crate::args::typed;
use crate::environment;
use crate::output::{Output, size, warnings};

/// Make a layer of what changed in an unpacked image, on top of that image
///
/// Files that are gone become whiteouts; changes of modes, owners, times, attributes and links are found
/// as well. Files of the same size and time are taken for the same unless --content is given. Other
/// images of an index stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex unpack oci:./build:1.2 ./rootfs && touch ./rootfs/new
  conex repack ./rootfs oci:./build:1.2                           the image gets one layer more
  conex repack ./rootfs oci:./build:1.3 --base oci:./build:1.2    1.2 stays as it is
  conex repack --overlay-upper ./upper oci:./build:1.3 --base oci:./build:1.2

Owners that `conex unpack --rootless` noted are read, and so are the maps of a bundle. Without root an
unpacked tree has lost other owners, set-ID bits and devices: they are taken to be unchanged, and what is
new belongs to 0:0, unless --owner or --uid-map says otherwise.")]
pub struct Repack {
    /// Where the image was unpacked to: a root file system, or a bundle with one
    dir: PathBuf,
    /// Where the new image goes
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// The image that was unpacked; the one at LOCATION without it
    #[arg(long, value_name = "LOCATION", value_parser = typed::<Location>)]
    base: Option<Location>,
    /// Which image of an index; this machine's without it: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Read files of the same size and time too
    #[arg(long)]
    content: bool,
    /// DIR is the upper directory of an overlay file system upon the image: all of it was changed
    #[arg(long, conflicts_with = "content")]
    overlay_upper: bool,
    #[command(flatten)]
    layer: LayerArgs,
}

impl Repack {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let epoch = environment::source_date_epoch()?;
        let unpacked = match self.overlay_upper {
            true => Unpacked { folder: self.dir.clone(), ids: Ids::default() },
            false => Unpacked::open(&self.dir)?,
        };
        let recipe = Recipe {
            unpacked,
            base: self.base.clone().unwrap_or_else(|| self.location.clone()),
            platform: super::platform_or_host(self.platform.as_ref()),
            content: self.content,
            privileged: rustix::process::geteuid().is_root(),
            created_by: "conex repack".into(),
            created: epoch.map(super::rfc3339),
            layer: Options { overlay: self.overlay_upper, ..self.layer.options(epoch)? },
        };
        let report = repack(context, &recipe, &self.location, options).await?;
        output.beside(&self.location).report(&report, text)
    }
}

fn text(report: &Report) -> String {
    let mut text = warnings(&report.warnings, report.warnings.len() as u64);
    text += &match &report.layer {
        None => format!("nothing changed; {} is as it was\n", report.location),
        Some(layer) => format!(
            "repacked {}: {} changed, {} removed\n  {}  {:>10}\n",
            report.location,
            report.changed,
            report.removed,
            layer.digest,
            size(layer.size)
        ),
    };
    text + &format!("{}\n{}\n", super::summary(&report.summary), report.root.digest)
}
