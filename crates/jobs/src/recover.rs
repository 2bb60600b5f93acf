//! What a start finds: executions that a crash interrupted, and vaults that know more than the
//! catalog.
//!
//! The vault decides. Before an interrupted backup is called FAILED a tombstone is put in its
//! manifest's place; if a manifest is there already, the run had succeeded and the catalog follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::{CatalogError, Ending, Execution, Page, SavesetRecord, SiteRecord};
use fail::fail_point;
use model::{Blame, ExecutionStatus, Fault, JobType, RunEvent, SavesetId};
use vault::{DeadOrAlive, SavesetState, VaultError};

use crate::build_on::changed_in;
use crate::run_backup::record_of;
use crate::{Inner, Jobs, JobsError, words};

/// How long an unreachable vault is left alone between two questions.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What a tombstone says of a run that a crash interrupted.
const REASON: &str = "the server stopped while it ran";

/// How long a start waits for one vault before it goes on without it.
const FIRST_LOOK: Duration = Duration::from_secs(20);

impl Jobs {
    /// Decides what became of everything that was interrupted, and brings the catalog in line with
    /// the vaults. To be called once, before [`run`](Jobs::run). A vault that cannot be reached now
    /// is asked again in the background until it answers.
    ///
    /// # Errors
    /// Only when the catalog cannot be read or written.
    pub async fn recover(&self) -> Result<(), JobsError> {
        self.inner
            .catalog
            .interrupt_verifications(crate::verify::STOPPED)
            .await?;
        for execution in self.inner.catalog.unfinished().await? {
            match (execution.status, execution.job_type) {
                (ExecutionStatus::Queued, JobType::Backup) => {}
                (_, JobType::Restore) => self.inner.fail_restore(&execution).await?,
                (_, JobType::Backup) => self.settle_or_ask_again(execution).await?,
            }
        }
        for site in self.inner.catalog.sites(Page::All).await?.rows {
            let first = tokio::time::timeout(FIRST_LOOK, self.inner.first_look(&site)).await;
            match first {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.inner.look_again(site, &error),
                Err(_) => self.inner.look_again(site, &JobsError::VaultSilent),
            }
        }
        Ok(())
    }

    async fn settle_or_ask_again(&self, execution: Execution) -> Result<(), JobsError> {
        match self.inner.settle_backup(&execution).await {
            Err(error) if error.blame() == Blame::Vault || error.blame() == Blame::Busy => {
                tracing::error!(
                    execution = %execution.execution_id,
                    "the vault does not say yet whether the interrupted backup succeeded: {error}"
                );
                let inner = self.inner.clone();
                tokio::spawn(async move { inner.settle_until_done(execution).await });
                Ok(())
            }
            other => other,
        }
    }
}

impl Inner {
    async fn fail_restore(&self, execution: &Execution) -> Result<(), JobsError> {
        let why = match execution.status {
            ExecutionStatus::Queued => "stopped before this restore began",
            _ => "stopped while this restore ran",
        };
        let ending = Ending::because(RunEvent::Fail, words::continue_restore(execution, why));
        self.catalog
            .settle(execution.execution_id, &ending, None)
            .await?;
        Ok(())
    }

    async fn settle_until_done(self: Arc<Self>, execution: Execution) {
        loop {
            tokio::time::sleep(ASK_AGAIN).await;
            match self.settle_backup(&execution).await {
                Ok(()) => return self.wake.notify_one(),
                Err(error) => {
                    tracing::error!(execution = %execution.execution_id, "asking again: {error}")
                }
            }
        }
    }

