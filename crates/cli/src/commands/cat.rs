//! `conex cat`

use std::ffi::OsString;

use clap::Args;

use conex_ops::Context;
use conex_ops::cat::cat;
use conex_spec::{Error, Kind, Platform, Result};

use crate::args::typed;
use crate::inside::Inside;

/// Write a file of an image to standard output
///
/// Layers are read from the newest on, until one tells what the path is; the others are not fetched.
/// Links are followed inside the image.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex cat alpine /etc/os-release
  conex cat --platform linux/arm64 oci:./build:1.2 bin/app > app")]
pub struct Cat {
    /// The image
    #[arg(value_parser = typed::<Inside>)]
    location: Inside,
    /// The file, from the root of the image; it may also stand behind the image: IMAGE:/FILE
    path: Option<OsString>,
    /// The platform; this machine's without it: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
}

impl Cat {
    pub async fn run(&self, context: &Context) -> Result<()> {
        let platform = super::platform_or_host(self.platform.as_ref());
        let (location, path) = self.location.with(self.path.as_deref())?;
        if path.is_empty() {
            return Err(
                Error::new(Kind::Usage, "which file?").expected("IMAGE FILE or IMAGE:/FILE")
            );
        }
        let out = crate::output::Pipe(std::io::stdout());
        cat(context, &location, &platform, &path, out).await
    }
}
