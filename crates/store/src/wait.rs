//! Waiting for what another process holds. Never within the kernel: such a wait could not be told of, broken off
//! or ended.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often it is looked whether the wait is over.
const LOOK: Duration = Duration::from_millis(10);
/// How long a wait may be before a person is told of it.
const SILENCE: Duration = Duration::from_secs(1);

/// The pauses between looks at what someone else holds.
#[derive(Debug)]
pub struct Wait {
    began: Instant,
    /// Since when nothing has changed.
    since: Instant,
    is_told: bool,
}

impl Wait {
    /// Begins to wait.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, since: now, is_told: false }
    }

    /// Pauses before the next look; `tell` is called once, after a second. False, at once, where nothing has
    /// changed for as long as `patience`.
    pub async fn look_again(&mut self, patience: Duration, tell: impl FnOnce()) -> bool {
        if self.since.elapsed() >= patience {
            return false;
        }
        sleep(LOOK).await;
        if !self.is_told && self.began.elapsed() >= SILENCE {
            self.is_told = true;
            tell();
        }
        true
    }

    /// Something has changed: patience begins anew.
    pub fn renew(&mut self) {
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_told_of_once_and_ends() {
        let (mut wait, mut told, mut looks) = (Wait::begin(), 0, 0);
        let patience = Duration::from_secs(3);
        while wait.look_again(patience, || told += 1).await {
            looks += 1;
            if looks == 50 {
                assert_eq!(told, 0, "it is short yet");
                wait.renew();
            }
        }
        assert_eq!(told, 1);
        assert!(looks > 300, "{looks}");
    }
}
