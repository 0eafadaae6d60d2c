//! A `Location` as something to read from or to write to.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use serde::{Serialize, Serializer};

use conex_client::Client;
use conex_client::daemon::{DaemonSink, DaemonSource};
use conex_spec::{Descriptor, Error, Kind, Location, Name, Platform, Reference, Result, Tag};
use conex_store::archive::{self, ArchiveSink, DockerArchive, Form, Input, OciArchive, Output};
use conex_store::seal::Key;
use conex_store::{Access, Collection, Layout, LocalStore, Observer, Sink, Source, SourceExt};

use crate::artifact::draft::check_place;
use crate::choose;
use crate::copy::request::Artifact;
use crate::spool::Spool;

/// What the verbs need of the world; the program fills it in.
#[derive(Clone)]
pub struct Context {
    /// Speaks to registries.
    pub client: Client,
    /// Told of progress.
    pub observer: Arc<dyn Observer>,
    store: Option<PathBuf>,
    durable: bool,
    /// Looked up once.
    key: Arc<OnceLock<Key>>,
}

impl Context {
    /// With the folder of the local store, where there is one.
    pub fn new(client: Client, store: Option<PathBuf>, observer: Arc<dyn Observer>) -> Self {
        Self { client, observer, store, durable: true, key: Arc::default() }
    }

