//! `conex export`

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use clap::Args;

use conex_ops::Context;
use conex_ops::export::{Report, export};
use conex_spec::{Location, Platform, Result};
use conex_store::archive::Output as Replacement;

use super::raw;
use crate::args::typed;
use crate::output::{Output, size, warnings};

/// Write the files of an image as one tar
///
/// It has what `conex unpack` would make: hard links, owners, times, attributes and all, without
/// the need to be root. Layers are read twice, first for their names. A file is replaced only when
/// all is there and sound; standard output gets the tar as it comes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex export alpine | tar x -C rootfs
  conex export oci:./build:1.2 rootfs.tar
  conex export --path etc/os-release debian:12 | tar xO")]
pub struct Export {
    /// What to export
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// The file to write; `-` and nothing are standard output
    file: Option<PathBuf>,
    /// The platform; this machine's without it: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Only this file or folder, with the folders and links that lead there; the newest layers are
    /// looked at first, and no more than needed. May be given several times
    #[arg(long, value_name = "PATH")]
    path: Vec<OsString>,
}

impl Export {
    pub async fn run(&self, context: &Context, durable: bool, output: &Output) -> Result<()> {
        let platform = super::platform_or_host(self.platform.as_ref());
        let file = self.file.as_deref().filter(|file| *file != Path::new("-"));
        let out = match file {
            Some(file) => Replacement::create(file, durable)?,
            None => Replacement::open_file(raw::stdout()?, false),
        };
        let report = export(context, &self.location, &platform, bytes(&self.path), out).await?;
        let output = if file.is_some() { output.clone() } else { output.aside() };
        output.report(&report, |report| self.text(report, file))
    }

    fn text(&self, report: &Report, file: Option<&Path>) -> String {
        let warnings = warnings(&report.warnings, report.odd);
        // Whoever reads the tar wants to hear nothing else.
        let Some(file) = file else { return warnings };
        warnings
            + &format!(
                "exported {} for {} to {}\n{} from {} layer{}\n{}\n",
                self.location,
                report.platform,
                file.display(),
                size(report.bytes),
                report.layers,
                if report.layers == 1 { "" } else { "s" },
                report.image.digest
            )
    }
}

/// Paths as bytes, which a layer's names are.
pub fn bytes(paths: &[OsString]) -> Vec<Vec<u8>> {
    paths.iter().map(|path| path.clone().into_vec()).collect()
}
