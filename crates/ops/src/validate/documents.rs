//! From document to document: each is read, verified and linted once, and leads on to its children
//! as far as they can be made out. Blobs are only noted here; see [`super::blobs`].

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use conex_spec::document::LIMIT;
use conex_spec::lint::rules::{config, content, index, json};
use conex_spec::lint::{self, ConfigFacts, Form, Link, Part, Severity, lint};
use conex_spec::media_type::Role;
use conex_spec::{Descriptor, Digest, Kind, MediaType, Platform, Result};
use conex_store::{Source, SourceExt};

use super::blobs::Blobs;
use super::content::Inflation;
use super::report::{Finding, Findings, Subject};
use crate::walk::{MAX_DEPTH, MAX_NODES};

/// A place that refers to content: `SUBJECT#POINTER`.
pub(super) type Listed = Option<String>;

/// Goes through a graph of documents.
pub(super) struct Documents<'a> {
    source: &'a dyn Source,
    pub(super) findings: Findings,
    pub(super) blobs: Blobs,
    /// How many documents were read, and their bytes.
    pub(super) read: (u64, u64),
    counted: HashSet<Digest>,
    /// What is still to be visited.
    waiting: Vec<Visit>,
    seen: HashSet<(Digest, MediaType, u64)>,
    /// What each image's config says that it runs on.
    platforms: HashMap<Digest, Platform>,
    /// What indexes say of the same: where they do, of which manifest, and what.
    promised: Vec<(Subject, String, Digest, Platform)>,
    full: bool,
}

struct Visit {
    descriptor: Descriptor,
    form: Form,
    depth: usize,
    listed: Listed,
}

