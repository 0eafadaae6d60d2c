//! Taking a folder away again that was made for nothing: a copy that fails leaves no empty layout.
//!
//! Another process may have found the folder meanwhile. So it goes only under a claim, with the lock
//! that its makers take, and without anything in it; and who waited for either looks whether the
//! folder still is where it was ([`Home::folder`]).

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use super::Home;
use crate::commit::Folder;

/// How often and how long what still writes in other threads is waited for.
const TURNS: u32 = 100;
const TURN: Duration = Duration::from_millis(10);

/// What a [`Home`] made of a folder.
#[derive(Debug)]
pub(super) struct Made {
    /// The folders that were not there before, the innermost first.
    folders: Vec<PathBuf>,
}

impl Made {
    /// Looks what will have to be made.
    pub(super) fn before(path: &Path) -> Self {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        Self { folders: path.ancestors().take_while(missing).map(Path::to_owned).collect() }
    }
}

impl Home {
    /// Removes what this value made, if `is_empty` says that nothing is in it, nobody else uses it
    /// and nothing lies there that a later writer goes on with. `files` are those of its sort. What
    /// cannot be removed stays. Blocking.
    ///
    /// `held` is how many others hold this value and write nothing.
    pub(crate) fn discard(
        self: &Arc<Self>,
        held: usize,
        files: &[&str],
        is_empty: impl FnOnce() -> bool,
    ) {
        let (Some(folder), Some(made)) = (self.existing(), self.made.get()) else { return };
        // Each other stands for a thread that still writes what nobody waits for.
        for _ in 0..TURNS {
            if Arc::strong_count(self) <= held + 1 {
                break;
            }
            thread::sleep(TURN);
        }
        let _making = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(_claim) = folder.claim(1) else { return };
        let Ok(Some(_lock)) = folder.try_lock() else { return };
        if is_empty() && folder.clear(files) {
            // Those that have something else in them by now stay.
            let _ = made.folders.iter().try_for_each(std::fs::remove_dir);
        }
    }

    /// Whether a folder still is what the path names.
    pub(super) fn is_there(&self, folder: &Folder) -> bool {
        folder.is_at(&self.path)
    }
}
