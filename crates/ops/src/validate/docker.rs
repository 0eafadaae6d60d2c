//! The files of an archive as `docker save` writes it, and the images that they list.
//!
//! Where the archive is an OCI layout too, an image is read as that layout has it, down from its
//! manifest. Else there is no manifest: its layers are held against the diff IDs of its config.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use conex_spec::layout::{INDEX_FILE, MARKER_FILE};
use conex_spec::lint::archive::{Listed, canonical, images, repositories};
use conex_spec::lint::rules::archive as rules;
use conex_spec::lint::rules::{content, json};
use conex_spec::lint::{self, ConfigFacts, Finding as Fault, Form, Outcome, Part, Rule, lint};
use conex_spec::{Algorithm, Descriptor, Digest, Error, Kind, Manifest, Name, Result};
use conex_store::archive::DockerArchive;
use conex_store::archive::docker::MANIFEST_FILE;
use conex_store::archive::docker::saved::REPOSITORIES_FILE;
use conex_store::archive::input::PartReader;
use conex_store::{Source, SourceExt, blobs as paths, bridge};
use conex_tar::compression::detect;

use super::blobs::{corrupt, mismatches};
use super::content::{Inflation, look};
use super::documents::{Listed as Place, counts};
use super::layout::{check_index, check_marker};
use super::report::{Finding, Findings, Report, Subject};
use super::{Options, roots};
use crate::inspect::is_of_content;
use crate::json_file::Target;

/// All images of an archive, or the one of a name.
pub(super) async fn validate(
    archive: DockerArchive,
    name: Option<Name>,
    target: &Target,
    options: Options,
) -> Result<Report> {
    let archive = Arc::new(archive);
    let mut check = Check {
        archive: &archive,
        findings: Findings::default(),
        read: (0, 0),
        roots: Vec::new(),
        layers: Vec::new(),
        seen: HashSet::new(),
    };
    let listed = check.list(name.as_ref()).await?;
    if name.is_none() {
        check.older_list(&listed).await?;
        check.layout().await?;
    }
    for image in &listed {
        check.image(image).await?;
    }
    check.layers(options.jobs).await?;
    let Check { findings, read, roots: found, .. } = check;
    let source = Arc::clone(&archive) as Arc<dyn Source>;
    let (findings, below) = roots(&source, &found, Vec::new(), findings, options, |_| ()).await?;
    let root = match found.as_slice() {
        [(only, _)] if listed.len() == 1 => Some(only.bare()),
        _ => None,
    };
    Ok(findings.report(target.clone(), root, (read.0 + below.0, read.1 + below.1)))
}

struct Check<'a> {
    archive: &'a DockerArchive,
    findings: Findings,
    /// How many files were read here, and their bytes.
    read: (u64, u64),
    /// What the layout in the archive has of the images.
    roots: Vec<(Descriptor, Place)>,
    /// What the layers of the other images are to be.
    layers: Vec<Layer>,
    seen: HashSet<(String, Digest)>,
}

struct Layer {
    name: String,
    diff_id: Digest,
    place: String,
}

