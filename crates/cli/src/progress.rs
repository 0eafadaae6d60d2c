//! Progress on standard error: bars on a terminal, plain lines or JSON events elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use conex_spec::{Descriptor, Digest};
use conex_store::{Event, Observer};

use crate::args::Progress;
use crate::output::{escape, size};

/// The observer that a command asks for.
pub fn observer(progress: Progress) -> Arc<dyn Observer> {
    match progress {
        Progress::Auto if std::io::stderr().is_terminal() => Arc::new(Bars::default()),
        Progress::Auto | Progress::Plain => Arc::new(Lines),
        Progress::Json => Arc::new(Json),
        Progress::None => Arc::new(Silent),
    }
}

/// Blobs smaller than this come and go without a line: configs and manifests.
const NOTABLE: u64 = 64 << 10;

fn say(line: &str) {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What is said in words whatever the form: retries and warnings.
fn remark(event: Event<'_>) -> Option<String> {
    match event {
        Event::Retry(err, pause) => {
            Some(format!("again in {:.1} s: {}", pause.as_secs_f32(), escape(&err.to_string())))
        }
        Event::Warning(text) => Some(format!("warning: {}", escape(text))),
        _ => None,
    }
}

/// Warnings only.
struct Silent;

impl Observer for Silent {
    fn event(&self, event: Event<'_>) {
        if let (Event::Warning(_), Some(line)) = (event, remark(event)) {
            say(&line);
        }
    }
}

/// One line for each blob when it is done.
struct Lines;

impl Observer for Lines {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Done(blob) if blob.size >= NOTABLE => line("done", blob),
            Event::Present(blob) if blob.size >= NOTABLE => line("already there", blob),
            Event::Adopted(blob) if blob.size >= NOTABLE => line("taken over", blob),
            other => remark(other),
        };
        if let Some(line) = line {
            say(&line);
        }
    }
}

fn line(what: &str, blob: &Descriptor) -> Option<String> {
    Some(format!("{} {:>10}  {what}", blob.digest.short(), size(blob.size)))
}

/// One JSON object a line.
struct Json;

impl Observer for Json {
    fn event(&self, event: Event<'_>) {
        let about = |name: &str, blob: &Descriptor| json!({"event": name, "digest": blob.digest, "size": blob.size});
        say(&match event {
            Event::Started(blob) => about("started", blob),
            Event::Progress(blob, bytes) => {
                json!({"event": "progress", "digest": blob.digest, "bytes": bytes})
            }
            Event::Done(blob) => about("done", blob),
            Event::Present(blob) => about("present", blob),
            Event::Adopted(blob) => about("adopted", blob),
            Event::Retry(err, pause) => {
                json!({"event": "retry", "error": err.to_string(), "seconds": pause.as_secs_f64()})
            }
            Event::Warning(text) => json!({"event": "warning", "message": text}),
            _ => return,
        }
        .to_string());
    }
}

/// A bar for each blob that moves.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    moving: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Observer for Bars {
    fn event(&self, event: Event<'_>) {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started(blob) if blob.size >= NOTABLE => {
                let bar = self.all.add(ProgressBar::new(blob.size));
                bar.set_style(style());
                bar.set_message(blob.digest.short().to_owned());
                moving.insert(blob.digest.clone(), bar);
            }
            Event::Progress(blob, bytes) => {
                if let Some(bar) = moving.get(&blob.digest) {
                    bar.inc(bytes);
                }
            }
            Event::Done(blob) => {
                if let Some(bar) = moving.remove(&blob.digest) {
                    bar.finish_and_clear();
                }
            }
            other => {
                if let Some(line) = remark(other) {
                    // As in `say`.
                    let _ = self.all.println(line);
                }
            }
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{msg} {bar:30} {bytes:>11} of {total_bytes:<11} {binary_bytes_per_sec}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
