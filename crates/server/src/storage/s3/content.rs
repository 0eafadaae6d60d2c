//! Content as objects: `blobs/ALGORITHM/ENCODED` is small content itself, or the name of the object
//! with the bytes of large content.
//!
//! ```text
//! conex small MARK                                       conex data UUID SIZE MARK
//! {"schemaVersion":2,…
//! ```
//! The mark is new with every write, so that the store's tag of the object tells whether somebody held
//! the content since it was looked at (see `aging`).
//!
//! The bytes of large content are uploaded under a name that says nothing. Only when they were found
//! to have a digest is that name written under it, in one request and only where nothing is. So no
//! bytes are ever visible under a digest that they do not have, none are copied within the store,
//! and of two processes that upload the same content one finds the other's and drops its own.
//!
//! The store holds what it was given; still the bytes are hashed on their way out. What is damaged
//! and small is not there; the last bytes of large content are held back until the rest was found
//! right.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Digest, Error, Hasher, Kind, Result};
use conex_store::blobs;
use futures_util::future::{join, join_all};
use futures_util::stream::{BoxStream, try_unfold};
use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use object_store::signer::Signer;
use object_store::{GetOptions, GetRange, ObjectStore, PutMode};
use uuid::Uuid;

use super::bucket::{Refused, unchanged};
use super::{Inner, S3Home};
use crate::paths;
use crate::storage::home::{Content, Remote, Source, Wanted};

/// The folder of all content.
pub(super) const FOLDER: &str = "blobs/";
/// The longest content that lies under its digest itself, in bytes.
const SMALL: usize = 64 << 10;
/// What stands before it, and all that stands for large content.
const SMALL_HEAD: &str = "conex small ";
const DATA_HEAD: &str = "conex data ";
/// How long a head is at most, in bytes.
pub(super) const HEAD: usize = 128;
/// What lies under a digest is no longer, in bytes.
pub(super) const LONGEST: usize = HEAD + SMALL;
/// How long an address serves that a client was sent to.
const ADDRESS_LIFE: Duration = Duration::from_secs(900);
/// How often the name of content is written that others change.
const TRIES: usize = 8;

/// Where the bytes of large content are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) id: Uuid,
    /// In bytes.
    pub(super) size: u64,
}

/// What lies under a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Located {
    Small(Bytes),
    Data(Data),
}

/// The name of what lies under a digest.
pub(super) fn name(digest: &Digest) -> Result<String> {
    blobs::path(digest)
}

impl Located {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Data(data) => data.size,
        }
    }

    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().take(HEAD).position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let is_mark = |mark: &str| mark.parse::<Uuid>().is_ok();
        if let Some(mark) = head.strip_prefix(SMALL_HEAD) {
            return is_mark(mark).then(|| Self::Small(bytes.slice(end + 1..)));
        }
        let mut words = head.strip_prefix(DATA_HEAD)?.split(' ');
        let (id, size, mark) = (words.next()?, words.next()?, words.next()?);
        let fits = is_mark(mark) && words.next().is_none() && bytes.len() == end + 1;
        let data = Data { id: id.parse().ok()?, size: size.parse().ok()? };
        fits.then_some(Self::Data(data))
    }

    /// The same content under another mark each time.
    pub(super) fn print(&self) -> Bytes {
        let mark = Uuid::new_v4().simple();
        match self {
            Self::Small(bytes) => {
                [format!("{SMALL_HEAD}{mark}\n").as_bytes(), bytes].concat().into()
            }
            Self::Data(Data { id, size }) => format!("{DATA_HEAD}{id} {size} {mark}\n").into(),
        }
    }
}

impl S3Home {
    pub(super) async fn look_at(&self, wanted: &Wanted) -> Result<Option<Content>> {
        let links = join_all(wanted.links.iter().map(|link| self.0.read(link)));
        let (links, located) = join(links, self.0.locate(&wanted.digest)).await;
        let links = links.into_iter().collect::<Result<Vec<_>>>()?;
        let link = match links.into_iter().flatten().next() {
            Some(link) => link.bytes,
            None if wanted.links.is_empty() => Bytes::new(),
            None => return Ok(None),
        };
        let Some(located) = located? else { return Ok(None) };
        let size = located.size();
        let source = match located {
            Located::Small(bytes) => Source::Bytes(bytes),
            Located::Data(data) => {
                let (home, digest) = (Arc::clone(&self.0), wanted.digest.clone());
                Source::Remote(Arc::new(RemoteData { home, data, digest }))
            }
        };
        Ok(Some(Content { size, link, linked: None, source }))
    }
}

