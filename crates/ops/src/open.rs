//! A `Location` as something to read from or to write to.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_client::Client;
use conex_spec::{Descriptor, Error, Kind, Location, Name, Platform, Reference, Result, Tag};
use conex_store::archive::{ArchiveSink, DockerArchive, Form, Input, OciArchive, Output};
use conex_store::seal::Key;
use conex_store::{Layout, LocalStore, Observer, Sink, Source};

use crate::choose;

/// What the verbs need of the world; the program fills it in.
#[derive(Clone)]
pub struct Context {
    /// Speaks to registries.
    pub client: Client,
    /// The folder of the local store.
    pub store: PathBuf,
    /// Told of progress.
    pub observer: Arc<dyn Observer>,
}

impl Context {
    /// Something to read from.
    pub fn source(&self, location: &Location) -> Result<Arc<dyn Source>> {
        Ok(match location {
            Location::Registry(reference) => Arc::new(self.client.repository(reference)),
            Location::Layout { path, .. } => Arc::new(Layout::open(path, self.key())?),
            Location::Store(_) => Arc::new(LocalStore::open(&self.store, location.clone())?),
            Location::OciArchive { path, .. } => {
                Arc::new(OciArchive::new(input(path)?, location.clone(), self.store.clone()))
            }
            Location::DockerArchive { path, .. } => {
                Arc::new(DockerArchive::new(input(path)?, location.clone(), self.store.clone()))
            }
            other => return Err(not_yet(other, "read")),
        })
    }

    /// Something to write to. A layout is made where there is none; an archive is replaced when the
    /// new one is whole.
    pub fn sink(&self, location: &Location) -> Result<Arc<dyn Sink>> {
        Ok(match location {
            Location::Registry(reference) => Arc::new(self.client.repository(reference)),
            Location::Layout { path, .. } => Arc::new(Layout::create(path, self.key())?),
            Location::Store(_) => Arc::new(LocalStore::open(&self.store, location.clone())?),
            Location::OciArchive { path, .. } => {
                Arc::new(ArchiveSink::new(Form::Oci, output(path)?, location.clone())?)
            }
            Location::DockerArchive { path, .. } => {
                Arc::new(ArchiveSink::new(Form::Docker, output(path)?, location.clone())?)
            }
            other => return Err(not_yet(other, "written")),
        })
    }

    /// The source of a location and the root that the location names there.
    pub async fn resolve(&self, location: &Location) -> Result<(Arc<dyn Source>, Descriptor)> {
        let source = self.source(location)?;
        let root = source.resolve(name_in(location)?.as_ref()).await?;
        Ok((source, root))
    }

    /// What makes the seals of this person's blobs. Without a store there is none, and more is hashed.
    pub fn key(&self) -> Option<Key> {
        let store = LocalStore::open(&self.store, Location::Memory).ok()?;
        store.key().cloned()
    }

    /// A folder on the file system of a destination, where what is built for it can lie.
    pub fn stage_folder(&self, destination: &Location) -> PathBuf {
        match destination {
            Location::Layout { path, .. } => path.clone(),
            _ => self.store.clone(),
        }
    }
}

/// Fails for a root that a destination has no room for, before anything moves there: Docker's
/// archives and engines hold single images.
pub async fn check_fits(from: &dyn Source, root: &Descriptor, to: &Location) -> Result<()> {
    if !matches!(to, Location::DockerArchive { .. } | Location::DockerDaemon(_)) {
        return Ok(());
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
fn output(path: &Path) -> Result<Output> {
    if path != Path::new("-") {
        return Output::create(path);
    }
    let stdout = io::stdout();
    if io::IsTerminal::is_terminal(&stdout) {
        return Err(Error::new(Kind::Usage, "an archive is not written to a terminal")
            .hint("send standard output to a file or to another program"));
    }
    standard(stdout).map(Output::open_file)
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

fn not_yet(location: &Location, verb: &str) -> Error {
    Error::new(Kind::Unsupported, format!("{location} cannot be {verb} yet"))
        .expected("a registry, `oci:DIR` or `store:NAME`")
        .found(location.kind_str())
}
