//! Blobs in chunks, each of which can be sent again from where the registry lost it.
//! distribution-spec, "Pushing a blob in chunks".

use bytes::{Buf, Bytes};
use conex_spec::{Descriptor, Error, Kind, Result};
use conex_store::ByteStream;
use futures_util::StreamExt;
use futures_util::stream::Fuse;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, Method, StatusCode};

use crate::answer::Answer;
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::push::{OCTETS, Session};
use crate::repository::Repository;
use crate::retry::is_transient;

/// The largest chunk that is held in memory, whatever a registry or an option asks for.
const MAX_CHUNK: u64 = 64 << 20;

impl Repository {
    /// Uploads verified content in chunks of `size` bytes, or of what the registry wants at least.
    pub(crate) async fn push_chunks(
        &self,
        blob: &Descriptor,
        content: ByteStream,
        size: u64,
    ) -> Result<()> {
        let session = self.begin(blob).await?;
        let size = size.max(session.least).clamp(1, MAX_CHUNK);
        let mut upload = Upload { repository: self, session, sent: 0 };
        if let Err(err) = upload.send_all(content, size).await {
            self.cancel(&upload.session.at).await;
            return Err(err);
        }
        let ask = self.commit(&upload.session.at, blob);
        match self.finish_upload(ask, blob, &upload.session).await {
            // The answer may have been lost, not the blob.
            Err(_) if self.holds(blob).await.unwrap_or(false) => Ok(()),
            result => result,
        }
    }
}

/// An upload in chunks.
struct Upload<'a> {
    repository: &'a Repository,
    session: Session,
    /// How many bytes the registry has.
    sent: u64,
}

impl Upload<'_> {
    async fn send_all(&mut self, content: ByteStream, size: u64) -> Result<()> {
        let mut chunks = Chunks { content: content.fuse(), rest: Bytes::new() };
        loop {
            let chunk = chunks.next(size).await?;
            if chunk.is_empty() {
                return Ok(());
            }
            self.send(&chunk).await?;
        }
    }

    /// Sends one chunk, going on where the registry says after a failure.
    async fn send(&mut self, chunk: &[Bytes]) -> Result<()> {
        let start = self.sent;
        let end = start + length(chunk);
        let mut tries = self.repository.registry().tries();
        while self.sent < end {
            let before = self.sent;
            let fault = match self.patch(chunk, self.sent - start, end).await {
                Ok(()) if self.sent > before => continue,
                Ok(()) => Error::new(Kind::Network, "the registry takes no byte of a chunk"),
                Err(err) if err.kind() == Kind::Network => err,
                Err(err) => return Err(err),
            };
            let Some(pause) = tries.pause(None) else { return Err(fault) };
            self.repository.registry().pause(&fault, pause).await;
            self.ask_status(start, end).await?;
        }
        Ok(())
    }

    async fn patch(&mut self, chunk: &[Bytes], skip: u64, end: u64) -> Result<()> {
        let range = format!("{}-{}", self.sent, end - 1);
        let range =
            HeaderValue::try_from(range).map_err(|err| Error::invalid("range").source(err))?;
        let scope = Scope::push(self.repository.name());
        let ask = Ask::new(Method::PATCH, self.session.at.clone(), scope)
            .header(CONTENT_TYPE, OCTETS)
            .header(CONTENT_RANGE, range)
            .pieces(after(chunk, skip))
            .wait(self.repository.registry().options().timeouts.commit)
            .once();
        let answer = self.repository.registry().send(ask).await?;
        let status = answer.status();
        if status == StatusCode::ACCEPTED {
            return self.note(&answer, end, end).await;
        }
        let err = fault(answer, "a chunk is not taken").await;
        // 416: the registry has more or less than we think; its status tells.
        if is_transient(status) || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(Error::new(Kind::Network, err.to_string()));
        }
        Err(err)
    }

    /// "To get the current status after a 416 error, issue a `GET` request".
    async fn ask_status(&mut self, start: u64, end: u64) -> Result<()> {
        let scope = Scope::push(self.repository.name());
        let answer =
            self.repository.registry().send(Ask::get(self.session.at.clone(), scope)).await?;
        if !answer.status().is_success() {
            let err = fault(answer, "the registry has lost the upload").await;
            return Err(Error::new(Kind::Network, err.to_string()));
        }
        self.note(&answer, start, end).await?;
        if self.sent < start {
            return Err(Error::new(Kind::Network, "the registry has lost a part of the upload")
                .expected(format!("{start} bytes or more"))
                .found(format!("{} bytes", self.sent)));
        }
        Ok(())
    }

    /// Takes note of where the upload goes on. `silent` is what counts where nothing is told.
    async fn note(&mut self, answer: &Answer, silent: u64, end: u64) -> Result<()> {
        if answer.location().is_ok() {
            self.session.at = self.repository.session(answer).await?.at;
        }
        let sent = match answer.header(RANGE) {
            Some(text) => taken(text).ok_or_else(|| {
                Error::invalid("the registry tells no sound range of an upload")
                    .expected("0-END")
                    .found(format!("{text:?}"))
            })?,
            None => silent,
        };
        if sent > end {
            return Err(Error::new(
                Kind::Mismatch,
                "the registry has more of the upload than was sent",
            )
            .expected(format!("at most {end} bytes"))
            .found(format!("{sent} bytes")));
        }
        self.sent = sent;
        Ok(())
    }
}

