//! `conex validate`: whether all that can be reached from a root is sound. Reads everything, in
//! constant memory, and tells all faults at once, each with the rule that it breaks.
//!
//! | looking for | module |
//! |---|---|
//! | documents, from a root to its leaves | `documents` |
//! | configs, layers and other leaves | `blobs` |
//! | one of them: read, hashed, inflated | `content` |
//! | the files of a layout | `layout` |
//! | an archive of `docker save` | `docker` |
//! | what it came to | [`report`] |
//! | the rules themselves | [`conex_spec::lint`] |

mod blobs;
mod content;
mod docker;
mod documents;
mod layout;
pub mod report;

use std::sync::Arc;

use conex_spec::lint::rules::{is_of_json, json};
use conex_spec::lint::{self, Form, lint};
use conex_spec::{Descriptor, Error, Kind, Location, Name, Result};
use conex_store::Source;

use crate::json_file::{DocumentKind, JsonFile, Target};
use crate::open::Context;
use documents::{Documents, Listed};
use report::Findings;
pub use report::{Finding, Report, Subject};

/// How to validate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many blobs are read at a time.
    pub jobs: usize,
    /// What sort of document a file is, where its members do not show it.
    pub named: Option<DocumentKind>,
}

/// Validates what a location names, or the document in a file. Of a layout or an archive
/// that names no root, everything is.
///
/// # Errors
/// Only what keeps content from being looked at, or a root that is not there: everything else is
/// a finding.
pub async fn validate(context: &Context, target: &Target, options: Options) -> Result<Report> {
    match target {
        Target::Location(location) if options.named.is_some() => Err(for_files(location)),
        Target::File(path) => file(&JsonFile::read(path)?, target, options.named),
        Target::Location(Location::Layout { path, name }) => {
            layout::validate(path, name.as_ref(), target, options).await
        }
        Target::Location(location @ Location::OciArchive { name, .. }) => {
            let archive = context.oci_archive(location)?;
            layout::validate_archive(archive, name.as_ref(), target, options).await
        }
        Target::Location(location @ Location::DockerArchive { reference, .. }) => {
            let name = reference.clone().map(Name::Tag);
            docker::validate(context.docker_archive(location)?, name, target, options).await
        }
        Target::Location(location) => {
            let (source, root) = context.resolve(location).await?;
            validate_root(&source, root, target, options).await
        }
    }
}

fn for_files(location: &Location) -> Error {
    Error::new(Kind::Usage, "`--as` says what a file holds")
        .expected("the path of a file, or `file:PATH`")
        .found(location)
        .hint("what a location holds is known from its descriptor")
}

/// Validates a root of a source.
async fn validate_root(
    source: &Arc<dyn Source>,
    root: Descriptor,
    target: &Target,
    options: Options,
) -> Result<Report> {
    let (findings, read) =
        roots(source, &[(root.clone(), None)], Vec::new(), Findings::default(), options, |_| ())
            .await?;
    Ok(findings.report(target.clone(), Some(root), read))
}

/// Everything below some roots and some more blobs, together with what was found before.
async fn roots(
    source: &Arc<dyn Source>,
    roots: &[(Descriptor, Listed)],
    others: Vec<Descriptor>,
    before: Findings,
    options: Options,
    prepare: impl FnOnce(&mut Documents<'_>),
) -> Result<(Findings, (u64, u64))> {
    let mut documents = Documents::new(source.as_ref());
    documents.findings = before;
    prepare(&mut documents);
    for (root, listed) in roots {
        documents.visit_all(root, listed.clone()).await?;
    }
    documents.compare_platforms();
    documents.add_unlisted(others);
    let (mut findings, (count, bytes)) = (documents.findings, documents.read);
    let leaves = documents.blobs.check(source, options.jobs, &mut findings).await?;
    Ok((findings, (count + leaves.0, bytes.saturating_add(leaves.1))))
}

/// One document, and nothing that it refers to.
fn file(file: &JsonFile, target: &Target, named: Option<DocumentKind>) -> Result<Report> {
    let outcome = match file.kind(named) {
        Ok(kind) => {
            // A layout's index.json is known by its name: there, entries may have names.
            let entry_point = file.path.file_name().is_some_and(|name| name == "index.json");
            lint(form_of(kind), &file.bytes, &lint::Context { media_type: None, entry_point })
        }
        Err(err) => unrecognised(&file.bytes, &err),
    };
    let mut findings = Findings::default();
    findings.extend(&Subject::File(target.to_string()), &outcome);
    Ok(findings.report(target.clone(), None, (1, file.bytes.len() as u64)))
}

fn form_of(kind: DocumentKind) -> Form {
    match kind {
        DocumentKind::Descriptor => Form::Descriptor,
        DocumentKind::Index => Form::Index,
        DocumentKind::Manifest => Form::Manifest,
        DocumentKind::Config => Form::Config,
        DocumentKind::Layout => Form::Layout,
    }
}

/// What is wrong with a file that is no document: as JSON, or else that nothing tells its sort.
fn unrecognised(bytes: &[u8], err: &Error) -> lint::Outcome {
    let mut outcome = lint(Form::Layout, bytes, &lint::Context::default());
    outcome.findings.retain(|finding| is_of_json(finding.rule));
    if outcome.findings.is_empty() {
        let mut unknown = lint::Finding::new(&json::UNKNOWN, "");
        unknown.expected = err.expected_value().map(str::to_owned);
        unknown.found = err.found_value().map(str::to_owned);
        outcome.findings.push(unknown);
    }
    outcome
}
