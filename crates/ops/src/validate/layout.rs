//! The files of a layout itself, and the roots that they name. image-spec, image-layout.md.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use conex_spec::layout::{INDEX_FILE, MARKER_FILE};
use conex_spec::lint::rules::index as rules;
use conex_spec::lint::{self, Form, Link, Outcome, Part, lint};
use conex_spec::{Descriptor, Digest, Kind, MediaType, Name, Result};
use conex_store::archive::OciArchive;
use conex_store::{Layout, Source};

use super::report::{Finding, Findings, Report, Subject};
use super::{Options, roots};
use crate::json_file::Target;
use crate::reach::there;

/// What a layout is made of, as it is; nothing for what is not there.
struct Files {
    marker: Option<Bytes>,
    index: Option<Bytes>,
    blobs: Option<Vec<String>>,
    /// All blobs, whether or not anything refers to them.
    all: Vec<Descriptor>,
}

impl Files {
    /// Whether a blob lies there, of whatever algorithm.
    fn has(&self, digest: &Digest) -> bool {
        let path = digest.as_str().replacen(':', "/", 1);
        self.blobs.iter().flatten().any(|name| *name == path)
    }
}

/// A folder.
pub(super) async fn validate(
    path: &Path,
    name: Option<&Name>,
    target: &Target,
    options: Options,
) -> Result<Report> {
    let layout = Layout::unchecked(path)?;
    let blobs = layout.blob_files()?;
    let mut all = Vec::new();
    for digest in digests(blobs.as_deref()) {
        let size = there(layout.blob_size(&digest))?.flatten();
        all.extend(size.map(|size| Descriptor::new(MediaType::OCTETS, digest, size)));
    }
    let files = Files {
        marker: layout.marker_file()?.map(Bytes::from),
        index: layout.index_file()?.map(Bytes::from),
        blobs,
        all,
    };
    if files.marker.is_none() && files.index.is_none() && files.blobs.is_none() {
        return Err(Layout::missing(path));
    }
    let checked = || Ok(Arc::new(Layout::open(path, None)?) as Arc<dyn Source>);
    check(&files, Arc::new(layout), checked, name, target, options).await
}

/// The same in a tar.
pub(super) async fn validate_archive(
    archive: OciArchive,
    name: Option<&Name>,
    target: &Target,
    options: Options,
) -> Result<Report> {
    let archive = Arc::new(archive);
    let blobs = archive.blob_files().await?;
    let mut all = Vec::new();
    for digest in digests(blobs.as_deref()) {
        let size = there(archive.blob_size(&digest).await)?.flatten();
        all.extend(size.map(|size| Descriptor::new(MediaType::OCTETS, digest, size)));
    }
    let mut files = Files {
        marker: archive.marker_file().await?,
        index: archive.index_file().await?,
        blobs,
        all,
    };
    if files.index.is_none() && (files.marker.is_none() || files.blobs.is_none()) {
        // No layout at all; the archive itself says so best.
        archive.resolve(name).await?;
    }
    // A tar need not list the folders that its members lie in.
    files.blobs.get_or_insert_default();
    let checked = || Ok(Arc::clone(&archive) as Arc<dyn Source>);
    check(&files, Arc::clone(&archive) as Arc<dyn Source>, checked, name, target, options).await
}

/// The files of a layout, and what `source` holds below the roots that they name. `checked` is the
/// same place as everyone else reads it.
async fn check(
    files: &Files,
    source: Arc<dyn Source>,
    checked: impl Fn() -> Result<Arc<dyn Source>>,
    name: Option<&Name>,
    target: &Target,
    options: Options,
) -> Result<Report> {
    let mut findings = Findings::default();
    let read = [&files.marker, &files.index].into_iter().flatten().map(|bytes| bytes.len() as u64);
    let read = (read.clone().count() as u64, read.sum::<u64>());
    check_marker(&mut findings, files.marker.as_deref());
    check_blobs(&mut findings, files.blobs.as_deref());
    let mut outcome = check_index(&mut findings, files.index.as_deref());
    let mut entries = choose(&mut outcome, name);
    if let Some(name) = name
        && entries.is_empty()
        && files.index.is_some()
    {
        // A name may have several spellings, and a manifest may lie among the blobs without being
        // a root. Where the index cannot be read its own findings say why; anything else is not
        // there.
        match resolve(checked(), name).await {
            Ok(root) => {
                entries = choose(&mut outcome, Some(&Name::Digest(root.digest.clone())));
                if entries.is_empty() {
                    return super::validate_root(&source, root, target, options).await;
                }
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
    let promise = |documents: &mut super::Documents<'_>| {
        entries.iter().for_each(|link| documents.promise(&subject, link));
    };
    let all = if name.is_none() { files.all.clone() } else { Vec::new() };
    let (mut findings, below) = roots(&source, &listed, all, findings, options, promise).await?;
    findings.look_again(|digest| files.has(digest));
    let root = match entries.as_slice() {
        [only] => Some(only.descriptor.bare()),
        _ => None,
    };
    Ok(findings.report(target.clone(), root, (read.0 + below.0, read.1 + below.1)))
}

async fn resolve(place: Result<Arc<dyn Source>>, name: &Name) -> Result<Descriptor> {
    place?.resolve(Some(name)).await
}

pub(super) fn check_marker(findings: &mut Findings, marker: Option<&[u8]>) {
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

pub(super) fn check_index(findings: &mut Findings, index: Option<&[u8]>) -> Outcome {
    let Some(bytes) = index else {
        let subject = Subject::File(INDEX_FILE.into());
        findings.push(Finding::new(&subject, lint::Finding::new(&rules::INDEX_MISSING, "")));
        return Outcome::default();
    };
    lint(Form::Index, bytes, &lint::Context { media_type: None, entry_point: true })
}

/// "The character set of the entry name for `<alg>` and `<encoded>` MUST match".
fn check_blobs(findings: &mut Findings, blobs: Option<&[String]>) {
    let Some(blobs) = blobs else {
        let subject = Subject::File("blobs".into());
        findings.push(Finding::new(&subject, lint::Finding::new(&rules::BLOBS_MISSING, "")));
        return;
    };
    for name in blobs {
        if digest_of(name).is_none() {
            let subject = Subject::File(format!("blobs/{name}"));
            findings.push(Finding::new(&subject, lint::Finding::new(&rules::BLOB_NAME, "")));
        }
    }
}

fn digests(blobs: Option<&[String]>) -> impl Iterator<Item = Digest> {
    blobs.unwrap_or_default().iter().filter_map(|name| digest_of(name))
}

/// The digest that the path of a blob spells.
fn digest_of(path: &str) -> Option<Digest> {
    path.replacen('/', ":", 1).parse().ok()
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
