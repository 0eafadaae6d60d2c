//! `conex inspect`

use std::fmt::Write as _;

use clap::Args;

use conex_ops::Context;
use conex_ops::inspect::{Content, Image, Report, inspect};
use conex_spec::config::Execution;
use conex_spec::{Descriptor, Location, Result};

use crate::args::typed;
use crate::output::{Output, escape, size};

/// Show what an image, index or artifact is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex inspect alpine
  conex inspect oci:./build:1.2
  conex inspect --format json store:alpine")]
pub struct Inspect {
    /// What to look at
    #[arg(value_parser = typed::<Location>)]
    location: Location,
}

impl Inspect {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        output.report(&inspect(context, &self.location).await?, text)
    }
}

/// Lines of a name and a value.
struct Table(String);

impl Table {
    fn line(&mut self, name: &str, value: impl AsRef<str>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<12} {}", escape(value.as_ref()));
    }

    fn descriptor(&mut self, blob: &Descriptor, more: &str) {
        let size = size(blob.size);
        let _ = writeln!(
            self.0,
            "  {}  {size:>10}  {}  {}",
            blob.digest,
            escape(blob.media_type.as_str()),
            escape(more)
        );
    }
}

fn text(report: &Report) -> String {
    let mut table = Table(String::new());
    table.line("location", report.location.to_string());
    table.line("digest", report.root.digest.as_str());
    table.line("media type", report.root.media_type.as_str());
    if let Some(subject) = &report.subject {
        table.line("subject", subject.digest.as_str());
    }
    match &report.content {
        Content::Index { entries } => index(&mut table, entries),
        Content::Image(image) => self::image(&mut table, image),
        Content::Artifact { artifact_type, config, layers } => {
            table.line("artifact", artifact_type.as_str());
            if let Some(config) = config {
                table.line("config", "");
                table.descriptor(config, "");
            }
            table.line("layers", layers.len().to_string());
            layers.iter().for_each(|layer| table.descriptor(layer, title(layer)));
        }
    }
    for (name, value) in &report.annotations {
        table.line("annotation", format!("{name}={value}"));
    }
    table.0
}

fn title(blob: &Descriptor) -> &str {
    blob.annotations.get("org.opencontainers.image.title").map_or("", String::as_str)
}

fn index(table: &mut Table, entries: &[Descriptor]) {
    table.line("index", format!("{} entries", entries.len()));
    for entry in entries {
        let platform = entry.platform.as_ref().map(ToString::to_string);
        table.descriptor(entry, platform.as_deref().unwrap_or("no platform"));
    }
}

fn image(table: &mut Table, image: &Image) {
    table.line("platform", image.platform.to_string());
    if let Some(created) = &image.created {
        table.line("created", created);
    }
    if let Some(execution) = &image.execution {
        self::execution(table, execution);
    }
    table.line("config", "");
    table.descriptor(&image.config, "");
    table.line("layers", format!("{}, {}", image.layers.len(), size(image.size)));
    for layer in &image.layers {
        table.descriptor(&layer.descriptor, layer.created_by.as_deref().unwrap_or_default());
    }
}

fn execution(table: &mut Table, execution: &Execution) {
    let words = |words: &[String]| {
        words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
    };
    for (name, value) in [
        ("user", execution.user.clone()),
        ("folder", execution.working_dir.clone()),
        ("entrypoint", words(&execution.entrypoint)),
        ("command", words(&execution.cmd)),
    ] {
        if !value.is_empty() {
            table.line(name, value);
        }
    }
    execution.env.iter().for_each(|variable| table.line("environment", variable));
    execution.exposed_ports.keys().for_each(|port| table.line("port", port));
    execution.volumes.keys().for_each(|volume| table.line("volume", volume));
    for (name, value) in &execution.labels {
        table.line("label", format!("{name}={value}"));
    }
}
