//! Dropping the surplus copies of a job after a successful backup.

use std::sync::Arc;

use catalog::CatalogError;
use fail::fail_point;
use model::{Fault, JobId, Progress, SavesetId, SiteId};
use vault::{Vault, VaultError};

use crate::rules::retention::{Copy, surplus};
use crate::{Inner, JobsError, words};

impl Inner {
    /// Drops what the job's retention does not keep. The new saveset is committed already; what
    /// cannot be dropped now stays, is told as a warning, and is tried again after the next run.
    pub(crate) async fn retain(
        self: &Arc<Self>,
        vault: &Vault,
        site: &SiteId,
        job: JobId,
        keep: u32,
        progress: &dyn Progress,
    ) {
        match self.drop_surplus(vault, site, job, keep).await {
            Ok(0) => {}
            Ok(dropped) => {
                progress.note(format!(
                    "dropped {} by retention",
                    words::count(dropped, "older saveset")
                ));
                self.sweep_and_tell(vault, site, progress).await;
            }
            Err(error) => {
                let fault: &dyn Fault = &error;
                progress.warning(format!(
                    "older savesets could not be dropped: {}",
                    fault.sentence()
                ));
            }
        }
    }

    async fn drop_surplus(
        &self,
        vault: &Vault,
        site: &SiteId,
        job: JobId,
        keep: u32,
    ) -> Result<u64, JobsError> {
        let copies: Vec<Copy> = self
            .catalog
            .savesets_of_job(site, job)
            .await?
            .into_iter()
            .map(|record| Copy {
                saveset: record.saveset_id,
                protected: record.is_retained,
            })
            .collect();
        let mut dropped = 0;
        for saveset in surplus(&copies, keep) {
            match self.catalog.condemn_saveset(site, saveset).await {
                Ok(()) => {}
                // Protected or being restored since the list was read: it stays, and is looked at
                // again after the next run.
                Err(CatalogError::SavesetRetained { .. } | CatalogError::SavesetInUse { .. }) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            fail_point!("jobs::a-saveset-is-condemned");
            match self.drop_condemned(vault, site, saveset).await {
                Ok(()) => dropped += 1,
                // The same: a run builds on it.
                Err(JobsError::Vault(VaultError::StillNeeded { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(dropped)
    }

    /// The manifest goes first; a crash before the catalog follows is finished at the next start. Where
    /// the vault says that a run builds on the saveset, it is not condemned any more.
    pub(crate) async fn drop_condemned(
        &self,
        vault: &Vault,
        site: &SiteId,
        saveset: SavesetId,
    ) -> Result<(), JobsError> {
        self.stop_verification(site, saveset);
        match vault.drop_saveset(saveset).await {
            Err(needed @ VaultError::StillNeeded { .. }) => {
                self.catalog.reprieve_saveset(site, saveset).await?;
                return Err(needed.into());
            }
            other => other?,
        }
        fail_point!("jobs::a-condemned-saveset-is-dropped");
        Ok(self.catalog.mark_deleted(site, saveset).await?)
    }
}
