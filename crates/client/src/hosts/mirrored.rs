//! Reading through mirrors: each in its order, then where the name says.
//!
//! A mirror is asked and never believed: content is verified against the digest that was asked for
//! by whoever reads it, and small content here, so that another place can still be asked. What a tag
//! stands for is the mirror's word; `mirror-by-digest-only` is for people who do not want that.
//!
//! A mirror need not have everything, so what it does not find is looked for elsewhere without a
//! word. One that fails otherwise is told of once and passed over: for good where it cannot be
//! reached, else for this repository. That a large blob is wrong shows when its last byte is out: then
//! its reader says so, and reads it once more, from the next place. Lists of tags and of referrers come from the place that the
//! name says, since those of a mirror may be old or partial; from a mirror where that place cannot
//! be reached.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use conex_spec::{Descriptor, Digest, Error, Kind, Name, Result, Tag};
use conex_store::ByteStream;
use conex_store::source::Place;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::hosts::registries::Serves;
use crate::repository::Repository;

/// What is held in memory until it is verified.
const SMALL: u64 = 4 << 20;

/// One place to read from.
#[derive(Debug)]
pub(crate) struct Read {
    repository: Repository,
    /// Nothing for the place that the name says.
    mirror: Option<Serves>,
    /// What is asked for here instead of what.
    renamed: Option<(Name, Name)>,
    /// Whether a tag was found here: then its content is read here too.
    tagged: AtomicBool,
    passed_over: AtomicBool,
    /// What this mirror has sent that was not verified here.
    sent: Mutex<HashSet<Digest>>,
}

impl Read {
    pub(crate) fn new(
        repository: Repository,
        mirror: Option<Serves>,
        renamed: Option<(Name, Name)>,
    ) -> Self {
        Self {
            repository,
            mirror,
            renamed,
            tagged: AtomicBool::new(false),
            passed_over: AtomicBool::new(false),
            sent: Mutex::default(),
        }
    }

    fn sent(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name<'a>(&'a self, name: &'a Name) -> &'a Name {
        self.renamed.as_ref().filter(|(from, _)| from == name).map_or(name, |(_, to)| to)
    }

    fn may_be_asked(&self, by_tag: bool) -> bool {
        let serves = match self.mirror {
            None => return true,
            Some(Serves::All) => true,
            Some(Serves::Digests) => !by_tag,
            Some(Serves::Tags) => by_tag || self.tagged.load(Ordering::Relaxed),
        };
        serves
            && !self.passed_over.load(Ordering::Relaxed)
            && !self.repository.registry().is_passed_over()
    }
}

impl Repository {
    /// What a name stands for.
    pub(crate) async fn resolve_anywhere(&self, name: &Name) -> Result<Descriptor> {
        let by_tag = matches!(name, Name::Tag(_));
        for (tried, read) in self.reads().iter().enumerate() {
            if !read.may_be_asked(by_tag) {
                continue;
            }
            match read.repository.resolve_name(read.name(name)).await {
                Ok(found) => {
                    read.tagged.fetch_or(by_tag, Ordering::Relaxed);
                    return Ok(found);
                }
                Err(err) => self.failed(read, err, tried)?,
            }
        }
        self.resolve_name(name).await
    }

    /// Some bytes of a blob or manifest.
    pub(crate) async fn open_anywhere(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream> {
        let whole = range.start == 0 && range.end >= blob.size;
        let mut reading = Reading {
            repository: self.clone(),
            blob: blob.bare(),
            left: range,
            next: 0,
            small: whole && blob.size <= SMALL,
        };
        let body = reading.connect().await?;
        if reading.next >= self.reads().len() {
            // Nothing comes after the last place.
            return Ok(body);
        }
        Ok(stream::unfold(Some((reading, body)), |state| async {
            let (reading, body) = state?;
            reading.step(body).await
        })
        .fuse()
        .boxed())
    }

    /// Passes over every mirror that had a part in a blob that is wrong; true where there is one.
    pub(crate) fn distrust_mirrors(&self, blob: &Descriptor, why: &Error) -> bool {
        let mut any = false;
        for read in self.reads() {
            if read.sent().remove(&blob.digest) {
                self.pass_over(read, why);
                any = true;
            }
        }
        any
    }

    /// A blob of which only the digest is known.
    pub(crate) async fn find_blob_anywhere(&self, digest: &Digest) -> Result<Descriptor> {
        for (tried, read) in self.reads().iter().enumerate() {
            if !read.may_be_asked(false) {
                continue;
            }
            match read.repository.look_for_blob(digest).await {
                Ok(found) => return Ok(found),
                Err(err) => self.failed(read, err, tried)?,
            }
        }
        self.look_for_blob(digest).await
    }

    /// A list of tags, each place's as `list` reads it.
    pub(crate) fn tags_anywhere(
        &self,
        list: impl Fn(&Self) -> BoxStream<'static, Result<Tag>> + Send + 'static,
    ) -> BoxStream<'static, Result<Tag>> {
        let own = list(self.primary());
        if self.reads().len() < 2 {
            return own;
        }
        let repository = self.clone();
        stream::once(async move { repository.first_list(own, list).await }).flatten().boxed()
    }

