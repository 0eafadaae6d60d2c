//! What an artifact consists of, hashed before anything is sent, and readable as a source.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use conex_layer::pack::pack;
use conex_spec::annotations::TITLE;
use conex_spec::{
    Algorithm, Descriptor, Digest, Error, Kind, Location, MediaType, Name, Result, Tag,
};
use conex_store::bridge::{blocking, bytes_stream, file_stream};
use conex_store::source::Place;
use conex_store::{ByteStream, Source, Stage, plain_file};

use super::draft::{Content, Draft, Part, UNPACK, UNPACKED_DIGEST};
use super::titles;
use crate::open::Context;
use crate::small_file::cannot;

/// How many files are hashed at a time.
const HASHERS: usize = 8;
/// Files up to this size are read in one go, in bytes.
const SMALL: u64 = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Contents {
    stage: Stage,
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
    /// What of them was left out, in words.
    warnings: Vec<String>,
    /// What stands for a config or layers that there are none of.
    empty: Option<Descriptor>,
}

impl Contents {
    /// Looks at all files first, then hashes them and packs the folders.
    pub(super) async fn read(draft: &Draft, context: &Context, to: &Location) -> Result<Self> {
        let parts = draft.layers.clone();
        blocking(move || parts.iter().try_for_each(look)).await?;
        let hashed = draft.layers.iter().map(|part| hash(part.clone()));
        let hashed: Vec<_> = stream::iter(hashed).buffered(HASHERS).try_collect().await?;
        let mut files = Files { location: Location::Memory, files: HashMap::new() };
        for held in hashed.iter().flatten() {
            files.files.insert(held.blob.digest.clone(), held.clone());
        }
        let folder = context.stage_folder(to)?;
        let stage = Stage::new(folder, Some(Arc::new(files)), context.key())?;
        let (mut layers, mut warnings) = (Vec::new(), Vec::new());
        for (part, held) in draft.layers.iter().zip(hashed) {
            let layer = describe(&stage, part, held, &mut warnings).await?;
            check_empty(&layer, part)?;
            layers.push(layer);
        }
        let config = match (&draft.config, &draft.derived) {
            (Some(config), _) => Some(config.clone()),
            (None, Some(derived)) => Some((derived.media_type(), derived.config(draft, &layers)?)),
            (None, None) => None,
        };
        let config = config.map(|(kind, bytes)| stage.add(kind, bytes));
        let lacks = config.is_none() || layers.is_empty();
        let empty = lacks.then(|| stage.add(MediaType::EMPTY, &b"{}"[..]));
        Ok(Self { stage, config, layers, warnings, empty })
    }

    /// All blobs in the order of the manifest; what stands for nothing last.
    pub(super) fn blobs(&self) -> Vec<Descriptor> {
        let all = self.config.iter().chain(&self.layers).chain(&self.empty);
        all.map(Descriptor::bare).collect()
    }

    /// The config, where it is of the artifact's own, and the layers.
    pub(super) fn split(&self) -> (Option<&Descriptor>, &[Descriptor]) {
        (self.config.as_ref(), &self.layers)
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn source(&self) -> &dyn Source {
        &self.stage
    }
}

/// Fails for what is not there or of another sort.
fn look(part: &Part) -> Result<()> {
    let (path, wanted) = match &part.content {
        Content::Bytes(_) => return Ok(()),
        Content::File(path) => (path, "a file"),
        Content::Folder { path, .. } => (path, "a folder"),
    };
    let found = if is_folder(path)? { "a folder" } else { "a file" };
    if found == wanted {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("cannot package {}", path.display()))
        .expected(wanted)
        .found(found))
}

/// What a file holds; nothing for anything else.
async fn hash(part: Part) -> Result<Option<Held>> {
    let Content::File(path) = part.content else { return Ok(None) };
    blocking(move || {
        let mut file = plain_file::open(&path)?;
        let stamp = Stamp::of(&file, &path)?;
        let mut hasher = Algorithm::Sha256.hasher();
        let mut buffer = vec![0; stamp.size.clamp(1, SMALL) as usize];
        let mut size = 0;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    size += count as u64;
                }
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Error::io("cannot read", &path, err)),
            }
        }
        if Stamp::of(&file, &path)? != stamp || size != stamp.size {
            return Err(changed(&path));
        }
        let blob = Descriptor::new(part.media_type, hasher.finish(), size);
        Ok(Some(Held { blob, path: path.into(), stamp }))
    })
    .await
}

/// The descriptor of a layer, which the stage has from here on.
async fn describe(
    stage: &Stage,
    part: &Part,
    held: Option<Held>,
    warnings: &mut Vec<String>,
) -> Result<Descriptor> {
    let mut layer = match (&part.content, held) {
        (Content::Bytes(bytes), _) => stage.add(part.media_type.clone(), bytes.clone()),
        (Content::Folder { .. }, _) => return packed(stage, part, warnings).await,
        (Content::File(_), Some(held)) => held.blob,
        (Content::File(path), None) => return Err(changed(path)),
    };
    annotate(&mut layer, part)?;
    Ok(layer)
}

