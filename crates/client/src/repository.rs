//! A client, and one repository of a registry as source and sink.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Descriptor, Digest, Error, Kind, Location, Name, Reference, Result, Tag};
use conex_store::source::Place;
use conex_store::{ByteStream, Reopen, Sink, Source};
use futures_util::stream::BoxStream;
use http::StatusCode;

use crate::auth::Scope;
use crate::credentials::Credentials;
use crate::daemon::Engine;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::hosts::mirrored::Read;
use crate::hosts::registries::{self, Table};
use crate::options::Options;
use crate::origin::Origin;
use crate::paths;
use crate::push::Input;
use crate::registry::{Registry, Setting, Shared};
use crate::scope::{Access, Actions};

/// How many manifests, and bytes of them, are kept so that they can be tagged.
const MAX_RECENT: (usize, usize) = (16, 16 << 20);

/// Connections and logins, shared by all repositories. Cheap to clone; nothing is opened or read
/// before the first request.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    registries: Arc<Mutex<Registries>>,
}

/// By name and by what is configured for it: as a mirror it is another one.
type Registries = HashMap<(String, Setting), Arc<Registry>>;

impl Client {
    /// A client with these options.
    pub fn new(options: Options) -> Self {
        Self { shared: Arc::new(Shared::new(options)), registries: Arc::default() }
    }

    /// The repository of a reference. Mirrors and what else [`crate::RegistryFiles`] say is
    /// followed, which may be something else for its tag or digest: a reference with neither is the
    /// whole repository. Where that fails, every request does.
    pub fn repository(&self, named: &Reference) -> Repository {
        let reference = named.without_name();
        let table = match self.shared.registries() {
            Ok(registries) => registries.find(named),
            Err(err) => return self.barred(reference, again(err)),
        };
        let Some(table) = table else {
            return self.plain(reference, Setting::default(), Vec::new(), None);
        };
        if table.blocked {
            let blocked = Error::new(Kind::Denied, format!("{named} is blocked"))
                .found(format!("`blocked = true` in {}", table.place))
                .hint("change that file if you are the one to decide");
            return self.barred(reference, blocked);
        }
        let setting = |insecure, mirror, place: &registries::Place| Setting {
            insecure,
            mirror,
            place: Some(place.clone()),
        };
        let own = setting(table.insecure, false, &table.place);
        match self.reads(named, table, &own, setting) {
            Ok(reads) => self.plain(reference, own, reads, None),
            Err(err) => self.barred(reference, err),
        }
    }

    /// The places to read from, the one that the name says last.
    fn reads(
        &self,
        reference: &Reference,
        table: &Table,
        own: &Setting,
        setting: impl Fn(bool, bool, &registries::Place) -> Setting,
    ) -> Result<Vec<Read>> {
        let primary = table.primary(reference)?;
        if primary.is_none() && table.mirrors.is_empty() {
            return Ok(Vec::new());
        }
        let read = |at: Reference, setting, serves| {
            let renamed = table.renamed(&at);
            Read::new(self.plain(at.without_name(), setting, Vec::new(), None), serves, renamed)
        };
        let mut reads = Vec::new();
        for mirror in &table.mirrors {
            let at = table.mirrored(reference, mirror)?;
            let setting = setting(mirror.insecure, true, &mirror.place);
            reads.push(read(at, setting, Some(mirror.serves)));
        }
        let at = primary.unwrap_or_else(|| reference.without_name());
        reads.push(read(at, own.clone(), None));
        Ok(reads)
    }

    fn barred(&self, reference: Reference, err: Error) -> Repository {
        self.plain(reference, Setting::default(), Vec::new(), Some(err))
    }

    fn plain(
        &self,
        reference: Reference,
        setting: Setting,
        reads: Vec<Read>,
        barred: Option<Error>,
    ) -> Repository {
        Repository {
            inner: Arc::new(Inner {
                registry: self.registry(&reference, setting),
                name: reference.repository().into(),
                location: Location::Registry(reference),
                reads,
                barred,
                recent: Mutex::default(),
            }),
        }
    }

    fn registry(&self, reference: &Reference, setting: Setting) -> Arc<Registry> {
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = registries
            .entry((reference.registry().to_owned(), setting.clone()))
            .or_insert_with(|| Arc::new(Registry::new(self.shared.clone(), reference, setting)));
        registry.clone()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The credentials that it asks with, in the order that [`crate::RegistryFiles`] say.
    ///
    /// # Errors
    /// For such a file that cannot be read.
    pub fn credentials(&self) -> Result<Credentials> {
        self.shared.credentials()
    }

    /// Where the engine of this machine may listen.
    pub fn engine(&self) -> &Engine {
        &self.shared.options.engine
    }

    /// Asks the registry of a reference whether it is one, and with the credentials known for
    /// it whether it lets them in. distribution-spec, "Determining Support".
    ///
    /// # Errors
    /// `Unauthorized` for wrong or missing credentials.
    pub async fn ping(&self, reference: &Reference) -> Result<()> {
        self.repository(reference).greet(Scope::default()).await
    }
}

/// One repository of a registry. Cheap to clone.
///
/// What is written is there when a call returns, as far as the registry's word goes.
#[derive(Clone, Debug)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    name: Arc<str>,
    location: Location,
    /// Where to read from, if not just where the name says.
    reads: Vec<Read>,
    /// Why nothing is asked.
    barred: Option<Error>,
    recent: Mutex<VecDeque<(Digest, Bytes)>>,
}

