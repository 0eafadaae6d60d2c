//! A blob as a stream that mends itself: where the connection breaks off or stalls, the rest is
//! asked for again. distribution-spec, "Pulling blobs"; RFC 9110, 14.
//!
//! The digest is the validator. `If-Range` (RFC 9110, 13.1.5) is not sent: behind one name there may be
//! servers that give the same content tags of their own, and each of them would then send all of it.
//! What is wrong with the whole, its reader finds.

use std::ops::Range;

use bytes::{Buf, Bytes};
use conex_spec::{Descriptor, Error, Kind, Name, Result};
use conex_store::ByteStream;
use conex_store::source::Place;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, CONTENT_RANGE, RANGE};
use http::{HeaderValue, StatusCode};
use reqwest::Url;

use crate::answer::{Answer, Pace};
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::options::Parallel;
use crate::origin::shown;
use crate::paths;
use crate::repository::Repository;
use crate::resolve::accept;
use crate::retry::Tries;
use crate::spread::{Room, Spread};

/// After so many bytes a connection counts as sound, and earlier failures as forgotten.
const PROGRESS: u64 = 1 << 20;

impl Repository {
    /// Some bytes of a blob or manifest, raw; the first request is sent at once.
    pub(crate) async fn pull(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        let end = range.end.min(blob.size);
        if range.start >= end && blob.size > 0 {
            return Ok(stream::empty().boxed());
        }
        let mut pull = Pull::new(self, blob, range.start.min(end), end);
        pull.connect().await?;
        Ok(stream::unfold(Some(Spread::new(pull)), |spread| async {
            let mut spread = spread?;
            match spread.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(spread))),
                Ok(None) => None,
                Err(err) => Some((Err(err), None)),
            }
        })
        .fuse()
        .boxed())
    }
}

/// A pull in the making.
pub(crate) struct Pull {
    repository: Repository,
    blob: Descriptor,
    /// The next byte, and the one after the last.
    pub(crate) at: u64,
    pub(crate) end: u64,
    body: Option<Body>,
    tries: Tries,
    /// Bytes since the last failure.
    since: u64,
    /// Where the registry led to, or for a piece, where to ask first.
    elsewhere: Option<Url>,
    /// Whether all of the blob is no answer for a part of it.
    strict: bool,
}

/// The body of one answer.
struct Body {
    answer: Answer,
    pace: Pace,
    /// Bytes before those that are wanted.
    skip: u64,
    /// Bytes that are still to come, `skip` included.
    left: u64,
    /// Whether `left` goes beyond what is wanted: then the rest is not read.
    beyond: bool,
}

impl Pull {
    fn new(repository: &Repository, blob: &Descriptor, at: u64, end: u64) -> Self {
        let tries = repository.registry().tries();
        let (repository, blob) = (repository.clone(), blob.bare());
        let (body, elsewhere) = (None, None);
        Self { repository, blob, at, end, body, tries, since: 0, elsewhere, strict: false }
    }

    /// A part of the same blob, over another connection.
    pub(crate) fn piece(&self, start: u64, end: u64) -> Self {
        let elsewhere = self.elsewhere.clone();
        Self { elsewhere, strict: true, ..Self::new(&self.repository, &self.blob, start, end) }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.body.is_some()
    }

    /// Reads nothing more over this connection.
    pub(crate) fn hang_up(&mut self) {
        self.body = None;
    }

    /// Goes on at a byte that was come to in another way, unless a connection is there already.
    pub(crate) fn go_on_at(&mut self, at: u64) {
        if self.body.is_none() {
            self.at = at;
        }
    }

    pub(crate) fn parallel(&self) -> Parallel {
        match self.blob.media_type.is_manifest() {
            false => self.repository.registry().options().parallel,
            true => Parallel { connections: 1, ..Parallel::default() },
        }
    }

    pub(crate) fn per_host(&self) -> usize {
        self.repository.registry().options().per_host
    }