/// Packs a folder as one tar, with what oras says beside it.
async fn packed(stage: &Stage, part: &Part, warnings: &mut Vec<String>) -> Result<Descriptor> {
    let Content::Folder { path, options } = part.content.clone() else {
        return Err(Error::new(Kind::Usage, format!("{} is no folder", part.called())));
    };
    let title = part.annotations.get(TITLE).or(part.title.as_ref()).ok_or_else(|| {
        Error::new(Kind::Usage, format!("{} has no title", path.display()))
            .expected("the name of the folder that it becomes")
    })?;
    let options =
        conex_layer::pack::Options { below: Some(titles::clean(title)?.into_bytes()), ..*options };
    let file = stage.file()?;
    let (file, packed) = blocking(move || {
        let packed = pack(&path, &file, &options).map_err(|err| err.context(path.display()))?;
        Ok((file, packed))
    })
    .await?;
    warnings.extend(packed.warnings.kept().iter().map(|warning| match warning.path.is_empty() {
        true => format!("{}: {warning}", part.called()),
        false => format!("{}/{warning}", part.called()),
    }));
    let mut layer = Descriptor::new(part.media_type.clone(), packed.digest, packed.size);
    annotate(&mut layer, part)?;
    let said = [(UNPACKED_DIGEST, packed.diff_id.to_string()), (UNPACK, "true".to_owned())];
    layer.annotations.extend(said.map(|(key, value)| (key.to_owned(), value)));
    stage.add_file(&layer, file)?;
    Ok(layer)
}

/// The empty type says that there is nothing, and whoever pulls takes nothing for it (image-spec,
/// manifest.md, "Guidance for an Empty Descriptor").
fn check_empty(layer: &Descriptor, part: &Part) -> Result<()> {
    let empty = Descriptor::empty();
    if layer.media_type != empty.media_type || layer.digest == empty.digest {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{} is not empty", part.called()))
        .expected(format!("a media type for this sort of file; {} is for `{{}}`", empty.media_type))
        .found(empty.media_type))
}

/// The title first, as others write it.
fn annotate(layer: &mut Descriptor, part: &Part) -> Result<()> {
    if let Some(title) = part.annotations.get(TITLE).or(part.title.as_ref()) {
        layer.annotations.insert(TITLE.to_owned(), titles::clean(title)?);
    }
    let others = part.annotations.iter().filter(|(key, _)| *key != TITLE);
    layer.annotations.extend(others.map(|(key, value)| (key.clone(), value.clone())));
    Ok(())
}

/// A file that was hashed.
#[derive(Clone, Debug)]
struct Held {
    blob: Descriptor,
    path: Arc<Path>,
    stamp: Stamp,
}

/// What changes when someone changes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File, path: &Path) -> Result<Self> {
        let meta = file.metadata().map_err(|err| Error::io("cannot read", path, err))?;
        Ok(Self {
            inode: (meta.dev(), meta.ino()),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Held {
    /// The file, if it is still the one that was hashed.
    fn reopen(&self) -> Result<File> {
        let file = plain_file::open(&self.path)?;
        self.check(&file)?;
        Ok(file)
    }

    fn check(&self, file: &File) -> Result<()> {
        if Stamp::of(file, &self.path)? == self.stamp { Ok(()) } else { Err(changed(&self.path)) }
    }
}

fn changed(path: &Path) -> Error {
    Error::invalid(format!("{} changed while it was read", path.display()))
        .expected("a file that stays as it is")
}

/// The person's own files, opened when they are wanted: there may be more than can be open at a time.
#[derive(Debug)]
struct Files {
    location: Location,
    files: HashMap<Digest, Held>,
}

impl Files {
    fn find(&self, blob: &Descriptor) -> Result<Held> {
        let missing = || Error::not_found(format!("{} is not part of the artifact", blob.digest));
        self.files.get(&blob.digest).cloned().ok_or_else(missing)
    }
}

impl Place for Files {
    fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Source for Files {
    async fn resolve(&self, _: Option<&Name>) -> Result<Descriptor> {
        Err(Error::not_found("files have no roots"))
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        let held = self.find(blob)?;
        if held.stamp.size <= SMALL {
            let bytes = blocking(move || {
                let (mut file, mut bytes) = (held.reopen()?, Vec::new());
                let read = Read::by_ref(&mut file).take(SMALL + 1).read_to_end(&mut bytes);
                read.map_err(|err| Error::io("cannot read", &held.path, err))?;
                held.check(&file)?;
                Ok(Bytes::from(bytes))
            });
            return Ok(bytes_stream(bytes.await?, range));
        }
        let (held, file) = blocking(move || {
            let file = held.reopen()?;
            Ok((held, Arc::new(file)))
        })
        .await?;
        let what = format!("cannot read {}", held.path.display());
        let content = file_stream(file.clone(), range, what);
        let end = stream::once(async move { held.check(&file).map(|()| Bytes::new()) });
        Ok(content.chain(end).boxed())
    }

    /// Where blocks can be shared, none are copied. Nobody links to it: it has no seal.
    async fn file(&self, blob: &Descriptor) -> Result<Option<Arc<File>>> {
        let held = self.find(blob)?;
        blocking(move || held.reopen().map(|file| Some(Arc::new(file)))).await
    }

    async fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        stream::empty().boxed()
    }
}

/// What a person's path leads to: a folder, or else a file.
///
/// # Errors
/// `NotFound` with a hint, `Usage` for everything special: to read a pipe would wait for its writer.
pub(super) fn is_folder(path: &Path) -> Result<bool> {
    let meta = std::fs::metadata(path).map_err(|err| cannot("cannot read", path, err))?;
    match plain_file::special(&meta) {
        Some(found) if !meta.is_dir() => {
            Err(Error::new(Kind::Usage, format!("cannot package {}", path.display()))
                .expected("a file or a folder")
                .found(found))
        }
        _ => Ok(meta.is_dir()),
    }
}
