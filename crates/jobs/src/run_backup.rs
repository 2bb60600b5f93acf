//! A backup execution: its attempts, and what is settled after the commit.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Ending, JobRecord, Leased, SavesetRecord, SiteRecord};
use fail::fail_point;
use model::{
    Blame, DatabaseSelection, Fault, Parent, Progress, Retry, RunEvent, RunType, SavesetId,
    ServerExecutionId, SiteId,
};
use tokio_util::sync::CancellationToken;
use vault::{DeadOrAlive, Manifest, Saveset, Vault};

use crate::connect::unless_cancelled;
use crate::report::Report;
use crate::rules::run_type::{Asked, decide};
use crate::words::sentence;
use crate::{Inner, JobsError, words};

impl Inner {
    /// Runs a backup to its end. When a run begins anew (locks were busy, the schema changed), a
    /// new attempt follows inside the execution.
    pub(crate) async fn back_up(
        self: &Arc<Self>,
        leased: &Leased,
        report: &Arc<Report>,
        cancel: &CancellationToken,
    ) -> Result<Ending, JobsError> {
        let execution = &leased.execution;
        let site = self.catalog.site(&execution.site_id).await?;
        let job = self
            .catalog
            .job(&execution.site_id, execution.job_id)
            .await?;
        let vault = unless_cancelled(cancel, self.vault(&site)).await?;
        let (run_type, reason) = decide(Asked {
            run_type: execution.run_type.unwrap_or(job.definition.backup_type),
            has_base: self.catalog.has_savesets(&execution.site_id).await?,
        });
        let started = self.clock.now();
        let mut attempt = 1;
        let saveset = loop {
            if !self
                .catalog
                .set_attempt(leased, attempt, Some(run_type))
                .await?
            {
                return Err(JobsError::LeaseLost(execution.execution_id));
            }
            fail_point!("jobs::an-attempt-has-begun");
            let id = ServerExecutionId {
                execution: execution.execution_id,
                attempt,
            };
            let input = self
                .backup_input(&site, &job, id, run_type, vault.clone(), report.clone())
                .await?;
            match self.attempt(input, leased, &vault, cancel).await {
                Ok(saveset) => break saveset,
                Err(error)
                    if (error.retry() == Retry::NewAttempt || is_gone(&job, &error))
                        && attempt < self.settings.attempts
                        && !cancel.is_cancelled() =>
                {
                    report.begin_anew();
                    report.note(format!(
                        "attempt {attempt} began anew: {}",
                        sentence(&error)
                    ));
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let keep = job.definition.no_of_retention_copies;
        let record = record_of(&saveset, &site.definition.site_id);
        fail_point!("jobs::a-saveset-is-committed");
        self.catalog.record_saveset(&record).await?;
        fail_point!("jobs::a-saveset-is-recorded");
        self.retain(
            &vault,
            &site.definition.site_id,
            job.job_id,
            keep,
            &**report,
        )
        .await;
        self.save_catalog_rows(&site, &vault, execution.execution_id, &**report)
            .await;
        Ok(self.backup_done(
            &saveset,
            &record,
            report,
            reason,
            self.clock.now().since(started),
        ))
    }

    /// One attempt. Where the store's answer to the commit stayed out, the vault is asked until it
    /// says whether the saveset is there.
    async fn attempt(
        self: &Arc<Self>,
        input: flow::BackupInput,
        leased: &Leased,
        vault: &Vault,
        cancel: &CancellationToken,
    ) -> Result<Saveset, JobsError> {
        let claimed = Arc::new(std::sync::OnceLock::<SavesetId>::new());
        let (inner, leased, claim) = (self.clone(), leased.clone(), claimed.clone());
        let on_saveset = move |saveset: SavesetId| async move {
            fail_point!("jobs::a-saveset-id-is-taken");
            if !inner.catalog.set_saveset(&leased, saveset).await? {
                return Err(JobsError::LeaseLost(leased.execution.execution_id).into());
            }
            fail_point!("jobs::a-saveset-id-is-known");
            // A cell of this attempt's own: nothing else sets it.
            claim.get_or_init(|| saveset);
            Ok(())
        };
        let error = match flow::backup(input, on_saveset, cancel.clone()).await {
            Ok(outcome) => return Ok(outcome.saveset),
            Err(error) => error,
        };
        match claimed.get() {
            Some(saveset) if error.may_be_committed() => {
                self.ask_the_vault(vault, *saveset, error.into()).await
            }
            _ => Err(error.into()),
        }
    }

    async fn ask_the_vault(
        &self,
        vault: &Vault,
        saveset: SavesetId,
        error: JobsError,
    ) -> Result<Saveset, JobsError> {
        let mut pause = Duration::from_secs(1);
        loop {
            match vault.declare_dead(saveset, &sentence(&error)).await {
                Ok(DeadOrAlive::Committed(committed)) => return Ok(*committed),
                Ok(DeadOrAlive::Dead) => return Err(error),
                Err(unknown) => {
                    tracing::error!(%saveset, "whether the saveset is there is not known yet: {unknown}")
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(30));
        }
    }

    async fn backup_input(
        &self,
        site: &SiteRecord,
        job: &JobRecord,
        id: ServerExecutionId,
        run_type: RunType,
        vault: Vault,
        report: Arc<Report>,
    ) -> Result<flow::BackupInput, JobsError> {
        let definition = &site.definition;
        let seconds = |n: u32| (n > 0).then(|| Duration::from_secs(u64::from(n)));
        Ok(flow::BackupInput {
            engine: self.registry.engine(definition.site_type)?,
            connection: self.connection(site).await?,
            databases: self.selected(site, job, &*report).await?,
            options: flow::BackupOptions {
                online: job.definition.online,
                streams: usize::try_from(definition.soft_limit).unwrap_or(usize::MAX),
                server_execution_id: id,
                yield_to_ddl: seconds(job.definition.yield_to_ddl_seconds),
                max_snapshot: seconds(definition.max_snapshot_minutes.saturating_mul(60)),
                skip_without_rights: job.definition.continue_on_access_right_violation,
                progress: report,
            },
            vault,
            job: flow::JobFacts {
                job_id: job.job_id,
                job_name: job.definition.name.clone(),
                site_id: definition.site_id.clone(),
                site_type: definition.site_type,
            },
            run_type,
            base: None,
            beats: Vec::new(),
            start: self.clock.now(),
            clock: self.clock.clone(),
            limits: self.site_streams(&definition.site_id, definition.hard_limit),
        })
    }

    /// What the job selects, by database. DBC is what the site has now.
    async fn selected(
        &self,
        site: &SiteRecord,
        job: &JobRecord,
        progress: &dyn Progress,
    ) -> Result<Vec<DatabaseSelection>, JobsError> {
        let selection = &job.definition.selection;
        let mut live = Vec::new();
        if selection.needs_the_list() {
            let engine = self.registry.engine(site.definition.site_type)?;
            let connection = self.connection(site).await?;
            let browsed = engine.browse(&connection, &Parent::Root).await?;
            live = browsed.into_iter().map(|database| database.name).collect();
            for missing in selection.unmatched_databases(&live) {
                let warning = format!("the site has no {missing}: leaving it out changed nothing");
                progress.warning(warning);
            }
        }
        Ok(selection.by_database(&live)?)
    }

    fn backup_done(
        &self,
        saveset: &Saveset,
        record: &SavesetRecord,
        report: &Report,
        reason: &str,
        took: Duration,
    ) -> Ending {
        let mut detail = format!("{reason}: {}", told(saveset.manifest(), record, took));
        for note in report.notes() {
            detail.push_str("; ");
            detail.push_str(&note);
        }
        let event = match report.has_warnings() {
            true => RunEvent::SucceedWithWarnings,
            false => RunEvent::Succeed,
        };
        Ending {
            run_type: Some(record.run_type),
            saveset: Some(record.saveset_id),
            backup_set_size: record.backup_set_size,
            bytes_stored: record.bytes_stored,
            ..Ending::because(event, detail)
        }
    }
}

/// Whether a database of the whole site was dropped after the site had listed it: a new attempt
/// lists again.
fn is_gone(job: &JobRecord, error: &JobsError) -> bool {
    job.definition.selection.needs_the_list() && error.blame() == Blame::Missing
}

/// `12 objects in 8 tables, 1.2 GB read, 300.0 MB stored, in 12 s (100.0 MB/s)`, with the number of
/// databases before it where they are several.
fn told(manifest: &Manifest, record: &SavesetRecord, took: Duration) -> String {
    let contents = &manifest.contents;
    let read: u64 = contents.tables().map(|table| table.plain_bytes).sum();
    let databases = match contents.databases.len() {
        1 => String::new(),
        several => format!("{}, ", words::count(several as u64, "database")),
    };
    format!(
        "{databases}{} in {}, {} read, {} stored, in {} ({}/s)",
        words::count(contents.objects().count() as u64, "object"),
        words::count(contents.tables().count() as u64, "table"),
        words::bytes(read),
        words::bytes(record.bytes_stored),
        words::duration(took),
        words::bytes(words::speed(read, took)),
    )
}

/// A saveset as the catalog keeps it, from what its manifest says. The manifest's site is the one
/// that made it; where that was adopted under another id, it is in the vault of `site` all the same.
pub(crate) fn record_of(saveset: &Saveset, site: &SiteId) -> SavesetRecord {
    let manifest = saveset.manifest();
    let contents = &manifest.contents;
    SavesetRecord {
        site_id: site.clone(),
        saveset_id: saveset.id(),
        job_id: contents.job_id,
        job_name: contents.job_name.clone(),
        execution_id: contents.execution.execution,
        run_type: contents.run_type,
        start_time: contents.start,
        end_time: contents.end,
        backup_set_size: saveset.bytes_referred(),
        bytes_stored: manifest.bytes_stored,
        is_retained: false,
        version: 1,
        is_condemned: false,
        is_damaged: false,
        verification: None,
    }
}
