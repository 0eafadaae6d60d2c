//! Writes archives of both forms, blob after blob, the index last.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};

use conex_spec::descriptor::REF_NAME;
use conex_spec::document::LIMIT;
use conex_spec::layout::{INDEX_FILE, LayoutMarker, MARKER_FILE};
use conex_spec::{Descriptor, Digest, Document, Error, ImageIndex, Kind, Location, Result, Tag};
use conex_tar::{Entry, Kind as Sort, Writer};

use super::choice::IMAGE_NAME;
use super::docker::saved::{self, REPOSITORIES_FILE};
use super::docker::{self, MANIFEST_FILE};
use super::keep::{Keep, Kept};
use super::output::{Hold, Output};
use crate::blobs::{self, BLOBS};
use crate::bridge::{blocking, feed};
use crate::observer::Event;
use crate::sink::Sink;
use crate::source::{ByteStream, Place};
use crate::verify::verified_write;
use crate::wait::Wait;

/// What is read of a blob at once, in bytes.
const PIECE: u64 = 256 << 10;

/// How long someone else may hold the archive that is to be added to, without a change of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// They write it anew, which takes a second more for each so many bytes of it.
const PER_SECOND: u64 = 64 << 20;

/// What sort of archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An OCI layout in a tar.
    Oci,
    /// The same with Docker's `manifest.json`, which names one image for each root.
    Docker,
}

/// An archive to write to. Nothing of it is at its destination before [`Sink::finish`].
///
/// Blobs may come in parallel; each waits until those before it are written, without being read.
#[derive(Debug)]
pub struct ArchiveSink {
    form: Form,
    location: Location,
    keep: Option<Keep>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Nothing where the archive is finished or broken off.
    output: Option<Output>,
    /// What is written, and for [`Form::Docker`] the bytes of manifests.
    written: HashMap<Digest, (u64, Option<Bytes>)>,
    /// The folders of `blobs/` that are written.
    folders: Vec<String>,
    roots: Vec<Descriptor>,
    images: Vec<docker::Saved>,
}

impl ArchiveSink {
    /// A new archive. `location` is what people call it; where it gives a name to the image in a
    /// [`Form::Docker`], that name must be a reference.
    pub fn new(form: Form, output: Output, location: Location) -> Result<Self> {
        if let (Form::Docker, Some(name)) = (form, location.name()) {
            name.as_tag().map(docker::repo_tag).transpose()?;
        }
        let state = State {
            output: Some(output),
            written: HashMap::new(),
            folders: Vec::new(),
            roots: Vec::new(),
            images: Vec::new(),
        };
        Ok(Self { form, location, keep: None, state: Arc::new(Mutex::new(state)) })
    }

    /// The same, which takes over from the file that it replaces what [`Keep`] says.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep: Some(keep), ..self }
    }
}

impl Place for ArchiveSink {
    fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Sink for ArchiveSink {
    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        let state = self.state.lock().await;
        Ok(state.written.get(&blob.digest).is_some_and(|(size, _)| *size == blob.size))
    }

    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()> {
        // Refused before anything is written.
        let path = blobs::path(&blob.digest)?;
        let mut state = self.state.clone().lock_owned().await;
        if let Some((size, _)) = state.written.get(&blob.digest) {
            return if *size == blob.size { Ok(()) } else { Err(blob.wrong_size(*size)) };
        }
        let (blob, keep) = (blob.bare(), self.form == Form::Docker);
        feed(content, move |mut content| state.put(&path, &blob, keep, &mut content)).await
    }

    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()> {
        let mut state = self.state.lock().await;
        match self.form {
            Form::Oci => state.list(root, tag.map(|tag| vec![(REF_NAME, tag.to_string())])),
            Form::Docker => {
                let reference = tag.map(docker::repo_tag).transpose()?;
                state.list_image(root, reference.as_ref().map(|(whole, _)| whole.as_str()))?;
                let names =
                    reference.map(|(whole, tag)| vec![(REF_NAME, tag), (IMAGE_NAME, whole)]);
                state.list(root, names);
            }
        }
        Ok(())
    }

    fn width(&self) -> usize {
        1
    }

    async fn finish(&self) -> Result<()> {
        let state = self.state.clone().lock_owned().await;
        let finished = match self.keep.clone() {
            Some(keep) if keep.anything_beside(&state.roots) => self.add(state, keep).await,
            keep => {
                let form = self.form;
                on_state(state, move |state| state.finish(form, keep)).await.map(drop)
            }
        };
        finished.map_err(|err| err.context(&self.location))
    }
}

