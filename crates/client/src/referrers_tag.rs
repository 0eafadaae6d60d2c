//! The list of referrers under a tag, for registries that keep none themselves.
//! distribution-spec, "Referrers Tag Schema" and "Pushing Manifests with Subject".
//!
//! Other clients change the same list, without a lock. What can be done is done: a list that tells
//! its `ETag` is replaced only if it is still the one that was read ("Clients MAY use a conditional
//! HTTP push for registries that support ETag conditions"); and where conditions are not heeded,
//! the list is read again after it was written, and every entry that was seen in it on the way,
//! of whomever, is put back if it was lost. Who finds that others write at the same time goes on looking
//! until the list has been left alone for a while: one who read it earlier may write it yet. Of
//! those who share this machine and a local store, one at a time changes a list.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use conex_spec::{
    Descriptor, Digest, Document, Error, ImageIndex, Kind, MediaType, Name, Result, Tag,
};
use conex_store::source::Place;
use http::header::{ACCEPT, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};

use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::paths;
use crate::referrers::{MAX_PAGE, index};
use crate::repository::Repository;
use crate::resolve::accept;
use crate::retry::jitter;

/// How often the list is written again because someone else wrote it at the same time.
const MAX_ROUNDS: u32 = 10;
/// How often a list that others write too is looked at, one after the other, before it counts as left
/// alone, and how often at most.
const QUIET_LOOKS: u32 = 4;
const MAX_LOOKS: u32 = 20;
/// The time before a list that was refused is written again; it grows with each round. It doubles
/// with each look at one that others write too.
const PAUSE: Duration = Duration::from_millis(25);

/// What lies under a referrers tag.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) index: Document<ImageIndex>,
    /// What a condition can name. A weak one never matches (RFC 9110, 13.1.1).
    etag: Option<HeaderValue>,
}

/// A header that makes a request hold only for the list that was read.
type Condition = Option<(HeaderName, HeaderValue)>;

impl Repository {
    /// Reads the list: an index, or nothing.
    pub(crate) async fn referrers_tag(&self, subject: &Digest) -> Result<Option<List>> {
        let tag = name_of(subject)?;
        let url = paths::manifest(self.origin().await?, self.name(), &tag)?;
        let ask = Ask::get(url, Scope::pull(self.name())).header(ACCEPT, accept());
        let answer = self.registry().send(ask).await?;
        match answer.status() {
            StatusCode::OK => {
                let etag = answer.headers().get(ETAG).cloned();
                let etag = etag.filter(|etag| etag.as_bytes().starts_with(b"\""));
                let bytes = answer.read(MAX_PAGE, "list of referrers").await?;
                let index = index(bytes).map_err(|err| err.context(format_args!("tag {tag}")))?;
                Ok(Some(List { index, etag }))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(fault(answer, format!("cannot read the tag {tag}")).await),
        }
    }

    /// Adds an entry to the list of its subject.
    pub(crate) async fn list_referrer(&self, entry: Descriptor, subject: &Digest) -> Result<()> {
        self.change_list(subject, Change::Add(vec![entry])).await
    }

    /// Takes an entry out of the list of its subject. distribution-spec, "Deleting Manifests".
    pub(crate) async fn unlist_referrer(&self, referrer: &Digest, subject: &Digest) -> Result<()> {
        self.change_list(subject, Change::Remove(referrer.clone())).await
    }

    /// Changes the list until nothing is left to do.
    async fn change_list(&self, subject: &Digest, mut change: Change) -> Result<()> {
        let tag = name_of(subject)?;
        let _guard = self.registry().referrers.lock().await;
        let _turn = self.turn(&tag).await;
        let mut refused = None;
        // The condition that was refused: where the same would be sent again, it is of no use here.
        let mut useless: Condition = None;
        let is_shared = self.registry().is_shared.load(Ordering::Relaxed);
        let mut watch = Watch { is_shared, ..Watch::default() };
        let mut round = 0;
        while round < MAX_ROUNDS {
            let list = self.referrers_tag(subject).await?;
            let etag = list.as_ref().map(|list| list.etag.clone());
            let list = match list {
                Some(list) => list.index,
                None => Document::new(ImageIndex::new(Vec::new()))?,
            };
            let Some(mut changed) = change.edit(self, &list).await? else {
                match watch.look(list.bytes()) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Ok(()),
                }
                continue;
            };
            if refused.as_ref().is_some_and(|err: &Error| err.kind() == Kind::NotFound) {
                changed = self.without_lost(&changed).await?;
            }
            let condition = condition(etag).filter(|it| useless.as_ref() != Some(it));
            let put =
                self.put_if(&tag, &MediaType::INDEX, changed.bytes(), condition.clone()).await;
            match put {
                Ok(_) => watch.wrote(changed.bytes()),
                Err(err) if err.kind() == Kind::Conflict && condition.is_some() => {
                    useless = condition;
                    refused = Some(err);
                    tokio::time::sleep(PAUSE * round).await;
                }
                // docker-registry misses a listed manifest while someone puts it there anew.
                Err(err) if matches!(err.kind(), Kind::Invalid | Kind::NotFound) => {
                    watch.is_shared = true;
                    refused = Some(err);
                    tokio::time::sleep(PAUSE * (round + 1)).await;
                }
                Err(err) => return Err(err),
            }
            round += 1;
        }
        let changing = || {
            let text = format!("others keep changing {tag} in {}", self.location());
            Error::new(Kind::Conflict, text)
        };
        Err(refused.unwrap_or_else(changing))
    }

