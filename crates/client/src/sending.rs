//! The body of a request on its way: whether the registry takes it, and what broke it.
//!
//! A body is handed on in slices. One counts as taken when the connection asks for the next, for which
//! there is then room in what this machine keeps of the connection. That room comes in lumps, of a
//! megabyte and more where the line was fast before: so what goes up is held to the same rate as
//! what comes down, but over a longer time. Waiting for the source of the body counts for nothing.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use conex_spec::{Error, Kind, Result};
use conex_store::ByteStream;
use futures_util::{Stream, StreamExt, stream};
use reqwest::Url;

use crate::options::Timeouts;
use crate::origin::shown;
use crate::registry::no_answer;

/// What is handed on at once, in bytes. Twice as much is to be taken in the time that is given at
/// least, so that a slice is no reason to give up.
pub(crate) const SLICE: usize = 64 << 10;

/// How many times as long, and as much, is looked at as of an answer.
const LONGER: u32 = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Sending {
    flow: Mutex<Flow>,
    fault: Mutex<Option<Error>>,
}

#[derive(Debug)]
struct Flow {
    waits: For,
    /// Since when it waits.
    since: Instant,
    /// How long the registry was waited for, and what it took in this time.
    waited: Duration,
    bytes: u64,
    /// What was handed on last.
    slice: u64,
    /// What was not handed on yet.
    left: u64,
}

/// What a body waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Source,
    Registry,
    /// All is handed on.
    Answer,
}

impl Sending {
    /// For a body of so many bytes.
    pub(crate) fn new(length: u64) -> Self {
        let waits = if length == 0 { For::Answer } else { For::Registry };
        let (since, waited) = (Instant::now(), Duration::ZERO);
        let flow = Flow { waits, since, waited, bytes: 0, slice: 0, left: length };
        Self { flow: Mutex::new(flow), fault: Mutex::default() }
    }

    /// The body as it is sent.
    pub(crate) fn pass(
        self: Arc<Self>,
        content: ByteStream,
        least: u64,
    ) -> impl Stream<Item = Result<Bytes>> {
        let start = (self, content, Bytes::new());
        stream::unfold(start, move |(sending, mut content, mut rest)| async move {
            sending.flow().taken(least);
            while rest.is_empty() {
                match content.next().await {
                    None => {
                        sending.flow().left = 0;
                        sending.flow().handed_on(0);
                        return None;
                    }
                    Some(Ok(piece)) => rest = piece,
                    Some(Err(err)) => {
                        *sending.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(err);
                        let told = Error::new(Kind::Io, "the source of an upload broke off");
                        return Some((Err(told), (sending, content, rest)));
                    }
                }
            }
            let slice = rest.split_to(rest.len().min(SLICE));
            sending.flow().handed_on(slice.len() as u64);
            Some((Ok(slice), (sending, content, rest)))
        })
    }

    /// What broke the source, if something did.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the answer as long as the registry takes enough, then for at most `wait`.
    pub(crate) async fn watch<T>(
        &self,
        answer: impl Future<Output = T>,
        url: &Url,
        rate: Rate,
        wait: Duration,
    ) -> Result<T> {
        let mut answer = pin!(answer);
        let tick = rate.time.min(wait) / 4;
        loop {
            if let Ok(answer) = tokio::time::timeout(tick, &mut answer).await {
                return Ok(answer);
            }
            let flow = self.flow();
            let waits = flow.since.elapsed();
            match flow.waits {
                For::Registry if flow.waited + waits >= rate.time => {
                    return Err(rate.missed(url, flow.bytes));
                }
                For::Answer if waits >= wait => return Err(no_answer(url, wait)),
                _ => {}
            }
        }
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    /// The connection asks for more.
    fn taken(&mut self, least: u64) {
        self.waited += self.since.elapsed();
        self.bytes += std::mem::take(&mut self.slice);
        if self.bytes >= least {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        self.wait_for(For::Source);
    }

    fn handed_on(&mut self, slice: u64) {
        self.slice = slice;
        self.left = self.left.saturating_sub(slice);
        // Who knows the length of a body does not ask for its end.
        self.wait_for(if self.left == 0 { For::Answer } else { For::Registry });
    }

    fn wait_for(&mut self, what: For) {
        (self.waits, self.since) = (what, Instant::now());
    }
}

/// What must be taken in which time at least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) least: u64,
    time: Duration,
}

impl Rate {
    pub(crate) fn of(timeouts: Timeouts) -> Self {
        let least = timeouts.least.saturating_mul(LONGER.into());
        Self { least, time: timeouts.stall.saturating_mul(LONGER) }
    }

