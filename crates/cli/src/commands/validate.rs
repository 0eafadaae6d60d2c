//! `conex validate`

mod explain;
mod sarif;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use conex_ops::Context;
use conex_ops::json_file::{DocumentKind, Target, Typed};
use conex_ops::rootfs::validate_rootfs;
use conex_ops::validate::{Finding, Options, Report, validate};
use conex_spec::lint::Severity;
use conex_spec::{Error, Result};

use super::UNSOUND;
use crate::args::{Format, typed};
use crate::failure;
use crate::output::{Output, escape, size};

/// So many places of one rule are shown; the other formats show all.
const PLACES: usize = 5;

/// Check that an image and all its content are there and sound
///
/// Every document is held against each sentence of the specification, and all content against its
/// digest, size and diff ID. All findings are told at once: an error breaks a MUST, a warning a
/// SHOULD.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex validate oci:./build:1.2
  conex validate oci:./build                   everything in the layout
  conex validate registry.example/team/app:1.2 store:alpine
  conex validate manifest.json                 one document, without its content
  conex validate --format sarif oci:./build:1.2 > findings.sarif
  conex validate --rootfs ./rootfs --mtree manifest
  conex validate --explain blob-digest-mismatch

The exit code is 4 where there are errors, and with --strict also where there are warnings.
`--format sarif` prints SARIF 2.1.0, as code scanning services read it.")]
pub struct Validate {
    /// What to check: locations, or files that hold one document
    #[arg(value_parser = typed::<Typed>, required_unless_present_any = ["explain", "rootfs"], value_name = "LOCATION")]
    targets: Vec<Typed>,
    /// What sort of document a file is: descriptor, index, manifest, config or layout; without it
    /// the document's members tell
    #[arg(long = "as", value_parser = typed::<DocumentKind>, value_name = "KIND")]
    named: Option<DocumentKind>,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    /// Tell what a rule asks, who asks it, why, and how to mend; `list` lists all rules
    #[arg(long, value_name = "RULE", conflicts_with_all = ["targets", "strict", "named"])]
    explain: Option<String>,
    /// Check a tree on this machine against its manifest instead: names, contents and all attributes
    #[arg(long, value_name = "DIR", requires = "mtree", conflicts_with_all = ["targets", "explain", "named"])]
    rootfs: Option<PathBuf>,
    /// The manifest, as `conex unpack --mtree`, go-mtree or bsdtar write it
    #[arg(long, value_name = "FILE", requires = "rootfs")]
    mtree: Option<PathBuf>,
}

/// What all locations came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    sound: bool,
    errors: usize,
    warnings: usize,
    /// Of all locations, each with the one that it is of.
    findings: Vec<Told>,
    locations: Vec<Report>,
    /// Why locations could not be looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Told {
    location: Target,
    #[serde(flatten)]
    finding: Finding,
}

impl Validate {
    pub async fn run(&self, context: &Context, jobs: usize, output: &Output) -> Result<ExitCode> {
        if let Some(rule) = &self.explain {
            explain::explain(rule, output)?;
            return Ok(ExitCode::SUCCESS);
        }
        if let (Some(rootfs), Some(manifest)) = (&self.rootfs, &self.mtree) {
            return rootfs_of(rootfs, manifest, output).await;
        }
        let options = Options { jobs, named: self.named };
        let (mut reports, mut failures) = (Vec::new(), Vec::new());
        for target in &self.targets {
            target.tell(context.observer.as_ref());
            match validate(context, &target.target, options).await {
                Ok(mut report) => {
                    report.sound &= !self.strict || report.warnings == 0;
                    reports.push(report);
                }
                Err(err) => failures.push(err),
            }
        }
        let sound = reports.iter().all(|report| report.sound);
        if matches!(output.format(), Format::Sarif) {
            // A log tells of what could not be looked at, too.
            print_sarif(&reports, &failures, output)?;
        } else if !reports.is_empty() {
            print(reports, &failures, output)?;
        }
        fail(failures, output)?;
        Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
    }
}

