//! Progress: told what happens, never asked.

use std::time::Duration;

use conex_spec::{Descriptor, Error};

/// Something that happened during a move.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Content was already at the destination.
    Present(&'a Descriptor),
    /// Content was taken over without moving bytes: mount, reflink or link.
    Adopted(&'a Descriptor),
    /// Content begins to move, or begins anew after it broke off: what came before counts no more.
    Started(&'a Descriptor),
    /// So many bytes of it are there from an earlier time, and need not come again.
    Resumed(&'a Descriptor, u64),
    /// So many more bytes of it came.
    Progress(&'a Descriptor, u64),
    /// All of it is at the destination, durable.
    Done(&'a Descriptor),
    /// A request failed and is sent again after a while.
    Retry(&'a Error, Duration),
    /// A server answered a request, or did not.
    Answered {
        /// The method of HTTP.
        method: &'a str,
        /// Where to, without the query: it may hold a secret.
        url: &'a str,
        /// The status; nothing where the request failed.
        status: Option<u16>,
        /// How long that took.
        after: Duration,
    },
    /// Something a person should know, though the work goes on.
    Warning(&'a str),
}

/// Told of every event, from any thread. Must return at once.
pub trait Observer: Send + Sync {
    /// Takes note.
    fn event(&self, event: Event<'_>);
}

/// Looks away.
impl Observer for () {
    fn event(&self, _: Event<'_>) {}
}