    fn missed(self, url: &Url, found: u64) -> Error {
        Error::new(Kind::Network, format!("{} takes an upload too slowly", shown(url)))
            .expected(format!("{} bytes in {:?}", self.least, self.time))
            .found(format!("{found} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const STALL: Duration = Duration::from_millis(50);

    fn rate() -> Rate {
        Rate::of(Timeouts { stall: STALL, least: 30 << 10, ..Timeouts::default() })
    }

    fn url() -> Url {
        "http://r.example/v2/a/blobs/uploads/1?state=secret".parse().unwrap()
    }

    fn body(pieces: usize) -> (Arc<Sending>, ByteStream) {
        let piece = || Ok(Bytes::from_static(&[7; 3 * SLICE / 2]));
        let content = stream::iter((0..pieces).map(move |_| piece())).boxed();
        (Arc::new(Sending::new((pieces * 3 * SLICE / 2) as u64)), content)
    }

    /// What a registry that takes a slice every `pause` is told after so many of them.
    async fn taken_every(pause: Duration, slices: usize, wait: Duration) -> Error {
        let (sending, content) = body(100);
        let mut slow = Box::pin(sending.clone().pass(content, rate().least));
        let registry = async {
            for _ in 0..slices {
                slow.next().await.unwrap().unwrap();
                tokio::time::sleep(pause).await;
            }
            pending::<()>().await;
        };
        sending.watch(registry, &url(), rate(), wait).await.unwrap_err()
    }

    #[tokio::test]
    async fn who_takes_nothing_or_too_little_is_given_up() {
        let wait = Duration::from_secs(9);
        for (pause, slices, taken) in [(STALL, 0, 0), (STALL, 1, 0), (STALL * 3, 9, SLICE)] {
            let began = Instant::now();
            let err = taken_every(pause, slices, wait).await;
            assert_eq!(err.kind(), Kind::Network, "{err}");
            assert!(err.message().contains("takes an upload too slowly"), "{err}");
            assert!(!err.message().contains("secret"), "{err}");
            assert_eq!(err.found_value(), Some(&*format!("{taken} bytes")));
            assert!(began.elapsed() >= STALL * 4 && began.elapsed() < wait / 2);
        }
    }

    #[tokio::test]
    async fn who_takes_enough_may_take_long() {
        let (sending, content) = body(10);
        let slow = sending.clone().pass(content, rate().least);
        let began = Instant::now();
        let registry = slow.fold(0, async |taken, slice| {
            tokio::time::sleep(STALL / 2).await;
            taken + slice.unwrap().len()
        });
        let taken = sending.watch(registry, &url(), rate(), STALL * 4).await.unwrap();
        assert_eq!(taken, 15 * SLICE);
        assert!(began.elapsed() > STALL * 4);
    }

    #[tokio::test]
    async fn the_source_may_take_long_and_tells_why_it_broke() {
        let content = stream::once(async {
            tokio::time::sleep(STALL * 8).await;
            Err(Error::new(Kind::Mismatch, "wrong content"))
        });
        let sending = Arc::new(Sending::new(9));
        let mut body = Box::pin(sending.clone().pass(content.boxed(), rate().least));
        let sent = sending.watch(body.next(), &url(), rate(), STALL).await.unwrap();
        assert_eq!(sent.unwrap().unwrap_err().message(), "the source of an upload broke off");
        assert_eq!(sending.fault().unwrap().message(), "wrong content");
    }

    /// The end of a body is not asked for by who knows its length; the answer then has its own time.
    #[tokio::test]
    async fn the_answer_may_take_long_once_all_is_handed_on() {
        let (sending, content) = body(2);
        let mut body = Box::pin(sending.clone().pass(content, rate().least));
        let registry = async {
            for _ in 0..4 {
                body.next().await.unwrap().unwrap();
            }
            tokio::time::sleep(STALL * 8).await;
        };
        sending.watch(registry, &url(), rate(), STALL * 99).await.unwrap();
        let begun = Instant::now();
        let err = sending.watch(pending::<()>(), &url(), rate(), STALL * 10).await.unwrap_err();
        assert!(err.message().contains("no answer"), "{err}");
        assert!(begun.elapsed() < STALL * 8);
    }
}
