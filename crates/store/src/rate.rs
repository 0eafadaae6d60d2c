//! A bound on how fast content moves, over all streams that share it.
//!
//! A token bucket told by one instant, the time at which all that was let through is paid for: who
//! wants to pass moves it on by the price of their bytes and waits for it. Nobody holds a lock while
//! waiting, and what came late is not lost, since the instant is absolute.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use conex_spec::{Error, Kind, Result};

use crate::source::ByteStream;

/// Time unused for so long may be used at once later.
const BURST: Duration = Duration::from_millis(100);
/// Pieces are cut to what passes in this part of a second, so that no piece waits long.
const PIECES: u64 = 20;
/// Pieces are never smaller than this, in bytes.
const LEAST: u64 = 1 << 10;

/// A number of bytes per second, more than none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// So many bytes per second; nothing for none, since nothing would ever move.
    pub fn new(bytes_per_second: u64) -> Option<Self> {
        (bytes_per_second > 0).then_some(Self(bytes_per_second))
    }

    /// In bytes per second.
    pub fn bytes_per_second(self) -> u64 {
        self.0
    }

    fn price(self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.0 as f64)
    }
}

/// `500K`, `10M`, `1G` in powers of 1024, as curl and wget have them; a number alone is in bytes.
impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(Kind::Usage, "not a rate")
                .expected("bytes per second, as in 500K, 10M or 1G")
                .found(text.escape_debug())
        };
        let bare = text.strip_suffix("iB").or_else(|| text.strip_suffix('B')).unwrap_or(text);
        let (digits, unit) = match bare.char_indices().next_back() {
            Some((at, 'k' | 'K')) => (&bare[..at], 1_u64 << 10),
            Some((at, 'm' | 'M')) => (&bare[..at], 1 << 20),
            Some((at, 'g' | 'G')) => (&bare[..at], 1 << 30),
            _ => (bare, 1),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(unit).and_then(Self::new).ok_or_else(wrong)
    }
}

/// Lets content through no faster than its rate. Clones share one rate.
#[derive(Clone, Debug)]
pub struct Limiter {
    rate: Rate,
    /// When all that was let through is paid for.
    paid: Arc<Mutex<Instant>>,
}

impl Limiter {
    /// A limiter of its own.
    pub fn new(rate: Rate) -> Self {
        Self { rate, paid: Arc::new(Mutex::new(Instant::now())) }
    }

    /// The same content, no faster than the rate allows together with everything else that passes
    /// this limiter.
    pub fn stream(&self, content: ByteStream) -> ByteStream {
        let state = (self.clone(), content, Bytes::new());
        stream::unfold(state, |(limiter, mut content, mut rest)| async move {
            if rest.is_empty() {
                rest = match content.next().await? {
                    Ok(chunk) => chunk,
                    Err(err) => return Some((Err(err), (limiter, content, rest))),
                };
            }
            let piece = rest.split_to(rest.len().min(limiter.piece()));
            limiter.pass(piece.len() as u64).await;
            Some((Ok(piece), (limiter, content, rest)))
        })
        .boxed()
    }

    /// Waits until so many bytes may pass.
    pub async fn pass(&self, bytes: u64) {
        let due = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let earliest = now.checked_sub(BURST).unwrap_or(now);
            *paid = (*paid).max(earliest) + self.rate.price(bytes);
            *paid
        };
        tokio::time::sleep_until(due).await;
    }

    fn piece(&self) -> usize {
        usize::try_from((self.rate.0 / PIECES).max(LEAST)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, expected) in [
            ("1", Some(1)),
            ("500K", Some(500 << 10)),
            ("10M", Some(10 << 20)),
            ("10MiB", Some(10 << 20)),
            ("2gB", Some(2 << 30)),
            ("0", None),
            ("", None),
            ("M", None),
            ("-1", None),
            ("+1", None),
            ("1.5M", None),
            ("1 M", None),
            ("99999999999G", None),
            ("1T", None),
        ] {
            let rate = text.parse::<Rate>().ok().map(Rate::bytes_per_second);
            assert_eq!(rate, expected, "{text:?}");
        }
    }

    async fn drain(limiter: &Limiter, bytes: usize, chunk: usize) -> usize {
        let chunks = (0..bytes / chunk).map(move |_| Ok(Bytes::from(vec![0; chunk])));
        let mut content = limiter.stream(stream::iter(chunks).boxed());
        let mut seen = 0;
        while let Some(piece) = content.next().await {
            seen += piece.unwrap().len();
        }
        seen
    }

    /// Whatever the size of the chunks and however many streams there are, the rate is kept.
    #[tokio::test(start_paused = true)]
    async fn all_streams_together_keep_the_rate() {
        for (rate, streams, chunk) in
            [(10 << 20, 1, 1 << 20), (10 << 20, 8, 1 << 16), (100 << 10, 3, 100), (1000, 2, 10_000)]
        {
            let limiter = Limiter::new(Rate::new(rate).unwrap());
            let each = (rate as usize * 10 / streams / chunk).max(1) * chunk;
            let started = Instant::now();
            let seen: usize =
                futures_util::future::join_all((0..streams).map(|_| drain(&limiter, each, chunk)))
                    .await
                    .into_iter()
                    .sum();
            assert_eq!(seen, each * streams);
            let measured = seen as f64 / started.elapsed().as_secs_f64();
            let off = (measured / rate as f64 - 1.0).abs();
            assert!(off < 0.1, "{rate} in {streams} streams of {chunk}: {measured}");
        }
    }

    /// Time in which nothing moved is not made up for.
    #[tokio::test(start_paused = true)]
    async fn a_pause_gives_no_credit() {
        let limiter = Limiter::new(Rate::new(1 << 20).unwrap());
        limiter.pass(1).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let started = Instant::now();
        drain(&limiter, 4 << 20, 1 << 16).await;
        assert!(started.elapsed() > Duration::from_millis(3600), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_goes_through() {
        let limiter = Limiter::new(Rate::new(10).unwrap());
        let fault = stream::iter([Err(Error::not_found("x"))]).boxed();
        assert!(limiter.stream(fault).next().await.unwrap().is_err());
    }
}