    pub(crate) fn room(&self) -> Room {
        self.repository.registry().shared.room.clone()
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(body) = &mut self.body else {
                if self.at == self.end {
                    return Ok(None);
                }
                self.connect().await?;
                continue;
            };
            match body.next().await {
                Ok(Some(mut chunk)) => {
                    let wanted = self.end - self.at;
                    chunk.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
                    self.at += chunk.len() as u64;
                    if self.at == self.end && body.beyond {
                        self.body = None;
                    }
                    self.note(chunk.len() as u64);
                    return Ok(Some(chunk));
                }
                // A server may send less than it was asked for. The rest is asked for again, but
                // not for ever in tiny pieces.
                Ok(None) => {
                    self.body = None;
                    if self.at < self.end && self.since < PROGRESS {
                        self.mend(self.broken("a part of it")).await?;
                    }
                    self.since = 0;
                }
                Err(err) => {
                    self.body = None;
                    if self.at == self.end || err.kind() != Kind::Network {
                        return Err(err);
                    }
                    self.mend(err).await?;
                }
            }
        }
    }

    fn note(&mut self, bytes: u64) {
        self.since += bytes;
        if self.since >= PROGRESS {
            self.tries.progress();
        }
    }

    fn broken(&self, found: &str) -> Error {
        let what = format!("{} breaks off at byte {}", self.what(), self.at);
        Error::new(Kind::Network, what).expected(format!("bytes up to {}", self.end)).found(found)
    }

    fn what(&self) -> String {
        format!("{} in {}", self.blob.digest, self.repository.location())
    }

    /// Waits before the next connection, or gives up.
    async fn mend(&mut self, err: Error) -> Result<()> {
        self.since = 0;
        let Some(pause) = self.tries.pause(None) else {
            return Err(self.tries.gave_up(err).context(self.what()));
        };
        self.repository.registry().pause(&err, pause).await;
        Ok(())
    }

    /// Asks for the bytes from `at` on.
    pub(crate) async fn connect(&mut self) -> Result<()> {
        if self.strict
            && let Some(url) = self.elsewhere.take()
            && self.connect_elsewhere(url).await.is_some()
        {
            return Ok(());
        }
        let (repository, digest) = (&self.repository, &self.blob.digest);
        let origin = repository.origin().await?;
        let scope = Scope::pull(repository.name());
        let mut ask = if self.blob.media_type.is_manifest() {
            let name = Name::Digest(digest.clone());
            Ask::get(paths::manifest(origin, repository.name(), &name)?, scope)
                .header(ACCEPT, accept())
        } else {
            Ask::get(paths::blob(origin, repository.name(), digest)?, scope)
        };
        if self.at > 0 || self.end < self.blob.size {
            ask = ask.header(RANGE, self.range()?);
        }
        let answer = repository.registry().send(ask).await?;
        self.elsewhere = answer.elsewhere.then(|| answer.url.clone());
        self.body = Some(match answer.status() {
            StatusCode::OK if !self.strict => self.whole(answer)?,
            StatusCode::PARTIAL_CONTENT => self.part(answer)?,
            _ => return Err(fault(answer, format!("cannot read {}", self.what())).await),
        });
        Ok(())
    }

    /// Asks once where the registry had led to, without any login: the place is none of its own
    /// (rule C1), and was looked at when it was led to (rule C3). Nothing where that is of no use.
    async fn connect_elsewhere(&mut self, url: Url) -> Option<()> {
        let scope = Scope::pull(self.repository.name());
        let ask = Ask::get(url, scope).header(RANGE, self.range().ok()?).once();
        let answer = self.repository.registry().send(ask).await.ok()?;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        self.body = Some(self.part(answer).ok()?);
        Some(())
    }

    fn range(&self) -> Result<HeaderValue> {
        let range = format!("bytes={}-{}", self.at, self.end.saturating_sub(1));
        HeaderValue::try_from(range).map_err(|err| Error::invalid("range").source(err))
    }

    /// All of the blob came, asked for or not: what is before the range is skipped.
    fn whole(&self, answer: Answer) -> Result<Body> {
        answer.check_digest(&self.blob.digest)?;
        self.check_media_type(&answer);
        let size = self.blob.size;
        if let Some(length) = answer.length().filter(|length| *length != size) {
            return Err(self.blob.wrong_size(length).context(shown(&answer.url)));
        }
        let pace = Pace::new(answer.timeouts);
        Ok(Body { answer, pace, skip: self.at, left: size, beyond: self.end < size })
    }

    fn part(&self, answer: Answer) -> Result<Body> {
        let told = answer.header(CONTENT_RANGE).and_then(content_range);
        let sound = told.filter(|told| {
            told.start == self.at
                && told.end <= self.end
                && told.total.is_none_or(|total| total == self.blob.size)
        });
        let Some(told) = sound else {
            let found = answer.header(CONTENT_RANGE).unwrap_or("no Content-Range").to_owned();
            return Err(Error::new(
                Kind::Mismatch,
                format!("{} sends other bytes than asked for", shown(&answer.url)),
            )
            .expected(format!("bytes {}-{}/{}", self.at, self.end - 1, self.blob.size))
            .found(found));
        };
        let left = told.end - told.start;
        if let Some(length) = answer.length().filter(|length| *length != left) {
            return Err(Error::new(
                Kind::Mismatch,
                format!("{} tells two lengths", shown(&answer.url)),
            )
            .expected(format!("{left} bytes, as in Content-Range"))
            .found(format!("{length} bytes, as in Content-Length")));
        }
        let pace = Pace::new(answer.timeouts);
        Ok(Body { answer, pace, skip: 0, left, beyond: false })
    }

    /// The expected type wins, since the digest decides what the content is: "Respect the expected
    /// media type if the blob matches the expected digest. Implementations MAY warn about the media
    /// type mismatch" (image-spec, media-types.md, "Media Type Conflicts"). For blobs no
    /// registry knows the type.
    fn check_media_type(&self, answer: &Answer) {
        let expected = &self.blob.media_type;
        if let Some(told) =
            answer.media_type().filter(|told| expected.is_manifest() && told != expected)
        {
            let told = crate::fault::escaped(told.as_str());
            let text = format!("{} is said to be {told}, not {expected}", self.what());
            self.repository.registry().warn(&text);
        }
    }
}