impl ArchiveSink {
    /// Takes the place of the file that is there, with what stays of it.
    async fn add(&self, mut state: Held, keep: Keep) -> Result<()> {
        loop {
            let (held, old) = self.hold(state, &keep).await?;
            let keep = keep.clone();
            let (held, is_done) = on_state(held, move |state| state.replace(&keep, old)).await?;
            if is_done {
                return Ok(());
            }
            state = held;
        }
    }

    /// Waits until nobody else adds to the file.
    async fn hold(&self, mut state: Held, keep: &Keep) -> Result<(Held, Option<File>)> {
        let (mut wait, mut last) = (Wait::begin(), None);
        let tell = || {
            let text = format!("waits for who holds a lock on {}", self.location.place());
            keep.observer.event(Event::Warning(&text));
        };
        loop {
            let (held, hold) = on_state(state, |state| state.output()?.hold()).await?;
            let theirs = match hold {
                Hold::Ours(old) => return Ok((held, old)),
                Hold::Others(theirs) => theirs,
            };
            let patience = PATIENCE + Duration::from_secs(theirs.size() / PER_SECOND);
            let theirs = Some(theirs);
            if last != theirs {
                wait.renew();
            }
            if !wait.look_again(patience, tell).await {
                return Err(is_held(patience));
            }
            (state, last) = (held, theirs);
        }
    }
}

/// The state, held by who works on it.
type Held = OwnedMutexGuard<State>;

/// Blocking work on the state, which comes back.
async fn on_state<T: Send + 'static>(
    mut state: Held,
    work: impl FnOnce(&mut State) -> Result<T> + Send + 'static,
) -> Result<(Held, T)> {
    blocking(move || work(&mut state).map(|done| (state, done))).await
}

fn is_held(patience: Duration) -> Error {
    Error::new(Kind::Conflict, "another process holds a lock on the file")
        .expected("that it ends")
        .found(format!("no change for {} s", patience.as_secs()))
        .hint("conex itself takes turns on a file: let no `flock FILE` run around it")
}

impl State {
    fn output(&mut self) -> Result<&mut Output> {
        let gone = || Error::new(Kind::Io, "the archive was broken off or is finished");
        self.output.as_mut().ok_or_else(gone)
    }

    fn put(
        &mut self,
        path: &str,
        blob: &Descriptor,
        keep: bool,
        content: &mut dyn Iterator<Item = Result<Bytes>>,
    ) -> Result<()> {
        self.make_folders(path)?;
        let mut kept = (keep && blob.media_type.is_manifest()).then(Vec::new);
        if kept.is_some() && blob.size > LIMIT as u64 {
            return Err(Error::new(Kind::Limit, format!("manifest {} is too large", blob.digest))
                .expected(format!("at most {LIMIT} bytes")));
        }
        let output = self.output()?;
        let start = output.written();
        let mut entry = Entry::new(path, Sort::File);
        entry.size = blob.size;
        let written = Writer::new(&mut *output).append_pieces(&entry, |write| {
            verified_write(blob, content, |chunk| {
                if let Some(kept) = &mut kept {
                    kept.extend_from_slice(chunk);
                }
                write(chunk)
            })
        });
        if let Err(err) = written {
            if output.rewind(start) {
                return Err(err);
            }
            self.output = None;
            // What a stream took is there for good, so that no retry can help. Unsound content
            // stays what it is.
            return Err(if err.kind() == Kind::Network { err.with_kind(Kind::Io) } else { err });
        }
        self.written.insert(blob.digest.clone(), (blob.size, kept.map(Bytes::from)));
        Ok(())
    }

    /// The marker before everything else, and the folders of a blob before it.
    fn make_folders(&mut self, path: &str) -> Result<()> {
        if self.folders.is_empty() {
            let marker = Document::new(LayoutMarker::default())?;
            self.small_file(MARKER_FILE, marker.bytes())?;
            self.folder(BLOBS.into())?;
        }
        match path.rsplit_once('/') {
            Some((folder, _)) => self.folder(folder.into()),
            None => Ok(()),
        }
    }

    fn folder(&mut self, folder: String) -> Result<()> {
        if self.folders.contains(&folder) {
            return Ok(());
        }
        let entry = Entry::new(format!("{folder}/"), Sort::Dir);
        Writer::new(self.output()?).append(&entry, std::io::empty())?;
        self.folders.push(folder);
        Ok(())
    }

