//! `conex ls`

use std::ffi::OsString;

use clap::Args;

use conex_ops::Context;
use conex_ops::files::Row;
use conex_ops::ls::{Options, ls};
use conex_spec::{Platform, Result};

use crate::args::typed;
use crate::inside::Inside;
use crate::output::{Output, escape};

/// List the files of an image, without unpacking it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex ls alpine                          what is in the root
  conex ls -l oci:./build:1.2 /etc         modes, owners, sizes, times, and the layer of each
  conex ls -l oci:./build:1.2:/etc         the same
  conex ls -R --format json store:alpine
  conex ls --layer 2 oci:./build:1.2       one layer as it stands, with its whiteouts

Columns of -l: mode, names, user:group, bytes or device, time, number of the layer (1 is the base, `-`
where no layer has an entry), name. Bytes that are not UTF-8 are written \\xNN.")]
pub struct Ls {
    /// The image
    #[arg(value_parser = typed::<Inside>)]
    location: Inside,
    /// Where to look, from the root of the image; links on the way are followed inside it
    path: Option<OsString>,
    /// The platform; this machine's without it: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Tell everything of each file
    #[arg(short, long)]
    long: bool,
    /// List everything below
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The directory itself, not what is in it
    #[arg(short, long)]
    directory: bool,
    /// The entries of one layer as they stand; 1 is the base
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
}

impl Ls {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let platform = super::platform_or_host(self.platform.as_ref());
        let (location, path) = self.location.with(self.path.as_deref())?;
        let options = Options {
            path,
            recursive: self.recursive,
            directory: self.directory,
            layer: self.layer,
        };
        let rows = ls(context, &location, &platform, &options).await?;
        output.report(&rows, |rows| self.text(rows))
    }

    fn text(&self, rows: &[Row]) -> String {
        let whole = self.recursive || self.directory || self.layer.is_some();
        let mut text = String::new();
        for row in rows {
            if self.long {
                text += &long(row);
            }
            let name = match row.path.rsplit_once('/') {
                Some((_, name)) if !whole => name,
                _ => &row.path,
            };
            text += &escape(if name.is_empty() { "." } else { name });
            if let Some(target) = row.target.as_ref().filter(|_| self.long) {
                let arrow = if row.kind == "hard link" { "=>" } else { "->" };
                text += &format!(" {arrow} {}", escape(target));
            }
            text.push('\n');
        }
        text
    }
}

fn long(row: &Row) -> String {
    let size = row.device.clone().unwrap_or_else(|| row.size.to_string());
    let layer = row.layer.map_or("-".into(), |layer| layer.to_string());
    let owner = format!("{}:{}", row.uid, row.gid);
    let mode = super::mode(row.kind, row.mode);
    let (links, modified) = (row.links, &row.modified);
    let more = if row.xattrs.is_empty() { ' ' } else { '+' };
    format!("{mode}{more} {links:>2} {owner:<11} {size:>10} {modified:<30} {layer:>2} ")
}
