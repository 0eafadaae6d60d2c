//! Configs, layers and other leaves: each read once, several at a time.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use indexmap::IndexMap;

use conex_spec::lint::rules::{config, content as rules};
use conex_spec::lint::{self, Finding as Fault};
use conex_spec::{Descriptor, Digest, Error, Kind, Result};
use conex_store::{Source, bridge};

use super::content::{FileReader, Inflation, Seen, is_other_compression, look};
use super::documents::Listed;
use super::report::{Finding, Findings, Subject};

/// The blobs of a graph, each once.
#[derive(Debug, Default)]
pub(super) struct Blobs(IndexMap<(Digest, u64), Blob>);

#[derive(Debug)]
struct Blob {
    /// Type, digest and size; what is embedded stands in for a blob that is missing.
    descriptor: Descriptor,
    listed: Listed,
    /// What must come out, and the places that say so.
    diff_ids: HashMap<Inflation, Vec<(Digest, String)>>,
}

impl Blobs {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.0.keys().map(|(digest, _)| digest)
    }

    /// Notes a blob, and perhaps what is to come out of it.
    pub(super) fn add(
        &mut self,
        descriptor: &Descriptor,
        inflation: Option<(Inflation, &Digest, String)>,
        listed: Listed,
    ) {
        let key = (descriptor.digest.clone(), descriptor.size);
        let blob = self.0.entry(key).or_insert_with(|| {
            let mut kept = descriptor.bare();
            kept.data.clone_from(&descriptor.data);
            Blob { descriptor: kept, listed, diff_ids: HashMap::new() }
        });
        if let Some((inflation, id, place)) = inflation {
            blob.diff_ids.entry(inflation).or_default().push((id.clone(), place));
        }
    }

    /// Notes the diff ID that a config gives a layer.
    pub(super) fn expect(
        &mut self,
        descriptor: &Descriptor,
        inflation: Inflation,
        id: &Digest,
        place: String,
    ) {
        self.add(descriptor, Some((inflation, id, place)), None);
    }

    /// Reads them all, so many at a time. Returns how many there are and their bytes.
    pub(super) async fn check(
        self,
        source: &Arc<dyn Source>,
        jobs: usize,
        findings: &mut Findings,
    ) -> Result<(u64, u64)> {
        let mut read = (0, 0);
        let checks = self.0.into_values().map(|blob| check(source, blob));
        let mut checks = stream::iter(checks).buffered(jobs.max(1));
        while let Some(checked) = checks.next().await {
            let (size, found) = checked?;
            read = (read.0 + u64::from(size.is_some()), read.1 + size.unwrap_or(0));
            found.into_iter().for_each(|finding| findings.push(finding));
        }
        Ok(read)
    }
}

/// The size where the blob could be read, and what is wrong with it.
async fn check(source: &Arc<dyn Source>, blob: Blob) -> Result<(Option<u64>, Vec<Finding>)> {
    let subject = Subject::Content(blob.descriptor.digest.clone());
    let about = |fault: Fault| {
        let mut finding = Finding::new(&subject, fault);
        finding.listed_in.clone_from(&blob.listed);
        finding
    };
    if let Err(err) = blob.descriptor.digest.algorithm() {
        return Ok((None, vec![about(judge(&blob.descriptor, err)?)]));
    }
    let mut inflations: Vec<_> = blob.diff_ids.keys().copied().map(Some).collect();
    if inflations.is_empty() {
        inflations.push(None);
    }
    let mut findings = Vec::new();
    let mut size = None;
    for inflation in inflations {
        let seen = match read(source, &blob.descriptor, inflation).await {
            Ok(seen) => seen,
            Err(err) => {
                if !(err.kind() == Kind::NotFound && is_embedded(&blob.descriptor)) {
                    findings.push(about(judge(&blob.descriptor, err)?));
                }
                break;
            }
        };
        size = Some(seen.size);
        if let Some(fault) = fault(&blob.descriptor, &seen) {
            // What comes out of other content is no matter.
            findings.push(about(fault));
            break;
        }
        let (Some(inflation), Some(diff_id)) = (inflation, seen.diff_id) else { continue };
        let promised = blob.diff_ids.get(&inflation).map(Vec::as_slice).unwrap_or_default();
        match diff_id {
            Err(err) => findings.push(about(corrupt(&err))),
            Ok(found) => findings.extend(mismatches(&subject, promised, &found)),
        }
    }
    Ok((size, findings))
}

