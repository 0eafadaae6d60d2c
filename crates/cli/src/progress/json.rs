//! One JSON object a line: what happens to each blob, and at the end what it came to.
//!
//! | `event` | members beside it |
//! |---|---|
//! | `started` | `digest`, `total` |
//! | `resumed` | `digest`, `done`, `total` |
//! | `progress` | `digest`, `done`, `total`, `rate` |
//! | `done` | `digest`, `done`, `total`, `rate`, `seconds` |
//! | `present`, `adopted` | `digest`, `total` |
//! | `retry` | `error`, `seconds` |
//! | `warning` | `message` |
//! | `request` | `method`, `url`, `status` unless it failed, `seconds`; only with `--verbose` |
//! | `summary` | `moved`, `resumed`, `reused`, `mounted`, `brokenOff`, each with `blobs` and `bytes`; `failed`, `rate`, `seconds` |
//!
//! `done` and `total` are in bytes, `rate` in bytes per second. What an earlier command had left of a
//! blob is `resumed`: it is `done`, but did not move now. A blob that breaks off and begins
//! anew is `started` again. The summary is the last event, also of a command that failed or was
//! interrupted; only one that had nothing to move and did not fail has none.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use conex_spec::Descriptor;
use conex_store::{Event, Observer};

use super::meter::{Meter, State, rate};
use super::{End, Show, say};

/// The progress of one blob is told no more often.
const PAUSE: Duration = Duration::from_millis(200);

/// JSON objects.
#[derive(Default)]
pub struct Json(Mutex<Meter>);

impl Observer for Json {
    fn event(&self, event: Event<'_>) {
        let state = {
            let mut meter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            meter.note(event, Instant::now(), PAUSE)
        };
        if let Some(object) = object(event, state) {
            say(&object.to_string());
        }
    }
}

impl Show for Json {
    fn finish(&self, end: End) {
        let failed = end != End::Done;
        let meter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failed || !meter.is_idle() {
            say(&summary(&meter, meter.elapsed(Instant::now()), failed).to_string());
        }
    }
}

fn object(event: Event<'_>, state: Option<State>) -> Option<Value> {
    let blob = |name: &str, blob: &Descriptor| {
        Some(json!({"event": name, "digest": blob.digest, "total": blob.size}))
    };
    match event {
        Event::Started(started) => blob("started", started),
        Event::Resumed(blob, done) => Some(json!({"event": "resumed", "digest": blob.digest,
            "done": done, "total": blob.size})),
        Event::Progress(blob, _) => {
            let State { done, rate, .. } = state?;
            Some(json!({"event": "progress", "digest": blob.digest, "done": done,
                "total": blob.size, "rate": rate}))
        }
        Event::Done(blob) => {
            let (rate, elapsed) =
                state.map_or((0, Duration::ZERO), |state| (state.rate, state.elapsed));
            Some(json!({"event": "done", "digest": blob.digest, "done": blob.size,
                "total": blob.size, "rate": rate, "seconds": elapsed.as_secs_f64()}))
        }
        Event::Present(present) => blob("present", present),
        Event::Adopted(adopted) => blob("adopted", adopted),
        Event::Retry(err, pause) => Some(
            json!({"event": "retry", "error": err.to_string(), "seconds": pause.as_secs_f64()}),
        ),
        Event::Warning(text) => Some(json!({"event": "warning", "message": text})),
        Event::Answered { method, url, status, after } => Some(json!({"event": "request",
            "method": method, "url": url, "status": status, "seconds": after.as_secs_f64()})),
        _ => None,
    }
}

fn summary(meter: &Meter, elapsed: Duration, failed: bool) -> Value {
    let broken_off = meter.broken_off();
    json!({
        "event": "summary",
        "moved": meter.moved,
        "resumed": meter.resumed,
        "reused": meter.reused,
        "mounted": meter.mounted,
        "brokenOff": broken_off,
        "failed": failed,
        "rate": rate(meter.moved.bytes.saturating_add(broken_off.bytes), elapsed),
        "seconds": elapsed.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;

    #[test]
    fn events_and_their_sum() {
        let blob = Descriptor::of(MediaType::LAYER, b"0123456789");
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut told = Vec::new();
        for (seconds, event) in [
            (0, Event::Started(&blob)),
            (1, Event::Progress(&blob, 4)),
            (2, Event::Progress(&blob, 6)),
            (2, Event::Done(&blob)),
            (2, Event::Present(&blob)),
        ] {
            let state = meter.note(event, start + Duration::from_secs(seconds), PAUSE);
            told.extend(object(event, state));
        }
        let digest = blob.digest.as_str();
        assert_eq!(
            told,
            [
                json!({"event": "started", "digest": digest, "total": 10}),
                json!({"event": "progress", "digest": digest, "done": 4, "total": 10, "rate": 4}),
                json!({"event": "progress", "digest": digest, "done": 10, "total": 10, "rate": 5}),
                json!({"event": "done", "digest": digest, "done": 10, "total": 10, "rate": 5,
                    "seconds": 2.0}),
                json!({"event": "present", "digest": digest, "total": 10}),
            ]
        );
        let count = |blobs, bytes| json!({"blobs": blobs, "bytes": bytes});
        assert_eq!(
            summary(&meter, Duration::from_secs(2), false),
            json!({"event": "summary", "moved": count(1, 10), "resumed": count(0, 0), "reused": count(1, 10),
                "mounted": count(0, 0), "brokenOff": count(0, 0), "failed": false, "rate": 5,
                "seconds": 2.0})
        );
        for event in [Event::Started(&blob), Event::Progress(&blob, 6)] {
            meter.note(event, start, PAUSE);
        }
        let sum = summary(&meter, Duration::from_secs(2), true);
        assert_eq!(
            (&sum["brokenOff"], &sum["failed"], &sum["rate"]),
            (&count(1, 6), &json!(true), &json!(8))
        );
    }
}
