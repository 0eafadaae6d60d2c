//! `conex pull`

use std::path::PathBuf;

use clap::Args;

use conex_layer::unpack::Options;
use conex_ops::pull::{Report, pull};
use conex_ops::pull_unpack::pull_unpack;
use conex_ops::unpack::Target;
use conex_ops::{Context, CopyOptions};
use conex_spec::{Error, Kind, Location, Platform, Reference, Result};

use super::copy::Rehash;
use crate::args::typed;
use crate::output::{Output, warnings};

/// Pull an image for one platform into the local store; only what is missing moves
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex pull alpine
  conex pull --platform linux/arm64 registry.example/team/app:1.2
  conex pull --all-platforms debian:12
  conex pull --unpack ./rootfs debian:12")]
pub struct Pull {
    /// The image in a registry
    #[arg(value_parser = typed::<Location>)]
    image: Location,
    /// The platform; this machine's without it: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Pull the whole index
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// Unpack it too, while it comes, to a folder that is not there yet or is empty
    #[arg(long, value_name = "DIR", conflicts_with = "all_platforms")]
    unpack: Option<PathBuf>,
    /// Unpack no layers that another reader may take for another tree: that have a name twice, sizes that
    /// differ, or something behind their end
    #[arg(long, requires = "unpack")]
    strict: bool,
    #[command(flatten)]
    rehash: Rehash,
}

impl Pull {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        sync: bool,
        output: &Output,
    ) -> Result<()> {
        let reference = registry_reference(&self.image)?;
        let options = &CopyOptions { rehash: self.rehash.wanted(), ..*options };
        let platform = super::platform_or_host(self.platform.as_ref());
        if let Some(dir) = &self.unpack {
            let unpacked = Options { sync, ..Options::default() };
            let target =
                Target { dir: dir.clone(), options: unpacked, mtree: None, strict: self.strict };
            let report = pull_unpack(context, reference, &platform, options, &target).await?;
            return output.report(&report, |report| {
                warnings(&report.tree.warnings, report.tree.odd)
                    + &text(&report.pulled)
                    + &format!("unpacked to {}\n", dir.display())
            });
        }
        let platform = (!self.all_platforms).then_some(&platform);
        let report = pull(context, reference, platform, options).await?;
        output.report(&report, text)
    }
}

/// The reference of a location that must be in a registry.
pub fn registry_reference(location: &Location) -> Result<&Reference> {
    match location {
        Location::Registry(reference) => Ok(reference),
        other => Err(Error::new(Kind::Usage, format!("{other} is in no registry"))
            .expected("REGISTRY/REPOSITORY[:TAG][@DIGEST]")
            .found(other.kind_str())
            .hint("`conex copy FROM TO` copies between all kinds of places")),
    }
}

fn text(report: &Report) -> String {
    let platform = report.image.platform.as_ref();
    let platform = platform.map_or_else(String::new, |platform| format!(" for {platform}"));
    format!(
        "pulled {}{platform}\n{}\n{}\n",
        report.location,
        super::summary(&report.summary),
        report.image.digest
    )
}