impl Inner {
    /// What lies under a digest; nothing where there is none, or where it is damaged.
    pub(super) async fn locate(&self, digest: &Digest) -> Result<Option<Located>> {
        if let Some(data) = self.places().get(digest) {
            return Ok(Some(Located::Data(*data)));
        }
        let found = self.bucket.get(&name(digest)?, LONGEST).await?;
        let located = found.and_then(|object| Located::parse(&object.bytes));
        let located = located.filter(|located| is_sound(located, digest));
        if let Some(Located::Data(data)) = &located {
            self.places().insert(digest.clone(), *data);
        }
        Ok(located)
    }

    pub(super) async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<()> {
        if bytes.len() <= SMALL {
            return self.enter(digest, &Located::Small(bytes)).await;
        }
        // A name of its own: nobody else can come to write other bytes under it.
        let data = Data { id: Uuid::new_v4(), size: bytes.len() as u64 };
        self.bucket.put(&paths::data(data.id), bytes, PutMode::Overwrite).await?;
        self.enter_data(digest, data).await
    }

    /// Makes an object with large content visible under its digest, or drops it where there is one.
    pub(super) async fn enter_data(&self, digest: &Digest, data: Data) -> Result<()> {
        self.enter(digest, &Located::Data(data)).await?;
        self.places().remove(digest);
        if self.locate(digest).await?.is_some_and(|there| there != Located::Data(data)) {
            self.bucket.delete(&paths::data(data.id)).await?;
        }
        Ok(())
    }

    /// Writes what lies under a digest, where nothing sound does.
    async fn enter(&self, digest: &Digest, located: &Located) -> Result<()> {
        if let Some(lease) = &self.lease {
            lease.check()?;
        }
        let (name, mut body) = (name(digest)?, located.print());
        let mut mode = if self.lease.is_none() { PutMode::Create } else { PutMode::Overwrite };
        let mut told = None;
        let _guard = self.guard().await;
        for _ in 0..TRIES {
            match self.bucket.put(&name, body.clone(), mode.clone()).await {
                Ok(_) => return Ok(()),
                Err(Refused::Condition) => {}
                Err(Refused::Fault(err)) => told = Some(err),
            }
            let Some(there) = self.bucket.get(&name, LONGEST).await? else {
                continue;
            };
            if there.bytes == body {
                return Ok(());
            }
            // What is sound stays, but who collects must see that it is wanted.
            let sound = self.sound(digest, &there.bytes).await?;
            body = sound.as_ref().unwrap_or(located).print();
            if self.lease.is_none() {
                mode = unchanged(&there.tag);
            }
        }
        Err(told.unwrap_or_else(|| {
            Error::new(
                Kind::Network,
                format!("{name} cannot be written: the store does not settle"),
            )
        }))
    }

    /// What lies under a digest, if it is what it should be.
    pub(super) async fn sound(&self, digest: &Digest, bytes: &Bytes) -> Result<Option<Located>> {
        let Some(found) = Located::parse(bytes).filter(|found| is_sound(found, digest)) else {
            return Ok(None);
        };
        Ok(if self.is_whole(&found).await? { Some(found) } else { None })
    }

    async fn is_whole(&self, located: &Located) -> Result<bool> {
        match located {
            Located::Small(_) => Ok(true),
            Located::Data(data) => {
                Ok(self.bucket.size(&paths::data(data.id)).await? == Some(data.size))
            }
        }
    }

