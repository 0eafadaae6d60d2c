//! A blob that comes over several connections where that is faster, in order and in bounded memory.
//!
//! ```text
//!          at        cut
//! ─ read ──┼── head ──┼── piece ──┼── piece ──┼── piece ──┼─ … end
//! ```
//! The head is the request that began, for all of the blob. Where the `planner` wants more, the pieces
//! behind a cut are asked for with ranges, each by a task of its own. The head ends at the cut if the
//! server has by then answered for the first piece with just that range, else it goes on: a server
//! without ranges costs no byte twice. What goes wrong with a piece ends all of them, and one request
//! for the rest goes on from there, with its own repetitions and its own verdict.
//!
//! A piece is asked for where the head was redirected to, which spares the registry a request; where that
//! place refuses, since signed URLs end, the registry is asked, as for any other range.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conex_spec::Result;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::planner::{Mark, Planner};
use crate::pull::Pull;

/// The size of a piece, in bytes. One costs a round trip, which this makes small beside its transfer.
const PIECE: u64 = 2 << 20;
/// How many pieces all downloads of a client hold together: 12 MiB, beside what each reads.
const ROOM: usize = 6;

/// Room for the pieces of all downloads of a client.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }
}

/// See the module.
pub(crate) struct Spread {
    head: Pull,
    /// What the head brought from behind the cut.
    behind: Bytes,
    planner: Planner,
    pieces: VecDeque<Piece>,
    at: u64,
    end: u64,
    started: Instant,
    waited: Duration,
    bytes: u64,
}

struct Piece {
    start: u64,
    end: u64,
    news: UnboundedReceiver<News>,
    task: JoinHandle<()>,
    _room: OwnedSemaphorePermit,
}

enum News {
    Served,
    Bytes(Bytes),
}

impl Spread {
    /// The rest of what a pull has begun.
    pub(crate) fn new(head: Pull) -> Self {
        let planner = Planner::new(head.parallel());
        let (at, end) = (head.at, head.end);
        let (started, waited) = (Instant::now(), Duration::ZERO);
        let (behind, pieces) = (Bytes::new(), VecDeque::new());
        Self { head, behind, planner, pieces, at, end, started, waited, bytes: 0 }
    }

    /// The next bytes; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        let asked = Instant::now();
        let next = self.read().await;
        self.waited += asked.elapsed();
        if let Ok(Some(chunk)) = &next {
            self.at += chunk.len() as u64;
            self.bytes += chunk.len() as u64;
            self.plan();
        }
        next
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        while let Some(piece) = self.pieces.front_mut() {
            if self.at < piece.start {
                break;
            }
            // Who is not answered by the time the head comes to the cut has too little to offer.
            if self.head.is_connected() && !piece.is_served() {
                self.retreat();
                break;
            }
            self.behind.clear();
            self.head.hang_up();
            match piece.next().await {
                Some(chunk) => return Ok(Some(chunk)),
                None if self.at == piece.end => {
                    self.pieces.pop_front();
                }
                None => self.retreat(),
            }
        }
        if self.at == self.end {
            // The head has its own end to find.
            return if self.head.at == self.end { self.head.next().await } else { Ok(None) };
        }
        if !self.behind.is_empty() {
            return Ok(Some(std::mem::take(&mut self.behind)));
        }
        self.head.go_on_at(self.at);
        let next = self.head.next().await?;
        Ok(next.map(|chunk| self.up_to_cut(chunk)))
    }

    /// Keeps back what is behind the cut, since the head may have to go on there.
    fn up_to_cut(&mut self, mut chunk: Bytes) -> Bytes {
        let cut = self.pieces.front().map_or(self.end, |piece| piece.start);
        let before = usize::try_from(cut - self.at).unwrap_or(usize::MAX);
        if before < chunk.len() {
            self.behind = chunk.split_off(before);
        }
        chunk
    }

    /// One connection has to do.
    fn retreat(&mut self) {
        self.pieces.clear();
        self.planner.give_up();
    }

    fn plan(&mut self) {
        let now = Mark { time: self.started.elapsed(), waited: self.waited, bytes: self.bytes };
        let wanted = self.planner.note(now, self.end - self.at).min(self.head.per_host());
        while self.pieces.len() < wanted {
            let last = self.pieces.back().map(|piece| piece.end);
            let start = last.unwrap_or(self.at + self.planner.lead().max(PIECE));
            if start >= self.end {
                return;
            }
            let Ok(room) = self.head.room().0.try_acquire_owned() else { return };
            self.pieces.push_back(Piece::fetch(&self.head, start, room));
        }
    }
}

impl Piece {
    fn fetch(head: &Pull, start: u64, room: OwnedSemaphorePermit) -> Self {
        let end = head.end.min(start + PIECE);
        let (teller, news) = unbounded_channel();
        let task = tokio::spawn(fetch(head.piece(start, end), teller));
        Self { start, end, news, task, _room: room }
    }

    /// Whether the server has answered for it with its range; asked once.
    fn is_served(&mut self) -> bool {
        matches!(self.news.try_recv(), Ok(News::Served))
    }

    /// The next bytes; nothing where there are no more.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.news.recv().await? {
                News::Served => {}
                News::Bytes(chunk) => return Some(chunk),
            }
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is told is bounded by the piece's size, which the pull holds the server to. The fault of a
/// piece is not told: the request that goes on for the rest finds its own.
async fn fetch(mut pull: Pull, teller: UnboundedSender<News>) {
    if pull.connect().await.is_err() || teller.send(News::Served).is_err() {
        return;
    }
    while let Ok(Some(chunk)) = pull.next().await {
        if teller.send(News::Bytes(chunk)).is_err() {
            return;
        }
    }
}
