//! Progress on standard error: bars on a terminal, plain lines or JSON events elsewhere.
//!
//! | form | module |
//! |---|---|
//! | a bar for each blob | [`bars`] |
//! | a line for each blob | [`lines`] |
//! | a JSON object a line | [`json`] |
//! | how far each blob is, and how much there was in all | [`meter`] |

mod bars;
mod json;
mod lines;
mod meter;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use conex_store::{Event, Observer};

use crate::args::Progress;
use crate::commands::size_in;
use crate::output::escape;
use meter::Meter;

/// How the progress of one command is shown.
pub trait Show: Observer {
    /// Sums up.
    fn finish(&self, end: End);
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// It failed or was interrupted.
    Failed,
    /// It failed, but has told what it did all the same.
    Reported,
}

/// What shows progress in the form that was asked for, and where `verbose` every request as well.
pub fn show(progress: Progress, verbose: bool) -> Arc<dyn Show> {
    let show = form(progress);
    if verbose { show } else { Arc::new(Terse(show)) }
}

fn form(progress: Progress) -> Arc<dyn Show> {
    match progress {
        Progress::Auto if std::io::stderr().is_terminal() => Arc::new(bars::Bars::default()),
        Progress::Bar => Arc::new(bars::Bars::default()),
        Progress::Auto | Progress::Plain => Arc::new(lines::Lines::default()),
        Progress::Json => Arc::new(json::Json::default()),
        Progress::None => Arc::new(Silent),
    }
}

/// Blobs smaller than this come and go without a line: configs and manifests.
const NOTABLE: u64 = 64 << 10;

fn say(line: &str) {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Without the requests.
struct Terse(Arc<dyn Show>);

impl Observer for Terse {
    fn event(&self, event: Event<'_>) {
        if !matches!(event, Event::Answered { .. }) {
            self.0.event(event);
        }
    }
}

impl Show for Terse {
    fn finish(&self, end: End) {
        self.0.finish(end);
    }
}

/// What is said in words whatever the form: retries, warnings and requests.
fn remark(event: Event<'_>) -> Option<String> {
    match event {
        Event::Retry(err, pause) => {
            Some(format!("again in {:.1} s: {}", pause.as_secs_f32(), escape(&err.to_string())))
        }
        Event::Warning(text) => Some(format!("warning: {}", escape(text))),
        Event::Answered { method, url, status, after } => {
            let status = status.map_or_else(|| "failed".to_owned(), |status| status.to_string());
            Some(format!("{method} {} {status} in {} ms", escape(url), after.as_millis()))
        }
        _ => None,
    }
}

/// Nothing of what moves.
struct Silent;

impl Observer for Silent {
    fn event(&self, event: Event<'_>) {
        let told = matches!(event, Event::Warning(_) | Event::Answered { .. });
        if let Some(line) = remark(event).filter(|_| told) {
            say(&line);
        }
    }
}

impl Show for Silent {
    fn finish(&self, _: End) {}
}

/// What moved before a command failed, on one line; nothing where nothing had moved.
fn before_failure(meter: &Meter) -> Option<String> {
    let mut parts = Vec::new();
    for (what, count) in [
        ("moved", meter.moved),
        ("resumed after", meter.resumed),
        ("already there", meter.reused),
        ("taken over", meter.mounted),
        ("broken off after", meter.broken_off()),
    ] {
        if count.blobs > 0 {
            parts.push(format!("{what} {}", size_in(count.bytes, count.blobs)));
        }
    }
    (!parts.is_empty()).then(|| format!("before it failed: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use conex_spec::{Descriptor, MediaType};

    #[test]
    fn what_was_moved_before_a_failure() {
        let mut meter = Meter::default();
        assert_eq!(before_failure(&meter), None);
        let blobs = [b"a".as_slice(), b"bc", b"def", b"gh", b"ij"];
        let [moved, there, broken, idle, refused] =
            blobs.map(|bytes| Descriptor::of(MediaType::LAYER, bytes));
        for event in [
            Event::Started(&moved),
            Event::Progress(&moved, 1),
            Event::Done(&moved),
            Event::Present(&there),
            Event::Started(&broken),
            Event::Progress(&broken, 2),
            Event::Started(&idle),
            Event::Started(&refused),
            Event::Progress(&refused, 2),
        ] {
            meter.note(event, Instant::now(), Duration::ZERO);
        }
        assert_eq!(
            before_failure(&meter).unwrap(),
            "before it failed: moved 1 B in 1 blob, already there 2 B in 1 blob, \
             broken off after 2 B in 1 blob"
        );
    }
}
