//! Large blobs on their way to the registry: where an upload breaks off, the registry is asked how
//! much it has, and only the rest is sent; also by a later process, see `sessions`.
//! distribution-spec, "Pushing a blob in chunks".
//!
//! An upload that broke off is not cancelled, be it by the network, by a signal or by the death of the
//! process: it is what the next try goes on with. One whose content turns out to be wrong, or
//! that the registry refuses, is.

use std::sync::atomic::Ordering;

use conex_spec::{Descriptor, Error, Kind, Result};
use conex_store::{ByteStream, verify};
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderValue, StatusCode};

use crate::answer::Answer;
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::pull::skip;
use crate::push::{Input, Session, check_created, held_back};
use crate::repository::Repository;
use crate::retry::{Tries, is_transient};
use crate::sessions::Slot;

/// How often an upload may turn out to be in use by another connection, which broke without the
/// registry having noticed, before a new one is opened.
const BUSY: u32 = 3;

impl Repository {
    /// Uploads a blob of which not all is held in memory.
    pub(crate) async fn push_large(&self, blob: &Descriptor, mut content: Input<'_>) -> Result<()> {
        let (slot, tries) = (self.slot(blob).await, self.registry().tries());
        let mut upload = Upload {
            repository: self,
            blob,
            slot,
            tries,
            furthest: 0,
            busy: 0,
            over: false,
            anew: false,
            earlier: None,
        };
        loop {
            let Err(err) = upload.go_on(&mut content).await else {
                upload.slot.forget();
                return Ok(());
            };
            upload.mend(err, &mut content).await?;
        }
    }
}

/// One blob's upload.
pub(crate) struct Upload<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) blob: &'a Descriptor,
    pub(crate) slot: Slot,
    pub(crate) tries: Tries,
    /// How many bytes the registry had at most.
    furthest: u64,
    busy: u32,
    /// Whether another try is of no use.
    over: bool,
    /// Whether what the registry had turned out to be wrong.
    anew: bool,
    /// How many bytes it had before the first was sent, once that is known.
    earlier: Option<u64>,
}

/// What a registry knows of an upload.
enum Status {
    /// It has so many bytes.
    Has(Session, u64),
    Gone,
}

