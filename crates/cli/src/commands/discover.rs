//! `conex discover`

use clap::Args;

use conex_ops::Context;
use conex_ops::discover::{Filter, Node, Report, discover};
use conex_spec::{Error, Glob, Kind, Location, Platform, Result};

use crate::args::typed;
use crate::output::{Output, escape, size};

/// Show what refers to an image or artifact: signatures, bills of materials, attestations, all levels
///
/// What is shown is what others claim; nothing of it is verified. What they refer to need not be there
/// itself, where it is named by its digest.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex discover registry.example/team/app:1.2
  conex discover registry.example/team/app:1.2 --platform linux/amd64 --type 'application/spdx*' --latest
  conex discover oci:./build:1.2 --annotation stage=release
  conex discover registry.example/team/app:1.2 --type 'application/spdx*' \\
    --format '{{range .matching}}{{println .digest}}{{end}}'")]
pub struct Discover {
    /// The image, index or artifact
    #[arg(value_parser = typed::<Location>)]
    location: Location,
    /// Of an index, the image for this platform: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Only artifacts of this type, in which `*` is any text; may be repeated
    #[arg(long = "type", alias = "artifact-type", value_name = "GLOB", value_parser = typed::<Glob>)]
    types: Vec<Glob>,
    /// Only artifacts with this annotation; may be repeated, and all must fit
    #[arg(long, value_name = "KEY[=VALUE]")]
    annotation: Vec<String>,
    /// Of the artifacts of one type only the newest
    #[arg(long)]
    latest: bool,
    /// How many levels to look at
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,
}

impl Discover {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let filter = Filter {
            platform: self.platform.clone(),
            types: self.types.clone(),
            annotations: self.annotation.iter().map(|text| wanted(text)).collect::<Result<_>>()?,
            latest: self.latest,
            depth: self.depth.map(|depth| depth as usize),
        };
        let report = discover(context, &self.location, &filter).await?;
        output.report(&report, |report| text(report, &self.asked()))
    }

    /// The filters, as they were typed.
    fn asked(&self) -> String {
        let types = self.types.iter().map(|glob| format!("--type {glob}"));
        let annotations = self.annotation.iter().map(|text| format!("--annotation {text}"));
        types.chain(annotations).collect::<Vec<_>>().join(" ")
    }
}

fn wanted(text: &str) -> Result<(String, Option<String>)> {
    match text.split_once('=') {
        Some(("", _)) => Err(Error::new(Kind::Usage, "--annotation: no key")
            .expected("KEY or KEY=VALUE")
            .found(text.escape_debug())),
        Some((key, value)) => Ok((key.to_owned(), Some(value.to_owned()))),
        None if text.is_empty() => Err(Error::new(Kind::Usage, "--annotation: no key")),
        None => Ok((text.to_owned(), None)),
    }
}

fn text(report: &Report, asked: &str) -> String {
    let root = &report.root;
    let absent = if report.missing { "  (not there)" } else { "" };
    let mut text = format!(
        "{}\n{}  {}{absent}\n",
        report.location,
        root.descriptor.digest,
        escape(root.descriptor.media_type.as_str())
    );
    branches(&root.referrers, "", &mut text);
    text + &told(report, asked)
}

/// How many there are, and how many of them were asked for.
fn told(report: &Report, asked: &str) -> String {
    let artifacts = |count: usize| format!("{count} artifact{}", if count == 1 { "" } else { "s" });
    match (report.count, report.found) {
        (0, 0) => "nothing refers to it\n".to_owned(),
        (0, found) => {
            let (refer, fits) =
                if found == 1 { ("refers", "it does not fit") } else { ("refer", "none fits") };
            format!("{} {refer} to it, but {fits} {}\n", artifacts(found), escape(asked))
        }
        (count, found) if count == found => artifacts(count) + "\n",
        (count, found) => format!("{count} of {}\n", artifacts(found)),
    }
}

fn branches(nodes: &[Node], indent: &str, text: &mut String) {
    for (at, node) in nodes.iter().enumerate() {
        let last = at + 1 == nodes.len();
        let (joint, below) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        *text += &format!("{indent}{joint}{}\n", line(node));
        let inner = format!("{indent}{below}");
        let more = if node.referrers.is_empty() { "    " } else { "│   " };
        for (key, value) in &node.descriptor.annotations {
            if key != conex_spec::annotations::CREATED {
                *text += &format!("{inner}{more}{}: {}\n", escape(key), escape(value));
            }
        }
        branches(&node.referrers, &inner, text);
    }
}

fn line(node: &Node) -> String {
    let descriptor = &node.descriptor;
    let kind = descriptor.artifact_type.as_ref().unwrap_or(&descriptor.media_type);
    let mut line =
        format!("{}  {}  {}", escape(kind.as_str()), descriptor.digest, size(descriptor.size));
    if let Some(created) = &node.created {
        line += &format!("  {}", escape(created));
    }
    if !node.matches {
        line += "  (on the way)";
    }
    if node.repeated {
        line += "  (shown above)";
    }
    line
}
