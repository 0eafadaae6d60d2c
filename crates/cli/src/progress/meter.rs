//! How far each blob is, and how much moved in all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use conex_ops::Count;
use conex_spec::{Descriptor, Digest};
use conex_store::Event;

/// Counts what a command moves. It is told the time with every event.
#[derive(Debug, Default)]
pub struct Meter {
    moving: HashMap<Digest, Moving>,
    began: Option<Instant>,
    /// What moved.
    pub moved: Count,
    /// Of what moved, the parts that were there from an earlier time.
    pub resumed: Count,
    /// What was at the destination already.
    pub reused: Count,
    /// What the destination took over without moving bytes.
    pub mounted: Count,
}

#[derive(Debug)]
struct Moving {
    size: u64,
    done: u64,
    resumed: u64,
    began: Instant,
    told: Instant,
}

/// How far a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Bytes that came.
    pub done: u64,
    /// Bytes per second since it began.
    pub rate: u64,
    /// Since it began.
    pub elapsed: Duration,
}

impl Meter {
    /// Takes note of an event. Returns how far the blob is where that is worth telling: when it is
    /// done, and on its way no more often than every `pause`.
    pub fn note(&mut self, event: Event<'_>, now: Instant, pause: Duration) -> Option<State> {
        self.began.get_or_insert(now);
        match event {
            Event::Started(blob) => {
                let moving = Moving { size: blob.size, done: 0, resumed: 0, began: now, told: now };
                self.moving.insert(blob.digest.clone(), moving);
                None
            }
            Event::Resumed(blob, bytes) => {
                let moving = self.moving.get_mut(&blob.digest)?;
                (moving.done, moving.resumed) = (bytes, bytes);
                None
            }
            Event::Progress(blob, bytes) => {
                let moving = self.moving.get_mut(&blob.digest)?;
                moving.done = moving.done.saturating_add(bytes);
                if now.duration_since(moving.told) < pause {
                    return None;
                }
                moving.told = now;
                Some(moving.state(now))
            }
            Event::Done(blob) => {
                let moving = self.moving.remove(&blob.digest);
                let resumed = moving.as_ref().map_or(0, |moving| moving.resumed.min(blob.size));
                self.moved.add_bytes(blob.size - resumed);
                if resumed > 0 {
                    self.resumed.add_bytes(resumed);
                }
                moving.map(|moving| Moving { done: blob.size, ..moving }.state(now))
            }
            Event::Present(blob) => add(&mut self.reused, blob),
            Event::Adopted(blob) => add(&mut self.mounted, blob),
            _ => None,
        }
    }

    /// Of what broke off, the bytes that came now. What came to its end and is not done was not taken, as
    /// a small blob by a registry that refuses it.
    pub fn broken_off(&self) -> Count {
        let mut count = Count::default();
        let parts = self.moving.values().filter(|moving| moving.done < moving.size);
        for moving in parts.filter(|moving| moving.done > moving.resumed) {
            count.add_bytes(moving.done - moving.resumed);
        }
        count
    }

    /// Whether there was anything to move.
    pub fn is_idle(&self) -> bool {
        [self.moved, self.reused, self.mounted].iter().all(|count| count.blobs == 0)
            && self.moving.is_empty()
    }

    /// Since the first event.
    pub fn elapsed(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.duration_since(began))
    }
}

fn add(count: &mut Count, blob: &Descriptor) -> Option<State> {
    count.add_bytes(blob.size);
    None
}

impl Moving {
    fn state(&self, now: Instant) -> State {
        let elapsed = now.duration_since(self.began);
        State {
            done: self.done,
            rate: rate(self.done.saturating_sub(self.resumed), elapsed),
            elapsed,
        }
    }
}

/// Bytes per second; what took no time that can be measured took a millisecond.
pub fn rate(bytes: u64, elapsed: Duration) -> u64 {
    (bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;

    #[test]
    fn a_blob_is_told_now_and_then_and_at_its_end() {
        let mut blob = Descriptor::of(MediaType::LAYER, b"x");
        blob.size = 100;
        let (mut meter, start) = (Meter::default(), Instant::now());
        let pause = Duration::from_secs(1);
        let mut at =
            |millis, event| meter.note(event, start + Duration::from_millis(millis), pause);
        assert_eq!(at(0, Event::Started(&blob)), None);
        assert_eq!(at(500, Event::Progress(&blob, 10)), None);
        let told = at(2000, Event::Progress(&blob, 30)).unwrap();
        assert_eq!((told.done, told.rate), (40, 20));
        assert_eq!(at(2900, Event::Progress(&blob, 1)), None);
        // It breaks off and begins anew.
        assert_eq!(at(3000, Event::Started(&blob)), None);
        let told = at(4000, Event::Progress(&blob, 50)).unwrap();
        assert_eq!((told.done, told.rate), (50, 50));
        assert_eq!(at(5000, Event::Done(&blob)).unwrap().rate, 50);
        assert_eq!(at(5000, Event::Present(&blob)), None);
        assert_eq!(at(5000, Event::Adopted(&blob)), None);
        assert_eq!((meter.moved.bytes, meter.reused.bytes, meter.mounted.blobs), (100, 100, 1));
        assert_eq!(meter.elapsed(start + Duration::from_secs(5)), Duration::from_secs(5));
        assert!(!meter.is_idle() && Meter::default().is_idle());
    }

    #[test]
    fn what_was_there_from_an_earlier_time_does_not_move() {
        let mut blob = Descriptor::of(MediaType::LAYER, b"x");
        blob.size = 100;
        let (mut meter, now) = (Meter::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        for event in [Event::Started(&blob), Event::Resumed(&blob, 60)] {
            assert_eq!(meter.note(event, now, Duration::ZERO), None);
        }
        let told = meter.note(Event::Progress(&blob, 20), later, Duration::ZERO).unwrap();
        assert_eq!((told.done, told.rate), (80, 20));
        assert_eq!(meter.note(Event::Done(&blob), later, Duration::ZERO).unwrap().rate, 40);
        assert_eq!((meter.moved.bytes, meter.resumed.bytes), (40, 60));
    }

    #[test]
    fn no_time_is_no_endless_rate() {
        assert_eq!(rate(10, Duration::ZERO), 10_000);
        assert_eq!(rate(0, Duration::from_secs(1)), 0);
    }
}