    fn small_file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut entry = Entry::new(name, Sort::File);
        entry.size = bytes.len() as u64;
        Writer::new(self.output()?).append(&entry, bytes)
    }

    fn list(&mut self, root: &Descriptor, names: Option<Vec<(&str, String)>>) {
        let mut entry = root.clone();
        for key in [REF_NAME, IMAGE_NAME] {
            entry.annotations.shift_remove(key);
        }
        for (key, name) in names.into_iter().flatten() {
            entry.annotations.insert(key.into(), name);
        }
        // A name goes to the root that got it last.
        let names = |entry: &Descriptor| {
            [REF_NAME, IMAGE_NAME].map(|key| entry.annotations.get(key).cloned())
        };
        let named = names(&entry);
        self.roots.retain(|known| {
            names(known) != named || (named == [None, None] && known.digest != entry.digest)
        });
        self.roots.push(entry);
    }

    /// Puts the one image below a root into Docker's list.
    fn list_image(&mut self, root: &Descriptor, repo_tag: Option<&str>) -> Result<()> {
        let manifests =
            |digest: &Digest| self.written.get(digest).and_then(|(_, kept)| kept.clone());
        let image = saved::image_of(root, manifests, |digest| self.written.contains_key(digest))?;
        for known in &mut self.images {
            known.repo_tags.retain(|known| Some(known.as_str()) != repo_tag);
        }
        let at = match self.images.iter().position(|known| known.config == image.config) {
            Some(at) => at,
            None => {
                self.images.push(image);
                self.images.len() - 1
            }
        };
        self.images[at].repo_tags.extend(repo_tag.map(str::to_owned));
        Ok(())
    }

    fn finish(&mut self, form: Form, keep: Option<Keep>) -> Result<()> {
        if let (Some(keep), Some(old)) = (keep, self.output()?.old()) {
            keep.tell_lost(old);
        }
        self.make_folders(BLOBS)?;
        if form == Form::Docker {
            let list = serde_json::to_vec(&self.images);
            let list = list.map_err(|err| Error::invalid("image cannot be listed").source(err))?;
            self.small_file(MANIFEST_FILE, &list)?;
            self.small_file(REPOSITORIES_FILE, &saved::repositories(&self.images)?)?;
        }
        self.end(self.roots.clone())?;
        self.output.take().map_or(Ok(()), Output::finish)
    }

    /// Takes over what stays of the file that is held, and takes its place. False, with nothing taken
    /// over, where another has come meanwhile.
    fn replace(&mut self, keep: &Keep, old: Option<File>) -> Result<bool> {
        self.make_folders(BLOBS)?;
        let start = self.output()?.written();
        let (written, folders) = (self.written.clone(), self.folders.clone());
        let mut roots = Vec::new();
        if let Some(old) = old
            && let Some(kept) = keep.of(old, &self.roots)?
        {
            self.take_over_all(&kept).map_err(cannot_stay)?;
            roots = kept.roots;
        }
        roots.extend(self.roots.clone());
        self.end(roots)?;
        if self.output()?.publish()? {
            self.output = None;
            return Ok(true);
        }
        if !self.output()?.rewind(start) {
            return Err(Error::new(Kind::Conflict, "the archive is there already"));
        }
        (self.written, self.folders) = (written, folders);
        Ok(false)
    }

    fn take_over_all(&mut self, kept: &Kept) -> Result<()> {
        kept.blobs()?.iter().try_for_each(|blob| self.take_over(kept, blob))
    }

    fn take_over(&mut self, kept: &Kept, blob: &Descriptor) -> Result<()> {
        let path = blobs::path(&blob.digest)?;
        if self.written.contains_key(&blob.digest) {
            return Ok(());
        }
        let Some(part) = kept.archive.members().find(&path)? else { return Ok(()) };
        let mut reader = kept.archive.reader(part);
        let mut pieces = std::iter::from_fn(|| piece(&mut reader).transpose());
        self.put(&path, blob, false, &mut pieces)
    }

    /// The index, and the end of the tar.
    fn end(&mut self, roots: Vec<Descriptor>) -> Result<()> {
        let index = Document::new(ImageIndex::new(roots))?;
        self.small_file(INDEX_FILE, index.bytes())?;
        Writer::new(self.output()?).finish().map(drop)
    }
}

/// A fault of what an archive holds already.
fn cannot_stay(err: Error) -> Error {
    let is_unsound = matches!(err.kind(), Kind::Invalid | Kind::Mismatch | Kind::Unsupported);
    let err = err.context("what the archive holds already");
    if is_unsound { err.hint("copy the names that are wanted to a new archive") } else { err }
}

/// Some of what is left to read; nothing at the end.
fn piece(reader: &mut impl Read) -> Result<Option<Bytes>> {
    let mut piece = Vec::new();
    let read = reader.by_ref().take(PIECE).read_to_end(&mut piece);
    read.map_err(|err| Error::from_io(err, || "cannot read the archive".into()))?;
    Ok((!piece.is_empty()).then(|| piece.into()))
}
