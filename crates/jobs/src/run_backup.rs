//! A backup execution: its attempts, and what is settled after the commit.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Attempt, Begun, Ending, JobRecord, Leased, SavesetRecord, SiteRecord};
use fail::fail_point;
use flow::FlowError;
use model::{
    Blame, DatabaseSelection, Fault, Parent, Progress, Retry, RunEvent, SavesetId,
    ServerExecutionId, SiteId,
};
use tokio_util::sync::CancellationToken;
use vault::{DeadOrAlive, Manifest, Saveset, Vault};

use crate::build_on::{Candidate, Course, changed_in, how_found};
use crate::connect::unless_cancelled;
use crate::report::Report;
use crate::rules::run_type::Flaw;
use crate::words::sentence;
use crate::{Inner, JobsError, words};

/// What all attempts of a backup have in common.
struct BackupRun<'a> {
    leased: &'a Leased,
    site: &'a SiteRecord,
    job: &'a JobRecord,
    vault: &'a Vault,
    report: &'a Arc<Report>,
    cancel: &'a CancellationToken,
}

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
        let started = self.clock.now();
        let run = BackupRun {
            leased,
            site: &site,
            job: &job,
            vault: &vault,
            report,
            cancel,
        };
        let (saveset, reason) = self.all_attempts(&run).await?;
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
        let took = self.clock.now().since(started);
        Ok(backup_done(&saveset, &record, report, &reason, took))
    }

    /// Attempts until one has committed: its saveset, and why it became what it is.
    async fn all_attempts(
        self: &Arc<Self>,
        run: &BackupRun<'_>,
    ) -> Result<(Saveset, String), JobsError> {
        let execution = &run.leased.execution;
        let asked = execution.run_type;
        let (mut number, mut found_out) = (1, None);
        loop {
            let databases = self.selected(run.site, run.job, &**run.report).await?;
            let candidate = Candidate {
                site: run.site,
                job: run.job,
                vault: run.vault,
                run_type: asked.unwrap_or(run.job.definition.backup_type),
                databases: &databases,
                found_out: found_out.as_ref(),
            };
            let course = unless_cancelled(run.cancel, self.course(&candidate)).await?;
            match self.begin(run, number, &course).await? {
                Begun::Yes => {}
                // Deleted since it was looked at: now another one is the newest, or none.
                Begun::BaseGone => continue,
                Begun::LeaseLost => return Err(JobsError::LeaseLost(execution.execution_id)),
            }
            fail_point!("jobs::an-attempt-has-begun");
            let base = course.base.as_ref().map(Saveset::id);
            let reason = course.decision.reason.clone();
            let input = self
                .backup_input(run, number, course, databases.clone())
                .await?;
            let error = match self.attempt(input, run.leased, run.vault, run.cancel).await {
                Ok(saveset) => return Ok((saveset, reason)),
                Err(error) => error,
            };
            if run.cancel.is_cancelled() {
                return Err(error);
            }
            let flaw = match (&error, base) {
                (JobsError::Flow(FlowError::BaseDamaged { fault, .. }), Some(base)) => {
                    let flaw = self.flaw_of(&candidate, base, &**fault).await?;
                    let what = Some(fault.sentence());
                    // Whatever it is, nothing can be built on it now.
                    Some((base, flaw.unwrap_or(Flaw::FailedItsCheck { what })))
                }
                _ => None,
            };
            let anew = error.retry() == Retry::NewAttempt || is_gone(run.job, &error);
            let again = anew && number < self.settings.attempts;
            if flaw.is_none() && !again {
                return Err(error);
            }
            run.report.begin_anew();
            run.report
                .note(format!("attempt {number} began anew: {}", sentence(&error)));
            number += 1;
            found_out = flaw.or(found_out);
        }
    }

    async fn begin(
        &self,
        run: &BackupRun<'_>,
        number: u32,
        course: &Course,
    ) -> Result<Begun, JobsError> {
        let decision = &course.decision;
        let attempt = Attempt {
            number,
            run_type: decision.run_type,
            reason: decision.reason.clone(),
            base: decision.base,
            made_with: serde_json::to_string(&course.made_with)?,
        };
        Ok(self.catalog.begin_attempt(run.leased, &attempt).await?)
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
        run: &BackupRun<'_>,
        attempt: u32,
        course: Course,
        databases: Vec<DatabaseSelection>,
    ) -> Result<flow::BackupInput, JobsError> {
        let definition = &run.site.definition;
        let job = run.job;
        let seconds = |n: u32| (n > 0).then(|| Duration::from_secs(u64::from(n)));
        Ok(flow::BackupInput {
            engine: self.registry.engine(definition.site_type)?,
            connection: self.connection(run.site).await?,
            databases,
            options: flow::BackupOptions {
                online: job.definition.online,
                streams: usize::try_from(definition.soft_limit).unwrap_or(usize::MAX),
                server_execution_id: ServerExecutionId {
                    execution: run.leased.execution.execution_id,
                    attempt,
                },
                yield_to_ddl: seconds(job.definition.yield_to_ddl_seconds),
                max_snapshot: seconds(definition.max_snapshot_minutes.saturating_mul(60)),
                skip_without_rights: job.definition.continue_on_access_right_violation,
                progress: run.report.clone(),
            },
            vault: run.vault.clone(),
            job: flow::JobFacts {
                job_id: job.job_id,
                job_name: job.definition.name.clone(),
                site_id: definition.site_id.clone(),
                site_type: definition.site_type,
            },
            run_type: course.decision.run_type,
            base: course.base,
            beats: self.catalog.beats(&definition.site_id).await?,
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
}

fn backup_done(
    saveset: &Saveset,
    record: &SavesetRecord,
    report: &Report,
    reason: &str,
    took: Duration,
) -> Ending {
    let changed_blocks = changed_in(saveset);
    let found = how_found(&changed_blocks);
    let found = found.map_or_else(String::new, |found| format!(", {found}"));
    let mut detail = format!(
        "{reason}{found}: {}",
        told(saveset.manifest(), record, took)
    );
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
        changed_blocks,
        ..Ending::because(event, detail)
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
    let read = contents.was_read();
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