impl Check<'_> {
    /// The images of `manifest.json`, or the one that a name stands for.
    async fn list(&mut self, name: Option<&Name>) -> Result<Vec<Listed>> {
        let subject = Subject::File(MANIFEST_FILE.into());
        let Some(bytes) = self.file(MANIFEST_FILE, Some(&rules::LIST_MISSING)).await? else {
            return Ok(Vec::new());
        };
        let (mut outcome, mut listed) = images(&bytes);
        if let Some(name) = name {
            match self.archive.position(name).await {
                Ok(at) => only(&mut outcome, &mut listed, at),
                // The findings say why the list cannot be read.
                Err(err) if err.kind() != Kind::NotFound && !outcome.findings.is_empty() => {}
                Err(err) => return Err(err),
            }
        }
        self.findings.extend(&subject, &outcome);
        Ok(listed)
    }

    /// `repositories`, where it is there: it names what the newer list names, and nothing else.
    async fn older_list(&mut self, listed: &[Listed]) -> Result<()> {
        let subject = Subject::File(REPOSITORIES_FILE.into());
        let Some(bytes) = self.file(REPOSITORIES_FILE, None).await? else { return Ok(()) };
        if listed.is_empty() {
            return Ok(());
        }
        let (outcome, names) = repositories(&bytes);
        self.findings.extend(&subject, &outcome);
        let here = listed.iter().flat_map(|image| &image.names);
        let here: HashSet<_> = here.map(|name| canonical(name)).collect();
        let there: HashSet<_> = names.iter().map(|name| canonical(name)).collect();
        let mut differ: Vec<_> = here.symmetric_difference(&there).collect();
        differ.sort_unstable();
        for name in differ.into_iter().filter(|_| outcome.findings.is_empty()) {
            let fault = Fault::new(&rules::REPOSITORIES, "");
            let (expected, found) = match here.contains(name) {
                true => (name.clone(), "nothing".to_owned()),
                false => ("nothing".to_owned(), name.clone()),
            };
            self.findings.push(Finding::new(&subject, fault.expected(expected).found(found)));
        }
        Ok(())
    }

    /// The marker and the index of the layout, where the archive is one.
    async fn layout(&mut self) -> Result<()> {
        let marker = self.file(MARKER_FILE, None).await?;
        let index = self.file(INDEX_FILE, None).await?;
        if let (Some(marker), Some(index)) = (marker, index) {
            check_marker(&mut self.findings, Some(&marker));
            let outcome = check_index(&mut self.findings, Some(&index));
            self.findings.extend(&Subject::File(INDEX_FILE.into()), &outcome);
        }
        Ok(())
    }

    async fn image(&mut self, image: &Listed) -> Result<()> {
        let at = format!("{MANIFEST_FILE}#/{}", image.index);
        let config = match &image.config {
            Some(name) => self.config(name, &format!("{at}/Config")).await?,
            None => None,
        };
        let Some((name, bytes)) = config else { return self.present(image, &at).await };
        let digest = Digest::sha256(&bytes);
        match self.archive.in_layout(&digest).await {
            Ok(Some((root, found))) => {
                self.roots.push((root, Some(at.clone())));
                return self.compare(image, &found, &at).await;
            }
            // What is wrong with the layout is told by its own documents.
            Err(err) if is_of_content(&err) => self.entries(&at).await?,
            Ok(None) => {}
            Err(err) => return Err(err),
        }
        let subject = Subject::File(name.clone());
        let outcome = lint(Form::Config, &bytes, &lint::Context::default());
        if self.seen.insert((name, digest)) {
            self.findings.extend(&subject, &outcome);
        }
        match &outcome.config {
            Some(facts) => self.diff_ids(image, &subject, facts, &at).await,
            None => self.present(image, &at).await,
        }
    }

    /// A config under its name, which may promise its digest.
    async fn config(&mut self, name: &str, listed: &str) -> Result<Option<(String, Bytes)>> {
        let bytes = self.listed_file(name, &rules::CONFIG_MISSING, listed).await?;
        let Some(bytes) = bytes else { return Ok(None) };
        let stem = name.rsplit('/').next().unwrap_or(name);
        let stem = stem.strip_suffix(".json").unwrap_or(stem);
        let digest = Digest::sha256(&bytes);
        if format!("sha256:{stem}").parse::<Digest>().is_ok_and(|named| named != digest) {
            let fault = Fault::new(&rules::CONFIG_NAME, "");
            let fault = fault.expected(stem).found(digest.encoded());
            self.tell(name, fault, Some(listed));
        }
        Ok(Some((name.to_owned(), bytes)))
    }

    /// Notes the layers of an image without a layout, each with its diff ID.
    async fn diff_ids(
        &mut self,
        image: &Listed,
        config: &Subject,
        facts: &ConfigFacts,
        at: &str,
    ) -> Result<()> {
        counts(&mut self.findings, config, facts, image.layers.len());
        self.present(image, at).await?;
        let ids = facts.diff_ids.as_deref().unwrap_or_default();
        for (index, (name, id)) in image.layers.iter().zip(ids).enumerate() {
            let (Some(name), Some(id)) = (name, id) else { continue };
            if self.seen.insert((name.clone(), id.clone())) {
                let place = format!("{config}#/rootfs/diff_ids/{index}");
                self.layers.push(Layer { name: name.clone(), diff_id: id.clone(), place });
            }
        }
        Ok(())
    }

    /// Whether the layers of an image are there.
    async fn present(&mut self, image: &Listed, at: &str) -> Result<()> {
        for (index, name) in image.layers.iter().enumerate() {
            let Some(name) = name else { continue };
            let listed = format!("{at}/Layers/{index}");
            match self.archive.member(name).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let fault = Fault::new(&rules::LAYER_MISSING, "").found("nothing");
                    self.tell(name, fault, Some(&listed));
                }
                Err(err) => self.unreadable(name, err, Some(&listed))?,
            }
        }
        Ok(())
    }

    /// The list and the layout must mean the same layers.
    async fn compare(&mut self, image: &Listed, found: &Descriptor, at: &str) -> Result<()> {
        let Ok(manifest) = self.archive.manifest(found).await else { return Ok(()) };
        let Manifest::Image(manifest) = manifest.into_value() else { return Ok(()) };
        let mut same = manifest.layers.len() == image.layers.len();
        for (layer, name) in manifest.layers.iter().zip(&image.layers) {
            let Some(name) = name else { continue };
            let member = async |name: &str| {
                let member = self.archive.member(name).await;
                member.ok().flatten().map(|member| member.part())
            };
            let path = paths::path(&layer.digest)?;
            same &= *name == path || member(name).await == member(&path).await;
        }
        if !same {
            let digests = manifest.layers.iter().map(|layer| layer.digest.short().to_string());
            let names = image.layers.iter().map(|name| name.as_deref().unwrap_or("?"));
            let fault = Fault::new(&rules::LAYOUT_DIFFERS, format!("/{}/Layers", image.index))
                .expected(digests.collect::<Vec<_>>().join(", "))
                .found(names.collect::<Vec<_>>().join(", "));
            self.tell(MANIFEST_FILE, fault, Some(&format!("{at} and {}", found.digest)));
        }
        Ok(())
    }

    /// Every entry of a layout of which something cannot be read.
    async fn entries(&mut self, at: &str) -> Result<()> {
        let Ok(Some(index)) = self.archive.small(INDEX_FILE).await else { return Ok(()) };
        let context = lint::Context { media_type: None, entry_point: true };
        for link in lint(Form::Index, &index, &context).links {
            let known = self.roots.iter().any(|(root, _)| root.digest == link.descriptor.digest);
            if link.part == Part::Entry && !known {
                self.roots.push((link.descriptor, Some(at.to_owned())));
            }
        }
        Ok(())
    }

    /// Reads the layers that have no manifest, so many at a time.
    async fn layers(&mut self, jobs: usize) -> Result<()> {
        let layers = std::mem::take(&mut self.layers);
        let checks = layers.into_iter().map(|layer| layer.check(self.archive));
        let checks: Vec<_> = stream::iter(checks).buffered(jobs.max(1)).collect().await;
        for checked in checks {
            let (size, found) = checked?;
            self.read = (self.read.0 + 1, self.read.1.saturating_add(size));
            found.into_iter().for_each(|finding| self.findings.push(finding));
        }
        Ok(())
    }

    /// A small file of the archive.
    async fn file(&mut self, name: &str, missing: Option<&'static Rule>) -> Result<Option<Bytes>> {
        match self.archive.small(name).await {
            Ok(Some(bytes)) => {
                self.read = (self.read.0 + 1, self.read.1 + bytes.len() as u64);
                return Ok(Some(bytes));
            }
            Ok(None) => {
                if let Some(rule) = missing {
                    self.tell(name, Fault::new(rule, "").found("nothing"), None);
                }
            }
            Err(err) => self.unreadable(name, err, None)?,
        }
        Ok(None)
    }

    async fn listed_file(
        &mut self,
        name: &str,
        missing: &'static Rule,
        listed: &str,
    ) -> Result<Option<Bytes>> {
        let before = self.findings.list.len();
        let bytes = self.file(name, Some(missing)).await?;
        for finding in self.findings.list.iter_mut().skip(before) {
            finding.listed_in = Some(listed.to_owned());
        }
        Ok(bytes)
    }

    fn unreadable(&mut self, name: &str, err: Error, listed: Option<&str>) -> Result<()> {
        let rule = match err.kind() {
            Kind::Limit => &json::TOO_LARGE,
            Kind::Invalid => &rules::MEMBER_UNREADABLE,
            _ => return Err(err),
        };
        let found = err.found_value().map_or_else(|| err.to_string(), str::to_owned);
        self.tell(name, Fault::new(rule, "").found(found), listed);
        Ok(())
    }

    fn tell(&mut self, name: &str, fault: Fault, listed: Option<&str>) {
        let mut finding = Finding::new(&Subject::File(name.to_owned()), fault);
        finding.listed_in = listed.map(str::to_owned);
        self.findings.push(finding);
    }
}

