//! `conex diff`

use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use conex_layer::tree::Aspect;
use conex_ops::Context;
use conex_ops::diff::{Edit, FileChange, Operand, Options, Report, diff};
use conex_spec::{Error, Kind, Location, Platform, Result};

use crate::args::typed;
use crate::output::{Output, escape, size};

/// The exit code of two that differ, as diff(1) has it.
const DIFFERENT: u8 = 1;

/// Compare the files, configs and manifests of two images, layers or folders
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex diff debian:12 debian:13 --stat
  conex diff oci:./build:1.2 oci:./build:1.3 --content
  conex diff oci:./build:1.3 ./rootfs --ignore time       an image and a folder
  conex diff ./layer-1.tar.gz ./layer-2.tar.zst           two layers
  conex diff oci:./a:1 oci:./b:1 --layer 3                layer 3 of both; 1 is the base

Folders and files are written with `/`, `./` or `../` at the beginning. A file is marked A where it was added,
D where it was deleted, and M, with what of it differs, where it was modified.

The exit code is 0 where both are the same, 1 where they differ, and 2 or more where they could not be
compared.")]
pub struct Diff {
    /// The first one
    #[arg(value_parser = typed::<Side>)]
    old: Side,
    /// The second one
    #[arg(value_parser = typed::<Side>)]
    new: Side,
    /// The platform; this machine's without it: OS[(VERSION)]/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Platform>)]
    platform: Option<Platform>,
    /// Compare one layer of each image; 1 is the base
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Tell only what it comes to
    #[arg(long)]
    stat: bool,
    /// Compare text files by lines
    #[arg(long, conflicts_with = "stat")]
    content: bool,
    /// What makes no difference; may be repeated
    #[arg(long, value_name = "ASPECT", value_enum)]
    ignore: Vec<Ignored>,
}

/// What to compare, and how it was typed.
#[derive(Clone, Debug)]
pub struct Side {
    text: String,
    operand: Operand,
}

impl FromStr for Side {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self { text: text.to_owned(), operand: text.parse()? })
    }
}

impl Side {
    /// The name of an image in a registry may be that of a folder here as well.
    fn hint(&self) -> Option<String> {
        let far = matches!(self.operand, Operand::Image(Location::Registry(_)));
        let here = far && Path::new(&self.text).exists();
        here.then(|| format!("what has this name in the current folder is `./{}`", self.text))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ignored {
    Mode,
    Owner,
    Time,
    Xattrs,
    Links,
}

impl Diff {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<ExitCode> {
        let options = Options {
            platform: super::platform_or_host(self.platform.as_ref()),
            layer: self.layer,
            ignore: self.ignore.iter().map(|ignored| ignored.aspect()).collect(),
            content: self.content,
        };
        let compared = diff(context, &self.old.operand, &self.new.operand, &options).await;
        let mut report = compared.map_err(|err| self.explain(err))?;
        if self.stat {
            report.files.clear();
        }
        output.report(&report, |report| self.text(report))?;
        Ok(if report.same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
    }

    fn explain(&self, err: Error) -> Error {
        // Whose code would be 1 has a neighbour's.
        let plain = matches!(err.kind(), Kind::Unsupported | Kind::Conflict);
        let err = if plain { err.with_kind(Kind::Usage) } else { err };
        match self.old.hint().or_else(|| self.new.hint()) {
            Some(hint) => err.hint(hint),
            None => err,
        }
    }

    fn text(&self, report: &Report) -> String {
        if report.same {
            return String::new();
        }
        let mut text = format!("--- {}\n+++ {}\n", report.old, report.new);
        for (what, edits) in [("manifest", &report.manifest), ("config", &report.config)] {
            text.extend(edits.iter().map(|edit| line(what, edit)));
        }
        text.extend(report.files.iter().map(file));
        if let Some(layers) = &report.layers {
            text += &format!(
                "layers: {} shared, {} only in the first ({}), {} only in the second ({})\n",
                layers.shared,
                layers.old,
                size(layers.old_bytes),
                layers.new,
                size(layers.new_bytes)
            );
            for (sign, only) in [('-', &layers.only_old), ('+', &layers.only_new)] {
                text.extend(only.iter().map(|layer| {
                    format!(
                        "  {sign} {:>2}  {}  {}\n",
                        layer.number,
                        layer.digest,
                        size(layer.size)
                    )
                }));
            }
        }
        let sum = &report.sum;
        text + &format!(
            "files: {} added ({}), {} removed ({}), {} changed ({})\n",
            sum.added,
            size(sum.added_bytes),
            sum.removed,
            size(sum.removed_bytes),
            sum.changed,
            signed(sum.grown)
        )
    }
}

impl Ignored {
    fn aspect(self) -> Aspect {
        match self {
            Self::Mode => Aspect::Mode,
            Self::Owner => Aspect::Owner,
            Self::Time => Aspect::Time,
            Self::Xattrs => Aspect::Xattrs,
            Self::Links => Aspect::Links,
        }
    }
}

fn line(what: &str, edit: &Edit) -> String {
    let show = |value: &Option<serde_json::Value>| {
        value.as_ref().map_or("nothing".to_owned(), |value| escape(&value.to_string()))
    };
    format!("{what} {}: {} -> {}\n", escape(&edit.pointer), show(&edit.old), show(&edit.new))
}

fn file(file: &FileChange) -> String {
    let path = if file.path.is_empty() { "." } else { &file.path };
    let grown = |row: &Option<_>| row.as_ref().map_or(0, |row: &conex_ops::files::Row| row.size);
    let (old, new) = (grown(&file.old), grown(&file.new));
    let mut text = match file.change {
        "added" => format!("A  {}", escape(path)),
        "removed" => format!("D  {}", escape(path)),
        _ => format!("M  {}  {}", escape(path), file.aspects.join(", ")),
    };
    if old != new {
        text += &format!("  {}", signed(new.cast_signed() - old.cast_signed()));
    }
    text.push('\n');
    if let Some(lines) = &file.lines {
        text.extend(lines.lines().map(|line| escape(line) + "\n"));
    }
    text
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", size(bytes.unsigned_abs()))
}
