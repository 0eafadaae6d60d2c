//! Who did what to a registry when, and whether its answers keep its laws: an offline checker.
//!
//! Clients write down each request with the moments at which it began and ended ([`Client`]); a judge
//! then looks at all of it at once ([`judge`]). A request without an answer may have been followed, at
//! any moment from its beginning on.
//!
//! | law | what is judged |
//! |---|---|
//! | L1, L3, L6 | what was acknowledged is there until someone deletes it: manifests; blobs for as long as a manifest needs them, and for a while after they were pushed, mounted or asked for; entries of referrers |
//! | L2 | bytes have the digest that they were asked for by |
//! | L4 | what was deleted stays away until someone puts it again |
//! | L5 | a tag is what the last one made it, or one that was underway; of two reads the later one tells nothing older |
//!
//! L7, that leftovers are bounded and reclaimed, is for who looks into the storage afterwards.

mod client;
mod judge;
mod load;

pub use client::{Answer, Client, ask};
pub use judge::judge;
pub use load::{Load, Random};

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a request was about. Digests are written as text.
#[allow(missing_docs, reason = "the fields are named for what they hold")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A blob was pushed, or mounted.
    PutBlob { repository: String, digest: String },
    /// A client asked whether a blob is there: the answer is a promise for a while.
    HeadBlob { repository: String, digest: String },
    /// A blob was read.
    GetBlob { repository: String, digest: String },
    /// A blob was deleted.
    DeleteBlob { repository: String, digest: String },
    /// A manifest was put.
    PutManifest {
        repository: String,
        digest: String,
        /// The blobs that it needs.
        children: Vec<String>,
        tag: Option<String>,
        subject: Option<String>,
    },
    /// A manifest was read by its digest.
    GetManifest { repository: String, digest: String },
    /// A manifest was read by a tag.
    GetTag { repository: String, tag: String },
    /// A manifest was deleted.
    DeleteManifest { repository: String, digest: String },
    /// A tag was deleted.
    DeleteTag { repository: String, tag: String },
    /// The referrers of a subject were listed.
    Referrers { repository: String, subject: String },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was followed, and that was said.
    Done,
    /// Bytes came; their digest.
    Found(String),
    /// A list of digests came.
    Listed(BTreeSet<String>),
    /// It is not there.
    Missing,
    /// A manifest was refused, since these blobs are not there.
    Lacking(Vec<String>),
    /// It was refused for another reason; nothing was changed.
    Refused(u16),
    /// No answer, or one that tells nothing.
    Unknown,
}

/// A request. Times are nanoseconds since the history began.
#[allow(missing_docs, reason = "the fields are named for what they hold")]
#[derive(Clone, Debug)]
pub struct Event {
    pub action: Action,
    pub outcome: Outcome,
    pub start: u64,
    pub end: u64,
}

/// All requests of all clients.
#[derive(Debug)]
pub struct History {
    began: Instant,
    events: Mutex<Vec<Event>>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: Instant::now(), events: Mutex::default() }
    }
}

impl History {
    /// This moment.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Writes a request down that ended now. Returns its outcome.
    pub fn note(&self, start: u64, action: Action, outcome: Outcome) -> Outcome {
        let end = self.now();
        let event = Event { action, outcome: outcome.clone(), start, end };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        outcome
    }

    /// All that was written down.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