impl Repository {
    /// A blob of which only the digest is known: one HEAD request. distribution-spec, "Checking if
    /// content exists in the registry".
    ///
    /// # Errors
    /// `NotFound` where it is not there; `Unsupported` where the registry does not tell its size.
    pub async fn find_blob(&self, digest: &Digest) -> Result<Descriptor> {
        self.find_blob_anywhere(digest).await
    }

    /// Says beforehand that it will be read, so that a login with a token is good for this and for
    /// what else is announced of its registry.
    #[must_use]
    pub fn will_be_read(self) -> Self {
        let repository = self.name().clone();
        self.registry().auth.announce(Access { repository, actions: Actions::PULL });
        self
    }

    /// Says beforehand that it will be written to; as [`Repository::will_be_read`].
    #[must_use]
    pub fn will_be_written(self) -> Self {
        let repository = self.name().clone();
        self.registry().auth.announce(Access { repository, actions: Actions::PUSH });
        self
    }

    /// Asks for the root of the API, as who may do what `scope` says.
    pub(crate) async fn greet(&self, scope: Scope) -> Result<()> {
        let url = paths::root(self.origin().await?)?;
        let answer = self.registry().send(Ask::get(url, scope)).await?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            _ => Err(fault(answer, format!("{} is no registry", self.registry().name)).await),
        }
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.inner.registry
    }

    pub(crate) async fn origin(&self) -> Result<&Origin> {
        self.check()?;
        self.inner.registry.origin().await
    }

    /// Fails where nothing may be asked.
    pub(crate) fn check(&self) -> Result<()> {
        self.inner.barred.as_ref().map_or(Ok(()), |err| Err(again(err)))
    }

    pub(crate) fn reads(&self) -> &[Read] {
        &self.inner.reads
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// Every byte of content to or from a registry goes by here.
    pub(crate) fn limited(&self, content: ByteStream) -> ByteStream {
        match &self.registry().options().limiter {
            Some(limiter) => limiter.stream(content),
            None => content,
        }
    }

    /// Keeps the verified bytes of a manifest for a while.
    pub(crate) fn keep(&self, digest: &Digest, bytes: &Bytes) {
        let mut recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(known, _)| known != digest);
        recent.push_back((digest.clone(), bytes.clone()));
        let total = |recent: &VecDeque<(Digest, Bytes)>| {
            recent.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
        };
        while recent.len() > MAX_RECENT.0 || (recent.len() > 1 && total(&recent) > MAX_RECENT.1) {
            recent.pop_front();
        }
    }

    /// The bytes of a manifest that went by not long ago.
    pub(crate) fn kept(&self, digest: &Digest) -> Option<Bytes> {
        let recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().find(|(known, _)| known == digest).map(|(_, bytes)| bytes.clone())
    }
}

/// An error once more.
pub(crate) fn again(err: &Error) -> Error {
    let mut copy = Error::new(err.kind(), err.message());
    if let Some(expected) = err.expected_value() {
        copy = copy.expected(expected);
    }
    if let Some(found) = err.found_value() {
        copy = copy.found(found);
    }
    match err.hint_text() {
        Some(hint) => copy.hint(hint.to_owned()),
        None => copy,
    }
}

impl Place for Repository {
    fn location(&self) -> &Location {
        &self.inner.location
    }
}

#[async_trait]
impl Source for Repository {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        match name {
            Some(name) => self.resolve_anywhere(name).await,
            None => self.resolve_anywhere(&Name::Tag(Tag::latest())).await,
        }
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        Ok(self.limited(self.open_anywhere(blob, range).await?))
    }

    fn distrust(&self, blob: &Descriptor, why: &Error) -> bool {
        self.distrust_mirrors(blob, why)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.referrers_anywhere(subject).await
    }

    /// In the order in which the registry lists them.
    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        self.tags_after(None, None)
    }
}

#[async_trait]
impl Sink for Repository {
    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        self.holds(blob).await
    }

    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()> {
        if blob.media_type.is_manifest() {
            self.put_manifest(blob, self.limited(content)).await
        } else {
            self.push(blob, Input::Once(Some(content))).await
        }
    }

    async fn put_from(&self, blob: &Descriptor, content: &dyn Reopen) -> Result<()> {
        if blob.media_type.is_manifest() {
            self.put_manifest(blob, self.limited(content.open(0).await?)).await
        } else {
            self.push(blob, Input::Often(content)).await
        }
    }

    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()> {
        match tag {
            Some(tag) => self.put_tag(root, tag).await,
            None => Ok(()),
        }
    }

    fn as_source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    async fn tagged(&self, tag: &Tag) -> Result<Option<Descriptor>> {
        self.look_up(tag).await
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        self.put_tagged(root, &bytes, tags).await
    }

    async fn adopt(&self, blob: &Descriptor, from: &dyn Source) -> Result<bool> {
        match from.location() {
            Location::Registry(reference)
                if reference.registry() == self.registry().name
                    && !blob.media_type.is_manifest() =>
            {
                Ok(self.mount(blob, reference.repository()).await.unwrap_or(false))
            }
            _ => Ok(false),
        }
    }
}
