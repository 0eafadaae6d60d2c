//! `conex inspect`: what a root, a blob or a bare document is, in one look.
//!
//! | looking for | module |
//! |---|---|
//! | an image: its config, and its layers beside their history | [`image`] |
//! | an index: every entry, read in parallel | [`index`] |
//! | blobs, configs, descriptors, layout markers | [`single`] |
//! | the graph below a root, referrers included | [`tree`] |
//!
//! The member names of a [`Report`] are stable, and those that Go's tools have mean the same:
//! `digest`, `mediaType`, `layers`, `manifests`, `annotations` as in regctl, `config` with both
//! the config's descriptor and docker's members (`Env`, `Cmd`), `name`, `repoTags`, `created`,
//! `labels`, `env`, `os`, `architecture` as in skopeo, `id` and `repoDigests` as in docker.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use conex_spec::draft::{Draft, traces};
use conex_spec::media_type::Role;
use conex_spec::{
    Annotations, Descriptor, Digest, Error, Kind, Location, Manifest, MediaType, Platform, Result,
};
use conex_store::{Collection, Memory, Source, SourceExt, bridge};

use crate::choose::choose;
use crate::json_file::{DocumentKind, JsonFile, Target, recognise};
use crate::open::Context;
use facts::Facts;

pub mod facts;
pub mod image;
pub mod index;
pub mod single;
pub mod tree;

pub use image::{Image, Layer};
pub use index::Entry;
pub use tree::tree;

/// What to look at, and how closely.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The image of an index that is looked at in place of the index.
    pub platform: Option<Platform>,
    /// What a document is, where its members are not to be believed.
    pub kind: Option<DocumentKind>,
    /// Read every layer and count its bytes without compression.
    pub unpacked: bool,
}

/// What a root is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it is.
    pub location: Target,
    /// The repository, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As docker has them: in the local store all names of the root, elsewhere the one that it was
    /// asked for by. skopeo lists all tags of the repository, which takes a request of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repo_tags: Vec<String>,
    /// The repository with the digest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repo_digests: Vec<String>,
    /// The root's media type.
    pub media_type: MediaType,
    /// The root's digest.
    pub digest: Digest,
    /// The root.
    pub root: Descriptor,
    /// What sort of artifact it is, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The manifest that it says something about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// The root's own annotations.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// The drafts of the specification that it follows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drafts: Vec<Draft>,
    /// What sort of root it is.
    #[serde(flatten)]
    pub content: Content,
}

/// What sort of root it is.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// A list of manifests.
    Index {
        /// Its entries, in the order of preference.
        manifests: Vec<Entry>,
        /// The size in bytes of the configs and layers of all of them, each counted once.
        size: u64,
    },
    /// A container image.
    Image(Image),
    /// An image config without its manifest.
    Config(Image),
    /// Something else that a registry holds.
    Artifact {
        /// The config, which drafts of artifacts lack.
        #[serde(skip_serializing_if = "Option::is_none")]
        config: Option<Descriptor>,
        /// What it packs.
        layers: Vec<Descriptor>,
        /// The size in bytes of all that it packs.
        size: u64,
        /// What the content of a known kind says about itself.
        #[serde(skip_serializing_if = "Facts::is_empty")]
        about: Facts,
        /// Which of it is not there.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        missing: Vec<Digest>,
    },
    /// A descriptor as a document of its own.
    Descriptor {
        /// The descriptor.
        descriptor: Descriptor,
    },
    /// The marker file of a layout.
    Layout {
        /// The version it names.
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    },
    /// Bytes that are no document.
    Blob {
        /// What the bytes show themselves to be.
        format: String,
        /// Its size in bytes.
        size: u64,
    },
}

/// A target, opened.
struct Opened {
    source: Arc<dyn Source>,
    root: Descriptor,
    /// The root's kind, where it is no manifest.
    document: Option<(DocumentKind, Bytes)>,
    /// Whether it is a file, so that nothing it lists can be read.
    alone: bool,
}

/// What is said of content that is listed and not there.
pub const MISSING: &str = "missing";