    /// The bytes of an object, as they come.
    pub(super) async fn stream(
        &self,
        id: Uuid,
        part: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>> {
        let name = paths::data(id);
        let range = Some(GetRange::Bounded(part)).filter(|range| range.is_valid().is_ok());
        let options = GetOptions { range, ..GetOptions::default() };
        let found = self.bucket.store.get_opts(&self.bucket.path(&name)?, options).await;
        let found = found.map_err(|err| self.bucket.fault("read", &name, err))?;
        Ok(found.into_stream().map_err(io::Error::other).boxed())
    }
}

fn is_sound(located: &Located, digest: &Digest) -> bool {
    let Located::Small(bytes) = located else { return true };
    digest.algorithm().is_ok_and(|algorithm| algorithm.digest(bytes) == *digest)
}

/// Large content that is there.
#[derive(Debug)]
struct RemoteData {
    home: Arc<Inner>,
    data: Data,
    digest: Digest,
}

#[async_trait]
impl Remote for RemoteData {
    async fn stream(&self, part: Range<u64>) -> Result<BoxStream<'static, io::Result<Bytes>>> {
        let whole = part == (0..self.data.size);
        let stream = match self.home.stream(self.data.id, part.clone()).await {
            Ok(stream) => stream,
            Err(err) => {
                // Someone may have collected it, and someone else pushed it again.
                self.home.places().remove(&self.digest);
                match self.home.locate(&self.digest).await? {
                    Some(Located::Data(now)) if now.id != self.data.id => {
                        self.home.stream(now.id, part).await?
                    }
                    _ => return Err(err),
                }
            }
        };
        if !whole {
            return Ok(stream);
        }
        let hasher = self.digest.algorithm()?.hasher();
        Ok(checked(stream, hasher, self.digest.clone()).boxed())
    }

    async fn address(&self) -> Result<Option<String>> {
        if !self.home.redirect {
            return Ok(None);
        }
        let (bucket, name) = (&self.home.bucket, paths::data(self.data.id));
        let signed = bucket.store.signed_url(Method::GET, &bucket.path(&name)?, ADDRESS_LIFE).await;
        signed.map(|url| Some(url.into())).map_err(|err| bucket.fault("sign", &name, err))
    }
}

struct Checking {
    stream: BoxStream<'static, io::Result<Bytes>>,
    hasher: Option<Hasher>,
    held: Bytes,
    digest: Digest,
}

/// The same bytes, the last of them only where all have the digest.
fn checked(
    stream: BoxStream<'static, io::Result<Bytes>>,
    hasher: Hasher,
    digest: Digest,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    let state = Checking { stream, hasher: Some(hasher), held: Bytes::new(), digest };
    try_unfold(state, |mut state| async move {
        loop {
            match state.stream.try_next().await? {
                Some(chunk) => {
                    if let Some(hasher) = &mut state.hasher {
                        hasher.update(&chunk);
                    }
                    let ready = std::mem::replace(&mut state.held, chunk);
                    if !ready.is_empty() {
                        return Ok(Some((ready, state)));
                    }
                }
                None => {
                    let Some(hasher) = state.hasher.take() else { return Ok(None) };
                    let found = hasher.finish();
                    state.digest.check(&found, || "stored content is damaged".into())?;
                    let last = std::mem::take(&mut state.held);
                    return Ok(Some((last, state)));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[test]
    fn what_lies_under_a_digest_is_read_as_it_was_written() {
        let data = Data { id: Uuid::new_v4(), size: 1 << 40 };
        for located in [
            Located::Small(Bytes::new()),
            Located::Small(Bytes::from("conex data\n\n")),
            Located::Data(data),
        ] {
            assert_eq!(Located::parse(&located.print()), Some(located.clone()));
            assert_ne!(located.print(), located.print());
        }
        let mark = Uuid::nil();
        for bad in [
            String::new(),
            "conex small".into(),
            "conex small \n".into(),
            format!("conex data x 1 {mark}\n"),
            format!("conex data {mark} 1\n"),
            format!("conex data {mark} 1 {mark}\nx"),
            "conex data  \n".into(),
            "{}".into(),
        ] {
            assert_eq!(Located::parse(&Bytes::from(bad.clone())), None, "{bad}");
        }
    }

    /// Law L2.
    #[tokio::test]
    async fn damaged_content_never_comes_whole() {
        for (content, sound) in [("abcdef", true), ("abcdeF", false), ("abcde", false)] {
            let chunks: Vec<io::Result<Bytes>> =
                content.as_bytes().chunks(2).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
            let digest = Digest::sha256(b"abcdef");
            let hasher = digest.algorithm().unwrap().hasher();
            let found = checked(stream::iter(chunks).boxed(), hasher, digest);
            let found: Vec<_> = found.collect().await;
            assert_eq!(found.iter().all(Result::is_ok), sound, "{content}");
            let bytes: Vec<u8> = found.into_iter().flatten().flatten().collect();
            assert_eq!(bytes == content.as_bytes(), sound, "{content}");
        }
    }
}
