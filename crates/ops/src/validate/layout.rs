//! The files of a layout itself, and the roots that they name. image-spec, image-layout.md.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use conex_spec::layout::{INDEX_FILE, MARKER_FILE};
use conex_spec::lint::rules::index as rules;
use conex_spec::lint::{self, Form, Link, Outcome, Part, lint};
use conex_spec::{Descriptor, Digest, Kind, Name, Result};
use conex_store::{Layout, Source};

use super::report::{Finding, Findings, Report, Subject};
use super::{Options, roots};
use crate::json_file::Target;

pub(super) async fn validate(
    path: &Path,
    name: Option<&Name>,
    target: &Target,
    options: Options,
) -> Result<Report> {
    let layout = Layout::unchecked(path)?;
    let (marker, index, blobs) =
        (layout.marker_file()?, layout.index_file()?, layout.blob_files()?);
    if marker.is_none() && index.is_none() && blobs.is_none() {
        return Err(Layout::missing(path));
    }
    let mut findings = Findings::default();
    let read = [&marker, &index].into_iter().flatten().map(|bytes| bytes.len() as u64);
    let read = (read.clone().count() as u64, read.sum::<u64>());
    check_marker(&mut findings, marker.as_deref());
    check_blobs(&mut findings, blobs);
    let mut outcome = check_index(&mut findings, index.as_deref());
    let entries = choose(&mut outcome, name);
    if let Some(name) = name
        && entries.is_empty()
        && index.is_some()
    {
        // A manifest may lie among the blobs without being a root. Where the index cannot be read
        // its own findings say why; anything else is not there.
        match resolve(path, name).await {
            Ok(root) => {
                let source: Arc<dyn Source> = Arc::new(layout);
                return super::validate_root(&source, root, target, options).await;
            }
            Err(err) if err.kind() == Kind::NotFound => return Err(err),
            Err(_) => {}
        }
    }
    let subject = Subject::File(INDEX_FILE.into());
    findings.extend(&subject, &outcome);
    let listed: Vec<_> = entries
        .iter()
        .map(|link| (link.descriptor.clone(), Some(format!("{subject}#{}", link.pointer))))
        .collect();
    let source: Arc<dyn Source> = Arc::new(layout);
    let promise = |documents: &mut super::Documents<'_>| {
        entries.iter().for_each(|link| documents.promise(&subject, link));
    };
    let (findings, below) = roots(&source, &listed, findings, options, promise).await?;
    let root = match entries.as_slice() {
        [only] => Some(only.descriptor.bare()),
        _ => None,
    };
    Ok(findings.report(target.clone(), root, (read.0 + below.0, read.1 + below.1)))
}

async fn resolve(path: &Path, name: &Name) -> Result<Descriptor> {
    Layout::open(path, None)?.resolve(Some(name)).await
}

fn check_marker(findings: &mut Findings, marker: Option<&[u8]>) {
    let subject = Subject::File(MARKER_FILE.into());
    match marker {
        None => {
            findings.push(Finding::new(&subject, lint::Finding::new(&rules::MARKER_MISSING, "")));
        }
        Some(bytes) => {
            let outcome = lint(Form::Layout, bytes, &lint::Context::default());
            findings.extend(&subject, &outcome);
        }
    }
}

fn check_index(findings: &mut Findings, index: Option<&[u8]>) -> Outcome {
    let Some(bytes) = index else {
        let subject = Subject::File(INDEX_FILE.into());
        findings.push(Finding::new(&subject, lint::Finding::new(&rules::INDEX_MISSING, "")));
        return Outcome::default();
    };
    lint(Form::Index, bytes, &lint::Context { media_type: None, entry_point: true })
}

/// "The character set of the entry name for `<alg>` and `<encoded>` MUST match".
fn check_blobs(findings: &mut Findings, blobs: Option<Vec<String>>) {
    let Some(blobs) = blobs else {
        let subject = Subject::File("blobs".into());
        findings.push(Finding::new(&subject, lint::Finding::new(&rules::BLOBS_MISSING, "")));
        return;
    };
    for name in blobs {
        if name.replacen('/', ":", 1).parse::<Digest>().is_err() {
            let subject = Subject::File(format!("blobs/{name}"));
            findings.push(Finding::new(&subject, lint::Finding::new(&rules::BLOB_NAME, "")));
        }
    }
}

/// The entries that are meant. What concerns only others is left out.
fn choose(outcome: &mut Outcome, name: Option<&Name>) -> Vec<Link> {
    let is_meant = |link: &Link| match name {
        None => true,
        Some(Name::Tag(tag)) => link.descriptor.ref_name() == Some(tag.as_str()),
        Some(Name::Digest(digest)) => link.descriptor.digest == *digest,
    };
    let entries = outcome.links.iter().filter(|link| link.part == Part::Entry);
    let (meant, others): (Vec<_>, Vec<_>) = entries.cloned().partition(is_meant);
    if !meant.is_empty() {
        let others: HashSet<_> = others.iter().map(|other| other.pointer.as_str()).collect();
        outcome.findings.retain(|finding| {
            // The first two parts of `/manifests/3/digest` name the entry.
            let end =
                finding.pointer.match_indices('/').nth(2).map_or(finding.pointer.len(), |m| m.0);
            !others.contains(&finding.pointer[..end])
        });
    }
    meant
}