pub(super) fn mismatches<'a>(
    subject: &'a Subject,
    promised: &'a [(Digest, String)],
    found: &'a Digest,
) -> impl Iterator<Item = Finding> + 'a {
    promised.iter().filter(move |(expected, _)| expected != found).map(move |(expected, place)| {
        let fault = Fault::new(&config::DIFF_ID_MISMATCH, "");
        let fault = fault.expected(expected.as_str()).found(found.as_str());
        let mut finding = Finding::new(subject, fault);
        finding.listed_in = Some(place.clone());
        finding
    })
}

async fn read(
    source: &Arc<dyn Source>,
    descriptor: &Descriptor,
    inflation: Option<Inflation>,
) -> Result<Seen> {
    let algorithm = descriptor.digest.algorithm()?;
    let size = descriptor.size;
    if let Some(file) = source.file(descriptor).await? {
        return bridge::blocking(move || look(FileReader::new(file), algorithm, size, inflation))
            .await;
    }
    let content = bridge::reader(source.open(descriptor, 0..size).await?);
    bridge::blocking(move || look(content, algorithm, size, inflation)).await
}

fn is_embedded(descriptor: &Descriptor) -> bool {
    matches!(descriptor.embedded(), Ok(Some(_)))
}

fn fault(descriptor: &Descriptor, seen: &Seen) -> Option<Fault> {
    if seen.size != descriptor.size {
        return Some(wrong_size(descriptor, format!("{} bytes", seen.size)));
    }
    if seen.digest != descriptor.digest {
        let fault = Fault::new(&rules::DIGEST_MISMATCH, "");
        return Some(fault.expected(descriptor.digest.as_str()).found(seen.digest.as_str()));
    }
    None
}

fn wrong_size(descriptor: &Descriptor, found: String) -> Fault {
    let fault = Fault::new(&rules::SIZE_MISMATCH, "");
    fault.expected(format!("{} bytes", descriptor.size)).found(found)
}

/// The finding that an error comes to. What could not be looked at is neither sound nor unsound:
/// that error stays one.
pub(super) fn judge(descriptor: &Descriptor, err: Error) -> Result<Fault> {
    let found = err.found_value().map(str::to_owned);
    Ok(match err.kind() {
        Kind::NotFound => lint::Finding::new(&rules::MISSING, "").found("nothing"),
        Kind::Unsupported => Fault::new(&rules::UNVERIFIABLE, "")
            .expected("sha256, sha512 or blake3")
            .found(descriptor.digest.algorithm_name()),
        // A digest that differs is told as a digest, anything else of length by its length.
        Kind::Mismatch if err.expected_value() == Some(descriptor.digest.as_str()) => Fault {
            found,
            ..Fault::new(&rules::DIGEST_MISMATCH, "").expected(descriptor.digest.as_str())
        },
        Kind::Mismatch => wrong_size(descriptor, found.unwrap_or_else(|| err.to_string())),
        Kind::Invalid | Kind::Limit => {
            Fault::new(&rules::UNREADABLE, "").found(found.unwrap_or_else(|| err.to_string()))
        }
        _ => return Err(err),
    })
}

/// What a layer that cannot be inflated comes to.
pub(super) fn corrupt(err: &Error) -> Fault {
    let rule =
        if is_other_compression(err) { &rules::COMPRESSION_MISMATCH } else { &rules::CORRUPT };
    let mut fault = Fault::new(rule, "");
    fault.expected = err.expected_value().map(str::to_owned);
    fault.found = Some(err.found_value().map_or_else(|| err.to_string(), str::to_owned));
    fault
}
