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
use crate::output::escape;

/// How the progress of one command is shown.
pub trait Show: Observer {
    /// Sums up, once all is done or has failed.
    fn finish(&self) {}
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
    fn finish(&self) {
        self.0.finish();
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

impl Show for Silent {}
