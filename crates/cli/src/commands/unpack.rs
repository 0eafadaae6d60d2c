//! `conex unpack`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use conex_layer::flatten::Marks;
use conex_layer::unpack::Options;
use conex_ops::Context;
use conex_ops::bundle::bundle;
use conex_ops::unpack::{Report, unpack, unpack_parts};
use conex_ops::unpack_layers::unpack_layers;
use conex_spec::{Location, Platform, Result};

use crate::args::typed;
use crate::output::{Output, escape, size};

/// Unpack an image to a root file system
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex unpack alpine ./rootfs
  conex unpack --platform linux/arm64 oci:./build:1.2 ./rootfs
  conex unpack --path usr/bin/busybox --path etc alpine ./some
  conex unpack --bundle store:alpine ./bundle && sudo runc run -b ./bundle test")]
pub struct Unpack {
    /// What to unpack
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// A folder that is not there yet, or is empty
    dir: PathBuf,
    /// The platform; this machine's without it: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Make a bundle that a runtime starts: the root file system in `rootfs`, and a `config.json`
    #[arg(long)]
    bundle: bool,
    /// Only this file or folder, with the folders and links that lead there; the newest layers are
    /// looked at first, and no more than needed. May be given several times
    #[arg(long, value_name = "PATH", conflicts_with = "bundle")]
    path: Vec<OsString>,
    /// Make one folder for each layer, as overlayfs stacks them: `1` is the lowest, and the file
    /// `lowerdir` has their names for `mount -t overlay -o lowerdir=…`
    #[arg(long, conflicts_with_all = ["bundle", "path"])]
    layers: bool,
}

impl Unpack {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let platform = super::platform_or_host(self.platform.as_ref());
        let options = Options::default();
        let report = if self.bundle {
            bundle(context, &self.location, &platform, &self.dir, options).await?
        } else if self.layers {
            let marks = Marks::default();
            unpack_layers(context, &self.location, &platform, &self.dir, marks, options).await?
        } else if !self.path.is_empty() {
            let paths = super::export::bytes(&self.path);
            unpack_parts(context, &self.location, &platform, paths, &self.dir, options).await?
        } else {
            unpack(context, &self.location, &platform, &self.dir, options).await?
        };
        output.report(&report, |report| self.text(report))
    }

    fn text(&self, report: &Report) -> String {
        let tree = &report.tree;
        warnings(&tree.warnings, tree.odd)
            + &format!(
                "unpacked {} for {} to {}\n{} entries, {} in files, {} set-ID, {} with capabilities\n{}\n",
                self.location,
                report.platform,
                self.dir.display(),
                tree.entries,
                size(tree.bytes),
                tree.set_id,
                tree.capable,
                report.image.digest
            )
    }
}

/// The first of what was odd, a line each, and how many more there are.
pub fn warnings(kept: &[String], count: u64) -> String {
    let mut text: String =
        kept.iter().map(|warning| format!("warning: {}\n", escape(warning))).collect();
    let hidden = count.saturating_sub(kept.len() as u64);
    if hidden > 0 {
        text += &format!("warning: {hidden} more of these\n");
    }
    text
}
