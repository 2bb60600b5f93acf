//! A restore execution.

use std::sync::Arc;

use catalog::{Ending, Execution, ExecutionFilter, Leased, Page};
use fail::fail_point;
use model::{ObjectName, RunEvent, ServerExecutionId, SiteType};
use tokio_util::sync::CancellationToken;

use crate::connect::unless_cancelled;
use crate::report::Report;
use crate::{Inner, JobsError, lock, words};

impl Inner {
    /// Runs a restore to its end.
    pub(crate) async fn bring_back(
        self: &Arc<Self>,
        leased: &Leased,
        report: &Arc<Report>,
        cancel: &CancellationToken,
    ) -> Result<Ending, JobsError> {
        let execution = &leased.execution;
        let job = self
            .catalog
            .job(&execution.site_id, execution.job_id)
            .await?;
        let definition = job.definition;
        let settings = definition
            .restore
            .ok_or(JobsError::NoRestoreSettings(job.job_id))?;
        let selection = &definition.selection;
        let prepared = self.prepare_restore(&execution.site_id, selection, &settings);
        let prepared = unless_cancelled(cancel, prepared).await?;
        let credentials = lock(&self.credentials)
            .get(&execution.execution_id)
            .cloned();
        let credentials = prepared.credentials(credentials)?;
        if !self.catalog.set_attempt(leased, 1, None).await? {
            return Err(JobsError::LeaseLost(execution.execution_id));
        }
        let id = ServerExecutionId {
            execution: execution.execution_id,
            attempt: 1,
        };
        let earlier = self.earlier_runs(execution).await?;
        let input = self
            .restore_input(
                &prepared,
                &settings,
                credentials,
                id,
                earlier,
                report.clone(),
            )
            .await?;
        let started = self.clock.now();
        fail_point!("jobs::a-restore-has-begun");
        let outcome = flow::restore(input, cancel.clone()).await?;
        fail_point!("jobs::a-restore-is-published");
        let took = self.clock.now().since(started);
        let unit = match execution.site_type {
            SiteType::Postgresql => "row",
            SiteType::Sqlite => "page",
        };
        let published = outcome.published.iter();
        let names: Vec<ObjectName> = published.map(|one| one.database.clone()).collect();
        let mut detail = format!(
            "Restored as {}: {}, {} read, in {} ({}/s)",
            words::list(&names),
            words::count(outcome.rows, unit),
            words::bytes(outcome.bytes_read),
            words::duration(took),
            words::bytes(words::speed(outcome.bytes_read, took)),
        );
        let kept = outcome.published.iter();
        let kept: Vec<ObjectName> = kept.filter_map(|one| one.kept.clone()).collect();
        if !kept.is_empty() {
            let kept = words::list(&kept);
            detail.push_str(&format!("; what stood there before is kept as {kept}"));
        }
        for note in report.notes().iter().chain(&outcome.errors) {
            detail.push_str("; ");
            detail.push_str(note);
        }
        let event = match (outcome.errors.is_empty(), report.has_warnings()) {
            (false, _) => RunEvent::SucceedWithErrors,
            (true, true) => RunEvent::SucceedWithWarnings,
            (true, false) => RunEvent::Succeed,
        };
        Ok(Ending {
            backup_set_size: outcome.bytes_read,
            ..Ending::because(event, detail)
        })
    }

    /// The newest runs of the same restore before this one; a crash may have left something of
    /// them.
    async fn earlier_runs(
        &self,
        execution: &Execution,
    ) -> Result<Vec<ServerExecutionId>, JobsError> {
        let filter = ExecutionFilter::of_job(&execution.site_id, execution.job_id);
        let newest = Page::Numbered {
            number: 1,
            size: 20,
        };
        let runs = self.catalog.executions(&filter, newest).await?.rows;
        let others = runs
            .iter()
            .filter(|run| run.execution_id != execution.execution_id);
        Ok(others.filter_map(Execution::server_execution_id).collect())
    }
}