async fn rootfs_of(rootfs: &Path, manifest: &Path, output: &Output) -> Result<ExitCode> {
    let report = validate_rootfs(rootfs, manifest).await?;
    output.report(&report, |report| {
        let lines = report.differences.iter().map(|difference| difference.line.clone() + "\n");
        let verdict = match report.differences.len() {
            0 => "sound".to_owned(),
            1 => "1 difference".to_owned(),
            count => format!("{count} differences"),
        };
        lines.collect::<String>() + &format!("{}: {verdict}\n", rootfs.display())
    })?;
    Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
}

/// What could not be looked at: each is told, the first decides the exit code.
fn fail(failures: Vec<Error>, output: &Output) -> Result<()> {
    let mut failures = failures.into_iter();
    let first = failures.next();
    failures.for_each(|err| {
        failure::report(&err, output);
    });
    first.map_or(Ok(()), Err)
}

fn print_sarif(reports: &[Report], failures: &[Error], output: &Output) -> Result<()> {
    let text = serde_json::to_string_pretty(&sarif::log(reports, failures))
        .map_err(|err| Error::invalid("result cannot be printed").source(err))?;
    output.print(&(text + "\n"))
}

fn print(reports: Vec<Report>, failures: &[Error], output: &Output) -> Result<()> {
    let summary = summary(reports, failures);
    output.report(&summary, |summary| {
        let told = summary.locations.iter().map(|report| {
            let found = summary.findings.iter();
            let found = found.filter(|told| told.location == report.location);
            text(report, found.map(|told| &told.finding).collect())
        });
        let hint = "`conex validate --explain RULE` tells why, and how to mend\n";
        told.collect::<String>() + if summary.findings.is_empty() { "" } else { hint }
    })
}

fn summary(mut locations: Vec<Report>, failures: &[Error]) -> Summary {
    let mut findings = Vec::new();
    for report in &mut locations {
        let location = &report.location;
        let told = std::mem::take(&mut report.findings).into_iter();
        findings.extend(told.map(|finding| Told { location: location.clone(), finding }));
    }
    Summary {
        sound: failures.is_empty() && locations.iter().all(|report| report.sound),
        errors: locations.iter().map(|report| report.errors).sum(),
        warnings: locations.iter().map(|report| report.warnings).sum(),
        findings,
        locations,
        failed: failures.iter().map(ToString::to_string).collect(),
    }
}

/// Errors first, each rule once, with the places that break it.
fn text(report: &Report, mut findings: Vec<&Finding>) -> String {
    let mut text = String::new();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    while let Some(first) = findings.first() {
        let rule = first.rule;
        let (same, others): (Vec<_>, Vec<_>) =
            findings.iter().partition(|finding| finding.rule == rule);
        findings = others;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}[{}]: {}", rule.severity.as_str(), rule.id, rule.text);
        same.iter().take(PLACES).for_each(|finding| place(&mut text, finding));
        if same.len() > PLACES {
            let _ = writeln!(text, "  and {} more", same.len() - PLACES);
        }
    }
    text + &verdict(report)
}

fn place(text: &mut String, finding: &Finding) {
    let subject = finding.subject.to_string();
    let pointer =
        if finding.pointer.is_empty() { String::new() } else { format!(" {}", finding.pointer) };
    let _ = writeln!(text, "  {}", escape(&(subject + &pointer)));
    for (name, value) in [
        ("listed in", &finding.listed_in),
        ("expected", &finding.expected),
        ("found", &finding.found),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "    {name:<9} {}", escape(value));
        }
    }
}

fn verdict(report: &Report) -> String {
    let mut words = Vec::new();
    for (count, severity) in
        [(report.errors, Severity::Error), (report.warnings, Severity::Warning)]
    {
        match count {
            0 => {}
            1 => words.push(format!("1 {}", severity.as_str())),
            count => words.push(format!("{count} {}s", severity.as_str())),
        }
    }
    if report.sound {
        words.insert(0, "sound".into());
    }
    format!(
        "{}: {}; read {} in {} blobs and documents\n",
        escape(&report.location.to_string()),
        words.join(", "),
        size(report.bytes),
        report.checked
    )
}
