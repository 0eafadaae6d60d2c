//! Uploads that nobody goes on with.

use conex_spec::Result;

use super::Collection;
use crate::uploads::Uploads;

impl Collection<'_> {
    pub(super) async fn uploads(&mut self, uploads: &Uploads) -> Result<()> {
        let before = self.ago(self.gc.uploads.max(self.gc.grace));
        let home = self.storage.home();
        for (repository, id, stamp) in home.sessions().await? {
            if stamp >= before {
                continue;
            }
            if !self.dry_run {
                // Whoever has it at this moment keeps it.
                let Ok(mut upload) = uploads.take(home, &repository, id).await else { continue };
                upload.discard().await;
                uploads.forget(&repository, id);
            }
            self.report.uploads += 1;
        }
        Ok(())
    }
}
