//! `conex inspect`

mod template;
mod text;
mod tree;

use bytes::Bytes;
use clap::Args;
use serde_json::Value;

use conex_ops::Context;
use conex_ops::inspect::{self, Options};
use conex_ops::json_file::{DocumentKind, Typed};
use conex_spec::{Error, Kind, Platform, Result};

use crate::args::{Format, typed};
use crate::output::Output;

/// Show what an image, index, artifact, blob or bare JSON document is
///
/// An index is shown with every platform, an image with its layers beside the history that made
/// them. Nothing that a manifest says is hidden; what it lists and the place lacks is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex inspect alpine
  conex inspect alpine --platform linux/arm64
  conex inspect oci:./build:1.2 --tree
  conex inspect ./manifest.json
  conex inspect --raw alpine | sha256sum
  conex inspect --config alpine
  conex inspect --format json store:alpine
  conex inspect --format '{{.Digest}}' alpine
  conex inspect --format '{{range .Manifests}}{{println .Platform .Digest}}{{end}}' alpine
  conex inspect --format '{{range .Layers}}{{println .Digest .Size}}{{end}}' alpine
  conex inspect --format '{{json .Labels}} {{.Os}}/{{.Architecture}} {{.Config.Cmd}}' oci:./build

A template finds fields by their letters and by the names that skopeo, docker and regctl have for
them: .Layers and .LayersData, .RootFS.Layers, .Config.Env, .GetDescriptor. A layer, an entry or
another descriptor prints as its digest and has .MediaType, .Digest and .Size; times are RFC 3339;
.Size is that of the layers as they are stored. What an image does not set is \"\", [] or map[];
what no image has is `<no value>`. Its functions are Go's, and docker's json, join, split, lower,
upper, title, pad and truncate. With --raw and --config it is applied to that document.")]
pub struct Inspect {
    /// What to look at: a location, or the path of a JSON file (`file:PATH`, `-` is standard input)
    #[arg(value_parser = typed::<Typed>, value_name = "LOCATION")]
    target: Typed,
    /// Of an index, look at the image for this platform: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Print the exact bytes of the manifest, and nothing else
    #[arg(long)]
    raw: bool,
    /// Print the exact bytes of the config, of an index for --platform or this machine
    #[arg(long)]
    config: bool,
    /// Show the graph: what is listed, and what refers to it
    #[arg(long, conflicts_with_all = ["raw", "config"])]
    tree: bool,
    /// Read every layer to tell its size without compression
    #[arg(long, conflicts_with_all = ["raw", "config", "tree"])]
    unpacked: bool,
    /// Take the document for this: descriptor, index, manifest, config or layout
    #[arg(long = "as", value_name = "KIND", value_parser = typed::<DocumentKind>)]
    kind: Option<DocumentKind>,
}

impl Inspect {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let mut options =
            Options { platform: self.platform.clone(), kind: self.kind, unpacked: self.unpacked };
        self.target.tell(context.observer.as_ref());
        let target = &self.target.target;
        if self.config {
            options.platform = Some(super::platform_or_host(self.platform.as_ref()));
            return exact(&inspect::raw_config(context, target, &options).await?, output);
        }
        if self.raw {
            return exact(&inspect::raw(context, target, &options).await?, output);
        }
        if self.tree {
            return output.report(&inspect::tree(context, target, &options).await?, tree::text);
        }
        let report = inspect::inspect(context, target, &options).await?;
        output.report_with(&report, text::text, template::fill)
    }
}

/// The bytes as they are, unless a template wants something of them.
fn exact(bytes: &Bytes, output: &Output) -> Result<()> {
    if !matches!(output.format(), Format::Template(_) | Format::Table(_)) {
        return output.print_bytes(bytes);
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|err| Error::new(Kind::Invalid, "a template needs a JSON document").source(err))?;
    output.report(&value, |_| String::new())
}
