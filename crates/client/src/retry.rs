//! When a request is sent again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::options::Retry;

/// The repetitions of one piece of work.
#[derive(Debug)]
pub(crate) struct Tries {
    policy: Retry,
    failures: u32,
}

impl Tries {
    pub(crate) fn new(policy: Retry) -> Self {
        Self { policy, failures: 0 }
    }

    /// The pause before the next try, or nothing where it was the last one.
    /// `asked` is what the registry wants.
    pub(crate) fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.failures += 1;
        if self.failures >= self.policy.attempts {
            return None;
        }
        let doubled = self.policy.pause.saturating_mul(1 << (self.failures - 1).min(16));
        let pause = asked.unwrap_or_else(|| jitter(doubled));
        Some(pause.min(self.policy.longest))
    }

    /// The work went on a good deal, so failures so far no longer count.
    pub(crate) fn progress(&mut self) {
        self.failures = 0;
    }
}

/// Between half of the pause and all of it, so that many clients do not come back at once.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = 0.5 + (random % 1024) as f64 / 2048.0;
    pause.mul_f64(share)
}

/// Whether a later try of the same request may succeed.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// The seconds of `Retry-After`. The form that names a date needs a clock, which this crate
/// does not have; it counts as absent, like any nonsense.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if seconds.is_empty() || !seconds.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(attempts: u32) -> Tries {
        let second = Duration::from_secs(1);
        Tries::new(Retry { attempts, pause: second, longest: second * 120 })
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut tries = tries(4);
        let pauses: Vec<_> = std::iter::from_fn(|| tries.pause(None)).collect();
        assert_eq!(pauses.len(), 3);
        for (pause, most) in pauses.iter().zip([1, 2, 4]) {
            let most = Duration::from_secs(most);
            assert!(*pause >= most / 2 && *pause <= most, "{pause:?}");
        }
    }

    #[test]
    fn progress_starts_the_count_anew() {
        let mut tries = tries(2);
        assert!(tries.pause(None).is_some());
        tries.progress();
        assert!(tries.pause(None).is_some());
        assert!(tries.pause(None).is_none());
    }

    #[test]
    fn what_a_registry_asks_for_is_bounded() {
        let asked = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        for nonsense in ["-1", "1.5", "", "soon", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
        let huge = asked("99999999999999999999999999");
        assert_eq!(tries(3).pause(huge), Some(Duration::from_secs(120)));
    }

    #[test]
    fn an_endless_policy_does_not_overflow() {
        let mut tries = tries(u32::MAX);
        for _ in 0..200 {
            assert!(tries.pause(None).unwrap() <= Duration::from_secs(120));
        }
    }
}
