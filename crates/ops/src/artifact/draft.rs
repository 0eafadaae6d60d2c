//! What an artifact is to be, before anything of it is stored.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::future;

use conex_layer::pack;
use conex_spec::annotations::TITLE;
use conex_spec::artifact::{Content as Shape, manifest};
use conex_spec::{
    Annotations, Compression, Descriptor, Document, Error, ImageManifest, Kind, Location,
    MediaType, Result, Tag,
};
use conex_store::Sink;
use serde::Serialize;

use super::contents::Contents;
use super::kinds::Derived;
use super::titles;
use crate::copy::{CopyOptions, Summary, copy_blobs};
use crate::open::Context;

/// What oras writes beside a folder that is packed: that it is to be unpacked, and the digest of its
/// tar without compression.
pub const UNPACK: &str = "io.deis.oras.content.unpack";
/// See [`UNPACK`].
pub const UNPACKED_DIGEST: &str = "io.deis.oras.content.digest";

/// Blobs up to this size are offered to a registry without a look for them first.
const UNASKED: u64 = 64 << 10;
/// What helps where two files have one title.
const ONE_PLACE: &str =
    "name each file once; without `--flat` the paths that are typed tell files apart";
/// The largest manifest that is made, in bytes.
const MAX_MANIFEST: u64 = 4 << 20;

/// An artifact before it is stored. Its manifest is the one of image-spec's decision tree: see
/// [`conex_spec::artifact`].
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// `artifactType`: what sort of artifact it is. Only one with a config can do without.
    pub artifact_type: Option<MediaType>,
    /// The config and its type: metadata of the artifact's own. Without it the config is empty.
    pub config: Option<(MediaType, Bytes)>,
    /// A config that follows from the layers, in place of `config`.
    pub derived: Option<Derived>,
    /// Annotations of the config's descriptor.
    pub config_annotations: Annotations,
    /// What it consists of, in this order.
    pub layers: Vec<Part>,
    /// Annotations of the manifest.
    pub annotations: Annotations,
    /// The manifest that it says something about.
    pub subject: Option<Descriptor>,
    /// What was left out of it, in words.
    pub warnings: Vec<String>,
}

/// One layer of an artifact.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub media_type: MediaType,
    /// The name that it has in the folder of whoever pulls it; see [`titles`].
    pub title: Option<String>,
    /// What it holds.
    pub content: Content,
    /// Annotations of its descriptor, beside the title.
    pub annotations: Annotations,
}

/// Where the bytes of a layer come from.
#[derive(Clone, Debug)]
pub enum Content {
    /// A regular file on this machine. It is read twice: to be hashed, and to be sent.
    File(PathBuf),
    /// Bytes at hand.
    Bytes(Bytes),
    /// A folder, packed as one tar in which all is below its title, as oras reads it.
    Folder {
        /// The folder.
        path: PathBuf,
        /// How it is packed.
        options: Box<pack::Options>,
    },
}

impl Part {
    /// A file on this machine.
    pub fn file(media_type: MediaType, path: impl Into<PathBuf>) -> Self {
        Self::new(media_type, Content::File(path.into()))
    }

    /// Bytes at hand.
    pub fn bytes(media_type: MediaType, bytes: impl Into<Bytes>) -> Self {
        Self::new(media_type, Content::Bytes(bytes.into()))
    }

    /// A folder as one tar. It needs a title.
    pub fn folder(path: impl Into<PathBuf>, options: pack::Options) -> Self {
        let media_type = MediaType::layer(options.settings.compression);
        let content = Content::Folder { path: path.into(), options: Box::new(options) };
        Self::new(media_type, content)
    }

    /// The same with a title.
    #[must_use]
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    fn new(media_type: MediaType, content: Content) -> Self {
        Self { media_type, title: None, content, annotations: Annotations::new() }
    }

    /// What people call it in messages.
    pub(super) fn called(&self) -> String {
        match (&self.content, &self.title) {
            (Content::File(path) | Content::Folder { path, .. }, _) => path.display().to_string(),
            (Content::Bytes(_), Some(title)) => title.clone(),
            (Content::Bytes(_), None) => format!("a layer of type {}", self.media_type),
        }
    }
}

/// What was stored.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// Where it is.
    pub location: Location,
    /// What it is called there. Its `artifactType` is that of its manifest.
    pub root: Descriptor,
    /// The names that it was given.
    pub tags: Vec<Tag>,
    /// What it says something about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// The layers.
    pub layers: Vec<Descriptor>,
    /// What was left out, in words.
    pub warnings: Vec<String>,
    /// What moved, and what was there already.
    pub summary: Summary,
}