    /// The list without entries whose manifests were deleted: a registry that checks what an index
    /// names takes none of them. One that was only missed for a moment is put back later, as every
    /// entry that was seen.
    async fn without_lost(&self, list: &Document<ImageIndex>) -> Result<Document<ImageIndex>> {
        let mut held = Vec::new();
        for entry in &list.manifests {
            if self.holds(entry).await? {
                held.push(entry.clone());
            }
        }
        list.edit(|list| list.manifests = held)
    }
}

/// Whether others write a list too, as far as it shows.
#[derive(Default)]
struct Watch {
    /// The list as it was written, or as it was seen last.
    last: Option<Bytes>,
    writes: u32,
    /// Whether it was found otherwise than it was left, or the registry has shown it in another way.
    is_shared: bool,
    /// How often it was seen the same, one after the other, and how often at all.
    quiet: u32,
    looks: u32,
}

impl Watch {
    fn wrote(&mut self, list: &Bytes) {
        self.writes += 1;
        // Who writes a second time has lost something to another.
        self.is_shared |= self.writes > 1;
        self.last = Some(list.clone());
        self.quiet = 0;
    }

    /// What was seen needs no change. Tells when to look again; nothing where that is enough.
    fn look(&mut self, list: &Bytes) -> Option<Duration> {
        if self.last.as_ref().is_some_and(|last| last != list) {
            (self.is_shared, self.quiet) = (true, 0);
        }
        self.last = Some(list.clone());
        self.looks += 1;
        self.quiet += 1;
        let enough = !self.is_shared || self.quiet > QUIET_LOOKS || self.looks > MAX_LOOKS;
        (!enough).then(|| jitter(PAUSE * (1 << self.quiet)))
    }
}

/// What is to be done to a list.
enum Change {
    /// These are to be in it: first the own entry, then all that were seen in it on the way.
    Add(Vec<Descriptor>),
    Remove(Digest),
}

impl Change {
    /// The list as it should be; nothing where it is so.
    async fn edit(
        &mut self,
        repository: &Repository,
        list: &Document<ImageIndex>,
    ) -> Result<Option<Document<ImageIndex>>> {
        match self {
            Self::Add(wanted) => {
                let mut lost = Vec::new();
                for (at, entry) in wanted.iter().enumerate() {
                    if has(&list.manifests, &entry.digest) {
                        continue;
                    }
                    // Another's entry may be gone because its manifest was deleted meanwhile.
                    if at == 0 || repository.holds(entry).await? {
                        lost.push(entry.clone());
                    }
                }
                let new = list.manifests.iter().filter(|entry| !has(wanted, &entry.digest));
                let new: Vec<_> = new.cloned().collect();
                wanted.extend(new);
                if lost.is_empty() {
                    return Ok(None);
                }
                list.edit(|list| list.manifests.extend(lost)).map(Some)
            }
            Self::Remove(digest) if has(&list.manifests, digest) => {
                list.edit(|list| list.manifests.retain(|entry| entry.digest != *digest)).map(Some)
            }
            Self::Remove(_) => Ok(None),
        }
    }
}

/// For a list that was read, that it is still the same; for none, that there is still none.
fn condition(etag: Option<Option<HeaderValue>>) -> Condition {
    match etag {
        None => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
        Some(Some(etag)) => Some((IF_MATCH, etag)),
        Some(None) => None,
    }
}

pub(crate) fn name_of(subject: &Digest) -> Result<Name> {
    Tag::registry(&subject.referrers_tag()).map(Name::Tag)
}

fn has(entries: &[Descriptor], digest: &Digest) -> bool {
    entries.iter().any(|entry| entry.digest == *digest)
}
