//! Charts of Helm and bundles of CNAB, which are artifacts with rules of their own.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use conex_ops::artifact::kinds;
use conex_ops::artifact::pull::Found;
use conex_ops::cnab::{self, bundle, index};
use conex_ops::helm::{self, pull as chart};
use conex_ops::{Context, CopyOptions};
use conex_spec::{Annotations, Error, Kind, Location, Manifest, Result};

use super::super::summary;
use crate::output::{Output, escape, size};

/// What an artifact is, as a person says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A chart of Helm.
    Chart,
    /// A bundle of CNAB.
    Bundle,
    /// Nothing but files, whatever is in them.
    Files,
    /// Files that are known.
    Known(kinds::Kind),
}

impl FromStr for Sort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "helm" => Ok(Self::Chart),
            "cnab" => Ok(Self::Bundle),
            "files" => Ok(Self::Files),
            other => other.parse().map(Self::Known).map_err(|err: Error| {
                let known = err.expected_value().unwrap_or_default().to_owned();
                err.expected(format!("{known}, helm, cnab or files"))
            }),
        }
    }
}

impl Sort {
    /// What a path is by itself: a chart or a bundle.
    pub(super) fn of(path: &Path) -> Option<Self> {
        if helm::push::is_chart(path) {
            return Some(Self::Chart);
        }
        bundle::is_bundle(path).then_some(Self::Bundle)
    }

    /// What people call one.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Chart => "a chart",
            Self::Bundle => "a bundle",
            Self::Files | Self::Known(_) => "a file",
        }
    }
}

/// What is pushed.
pub(super) struct Push<'a> {
    pub(super) sort: Sort,
    pub(super) files: &'a [String],
    pub(super) to: &'a Location,
    pub(super) annotations: Annotations,
    pub(super) created: Option<String>,
    pub(super) provenance: Option<PathBuf>,
    pub(super) images_from: Option<Location>,
}

impl Push<'_> {
    pub(super) async fn run(
        self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let [path] = self.files else {
            return Err(Error::new(Kind::Usage, "one chart or bundle is pushed at a time")
                .expected("FILE LOCATION")
                .found(format!("{} files", self.files.len())));
        };
        let path = PathBuf::from(path);
        if self.sort == Sort::Bundle {
            let recipe = cnab::push::Recipe { path, images_from: self.images_from };
            let report = cnab::push::push(context, &recipe, self.to, options).await?;
            return output.beside(self.to).report(&report, bundle_pushed);
        }
        let (provenance, annotations, created) = (self.provenance, self.annotations, self.created);
        let recipe = helm::push::Recipe { path, provenance, annotations, created };
        let report = helm::push::push(context, &recipe, self.to, options).await?;
        output.beside(self.to).report(&report, chart_pushed)
    }
}

fn chart_pushed(report: &helm::push::Report) -> String {
    let chart = &report.chart;
    let mut text = format!("pushed {}\n", report.location);
    text += &format!("  chart {} {}\n", escape(&chart.name), escape(&chart.version));
    for layer in &report.layers {
        text += &format!("  {:>10}  {}\n", size(layer.size), layer.media_type);
    }
    text + &format!("{}\n{}\n", summary(&report.summary), report.root.digest)
}

fn bundle_pushed(report: &cnab::push::Report) -> String {
    let mut text = format!("pushed {}\n", report.location);
    text += &format!("  bundle {} {}\n", escape(&report.name), escape(&report.version));
    for (image, at) in &report.relocation_map {
        text += &format!("  {} is {}\n", escape(image), escape(at));
    }
    text + &format!("{}\n{}\n", summary(&report.summary), report.root.digest)
}

/// Pulls a chart or a bundle; anything else is given back.
pub(super) async fn pull(
    context: &Context,
    found: Found,
    dir: &Path,
    overwrite: bool,
    output: &Output,
) -> Result<Option<Found>> {
    let from = found.location.clone();
    match &found.manifest {
        Manifest::Image(manifest) if chart::is_chart(manifest) => {
            let report = chart::pull(context, found, dir, overwrite).await?;
            let chart = &report.chart;
            let what = format!("chart {} {}", escape(&chart.name), escape(&chart.version));
            let text = |report: &chart::Report| pulled(&from, &what, &report.files);
            output.report(&report, text).map(|()| None)
        }
        Manifest::Index(index) if index::is_bundle(index) => {
            let report = cnab::pull::pull(context, found, dir, overwrite).await?;
            let what = format!("bundle {} {}", escape(&report.name), escape(&report.version));
            let text = |report: &cnab::pull::Report| pulled(&from, &what, &report.files);
            output.report(&report, text).map(|()| None)
        }
        _ => Ok(Some(found)),
    }
}

fn pulled(from: &Location, what: &str, files: &[PathBuf]) -> String {
    let files = files.iter().map(|file| format!("  {}\n", escape(&file.display().to_string())));
    format!("pulled {from}\n  {what}\n") + &files.collect::<String>()
}