    /// The same, for work that may be lost with the machine: nothing is made durable.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.durable = false;
        self
    }

    /// Whether what is written must outlast a power cut.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Something to read from.
    pub fn source(&self, location: &Location) -> Result<Arc<dyn Source>> {
        Ok(match location {
            Location::Registry(reference) => {
                Arc::new(self.client.repository(&image(reference)).will_be_read())
            }
            Location::Layout { path, .. } => Arc::new(Layout::open(path, self.key())?),
            Location::Store(_) => Arc::new(self.local_store(location)?),
            Location::OciArchive { .. } => Arc::new(self.oci_archive(location)?),
            Location::DockerArchive { .. } => Arc::new(self.docker_archive(location)?),
            Location::DockerDaemon(image) => {
                let engine = self.client.engine().clone();
                Arc::new(DaemonSource::new(engine, image.clone(), self.spool()))
            }
            Location::Memory => return Err(in_this_process()),
        })
    }

    /// Something to read many roots from, or their names: of a registry the whole repository, not its
    /// `latest`.
    pub fn source_of_all(&self, location: &Location) -> Result<Arc<dyn Source>> {
        match location {
            Location::Registry(reference) => {
                Ok(Arc::new(self.client.repository(reference).will_be_read()))
            }
            other => self.source(other),
        }
    }

    /// An archive of a layout, whose own files can be looked at too.
    pub(crate) fn oci_archive(&self, location: &Location) -> Result<OciArchive> {
        let path = location.path().unwrap_or(Path::new("-"));
        Ok(OciArchive::new(input(path)?, location.clone(), self.spool()))
    }

    /// What `docker save` wrote, whose own files can be looked at too.
    pub(crate) fn docker_archive(&self, location: &Location) -> Result<DockerArchive> {
        let path = location.path().unwrap_or(Path::new("-"));
        Ok(DockerArchive::new(input(path)?, location.clone(), self.spool()))
    }

    /// Something to write to. A layout or store is made with what is first put there; an archive
    /// is replaced when the new one is whole, and an OCI archive keeps what has other names, where any are
    /// given.
    pub fn sink(&self, location: &Location) -> Result<Arc<dyn Sink>> {
        Ok(match location {
            Location::Registry(reference) => {
                Arc::new(self.client.repository(&image(reference)).will_be_written())
            }
            Location::Layout { path, .. } => Arc::new(Layout::create(path, self.access())?),
            Location::Store(_) => Arc::new(self.local_store(location)?),
            Location::OciArchive { path, .. } => {
                Arc::new(self.archive_sink(Form::Oci, path, location)?.keeping(self.keeping(false)))
            }
            Location::DockerArchive { path, .. } => {
                Arc::new(self.archive_sink(Form::Docker, path, location)?)
            }
            Location::DockerDaemon(image) => {
                Arc::new(DaemonSink::new(self.client.engine().clone(), image.clone())?)
            }
            Location::Memory => return Err(in_this_process()),
        })
    }

    /// The same for what is added without a name: an archive keeps all that it holds.
    pub fn sink_beside(&self, location: &Location) -> Result<Arc<dyn Sink>> {
        match location {
            Location::OciArchive { path, .. } => {
                let sink = self.archive_sink(Form::Oci, path, location)?;
                Ok(Arc::new(sink.keeping(self.keeping(true))))
            }
            other => self.sink(other),
        }
    }

    fn archive_sink(&self, form: Form, path: &Path, location: &Location) -> Result<ArchiveSink> {
        ArchiveSink::new(form, output(path, self.durable)?, location.clone())
    }

    fn keeping(&self, all: bool) -> archive::Keep {
        archive::Keep { all, observer: self.observer.clone(), spool: self.spool() }
    }

    /// A destination as it is now, to be asked only: nothing is made there. Nothing for what
    /// cannot be asked.
    pub fn look(&self, location: &Location) -> Result<Option<Arc<dyn Sink>>> {
        Ok(match location {
            Location::Layout { path, .. } => {
                let access = Access { key: self.key(), durable: self.durable };
                Some(Arc::new(Layout::create(path, access)?))
            }
            Location::Registry(_) | Location::Store(_) => Some(self.sink(location)?),
            _ => None,
        })
    }

    /// The local store, which need not be there yet; `location` is what people call the image.
    pub fn local_store(&self, location: &Location) -> Result<LocalStore> {
        LocalStore::open_with(self.store_folder()?, location.clone(), self.durable)
    }

    /// A place of this machine that keeps many images, for its upkeep. A layout must be there.
    pub fn keep(&self, keep: &Keep) -> Result<Arc<dyn Collection>> {
        Ok(match keep {
            Keep::Store => Arc::new(self.local_store(&Location::Memory)?),
            Keep::Layout(path) => {
                let access = Access { key: self.key(), durable: self.durable };
                Arc::new(Layout::open(path, access)?)
            }
        })
    }

    /// The place that a location's image is kept in; an error where that is none of this machine.
    pub fn keep_of(&self, location: &Location) -> Result<Arc<dyn Collection>> {
        match location {
            Location::Layout { path, .. } => self.keep(&Keep::Layout(path.clone())),
            Location::Store(_) => Ok(Arc::new(self.local_store(location)?)),
            Location::OciArchive { .. } | Location::DockerArchive { .. } => {
                Err(written_once(location))
            }
            other => Err(Error::new(Kind::Usage, format!("{other} is not kept here"))
                .expected("`oci:DIR:TAG` or `store:NAME`")
                .found(other.kind_str())),
        }
    }

    /// The source of a location and the root that the location names there.
    pub async fn resolve(&self, location: &Location) -> Result<(Arc<dyn Source>, Descriptor)> {
        let source = self.source(location)?;
        let root = source.resolve(name_in(location)?.as_ref()).await?;
        Ok((source, root))
    }

    /// What makes the seals of this person's blobs. Without a store there is none, and more is
    /// hashed.
    pub fn key(&self) -> Option<Key> {
        if let Some(key) = self.key.get() {
            return Some(key.clone());
        }
        let key = self.local_store(&Location::Memory).ok()?.key().cloned()?;
        Some(self.key.get_or_init(|| key).clone())
    }

    /// How layouts are written: with a key, for which a store is made where there is none.
    fn access(&self) -> Access {
        if self.key().is_none()
            && let Ok(store) = self.local_store(&Location::Memory)
        {
            // Where it cannot be made, nothing is sealed.
            let _ = store.make();
        }
        Access { key: self.key(), durable: self.durable }
    }

    /// A folder on the file system of a destination, where what is built for it can lie.
    pub fn stage_folder<'a>(&'a self, destination: &'a Location) -> Result<&'a Path> {
        match destination.path() {
            Some(path) if !destination.is_stream() => Ok(path),
            _ => self.store_folder(),
        }
    }

    /// Where the parts of an archive that comes as a stream may wait, in files without names.
    fn spool(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(|| ".".into())
    }

    /// Keeps layers that a command reads more than once.
    pub(crate) fn keeper(&self) -> Spool {
        Spool::new(&self.spool())
    }

    fn store_folder(&self) -> Result<&Path> {
        self.store.as_deref().ok_or_else(|| {
            Error::new(Kind::Usage, "no folder for the local store")
                .expected("one of CONEX_STORE, XDG_DATA_HOME and HOME in the environment")
                .hint("name one with `--store DIR`")
        })
    }
}

