//! A bar for each blob that moves.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use conex_spec::Digest;
use conex_store::{Event, Observer};

use super::meter::Meter;
use super::{End, NOTABLE, Show, before_failure, remark};

/// Bars on a terminal; elsewhere there is nothing to see of them.
#[derive(Default)]
pub struct Bars {
    all: MultiProgress,
    moving: Mutex<HashMap<Digest, ProgressBar>>,
    meter: Mutex<Meter>,
}

impl Observer for Bars {
    fn event(&self, event: Event<'_>) {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).note(
            event,
            Instant::now(),
            Duration::MAX,
        );
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started(blob) if blob.size >= NOTABLE => {
                // What begins anew has its bar already.
                if let Some(bar) = moving.get(&blob.digest) {
                    bar.reset();
                    return;
                }
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
                    self.say(&line);
                }
            }
        }
    }
}

impl Bars {
    /// Above the bars; where they are hidden, a line as any other.
    fn say(&self, line: &str) {
        if self.all.is_hidden() {
            return super::say(line);
        }
        // Nobody is left to tell if standard error is gone.
        let _ = self.all.println(line);
    }
}

impl Show for Bars {
    fn finish(&self, end: End) {
        let meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = before_failure(&meter).filter(|_| end == End::Failed) {
            self.say(&line);
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{msg} {bar:30} {bytes:>11} of {total_bytes:<11} {binary_bytes_per_sec}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
