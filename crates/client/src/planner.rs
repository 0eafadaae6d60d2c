//! Whether a blob is worth several connections: a state machine without clock and network.
//!
//! One connection is the cheapest way, and the fastest where this machine is the one that is slow.
//! More of them help where the other side or the path limits each, as cloud storage and long
//! distances do. So one begins; where it mostly waits, and would for a good while yet, more are tried;
//! and where those do not bring more in all, one goes on.

use std::time::Duration;

use crate::options::Parallel;

/// Above so many bytes a second one connection is left alone: no longer far below what a machine can
/// hash and write.
const FAST: f64 = 100e6;
/// What is left has to take so many times as long as it took to see that.
const WORTH: f64 = 3.0;
/// This share of the time has to be spent on waiting for the wire; else the reader is slow.
const WAITING: f64 = 0.5;
/// So much more the connections have to bring together than one of them.
const GAIN: f64 = 1.3;

/// How far a download is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mark {
    /// Since it began.
    pub(crate) time: Duration,
    /// How much of that was spent on waiting for the wire.
    pub(crate) waited: Duration,
    /// What came, in bytes.
    pub(crate) bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Planner {
    policy: Parallel,
    phase: Phase,
    since: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Alone,
    /// Several are tried; one had brought so many bytes a second.
    Trying(f64),
    /// Several are worth it; one had brought so many.
    Several(f64),
    Over,
}

impl Planner {
    pub(crate) fn new(policy: Parallel) -> Self {
        let phase = if policy.connections > 1 { Phase::Alone } else { Phase::Over };
        Self { policy, phase, since: Mark::default() }
    }

    /// Takes note of how far it is, with so many bytes left. Returns how many connections are to
    /// fetch what comes next: none as long as the one that began goes on alone.
    pub(crate) fn note(&mut self, now: Mark, left: u64) -> usize {
        let time = now.time.saturating_sub(self.since.time).as_secs_f64();
        let waited = now.waited.saturating_sub(self.since.waited).as_secs_f64();
        let rate = now.bytes.saturating_sub(self.since.bytes) as f64 / time.max(f64::EPSILON);
        let patience = self.policy.patience.as_secs_f64();
        match self.phase {
            Phase::Alone if time >= patience => {
                let worth = left as f64 > rate * WORTH * patience;
                if worth && rate < FAST && waited > WAITING * time {
                    self.phase = Phase::Trying(rate);
                }
                self.since = now;
            }
            // The first half of that time goes by until they have begun.
            Phase::Trying(before) if time >= 2.0 * patience => {
                self.phase =
                    if rate >= GAIN * before { Phase::Several(before) } else { Phase::Over };
            }
            _ => {}
        }
        match self.phase {
            Phase::Alone | Phase::Over => 0,
            Phase::Trying(_) | Phase::Several(_) => self.policy.connections,
        }
    }

    /// How many bytes the connection that began is to go on while the others begin.
    pub(crate) fn lead(&self) -> u64 {
        match self.phase {
            Phase::Trying(rate) | Phase::Several(rate) => {
                (rate * self.policy.patience.as_secs_f64() / 2.0) as u64
            }
            Phase::Alone | Phase::Over => 0,
        }
    }

    /// One connection goes on, whatever comes.
    pub(crate) fn give_up(&mut self) {
        self.phase = Phase::Over;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGA: u64 = 1_000_000;

    fn planner() -> Planner {
        Planner::new(Parallel::default())
    }

    /// At so many milliseconds, of which a share was spent on waiting.
    fn mark(millis: u64, waited: f64, bytes: u64) -> Mark {
        let time = Duration::from_millis(millis);
        Mark { time, waited: time.mul_f64(waited), bytes }
    }

    #[test]
    fn several_where_one_is_slow_and_much_is_left() {
        let mut planner = planner();
        assert_eq!(planner.note(mark(999, 0.9, 5 * MEGA), 500 * MEGA), 0, "not yet");
        assert_eq!(planner.lead(), 0);
        let several = planner.note(mark(1000, 0.9, 5 * MEGA), 500 * MEGA);
        assert_eq!(several, Parallel::default().connections);
        assert_eq!(planner.lead(), 5 * MEGA / 2);
        assert_eq!(planner.note(mark(2999, 0.9, 6 * MEGA), 400 * MEGA), several, "undecided");
        assert_eq!(planner.note(mark(3000, 0.9, 30 * MEGA), 400 * MEGA), several);
        assert_eq!(planner.note(mark(60_000, 0.9, 31 * MEGA), 400 * MEGA), several, "for good");
    }

    #[test]
    fn one_where_several_do_not_bring_more() {
        let mut planner = planner();
        assert!(planner.note(mark(1000, 0.9, 5 * MEGA), 500 * MEGA) > 0);
        assert_eq!(planner.note(mark(3000, 0.9, 16 * MEGA), 400 * MEGA), 0);
        assert_eq!(planner.note(mark(9000, 0.9, 20 * MEGA), 400 * MEGA), 0, "for good");
    }

    #[test]
    fn one_is_enough() {
        for (name, waited, bytes, left) in [
            ("the rest comes soon", 0.9, 5 * MEGA, 14 * MEGA),
            ("the reader is slow", 0.4, 5 * MEGA, 500 * MEGA),
            ("it is fast", 0.9, 120 * MEGA, 5000 * MEGA),
        ] {
            let mut planner = planner();
            assert_eq!(planner.note(mark(1000, waited, bytes), left), 0, "{name}");
        }
        let mut planner = Planner::new(Parallel { connections: 1, ..Parallel::default() });
        assert_eq!(planner.note(mark(1000, 0.9, MEGA), 500 * MEGA), 0, "it is not wanted");
    }

    /// What began fast and becomes slow is seen too: each second counts for itself.
    #[test]
    fn one_that_becomes_slow() {
        let mut planner = planner();
        assert_eq!(planner.note(mark(1000, 0.9, 200 * MEGA), 5000 * MEGA), 0);
        assert!(planner.note(mark(2000, 0.9, 205 * MEGA), 4800 * MEGA) > 0);
    }

    #[test]
    fn giving_up_is_for_good() {
        let mut planner = planner();
        planner.give_up();
        assert_eq!(planner.note(mark(1000, 0.9, MEGA), 500 * MEGA), 0);
        assert_eq!(planner.lead(), 0);
    }

    /// Nothing of what a wire may do divides by zero or goes round.
    #[test]
    fn no_time_and_no_bytes() {
        let mut planner = Planner::new(Parallel { patience: Duration::ZERO, connections: 4 });
        planner.note(Mark::default(), u64::MAX);
        planner.note(mark(0, 0.0, u64::MAX), 0);
        planner.note(Mark::default(), 0);
    }
}