/// Looks at what a location names, or at a document in a file.
///
/// # Errors
/// What opening and reading say. What a manifest lists and the source lacks is part of the
/// report, as its `fault`: places on this machine are asked for every blob; registries are not,
/// since each answer would cost a request, and `conex validate` reads it all anyway.
pub async fn inspect(context: &Context, target: &Target, options: &Options) -> Result<Report> {
    let opened = open(context, target, options).await?;
    let source = opened.source.as_ref();
    let root = opened.root;
    if let Some((kind, bytes)) = opened.document {
        let content = single::document(kind, bytes)?;
        return Ok(report(target, root, content));
    }
    if !root.media_type.is_manifest() {
        let content = single::blob(source, &root, options.kind).await?;
        return Ok(report(target, root, content));
    }
    let manifest = source.manifest(&root).await?.into_value();
    let mut drafts: Vec<Draft> = Vec::new();
    for trace in traces(&manifest) {
        if !drafts.contains(&trace.draft) {
            drafts.push(trace.draft);
        }
    }
    let (subject, annotations) = (manifest.subject().cloned(), manifest.annotations().clone());
    let artifact_type = stated_type(&manifest);
    let content =
        if opened.alone { alone(manifest) } else { content(source, manifest, options).await? };
    let mut report = report(target, root, content);
    if let Target::Location(location @ Location::Store(_)) = target {
        report.repo_tags = stored_names(context, location, &report.digest).await?;
    }
    Ok(Report { subject, annotations, artifact_type, drafts, ..report })
}

/// All names of a root in the local store, as docker lists them.
async fn stored_names(
    context: &Context,
    location: &Location,
    digest: &Digest,
) -> Result<Vec<String>> {
    let (store, digest) = (context.local_store(location)?, digest.clone());
    bridge::blocking(move || {
        let entries = store.entries()?.into_iter();
        let same = entries.filter(|entry| entry.root.digest == digest).map(|entry| entry.name);
        Ok(same.filter(|name| name != digest.as_str()).collect())
    })
    .await
}

/// The exact bytes of the root, or of the image for `options.platform`: a manifest, an index, or
/// a small blob.
pub async fn raw(context: &Context, target: &Target, options: &Options) -> Result<Bytes> {
    let opened = open(context, target, options).await?;
    opened.source.read(&opened.root).await
}

/// The exact bytes of the config of the root, or of the image for `options.platform`.
pub async fn raw_config(context: &Context, target: &Target, options: &Options) -> Result<Bytes> {
    if let Target::File(path) = target {
        let file = JsonFile::read(path)?;
        return match kind_of(&file, options.kind)? {
            DocumentKind::Config => Ok(file.bytes),
            kind => Err(no_config(target, kind.as_str())
                .hint("a file holds one document; name a layout or an archive that has both")),
        };
    }
    let opened = open(context, target, options).await?;
    if !opened.root.media_type.is_manifest() {
        return Err(no_config(target, "a blob"));
    }
    match opened.source.manifest(&opened.root).await?.into_value() {
        Manifest::Image(image) => opened.source.read(&image.config).await,
        other => Err(no_config(target, other.name())),
    }
}

fn no_config(target: &Target, found: &str) -> Error {
    Error::new(Kind::Usage, format!("{target} has no config"))
        .expected("an image, or an index and `--platform`")
        .found(found)
}

async fn open(context: &Context, target: &Target, options: &Options) -> Result<Opened> {
    let (source, mut root) = match target {
        Target::Location(location) => context.resolve(location).await?,
        Target::File(_) if options.platform.is_some() || options.unpacked => {
            return Err(Error::new(Kind::Usage, format!("{target} holds one document"))
                .expected("a location, where what it lists can be read")
                .found("a file")
                .hint("a folder is written oci:DIR, an archive oci-archive:FILE"));
        }
        Target::File(path) => {
            let file = JsonFile::read(path)?;
            let kind = kind_of(&file, options.kind)?;
            let memory = Memory::new();
            if !matches!(kind, DocumentKind::Index | DocumentKind::Manifest) {
                let root = memory.add(single::media_type_of(kind), file.bytes.clone());
                let document = Some((kind, file.bytes));
                return Ok(Opened { source: Arc::new(memory), root, document, alone: true });
            }
            let manifest = Manifest::parse(file.bytes.clone(), None)
                .map_err(|err| err.context(path.display()))?;
            let root = memory.add(manifest.media_type(), file.bytes);
            (Arc::new(memory) as Arc<dyn Source>, root)
        }
    };
    if let Some(platform) = &options.platform
        && root.media_type.is_manifest()
    {
        root = choose(source.as_ref(), &root, platform).await?;
    }
    if let Some(named) = options.kind
        && let Some(found) = kind_of_manifest(&root.media_type)
        && named != found
    {
        return Err(another_kind(target, named, found));
    }
    let alone = matches!(target, Target::File(_));
    Ok(Opened { source, root, document: None, alone })
}

/// What a file holds: what was named, unless its members show something else.
fn kind_of(file: &JsonFile, named: Option<DocumentKind>) -> Result<DocumentKind> {
    match (named, recognise(&file.bytes)) {
        (Some(named), Ok(found)) if named != found => {
            Err(another_kind(&file.path.display(), named, found))
        }
        _ => file.kind(named),
    }
}

fn kind_of_manifest(media_type: &MediaType) -> Option<DocumentKind> {
    match media_type.role() {
        Role::Index => Some(DocumentKind::Index),
        Role::Manifest | Role::Artifact | Role::Schema1 => Some(DocumentKind::Manifest),
        _ => None,
    }
}