impl Draft {
    /// A draft of an artifact of this type, without anything in it.
    pub fn new(artifact_type: MediaType) -> Self {
        Self { artifact_type: Some(artifact_type), ..Self::default() }
    }

    /// Checks all that can be checked without reading a file: types, titles, annotations.
    ///
    /// # Errors
    /// One that names the file and the field.
    pub fn check(&self) -> Result<()> {
        for part in &self.layers {
            part.media_type.check().map_err(|err| about(part, "media type", err))?;
        }
        let empty = |part: &Part| Descriptor::of(part.media_type.clone(), b"");
        let derived = || self.derived.as_ref().map(Derived::media_type);
        let config = self.config.as_ref().map(|(media_type, _)| media_type.clone());
        let config = config.or_else(derived).map(|media_type| Descriptor::of(media_type, b"{}"));
        self.shape(config, self.layers.iter().map(empty).collect())?;
        let mut taken = titles::Taken::default();
        for part in &self.layers {
            if let Some(title) = part.annotations.get(TITLE).or(part.title.as_ref()) {
                let clean = titles::clean(title).map_err(|err| about(part, TITLE, err))?;
                taken.take(&clean).map_err(|err| about(part, TITLE, err).hint(ONE_PLACE))?;
            }
            check_keys(&part.annotations).map_err(|err| about(part, "annotations", err))?;
        }
        check_keys(&self.annotations)?;
        check_keys(&self.config_annotations)
    }

    /// Reads and hashes all that it consists of; nothing is stored. Folders are packed on the file
    /// system of `to`, where that is on this machine.
    ///
    /// # Errors
    /// Those of [`Draft::check`]; `NotFound` for a file that is not there.
    pub async fn prepare(&self, context: &Context, to: &Location) -> Result<Prepared> {
        self.check()?;
        let contents = Contents::read(self, context, to).await?;
        let blobs = contents.blobs();
        Ok(Prepared { draft: self.clone(), contents, blobs })
    }

    /// Stores it: blobs several at a time, those that are there already not at all, then the manifest,
    /// then its names: that of the location, and `tags`.
    ///
    /// # Errors
    /// Those of [`Draft::prepare`], before anything is sent; `Usage` for a place that holds nothing but
    /// images.
    pub async fn store(
        &self,
        context: &Context,
        to: &Location,
        tags: &[Tag],
        options: &CopyOptions,
    ) -> Result<Stored> {
        check_place(to)?;
        let prepared = self.prepare(context, to).await?;
        let root = prepared.manifest(self.subject.as_ref())?.1;
        let mut names: Vec<Tag> = crate::copy::tag_for(&root, to)?.into_iter().collect();
        names.extend(tags.iter().filter(|tag| !names.contains(tag)).cloned().collect::<Vec<_>>());
        let sink = context.sink(to)?;
        let summary = prepared.send(context, sink.as_ref(), options).await?;
        let mut stored =
            prepared.publish(context, sink.as_ref(), self.subject.as_ref(), names, summary).await?;
        sink.finish().await?;
        stored.location = to.clone();
        Ok(stored)
    }

    fn shape(&self, config: Option<Descriptor>, files: Vec<Descriptor>) -> Result<ImageManifest> {
        let content = match config {
            Some(config) => Shape::Configured { config, files },
            None => Shape::Files(files),
        };
        let made = manifest(self.artifact_type.clone(), content);
        made.map_err(|err| err.with_kind(Kind::Usage))
    }
}

/// An artifact whose content is hashed and stays readable, but for its manifest.
#[derive(Debug)]
pub struct Prepared {
    draft: Draft,
    contents: Contents,
    blobs: Vec<Descriptor>,
}

impl Prepared {
    /// Everything but the manifest: the config and the layers, as the manifest lists them.
    pub fn blobs(&self) -> &[Descriptor] {
        &self.blobs
    }