    /// SUCCESSFUL if the manifest is there; else a tombstone is there now, and the execution is
    /// ABORTED if that was asked for, or FAILED and queued again, once.
    async fn settle_backup(&self, execution: &Execution) -> Result<(), JobsError> {
        let id = execution.execution_id;
        let site = self.catalog.site(&execution.site_id).await?;
        if let Some(saveset) = execution.claimed_saveset
            && let DeadOrAlive::Committed(saveset) = self
                .vault(&site)
                .await?
                .declare_dead(saveset, REASON)
                .await?
        {
            fail_point!("recovery::an-interrupted-run-has-succeeded");
            let record = record_of(&saveset, &execution.site_id);
            let warned = !saveset.manifest().contents.warnings.is_empty()
                || !saveset.manifest().contents.skipped.is_empty();
            let event = if warned {
                RunEvent::SucceedWithWarnings
            } else {
                RunEvent::Succeed
            };
            self.catalog.record_saveset(&record).await?;
            fail_point!("recovery::its-saveset-is-recorded");
            let reason = execution.run_reason.iter();
            let reason = reason
                .map(|reason| format!("{reason}. "))
                .collect::<String>();
            let detail = format!(
                "{reason}The server stopped right after the saveset was committed; it is in the vault"
            );
            let ending = Ending {
                run_type: Some(record.run_type),
                saveset: Some(record.saveset_id),
                backup_set_size: record.backup_set_size,
                bytes_stored: record.bytes_stored,
                changed_blocks: changed_in(&saveset),
                ..Ending::because(event, detail)
            };
            self.catalog.settle(id, &ending, None).await?;
            return Ok(());
        }
        if execution.status == ExecutionStatus::Aborting {
            let ending = Ending::because(
                RunEvent::Released,
                format!("Aborted; {REASON}. {}", execution.status_detail),
            );
            self.catalog.settle(id, &ending, None).await?;
            return Ok(());
        }
        fail_point!("recovery::an-interrupted-run-is-dead");
        let again = execution.requeue_of.is_none();
        let detail = match (again, execution.requeue_of) {
            (false, Some(first)) => format!(
                "The server stopped while this ran. It was the second try after execution {first}, so it is not queued again"
            ),
            _ => "The server stopped while this ran; the backup is queued again".to_owned(),
        };
        let requeue = format!("Queued again: the server stopped during execution {id}");
        self.catalog
            .settle(
                id,
                &Ending::because(RunEvent::Fail, detail),
                again.then_some(requeue.as_str()),
            )
            .await?;
        Ok(())
    }

    /// Staging files and pins of a crash are removed here, before anything runs that could be
    /// writing one. A pin may be of a run whose id never reached the catalog.
    async fn first_look(&self, site: &SiteRecord) -> Result<(), JobsError> {
        vault::remove_stale_staging(&site.definition.vault.url).await?;
        let vault = self.vault(site).await?;
        fail_point!("recovery::staging-files-are-removed");
        for pin in vault.pins().await? {
            vault.declare_dead(pin.saveset_id, REASON).await?;
        }
        self.bring_in_line(site).await
    }

    /// Compares again until the vault answers; what another answer will not change is only logged.
    fn look_again(self: &Arc<Self>, site: SiteRecord, error: &JobsError) {
        let fault: &dyn Fault = error;
        tracing::error!(
            site = %site.definition.site_id,
            "the vault cannot be compared with the catalog: {}",
            fault.sentence()
        );
        if !matches!(error.blame(), Blame::Vault | Blame::Busy) {
            return;
        }
        let inner = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(ASK_AGAIN).await;
                match inner.bring_in_line(&site).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::error!(site = %site.definition.site_id, "asking again: {error}")
                    }
                }
            }
        });
    }

    /// The vault says which savesets exist: those that the catalog does not know enter it, those
    /// that are gone are marked, and deletions that a crash cut short are finished.
    async fn bring_in_line(&self, site: &SiteRecord) -> Result<(), JobsError> {
        let id = &site.definition.site_id;
        let known: BTreeMap<SavesetId, SavesetRecord> = self
            .catalog
            .savesets(id, None, Page::All)
            .await?
            .rows
            .into_iter()
            .map(|record| (record.saveset_id, record))
            .collect();
        let vault = self.vault(site).await?;
        let states = vault.saveset_states().await?;
        fail_point!("recovery::savesets-are-compared");
        for (saveset, state) in &states {
            if matches!(state, SavesetState::Committed) && !known.contains_key(saveset) {
                let found = vault.open_saveset(*saveset).await?;
                self.catalog.record_saveset(&record_of(&found, id)).await?;
            }
        }
        for (saveset, record) in known {
            match states.get(&saveset) {
                Some(SavesetState::Committed) if record.is_condemned => {
                    match self.drop_condemned(&vault, id, saveset).await {
                        // It stays, and can be deleted again later.
                        Err(error @ JobsError::Vault(VaultError::StillNeeded { .. })) => {
                            tracing::error!(site = %id, %saveset, "a deletion is not finished: {error}");
                        }
                        other => other?,
                    }
                }
                Some(SavesetState::Committed) => {}
                // It may be mended from a copy of the vault; calling it gone would hide that.
                Some(SavesetState::Damaged(what)) => {
                    tracing::error!(site = %id, %saveset, "the saveset's manifest cannot be read: {what}");
                }
                // One that retention has dropped since the list was read is marked already.
                Some(SavesetState::Tombstone(_)) | None => {
                    match self.catalog.mark_deleted(id, saveset).await {
                        Ok(()) | Err(CatalogError::NoSaveset { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(())
    }
}