fn another_kind(target: &dyn fmt::Display, named: DocumentKind, found: DocumentKind) -> Error {
    Error::new(Kind::Mismatch, format!("{target} is not what `--as` says"))
        .expected(named)
        .found(found)
}

fn report(target: &Target, root: Descriptor, content: Content) -> Report {
    let reference = match target {
        Target::Location(Location::Registry(reference) | Location::Store(reference)) => {
            Some(reference)
        }
        _ => None,
    };
    let name = reference.map(|reference| reference.without_name().to_string());
    let tag = reference.and_then(|reference| reference.tag()).cloned();
    let tagged = |name: &String| tag.map(|tag| format!("{name}:{tag}"));
    Report {
        location: target.clone(),
        repo_tags: name.as_ref().and_then(tagged).into_iter().collect(),
        repo_digests: name.iter().map(|name| format!("{name}@{}", root.digest)).collect(),
        name,
        media_type: root.media_type.clone(),
        digest: root.digest.clone(),
        root,
        artifact_type: None,
        subject: None,
        annotations: Annotations::new(),
        drafts: Vec::new(),
        content,
    }
}

/// The type of an artifact; for one without `artifactType` its config's (image-spec, manifest.md,
/// "Guidelines for Artifact Usage").
fn stated_type(manifest: &Manifest) -> Option<MediaType> {
    match manifest {
        Manifest::Image(image) if image.is_image() => image.artifact_type.clone(),
        Manifest::Image(image) => Some(image.artifact_type().clone()),
        Manifest::Index(index) => index.artifact_type.clone(),
        Manifest::Artifact(artifact) => artifact.artifact_type.clone(),
    }
}

/// A manifest in a file, where nothing that it lists can be read.
fn alone(manifest: Manifest) -> Content {
    match manifest {
        Manifest::Index(index) => Content::Index {
            manifests: index.manifests.into_iter().map(Entry::listed).collect(),
            size: 0,
        },
        Manifest::Image(manifest) if manifest.is_image() => Content::Image(image::alone(manifest)),
        manifest => artifact(manifest),
    }
}

fn artifact(manifest: Manifest) -> Content {
    let (config, layers) = match manifest {
        Manifest::Image(manifest) => (Some(manifest.config), manifest.layers),
        Manifest::Artifact(manifest) => (None, manifest.blobs),
        Manifest::Index(index) => (None, index.manifests),
    };
    let (size, about) = (total(&layers), Facts::new());
    Content::Artifact { size, about, config, layers, missing: Vec::new() }
}

async fn content(source: &dyn Source, manifest: Manifest, options: &Options) -> Result<Content> {
    match manifest {
        Manifest::Index(index) => {
            let manifests = index::entries(source, index.manifests).await?;
            let size = index::size(&manifests);
            Ok(Content::Index { manifests, size })
        }
        Manifest::Image(manifest) if manifest.is_image() => {
            let mut image = image::read(source, manifest).await?;
            if options.unpacked {
                image.count_unpacked(source).await?;
            }
            Ok(Content::Image(image))
        }
        manifest => {
            let mut absent = Vec::new();
            for blob in manifest.children() {
                if absence(source, blob).await.is_some() {
                    absent.push(blob.digest.clone());
                }
            }
            let found = facts::read(source, &manifest).await?;
            let mut content = artifact(manifest);
            if let Content::Artifact { about, missing, .. } = &mut content {
                (*about, *missing) = (found, absent);
            }
            Ok(content)
        }
    }
}

/// Why a blob cannot be had from a place on this machine, where it cannot: [`MISSING`], or what
/// opening it says. Nothing of it is read.
async fn absence(source: &dyn Source, blob: &Descriptor) -> Option<String> {
    let is_here = !matches!(source.location(), Location::Registry(_) | Location::DockerDaemon(_));
    if !is_here || blob.data.is_some() {
        return None;
    }
    let opened = source.open(blob, 0..0).await;
    opened.err().map(|err| told(&err))
}

/// How a report tells a fault of content.
fn told(err: &Error) -> String {
    if err.kind() == Kind::NotFound { MISSING.into() } else { err.to_string() }
}

fn total(blobs: &[Descriptor]) -> u64 {
    blobs.iter().map(|blob| blob.size).fold(0, u64::saturating_add)
}

/// Whether a fault is one of the content, which a report can tell, and not of the way to it.
pub(crate) fn is_of_content(err: &Error) -> bool {
    matches!(
        err.kind(),
        Kind::NotFound | Kind::Invalid | Kind::Mismatch | Kind::Unsupported | Kind::Limit
    )
}

#[cfg(test)]
mod tests;
