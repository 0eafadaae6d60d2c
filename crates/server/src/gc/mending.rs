//! Scrubbing and mending by orders, while the registry serves.

use std::sync::{Mutex, MutexGuard, PoisonError};

use conex_spec::{Digest, Error, Result};
use conex_store::ByteStream;
use futures_util::StreamExt;

use super::scrub::{Fault, Scrub, mend, scrub};
use crate::app::App;

/// What the last scrub that set damage aside has found, and nobody has mended yet.
#[derive(Debug, Default)]
pub(crate) struct Damage(Mutex<Vec<Fault>>);

impl App {
    /// Hashes everything, and sets aside what is damaged unless it is a `dry_run`.
    pub(crate) async fn scrub(&self, dry_run: bool) -> Result<Scrub> {
        let _alone = self.collecting.lock().await;
        let found = scrub(&self.storage, dry_run).await?;
        if !dry_run {
            self.damage.known().clone_from(&found.faults);
        }
        Ok(found)
    }

    /// Takes content for what the last scrub has found, and for nothing else: this is no way around
    /// rules and quotas. Returns its size in bytes.
    pub(crate) async fn mend(&self, digest: &Digest, mut content: ByteStream) -> Result<u64> {
        let mended = match self.damage.of(digest) {
            Some(fault) => mend(&self.storage, &fault, &mut content).await,
            None => Err(Error::not_found(format!("no scrub has found {} wanting", digest.short()))),
        };
        match &mended {
            Ok(_) => self.damage.known().retain(|fault| fault.digest != *digest),
            // So that who sends it reads the answer, and does not find the connection gone.
            Err(_) => while content.next().await.is_some_and(|chunk| chunk.is_ok()) {},
        }
        mended
    }
}

impl Damage {
    fn of(&self, digest: &Digest) -> Option<Fault> {
        self.known().iter().find(|fault| fault.digest == *digest).cloned()
    }

    fn known(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