impl Body {
    /// The next wanted bytes; nothing at the end. An error of the kind `Network` can be mended.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(mut chunk) = self.pace.next(&mut self.answer).await? else {
                return if self.left == 0 { Ok(None) } else { Err(self.short()) };
            };
            let length = chunk.len() as u64;
            if length > self.left {
                return Err(self.long());
            }
            self.left -= length;
            let skipped = self.skip.min(length);
            self.skip -= skipped;
            chunk.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    fn short(&self) -> Error {
        Error::new(Kind::Network, format!("{} breaks off", shown(&self.answer.url)))
            .expected(format!("{} more bytes", self.left))
            .found("the end")
    }

    fn long(&self) -> Error {
        Error::new(
            Kind::Mismatch,
            format!("{} does not end where it should", shown(&self.answer.url)),
        )
        .expected("the size that the descriptor says")
        .found("more bytes")
    }
}

/// Content without its first bytes.
pub(crate) fn skip(content: ByteStream, mut bytes: u64) -> ByteStream {
    let rest = content.filter_map(move |chunk| {
        let chunk = chunk.map(|mut chunk| {
            let skipped = bytes.min(chunk.len() as u64);
            bytes -= skipped;
            chunk.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
            chunk
        });
        let empty = chunk.as_ref().is_ok_and(Bytes::is_empty);
        std::future::ready((!empty).then_some(chunk))
    });
    rest.boxed()
}

/// What `Content-Range` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    start: u64,
    /// Exclusive.
    end: u64,
    total: Option<u64>,
}

/// `bytes 0-9/100`, RFC 9110, 14.4.
fn content_range(header: &str) -> Option<Told> {
    let (range, total) = header.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (start, last): (u64, u64) = (number(first)?, number(last)?);
    let total = if total == "*" { None } else { Some(number(total)?) };
    (start <= last).then_some(Told { start, end: last.checked_add(1)?, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let told = |start, end, total| Some(Told { start, end, total });
        assert_eq!(content_range("bytes 0-9/100"), told(0, 10, Some(100)));
        assert_eq!(content_range("bytes 5-5/*"), told(5, 6, None));
        for bad in [
            "",
            "bytes",
            "bytes */100",
            "bytes 9-0/100",
            "bytes 0-9",
            "bytes -9/100",
            "bytes +1-9/100",
            "bytes 0-18446744073709551615/*",
            "bytes 0-99999999999999999999/*",
            "items 0-9/100",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