impl Upload<'_> {
    async fn go_on(&mut self, content: &mut Input<'_>) -> Result<()> {
        let busy = self.busy;
        let started = self.start().await;
        // The requests of a start are repeated one by one.
        self.over = started.is_err() && busy == self.busy;
        let Some((session, sent)) = started? else { return Ok(()) };
        self.tell(sent, content);
        if sent == self.blob.size {
            return self.commit(&session).await;
        }
        let stream = content.open().await?;
        let stream = held_back(verify::verified(stream, self.blob)?);
        let rest = self.repository.limited(skip(stream, sent));
        match self.repository.chunk_size() {
            Some(size) => {
                let session = self.send_chunks(session, sent, rest, size).await?;
                self.commit(&session).await
            }
            None => self.send_whole(&session, sent, rest).await,
        }
    }

    /// Tells what an earlier process had sent, and where the registry turns out to have lost some of it.
    fn tell(&mut self, sent: u64, content: &Input<'_>) {
        match self.earlier {
            None => {
                self.earlier = Some(sent);
                // Where nothing is there, reading tells so.
                if sent > 0 {
                    content.resumed(sent);
                }
            }
            Some(earlier) if sent < earlier => {
                self.earlier = Some(0);
                content.anew(&Error::new(Kind::Network, "the registry has lost the upload"));
            }
            Some(_) => {}
        }
    }

    /// Where to go on; nothing where the registry has the blob already.
    async fn start(&mut self) -> Result<Option<(Session, u64)>> {
        if let Some(found) = self.slot.found().cloned() {
            // A place that the registry may not lead to is none.
            if let Ok(session) = self.repository.session_at(&found).await {
                if found.fresh {
                    self.slot.keep(&session);
                    return Ok(Some((session, 0)));
                }
                if let Status::Has(session, sent) = self.status(session).await? {
                    return Ok(Some((session, sent)));
                }
            }
            self.slot.forget();
            // The answer may have been lost, not the blob.
            if !found.fresh && self.repository.holds(self.blob).await.unwrap_or(false) {
                return Ok(None);
            }
        }
        let Some(session) = self.repository.begin(self.blob).await? else { return Ok(None) };
        self.slot.keep(&session);
        Ok(Some((session, 0)))
    }

    /// Asks how much the registry has. "To get the current status after a 416 error, issue a `GET`
    /// request".
    async fn status(&mut self, session: Session) -> Result<Status> {
        let scope = Scope::push(self.repository.name());
        let ask = Ask::get(session.at.clone(), scope);
        let answer = self.repository.registry().send(ask).await?;
        if answer.status() == StatusCode::CONFLICT && self.busy < BUSY {
            self.busy += 1;
            let err = fault(answer, "the upload is in use").await;
            return Err(Error::new(Kind::Network, err.to_string()));
        }
        if is_transient(answer.status()) {
            return Err(fault(answer, "nobody knows how far the upload is").await);
        }
        if !answer.status().is_success() {
            return Ok(Status::Gone);
        }
        let told = answer.header(RANGE).and_then(taken).filter(|sent| *sent <= self.blob.size);
        let Some(sent) = told else {
            // Without a range nobody knows where to go on.
            self.repository.cancel(&session.at).await;
            return Ok(Status::Gone);
        };
        let session = self.moved(session, &answer).await?;
        self.note(sent);
        Ok(Status::Has(session, sent))
    }

    /// How many bytes the registry has of an upload that goes on; an error where it has lost it.
    pub(crate) async fn ask(&mut self, session: Session) -> Result<(Session, u64)> {
        match self.status(session).await? {
            Status::Has(session, sent) => Ok((session, sent)),
            Status::Gone => Err(Error::new(Kind::Network, "the registry has lost the upload")),
        }
    }

    /// The session where an answer says that it goes on.
    pub(crate) async fn moved(&mut self, mut session: Session, answer: &Answer) -> Result<Session> {
        if answer.location().is_ok() {
            session.at = self.repository.session(answer).await?.at;
        }
        self.slot.keep(&session);
        Ok(session)
    }

    /// What gets further counts as sound, and earlier failures as forgotten.
    pub(crate) fn note(&mut self, sent: u64) {
        if sent > self.furthest {
            self.furthest = sent;
            self.tries.progress();
        }
    }

    /// Sends all that is left with the request that ends the upload.
    async fn send_whole(&mut self, session: &Session, sent: u64, rest: ByteStream) -> Result<()> {
        let size = self.blob.size;
        let mut ask = self.repository.commit(&session.at, self.blob);
        if sent > 0 {
            ask = ask.header(CONTENT_RANGE, range(sent, size)?);
        }
        let answer = self.repository.registry().send(ask.stream(rest, size - sent)).await?;
        if answer.status() == StatusCode::PAYLOAD_TOO_LARGE {
            self.repository.registry().wants_chunks.store(true, Ordering::Relaxed);
            return Err(Error::new(Kind::Network, "the registry refuses the blob in one piece")
                .hint("a new try sends it in chunks")
                .source(fault(answer, "the upload is not taken").await.to_string()));
        }
        self.ended(answer).await
    }

    /// Ends an upload of which the registry has all.
    async fn commit(&mut self, session: &Session) -> Result<()> {
        let ask = self.repository.commit(&session.at, self.blob);
        let answer = self.repository.registry().send(ask.once()).await?;
        self.ended(answer).await
    }

    async fn ended(&mut self, answer: Answer) -> Result<()> {
        if is_out_of_step(answer.status()) {
            let err = fault(answer, "the upload is not taken").await;
            return Err(Error::new(Kind::Network, err.to_string()));
        }
        check_created(answer, self.blob).await
    }

    /// Waits before the next try, or ends the upload.
    async fn mend(&mut self, err: Error, content: &mut Input<'_>) -> Result<()> {
        let spent = content.is_spent();
        if err.kind() == Kind::Network {
            let pause = if spent || self.over { None } else { self.tries.pause(None) };
            let Some(pause) = pause else {
                return Err(if self.over { err } else { self.tries.gave_up(err) });
            };
            self.repository.registry().pause(&err, pause).await;
            return Ok(());
        }
        self.cancel().await;
        // What an earlier try had sent may have been something else.
        let resumed = err.kind() == Kind::Invalid && self.furthest > 0;
        if resumed && !spent && !std::mem::replace(&mut self.anew, true) {
            content.anew(&err);
            return Ok(());
        }
        Err(err)
    }

    async fn cancel(&mut self) {
        let Some(found) = self.slot.found().cloned() else { return };
        self.slot.forget();
        if let Ok(session) = self.repository.session_at(&found).await {
            self.repository.cancel(&session.at).await;
        }
    }
}

/// Whether the registry and we do not agree on how much it has, or whether it has the upload at all;
/// then its status tells.
pub(crate) fn is_out_of_step(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::RANGE_NOT_SATISFIABLE
    )
}

/// `START-END`, END being the last byte.
pub(crate) fn range(start: u64, end: u64) -> Result<HeaderValue> {
    let range = format!("{start}-{}", end.saturating_sub(1));
    HeaderValue::try_from(range).map_err(|err| Error::invalid("range").source(err))
}

/// How many bytes `Range: 0-END` means. Registries tell an empty upload as `0-0`, which is also one
/// byte; none sends a chunk of one byte, so it is none.
pub(crate) fn taken(range: &str) -> Option<u64> {
    let end = range.trim().trim_start_matches("bytes=").strip_prefix("0-")?;
    let end: u64 = end.parse().ok()?;
    if end == 0 { Some(0) } else { end.checked_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(range(5, 10).unwrap(), "5-9");
    }
}