impl<'a> Documents<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            findings: Findings::default(),
            blobs: Blobs::default(),
            read: (0, 0),
            counted: HashSet::new(),
            waiting: Vec::new(),
            seen: HashSet::new(),
            platforms: HashMap::new(),
            promised: Vec::new(),
            full: false,
        }
    }

    /// Visits all that hangs from a root.
    pub(super) async fn visit_all(&mut self, root: &Descriptor, listed: Listed) -> Result<()> {
        self.follow(root, Part::Entry, 0, listed);
        while let Some(visit) = self.waiting.pop() {
            self.visit(visit).await?;
        }
        Ok(())
    }

    /// Notes those of some blobs that nothing refers to, once all that is referred to is known.
    ///
    /// "The content of `blobs/<alg>/<encoded>` MUST match the digest `<alg>:<encoded>`"
    /// (image-spec, image-layout.md, "Blobs"), whether or not anything refers to it.
    pub(super) fn add_unlisted(&mut self, all: Vec<Descriptor>) {
        let mut known: HashSet<Digest> = self.blobs.digests().cloned().collect();
        known.extend(self.seen.iter().map(|(digest, ..)| digest.clone()));
        for blob in all.iter().filter(|blob| !known.contains(&blob.digest)) {
            self.blobs.add(blob, None, None);
        }
    }

    /// Compares what indexes promise with what configs say, when all are known.
    pub(super) fn compare_platforms(&mut self) {
        for (subject, pointer, digest, promised) in std::mem::take(&mut self.promised) {
            let Some(said) = self.platforms.get(&digest) else { continue };
            let basic = |platform: &Platform| format!("{}/{}", platform.os, platform.architecture);
            let pointer = format!("{pointer}/platform");
            let mut report = |rule, expected: String, found: String| {
                let finding = lint::Finding::new(rule, &pointer).expected(expected).found(found);
                self.findings.push(Finding::new(&subject, finding));
            };
            if basic(said) != basic(&promised) {
                report(&index::PLATFORM_MISMATCH, basic(said), basic(&promised));
                continue;
            }
            for (said, promised) in
                [(&said.variant, &promised.variant), (&said.os_version, &promised.os_version)]
            {
                // What only one of them says contradicts nothing.
                if let (Some(said), Some(promised)) = (said, promised)
                    && said != promised
                {
                    report(&index::PLATFORM_DETAIL, said.clone(), promised.clone());
                }
            }
        }
    }

    /// Notes an index's own words about the platforms of its entries.
    pub(super) fn promise(&mut self, subject: &Subject, link: &Link) {
        if let Some(platform) = &link.descriptor.platform
            && self.promised.len() < MAX_NODES
        {
            let digest = link.descriptor.digest.clone();
            self.promised.push((subject.clone(), link.pointer.clone(), digest, platform.clone()));
        }
    }

    /// Puts content in line: a document to be visited, or a blob.
    fn follow(&mut self, descriptor: &Descriptor, part: Part, depth: usize, listed: Listed) {
        if self.seen.len() + self.blobs.len() > MAX_NODES {
            if !std::mem::replace(&mut self.full, true) {
                let found = format!("more than {MAX_NODES} descriptors");
                self.about(
                    descriptor,
                    lint::Finding::new(&content::TOO_LARGE, "").found(found),
                    listed,
                );
            }
            return;
        }
        let Some(form) = form_of(&descriptor.media_type, part) else {
            return self.blobs.add(descriptor, None, listed);
        };
        let key = (descriptor.digest.clone(), descriptor.media_type.clone(), descriptor.size);
        if !self.seen.insert(key) {
            return;
        }
        if depth > MAX_DEPTH {
            return self.about(descriptor, lint::Finding::new(&content::TOO_DEEP, ""), listed);
        }
        let descriptor = descriptor.clone();
        self.waiting.push(Visit { descriptor, form, depth, listed });
    }

    async fn visit(&mut self, visit: Visit) -> Result<()> {
        let Some(bytes) = self.fetch(&visit.descriptor, visit.listed).await? else { return Ok(()) };
        let subject = Subject::Content(visit.descriptor.digest.clone());
        let context =
            lint::Context { media_type: Some(&visit.descriptor.media_type), entry_point: false };
        let outcome = lint(visit.form, &bytes, &context);
        drop(bytes);
        self.findings.extend(&subject, &outcome);
        for link in &outcome.links {
            let listed = Some(format!("{subject}#{}", link.pointer));
            match link.part {
                Part::Entry => {
                    self.promise(&subject, link);
                    self.follow(&link.descriptor, Part::Entry, visit.depth + 1, listed);
                }
                // Config and layers of an image are looked at together; a subject is a weak link.
                Part::Config if is_config(&link.descriptor) => {}
                Part::Config | Part::Layer => self.blobs.add(&link.descriptor, None, listed),
                Part::Subject | Part::Itself => {}
            }
        }
        if visit.form == Form::Manifest {
            self.image(&visit.descriptor, &subject, &outcome).await?;
        }
        Ok(())
    }

    /// A manifest with the config of an image.
    async fn image(
        &mut self,
        manifest: &Descriptor,
        subject: &Subject,
        outcome: &lint::Outcome,
    ) -> Result<()> {
        let config = outcome.links.iter().find(|link| link.part == Part::Config);
        let Some(config) = config.filter(|link| is_config(&link.descriptor)) else {
            return Ok(());
        };
        let listed = Some(format!("{subject}#{}", config.pointer));
        let Some(bytes) = self.fetch(&config.descriptor, listed).await? else { return Ok(()) };
        let linted = lint(Form::Config, &bytes, &lint::Context::default());
        drop(bytes);
        let config_subject = Subject::Content(config.descriptor.digest.clone());
        let key = |it: &Descriptor| (it.digest.clone(), it.media_type.clone(), it.size);
        if self.seen.insert(key(&config.descriptor)) {
            self.findings.extend(&config_subject, &linted);
        }
        let Some(facts) = &linted.config else { return Ok(()) };
        self.platforms.insert(manifest.digest.clone(), facts.platform.clone());
        let layers: Vec<_> = outcome.links.iter().filter(|link| link.part == Part::Layer).collect();
        let all_known = !outcome.findings.iter().any(|finding| {
            finding.rule.severity == Severity::Error && finding.pointer.starts_with("/layers")
        });
        if all_known {
            counts(&mut self.findings, &config_subject, facts, layers.len());
        }
        self.expect_diff_ids(&config_subject, facts, &layers);
        Ok(())
    }

    fn expect_diff_ids(&mut self, subject: &Subject, facts: &ConfigFacts, layers: &[&Link]) {
        let Some(ids) = &facts.diff_ids else { return };
        for link in layers {
            // Those that could not be made out have no link, so that the place decides.
            let place = link.pointer.strip_prefix("/layers/").and_then(|at| at.parse().ok());
            let Some(at): Option<usize> = place else { continue };
            let Some(Some(id)) = ids.get(at) else { continue };
            let Some(compression) = link.descriptor.media_type.compression() else {
                let found = link.descriptor.media_type.to_string();
                let finding = lint::Finding::new(&content::OPAQUE, "").found(found);
                self.about(&link.descriptor, finding, None);
                continue;
            };
            let Ok(algorithm) = id.algorithm() else { continue };
            let inflation = Inflation { compression, algorithm };
            let place = format!("{subject}#/rootfs/diff_ids/{at}");
            self.blobs.expect(&link.descriptor, inflation, id, place);
        }
    }

    /// A whole document, verified; a finding and nothing where it cannot be had.
    async fn fetch(&mut self, descriptor: &Descriptor, listed: Listed) -> Result<Option<Bytes>> {
        if descriptor.size > LIMIT as u64 {
            let found = format!("{} bytes", descriptor.size);
            let finding = lint::Finding::new(&json::TOO_LARGE, "").found(found);
            self.about(descriptor, finding, listed);
            return Ok(None);
        }
        match self.read(descriptor).await {
            Ok(bytes) => {
                if self.counted.insert(descriptor.digest.clone()) {
                    self.read.0 += 1;
                    self.read.1 += descriptor.size;
                }
                Ok(Some(bytes))
            }
            Err(err) => {
                // To see that a digest is another one, all of it was read.
                if err.expected_value() == Some(descriptor.digest.as_str())
                    && self.counted.insert(descriptor.digest.clone())
                {
                    self.read.0 += 1;
                    self.read.1 += descriptor.size;
                }
                let finding = super::blobs::judge(descriptor, err)?;
                self.about(descriptor, finding, listed);
                Ok(None)
            }
        }
    }

    /// The blob itself, and only where there is none what a descriptor embeds.
    async fn read(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let mut bare = descriptor.bare();
        match self.source.read(&bare).await {
            Err(err) if err.kind() == Kind::NotFound && descriptor.data.is_some() => {
                bare.data.clone_from(&descriptor.data);
                bare.embedded().ok().flatten().ok_or(err)
            }
            read => read,
        }
    }

    fn about(&mut self, descriptor: &Descriptor, finding: lint::Finding, listed: Listed) {
        let subject = Subject::Content(descriptor.digest.clone());
        let mut finding = Finding::new(&subject, finding);
        finding.listed_in = listed;
        self.findings.push(finding);
    }
}

