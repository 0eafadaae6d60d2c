//! When a request is sent again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use conex_spec::{Error, date};
use http::header::{DATE, RETRY_AFTER};
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

    /// The failure that ended the work, with the number of tries where there was more than one.
    pub(crate) fn gave_up(&self, err: Error) -> Error {
        if self.failures < 2 {
            err
        } else {
            err.context(format_args!("gave up after {} tries", self.failures))
        }
    }

    /// The work went on a good deal, so failures so far no longer count.
    pub(crate) fn progress(&mut self) {
        self.failures = 0;
    }
}

/// Between half of the pause and all of it, so that many clients do not come back at once.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = 0.5 + (random % 1024) as f64 / 2048.0;
    pause.mul_f64(share)
}

/// Whether a later try of the same request may succeed. Of the server's errors (5xx) these do not pass:
/// what it does not know (501, 505, 510), how it is set up (506, 508), its full disk (507), and a
/// network that wants a login (511).
pub(crate) fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 429 => true,
        501 | 505..=508 | 510 | 511 => false,
        code => (500..600).contains(&code),
    }
}

/// `Retry-After`: seconds, or a date. This crate has no clock, so that a date counts from the `Date` of
/// the same answer. Nonsense counts as absent. RFC 9110, 10.2.3.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if !asked.is_empty() && asked.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let (then, now) = (date::http(asked)?, date::http(text(DATE)?)?);
    Some(Duration::from_secs(u64::try_from(then - now).unwrap_or(0)))
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
        let dated = |then: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, "Wed, 28 Feb 2024 23:59:50 GMT".parse().unwrap());
            headers.insert(RETRY_AFTER, then.parse().unwrap());
            retry_after(&headers).map(|pause| pause.as_secs())
        };
        for (then, pause) in [
            ("Wed, 28 Feb 2024 23:59:57 GMT", Some(7)),
            ("Thu, 29 Feb 2024 00:00:00 GMT", Some(10)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(10 + 86_400)),
            ("Sat, 01 Mar 2025 00:00:00 GMT", Some(10 + 366 * 86_400)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Thu, 29 anF 2024 00:00:00 GMT", None),
            ("Thu, 29 Feb 2024 24:00:00 GMT", None),
            ("Thu, 99 Feb 2024 00:00:00 GMT", None),
            ("Thu, 29 Feb 2024 00:00:00", None),
            ("Thu, 29 Feb 0 00:00:00 GMT", None),
        ] {
            assert_eq!(dated(then), pause, "{then}");
        }
        let huge = asked("99999999999999999999999999");
        assert_eq!(tries(3).pause(huge), Some(Duration::from_secs(120)));
    }

    #[test]
    fn what_may_pass() {
        for (status, passes) in [
            (400, false),
            (404, false),
            (408, true),
            (429, true),
            (500, true),
            (501, false),
            (503, true),
            (505, false),
            (507, false),
            (520, true),
            (600, false),
        ] {
            assert_eq!(is_transient(StatusCode::from_u16(status).unwrap()), passes, "{status}");
        }
    }

    #[test]
    fn the_error_says_how_often_it_was_tried() {
        let mut tries = tries(3);
        let fault = || Error::new(conex_spec::Kind::Network, "cut");
        assert_eq!(tries.gave_up(fault()).to_string(), "cut");
        while tries.pause(None).is_some() {}
        assert_eq!(tries.gave_up(fault()).to_string(), "gave up after 3 tries: cut");
    }

    #[test]
    fn an_endless_policy_does_not_overflow() {
        let mut tries = tries(u32::MAX);
        for _ in 0..200 {
            assert!(tries.pause(None).unwrap() <= Duration::from_secs(120));
        }
    }
}
