//! One line for each blob when it is there, and now and then while a large one moves.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use conex_spec::Descriptor;
use conex_store::{Event, Observer};

use super::meter::{Meter, State};
use super::{End, NOTABLE, Show, before_failure, remark, say};
use crate::output::size;

/// A blob that moves for longer has a line of its own each time.
const PAUSE: Duration = Duration::from_secs(10);

/// Plain lines.
#[derive(Default)]
pub struct Lines(Mutex<Meter>);

impl Observer for Lines {
    fn event(&self, event: Event<'_>) {
        let state = {
            let mut meter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            meter.note(event, Instant::now(), PAUSE)
        };
        if let Some(line) = line(event, state) {
            say(&line);
        }
    }
}

impl Show for Lines {
    fn finish(&self, end: End) {
        let meter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = before_failure(&meter).filter(|_| end == End::Failed) {
            say(&line);
        }
    }
}

fn line(event: Event<'_>, state: Option<State>) -> Option<String> {
    let about = |blob: &Descriptor, what: &str| {
        let line = format!("{} {:>10}  {what}", blob.digest.short(), size(blob.size));
        (blob.size >= NOTABLE).then_some(line)
    };
    match event {
        Event::Resumed(blob, done) => {
            about(blob, &format!("goes on after {} of an earlier time", size(done)))
        }
        Event::Progress(blob, _) => {
            let state = state?;
            about(blob, &format!("{} so far, {}/s", size(state.done), size(state.rate)))
        }
        Event::Done(blob) => about(blob, "done"),
        Event::Present(blob) => about(blob, "already there"),
        Event::Adopted(blob) => about(blob, "taken over"),
        other => remark(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;

    #[test]
    fn what_is_notable_has_lines() {
        let mut blob = Descriptor::of(MediaType::LAYER, b"x");
        blob.size = 1 << 20;
        let state = State { done: 512 << 10, rate: 1024, elapsed: PAUSE };
        let digest = blob.digest.short();
        let told = line(Event::Progress(&blob, 1), Some(state)).unwrap();
        assert_eq!(told, format!("{digest}    1.0 MiB  512.0 KiB so far, 1.0 KiB/s"));
        assert_eq!(line(Event::Progress(&blob, 1), None), None);
        assert!(line(Event::Done(&blob), Some(state)).unwrap().ends_with("done"));
        blob.size = 10;
        assert_eq!(line(Event::Done(&blob), Some(state)), None);
        assert_eq!(line(Event::Warning("a\u{1b}"), None).unwrap(), "warning: a\\u{1b}");
        let asked = |status| {
            let after = Duration::from_millis(12);
            line(Event::Answered { method: "GET", url: "http://r/v2/", status, after }, None)
        };
        assert_eq!(asked(Some(200)).unwrap(), "GET http://r/v2/ 200 in 12 ms");
        assert_eq!(asked(None).unwrap(), "GET http://r/v2/ failed in 12 ms");
    }
}
