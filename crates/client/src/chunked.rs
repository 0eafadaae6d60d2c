//! Blobs in chunks, each of which can be sent again from where the registry lost it.
//! distribution-spec, "Pushing a blob in chunks".

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use conex_spec::{Error, Kind, Result};
use conex_store::ByteStream;
use futures_util::StreamExt;
use futures_util::stream::Fuse;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::push::{OCTETS, Session};
use crate::retry::is_transient;
use crate::upload::{Upload, is_out_of_step, range, taken};

/// The largest chunk that is held in memory, whatever a registry or an option asks for.
const MAX_CHUNK: u64 = 64 << 20;

impl Upload<'_> {
    /// Sends what is left of verified content in chunks of `size` bytes, or of what the registry
    /// wants at least. Returns where to end the upload.
    pub(crate) async fn send_chunks(
        &mut self,
        mut session: Session,
        mut sent: u64,
        rest: ByteStream,
        size: u64,
    ) -> Result<Session> {
        let size = size.max(session.least).clamp(1, MAX_CHUNK);
        let mut window = Window::new(rest);
        loop {
            window.fill(size).await?;
            if window.length == 0 {
                return Ok(session);
            }
            let before = sent;
            let end = sent + window.length;
            let (at, patched) = self.patch(session, window.pieces(), sent, end).await;
            session = at;
            let fault = match patched {
                Ok(taken) if taken > before => {
                    sent = taken;
                    window.advance(taken - before);
                    self.note(sent);
                    continue;
                }
                Ok(_) => Error::new(Kind::Network, "the registry takes no byte of a chunk"),
                Err(err) if err.kind() == Kind::Network => err,
                Err(err) => return Err(err),
            };
            let Some(pause) = self.tries.pause(None) else { return Err(fault) };
            self.repository.registry().pause(&fault, pause).await;
            (session, sent) = self.ask(session).await?;
            if sent < before {
                return Err(Error::new(
                    Kind::Network,
                    "the registry has lost a part of the upload",
                )
                .expected(format!("{before} bytes or more"))
                .found(format!("{sent} bytes")));
            }
            check_most(sent, end)?;
            window.advance(sent - before);
        }
    }

    /// Sends all that is held. Returns how much the registry has then.
    async fn patch(
        &mut self,
        session: Session,
        pieces: Vec<Bytes>,
        sent: u64,
        end: u64,
    ) -> (Session, Result<u64>) {
        let answer = match self.send_patch(&session, pieces, sent, end).await {
            Ok(answer) => answer,
            Err(err) => return (session, Err(err)),
        };
        let taken = has(&answer, end);
        match self.moved(session.clone(), &answer).await {
            Ok(session) => (session, taken),
            Err(err) => (session, Err(err)),
        }
    }

    async fn send_patch(
        &self,
        session: &Session,
        pieces: Vec<Bytes>,
        sent: u64,
        end: u64,
    ) -> Result<Answer> {
        let registry = self.repository.registry();
        let scope = Scope::push(self.repository.name());
        let ask = Ask::new(Method::PATCH, session.at.clone(), scope)
            .header(CONTENT_TYPE, OCTETS)
            .header(CONTENT_RANGE, range(sent, end)?)
            .pieces(pieces)
            .wait(registry.options().timeouts.commit)
            .once();
        let answer = registry.send(ask).await?;
        let status = answer.status();
        if status == StatusCode::ACCEPTED {
            return Ok(answer);
        }
        let err = fault(answer, "a chunk is not taken").await;
        if is_transient(status) || is_out_of_step(status) {
            return Err(Error::new(Kind::Network, err.to_string()));
        }
        Err(err)
    }
}

/// How much the registry says it has; all that was sent where it says nothing.
fn has(answer: &Answer, end: u64) -> Result<u64> {
    let sent = match answer.header(RANGE) {
        Some(text) => taken(text).ok_or_else(|| {
            Error::invalid("the registry tells no sound range of an upload")
                .expected("0-END")
                .found(format!("{text:?}"))
        })?,
        None => end,
    };
    check_most(sent, end)?;
    Ok(sent)
}

fn check_most(sent: u64, end: u64) -> Result<()> {
    if sent <= end {
        return Ok(());
    }
    Err(Error::new(Kind::Mismatch, "the registry has more of the upload than was sent")
        .expected(format!("at most {end} bytes"))
        .found(format!("{sent} bytes")))
}

/// The next bytes of content, held until the registry has them.
struct Window {
    content: Fuse<ByteStream>,
    pieces: VecDeque<Bytes>,
    length: u64,
    /// What came with the last piece and is not part of the window.
    rest: Bytes,
}

impl Window {
    fn new(content: ByteStream) -> Self {
        let (pieces, rest) = (VecDeque::new(), Bytes::new());
        Self { content: content.fuse(), pieces, length: 0, rest }
    }

    /// Reads on until there are so many bytes, or all that are left: so that no chunk but the last
    /// is smaller than the registry wants, even after it took a part of one.
    async fn fill(&mut self, size: u64) -> Result<()> {
        while self.length < size {
            if self.rest.is_empty() {
                match self.content.next().await {
                    Some(piece) => self.rest = piece?,
                    None => break,
                }
            }
            let most = usize::try_from(size - self.length).unwrap_or(usize::MAX);
            let piece = self.rest.split_to(most.min(self.rest.len()));
            self.length += piece.len() as u64;
            if !piece.is_empty() {
                self.pieces.push_back(piece);
            }
        }
        Ok(())
    }

    fn pieces(&self) -> Vec<Bytes> {
        self.pieces.iter().cloned().collect()
    }

    /// Lets go of the first bytes.
    fn advance(&mut self, bytes: u64) {
        let mut left = bytes.min(self.length);
        self.length -= left;
        while let Some(piece) = self.pieces.front_mut().filter(|_| left > 0) {
            let taken = left.min(piece.len() as u64);
            piece.advance(usize::try_from(taken).unwrap_or(usize::MAX));
            left -= taken;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn window() -> Window {
        let pieces = [&b"abc"[..], b"", b"defgh", b"i"].map(|piece| Ok(Bytes::from_static(piece)));
        Window::new(stream::iter(pieces).boxed())
    }

    fn held(window: &Window) -> Vec<u8> {
        assert_eq!(window.length as usize, window.pieces().concat().len());
        window.pieces().concat()
    }

    #[tokio::test]
    async fn content_is_cut_anew() {
        let mut window = window();
        let mut found = Vec::new();
        loop {
            window.fill(4).await.unwrap();
            if window.length == 0 {
                break;
            }
            found.push(held(&window));
            window.advance(4);
        }
        assert_eq!(found, [&b"abcd"[..], b"efgh", b"i"]);
    }

    #[tokio::test]
    async fn a_chunk_of_which_a_part_was_taken_is_filled_up_again() {
        let mut window = window();
        let mut found = Vec::new();
        for taken in [0, 1, 3, 2, 99] {
            window.fill(4).await.unwrap();
            found.push(held(&window));
            window.advance(taken);
        }
        assert_eq!(found, [&b"abcd"[..], b"abcd", b"bcde", b"efgh", b"ghi"]);
        assert_eq!(held(&window), b"");
    }
}