/// Rule J8.
pub(super) fn counts(
    findings: &mut Findings,
    subject: &Subject,
    facts: &ConfigFacts,
    layers: usize,
) {
    let mut report = |rule, pointer: &str, expected: String, found: usize| {
        let finding = lint::Finding::new(rule, pointer).expected(expected).found(found.to_string());
        findings.push(Finding::new(subject, finding));
    };
    let expected = format!("{layers}, the number of layers");
    if let Some(ids) = &facts.diff_ids
        && ids.len() != layers
    {
        report(&config::DIFF_IDS_COUNT, "/rootfs/diff_ids", expected.clone(), ids.len());
    }
    match facts.history {
        Some(made) if made > layers => {
            report(&config::HISTORY_LONGER, "/history", expected, made);
        }
        Some(made) if made < layers => {
            report(&config::HISTORY_SHORTER, "/history", expected, made);
        }
        _ => {}
    }
}

/// What sort of document content is; nothing for a blob.
fn form_of(media_type: &MediaType, part: Part) -> Option<Form> {
    match (media_type.role(), part) {
        (Role::Index, _) => Some(Form::Index),
        (Role::Manifest | Role::Artifact | Role::Schema1, _) => Some(Form::Manifest),
        (Role::Config, Part::Config | Part::Entry) => Some(Form::Config),
        _ => None,
    }
}

fn is_config(descriptor: &Descriptor) -> bool {
    descriptor.media_type.role() == Role::Config
}