/// A reference to one image: who says no more than its repository means `latest`, which may be
/// configured to be elsewhere than the rest of it.
pub(crate) fn image(reference: &Reference) -> Reference {
    reference.with_name(reference.name_or_latest()).unwrap_or_else(|_| reference.clone())
}

/// Fails for a root that a destination has no room for, before anything moves there: Docker's
/// archives and engines hold single images.
pub async fn check_fits(from: &dyn Source, root: &Descriptor, to: &Location) -> Result<()> {
    if !matches!(to, Location::DockerArchive { .. } | Location::DockerDaemon(_)) {
        return Ok(());
    }
    if Artifact::of(&*from.manifest(root).await?).is_some() {
        return check_place(to);
    }
    let mut images = choose::images(from, root).await?;
    // What builders put beside images, such as attestations, runs nowhere.
    images.retain(|image| image.platform.as_ref().is_none_or(Platform::is_known));
    if images.len() == 1 {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, format!("{to} holds single images"))
        .expected("the image for one platform")
        .found(format!("an index of {} images", images.len()))
        .hint("narrow it with `--platform OS/ARCH`, or write an oci-archive"))
}

/// An archive's file, or standard input.
fn input(path: &Path) -> Result<Input> {
    if path != Path::new("-") {
        return Ok(Input::Path(path.into()));
    }
    standard(io::stdin()).map(Input::File)
}

/// An archive's file, or standard output.
fn output(path: &Path, durable: bool) -> Result<Output> {
    if path != Path::new("-") {
        return Output::create(path, durable);
    }
    let stdout = io::stdout();
    if io::IsTerminal::is_terminal(&stdout) {
        return Err(Error::new(Kind::Usage, "an archive is not written to a terminal")
            .hint("send standard output to a file or to another program"));
    }
    standard(stdout).map(|file| Output::open_file(file, durable))
}

/// Standard input or output as an open file of its own, without a buffer.
fn standard(stream: impl AsFd) -> Result<File> {
    let fd = stream.as_fd().try_clone_to_owned();
    fd.map(File::from)
        .map_err(|err| Error::from_io(err, || "cannot open the standard stream".into()))
}

/// The name of the root that a location asks for, in the words of the store behind it: the local
/// store calls an image by its whole reference.
pub fn name_in(location: &Location) -> Result<Option<Name>> {
    match location {
        Location::Store(reference) => stored_name(reference).map(Some),
        Location::Registry(reference) => Ok(Some(reference.name_or_latest())),
        other => Ok(other.name()),
    }
}

/// What the local store calls an image: by digest where the reference has one, else by its
/// canonical reference with the tag.
pub fn stored_name(reference: &Reference) -> Result<Name> {
    match reference.name_or_latest() {
        Name::Digest(digest) => Ok(Name::Digest(digest)),
        Name::Tag(tag) => {
            let canonical = reference.without_name().with_tag(tag)?;
            Tag::new(&canonical.to_string()).map(Name::Tag)
        }
    }
}

/// The error of who would change an archive where it lies.
pub(crate) fn written_once(archive: &Location) -> Error {
    Error::new(Kind::Usage, format!("{} cannot be changed", archive.place()))
        .expected("a layout, the local store or a registry")
        .found("an archive, which is written once")
        .hint("`conex copy FROM TO` writes a new archive, under other names")
}

fn in_this_process() -> Error {
    Error::new(Kind::Usage, "content in memory is known to this process only")
}

/// A place that keeps many images, as people name it without an image: `store:`, `oci:DIR`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The local store.
    #[default]
    Store,
    /// A layout.
    Layout(PathBuf),
}

impl FromStr for Keep {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "store:" {
            return Ok(Self::Store);
        }
        match text.parse() {
            Ok(Location::Layout { path, name: None }) => Ok(Self::Layout(path)),
            Ok(Location::Layout { name: Some(_), .. } | Location::Store(_)) => {
                Err(Error::new(Kind::Usage, "a whole place is meant, not one of its images")
                    .expected("`store:` or `oci:DIR`")
                    .found(text))
            }
            _ => Err(Error::new(Kind::Usage, "no place that keeps images here")
                .expected("`store:` or `oci:DIR`")
                .found(text.escape_debug())),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store:"),
            Self::Layout(path) => write!(f, "oci:{}", path.display()),
        }
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