    async fn first_list(
        &self,
        mut own: BoxStream<'static, Result<Tag>>,
        list: impl Fn(&Self) -> BoxStream<'static, Result<Tag>> + Send,
    ) -> BoxStream<'static, Result<Tag>> {
        let err = match own.next().await {
            Some(Err(err)) if err.kind() == Kind::Network => err,
            first => return stream::iter(first).chain(own).boxed(),
        };
        for read in self.reads().iter().filter(|read| read.mirror.is_some()) {
            if !read.may_be_asked(true) {
                continue;
            }
            let mut tags = list(&read.repository);
            let first = tags.next().await;
            if !matches!(first, Some(Err(_))) {
                self.warn_of_list(&err, "tags", read);
                return stream::iter(first).chain(tags).boxed();
            }
        }
        stream::once(async { Err(err) }).boxed()
    }

    fn warn_of_list(&self, err: &Error, of: &str, read: &Read) {
        let mirror = read.repository.location();
        self.registry().warn(&format!("{err}; its list of {of} is that of a mirror, {mirror}"));
    }

    /// The referrers of a manifest.
    pub(crate) async fn referrers_anywhere(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let Some((primary, mirrors)) = self.reads().split_last() else {
            return self.referrers_of_type(subject, None).await;
        };
        let err = match primary.repository.referrers_of_type(subject, None).await {
            Err(err) if err.kind() == Kind::Network => err,
            found => return found,
        };
        for read in mirrors.iter().filter(|read| read.may_be_asked(false)) {
            if let Ok(found) = read.repository.referrers_of_type(subject, None).await {
                self.warn_of_list(&err, "referrers", read);
                return Ok(found);
            }
        }
        Err(err)
    }

    /// Where lists come from.
    pub(crate) fn primary(&self) -> &Repository {
        self.reads().last().map_or(self, |read| &read.repository)
    }

    /// Takes note of a failure after which the next place is asked; the last place's is an error.
    fn failed(&self, read: &Read, err: Error, before: usize) -> Result<()> {
        match read.mirror {
            Some(_) => {
                self.pass_over(read, &err);
                Ok(())
            }
            None => Err(err_after(err, before)),
        }
    }

    fn pass_over(&self, read: &Read, err: &Error) {
        let registry = read.repository.registry();
        match err.kind() {
            Kind::NotFound => return,
            Kind::Network => registry.pass_over(),
            _ => read.passed_over.store(true, Ordering::Relaxed),
        }
        if registry.is_told_of() {
            return;
        }
        let mirror = read.repository.location();
        self.registry().warn(&format!("the mirror {mirror} is passed over: {err}"));
    }
}

/// What is said of a place that was asked last.
const MIRRORS_TOO: &str = "the mirrors that were asked before it did not serve it either";

/// Says that mirrors were of no use either.
fn err_after(err: Error, mirrors: usize) -> Error {
    match (mirrors, err.found_value()) {
        (1.., None) => err.found(MIRRORS_TOO),
        _ => err,
    }
}

/// A blob on its way, from one place after the other.
struct Reading {
    repository: Repository,
    blob: Descriptor,
    left: Range<u64>,
    /// The place that is asked next; the one before is being read.
    next: usize,
    small: bool,
}

impl Reading {
    /// The next bytes. Where a mirror breaks off, the rest comes from the next place.
    async fn step(
        mut self,
        mut body: ByteStream,
    ) -> Option<(Result<Bytes>, Option<(Self, ByteStream)>)> {
        loop {
            let err = match body.next().await? {
                Ok(chunk) => {
                    self.left.start += chunk.len() as u64;
                    return Some((Ok(chunk), Some((self, body))));
                }
                Err(err) => err,
            };
            let tried = self.next.saturating_sub(1);
            let next = match self.repository.reads().get(tried) {
                Some(read) => self.repository.failed(read, err, tried),
                None => Err(err),
            };
            if let Err(err) = next {
                return Some((Err(err), None));
            }
            match self.connect().await {
                Ok(next) => body = next,
                Err(err) => return Some((Err(err), None)),
            }
        }
    }

    /// Opens the blob at the next place that has it.
    async fn connect(&mut self) -> Result<ByteStream> {
        while let Some(read) = self.repository.reads().get(self.next) {
            self.next += 1;
            if read.may_be_asked(false) {
                match self.open(read).await {
                    Ok(body) => return Ok(body),
                    Err(err) => self.repository.failed(read, err, self.next - 1)?,
                }
            }
        }
        self.repository.pull(&self.blob, self.left.clone()).await
    }

    async fn open(&self, read: &Read) -> Result<ByteStream> {
        let body = read.repository.pull(&self.blob, self.left.clone()).await?;
        if read.mirror.is_none() {
            return Ok(body);
        }
        if !self.small {
            read.sent().insert(self.blob.digest.clone());
            return Ok(body);
        }
        let bytes = collect(body).await?;
        self.blob
            .verify(&bytes)
            .map_err(|err| err.context(format_args!("{}", read.repository.location())))?;
        Ok(stream::once(async { Ok(bytes) }).boxed())
    }
}

/// All of a body, whose length the pull has bounded by the descriptor's size.
async fn collect(mut body: ByteStream) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes.freeze())
}
