//! `conex unpack`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use conex_layer::flatten::Marks;
use conex_layer::unpack::{Devices, Options};
use conex_layer::{IdMap, IdRange, Ids};
use conex_ops::Context;
use conex_ops::bundle::bundle;
use conex_ops::unpack::{Report, Target, unpack, unpack_parts};
use conex_ops::unpack_layers::unpack_layers;
use conex_spec::{Location, Platform, Result};

use crate::args::typed;
use crate::output::{Output, size, warnings};

/// Unpack an image to a root file system
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex unpack alpine ./rootfs
  conex unpack --platform linux/arm64 oci:./build:1.2 ./rootfs
  conex unpack --path usr/bin/busybox --path etc alpine ./some
  conex unpack --bundle store:alpine ./bundle && sudo runc run -b ./bundle test
  conex unpack --bundle --rootless alpine ./bundle && runc --root ./run run -b ./bundle test
  conex unpack --layers alpine ./layers && cd layers && mount -t overlay -o lowerdir=$(cat lowerdir) overlay /mnt
  conex unpack --mtree manifest alpine ./rootfs && conex validate --rootfs ./rootfs --mtree manifest")]
pub struct Unpack {
    /// What to unpack
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// A folder that is not there yet, or is empty
    dir: PathBuf,
    /// The platform; this machine's without it: OS[(VERSION)]/ARCH[/VARIANT]
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
    /// Do as a person without root does, whoever runs this: the image's root is that person, other
    /// owners are kept in the attribute `user.rootlesscontainers` as umoci has it, and devices become
    /// empty files; with --bundle the runtime starts it in a user namespace
    #[arg(long)]
    rootless: bool,
    /// Whose the files of a user become: CONTAINER:HOST[:SIZE], as in 0:100000:65536. May be given
    /// several times; needs --gid-map too
    #[arg(long, value_name = "RANGE", value_parser = typed::<IdRange>, requires = "gid_map")]
    uid_map: Vec<IdRange>,
    /// The same of groups
    #[arg(long, value_name = "RANGE", value_parser = typed::<IdRange>, requires = "uid_map")]
    gid_map: Vec<IdRange>,
    /// Write a manifest of the tree, as mtree(5) has them, which `conex validate --rootfs` checks
    #[arg(long, value_name = "FILE", conflicts_with = "layers")]
    mtree: Option<PathBuf>,
    /// What becomes of devices where they can be made: made, an empty file in the place of each, or left out
    #[arg(long, value_name = "HOW", value_parser = ["create", "replace", "skip"], default_value = "create")]
    devices: String,
    /// Refuse layers that another reader may take for another tree: that have a name twice, sizes that
    /// differ, or something behind their end
    #[arg(long)]
    strict: bool,
}

impl Unpack {
    pub async fn run(&self, context: &Context, sync: bool, output: &Output) -> Result<()> {
        let platform = super::platform_or_host(self.platform.as_ref());
        let target = self.target(sync)?;
        let location = &self.location;
        let report = if self.bundle {
            bundle(context, location, &platform, &target).await?
        } else if self.layers {
            let marks = if self.rootless { Marks::User } else { Marks::Trusted };
            unpack_layers(context, location, &platform, &target, marks).await?
        } else if !self.path.is_empty() {
            let paths = super::export::bytes(&self.path);
            unpack_parts(context, location, &platform, paths, &target).await?
        } else {
            unpack(context, location, &platform, &target).await?
        };
        output.report(&report, |report| self.text(report))
    }

    fn target(&self, sync: bool) -> Result<Target> {
        let mut ids = if self.rootless { Ids::rootless() } else { Ids::default() };
        if !self.uid_map.is_empty() {
            ids.users = IdMap::new(&self.uid_map)?;
            ids.groups = IdMap::new(&self.gid_map)?;
        }
        let privileged = self.rootless.then_some(false);
        let devices = match self.devices.as_str() {
            "replace" => Devices::Replace,
            "skip" => Devices::Skip,
            _ => Devices::Create,
        };
        let options = Options { ids, privileged, sync, devices, ..Options::default() };
        let (dir, mtree) = (self.dir.clone(), self.mtree.clone());
        Ok(Target { dir, options, mtree, strict: self.strict })
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