impl Layer {
    /// How many bytes it has, and what is wrong with it. One that is not there was told already.
    async fn check(self, archive: &DockerArchive) -> Result<(u64, Vec<Finding>)> {
        let Ok(Some(reader)) = archive.member(&self.name).await else {
            return Ok((0, Vec::new()));
        };
        let subject = Subject::File(self.name);
        let Ok(algorithm) = self.diff_id.algorithm() else {
            let fault = Fault::new(&content::UNVERIFIABLE, "").found(self.diff_id.algorithm_name());
            return Ok((0, vec![Finding::new(&subject, fault)]));
        };
        let size = reader.part().size;
        let diff_id = bridge::blocking(move || inflate(reader, algorithm)).await?;
        let found = match diff_id {
            Err(err) => vec![Finding::new(&subject, corrupt(&err))],
            Ok(found) => mismatches(&subject, &[(self.diff_id, self.place)], &found).collect(),
        };
        Ok((size, found))
    }
}

/// The diff ID of a layer, whatever it is compressed with.
fn inflate(reader: PartReader, algorithm: Algorithm) -> Result<Result<Digest>> {
    let mut head = Vec::with_capacity(4);
    let begin = reader.clone().take(4).read_to_end(&mut head);
    begin.map_err(|err| Error::from_io(err, || "cannot read the layer".into()))?;
    let inflation = Inflation { compression: detect(&head), algorithm };
    let size = reader.part().size;
    let seen = look(reader, algorithm, size, Some(inflation))?;
    Ok(seen.diff_id.unwrap_or(Ok(seen.digest)))
}

/// The one image of the list that is meant. What concerns only others is left out.
fn only(outcome: &mut Outcome, listed: &mut Vec<Listed>, at: usize) {
    listed.retain(|image| image.index == at);
    outcome.findings.retain(|finding| {
        let index = finding.pointer.split('/').nth(1);
        index.is_none_or(|index| index == at.to_string())
    });
}