/// How many bytes `Range: 0-END` means. Registries tell an empty upload as `0-0`, which is also one
/// byte; none sends a chunk of one byte, so it is none.
fn taken(range: &str) -> Option<u64> {
    let end = range.trim().trim_start_matches("bytes=").strip_prefix("0-")?;
    let end: u64 = end.parse().ok()?;
    if end == 0 { Some(0) } else { end.checked_add(1) }
}

fn length(chunk: &[Bytes]) -> u64 {
    chunk.iter().map(|piece| piece.len() as u64).sum()
}

/// The chunk without its first bytes.
fn after(chunk: &[Bytes], mut skip: u64) -> Vec<Bytes> {
    let mut rest = Vec::with_capacity(chunk.len());
    for piece in chunk {
        let mut piece = piece.clone();
        let skipped = skip.min(piece.len() as u64);
        piece.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
        skip -= skipped;
        if !piece.is_empty() {
            rest.push(piece);
        }
    }
    rest
}

/// Content cut anew into chunks of one size.
struct Chunks {
    content: Fuse<ByteStream>,
    rest: Bytes,
}

impl Chunks {
    /// The next chunk in its pieces; empty at the end.
    async fn next(&mut self, size: u64) -> Result<Vec<Bytes>> {
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        let mut pieces = Vec::new();
        while left > 0 {
            if self.rest.is_empty() {
                match self.content.next().await {
                    Some(piece) => self.rest = piece?,
                    None => break,
                }
            }
            let piece = self.rest.split_to(left.min(self.rest.len()));
            left -= piece.len();
            if !piece.is_empty() {
                pieces.push(piece);
            }
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[tokio::test]
    async fn content_is_cut_anew() {
        let pieces = [&b"abc"[..], b"", b"defgh", b"i"].map(|piece| Ok(Bytes::from_static(piece)));
        let mut chunks =
            Chunks { content: stream::iter(pieces).boxed().fuse(), rest: Bytes::new() };
        let mut found = Vec::new();
        loop {
            let chunk = chunks.next(4).await.unwrap();
            if chunk.is_empty() {
                break;
            }
            found.push(chunk.concat());
        }
        assert_eq!(found, [&b"abcd"[..], b"efgh", b"i"]);
    }

    #[test]
    fn a_chunk_goes_on_where_it_was_lost() {
        let chunk = [Bytes::from_static(b"abc"), Bytes::from_static(b"def")];
        for (skip, rest) in [(0, "abcdef"), (1, "bcdef"), (3, "def"), (5, "f"), (6, ""), (9, "")] {
            assert_eq!(after(&chunk, skip).concat(), rest.as_bytes(), "{skip}");
        }
    }

    #[test]
    fn ranges_of_uploads() {
        for (range, expected) in [
            ("0-0", Some(0)),
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("1-9", None),
            ("0-", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(taken(range), expected, "{range}");
        }
    }
}