    /// The manifest with this subject, and its descriptor.
    pub fn manifest(
        &self,
        subject: Option<&Descriptor>,
    ) -> Result<(Document<ImageManifest>, Descriptor)> {
        let draft = &self.draft;
        let (config, layers) = self.contents.split();
        let mut made = draft.shape(config.cloned(), layers.to_vec())?;
        made.config.annotations.extend(draft.config_annotations.clone());
        made.subject = subject.map(Descriptor::bare);
        made.annotations = draft.annotations.clone();
        let document = Document::new(made)?;
        let mut root = document.descriptor(MediaType::MANIFEST);
        check_size(&root, document.layers.len())?;
        root.artifact_type = Some(document.artifact_type().clone());
        Ok((document, root))
    }

    /// Sends the blobs, several at a time; those that are there already not at all.
    pub async fn send(
        &self,
        context: &Context,
        to: &dyn Sink,
        options: &CopyOptions,
    ) -> Result<Summary> {
        // Where there are many, some of them may be there from an earlier time, the first ones first.
        let few = self.blobs.len() <= options.jobs;
        let unasked = if few || self.is_new(to).await? { UNASKED } else { 0 };
        let from = self.contents.source();
        copy_blobs(from, &self.blobs, to, unasked, options, &context.observer).await
    }

    /// Whether a registry has neither the first, nor the last, nor one in the middle.
    async fn is_new(&self, to: &dyn Sink) -> Result<bool> {
        let Location::Registry(_) = to.location() else { return Ok(false) };
        let count = self.blobs.len();
        let samples = [0, count / 2, count.saturating_sub(2)];
        let looks = samples.iter().filter_map(|at| self.blobs.get(*at)).map(|blob| to.has(blob));
        Ok(!future::try_join_all(looks).await?.contains(&true))
    }

    /// Stores the manifest under its names, once the blobs are there.
    pub async fn publish(
        &self,
        context: &Context,
        to: &dyn Sink,
        subject: Option<&Descriptor>,
        tags: Vec<Tag>,
        mut summary: Summary,
    ) -> Result<Stored> {
        let (document, root) = self.manifest(subject)?;
        context.observer.event(conex_store::Event::Started(&root));
        to.publish(&root, document.bytes().clone(), &tags).await?;
        context.observer.event(conex_store::Event::Done(&root));
        summary.moved.add(&root);
        let (location, subject) = (to.location().clone(), document.subject.clone());
        let warnings = [&self.draft.warnings, self.contents.warnings()].concat();
        let layers = document.layers.clone();
        Ok(Stored { location, root, tags, subject, layers, warnings, summary })
    }
}

/// Fails for a place that holds nothing but images.
pub(crate) fn check_place(to: &Location) -> Result<()> {
    match to {
        Location::DockerArchive { .. } | Location::DockerDaemon(_) => {
            Err(Error::new(Kind::Usage, format!("{to} holds images only, and no artifacts"))
                .expected("a registry, a layout, an oci-archive or the local store")
                .found(to.kind_str())
                .hint("an archive of artifacts is written oci-archive:FILE[:TAG]"))
        }
        _ => Ok(()),
    }
}

/// "Client and registry implementations SHOULD expect to be able to support manifest pushes of at
/// least 4 megabytes" (distribution-spec, "Pushing Manifests"); more need not be taken.
fn check_size(root: &Descriptor, layers: usize) -> Result<()> {
    if root.size <= MAX_MANIFEST {
        return Ok(());
    }
    Err(Error::new(Kind::Limit, format!("the manifest of {layers} layers is too large"))
        .expected(format!("at most {MAX_MANIFEST} bytes, which every registry takes"))
        .found(format!("{} bytes", root.size))
        .hint("`--folder tar` makes one layer of a folder"))
}

/// The fault of one file, and of which field.
fn about(part: &Part, field: &str, err: Error) -> Error {
    err.with_kind(Kind::Usage).context(format_args!("{}: {field}", part.called()))
}

/// "Annotations MUST be a key-value map where both the key and value MUST be strings", "Keys MUST be
/// unique", and an empty one says nothing (image-spec, annotations.md, "Rules").
fn check_keys(annotations: &Annotations) -> Result<()> {
    match annotations.keys().any(String::is_empty) {
        true => Err(Error::new(Kind::Usage, "an annotation has no key").expected("KEY=VALUE")),
        false => Ok(()),
    }
}

/// How a folder is packed unless someone wants it otherwise: by gzip, owned by nobody in particular.
pub fn folder_options() -> pack::Options {
    pack::Options {
        settings: conex_tar::compression::Settings {
            compression: Compression::Gzip,
            ..Default::default()
        },
        owners: pack::Owners::Set { uid: 0, gid: 0 },
        ..pack::Options::default()
    }
}
