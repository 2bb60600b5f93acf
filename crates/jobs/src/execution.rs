//! One execution, from the moment it is taken to its final status.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Ending, Execution, Leased};
use fail::fail_point;
use model::{ExecutionStatus, Fault, JobType, Moment, PhaseStatus, RunEvent};
use tokio::task::JoinHandle;

use crate::report::Report;
use crate::words::sentence;
use crate::{Inner, JobsError, Running, StopReason, lock, words};

/// How often progress is written and the deadline looked at.
const TEND_EVERY: Duration = Duration::from_millis(500);

impl Inner {
    /// Runs an execution that was taken, and writes down what became of it.
    pub(crate) async fn see_through(self: Arc<Self>, leased: Leased, running: Running) {
        let id = leased.execution.execution_id;
        let report = Arc::new(Report::new(self.clock.clone(), leased.execution.job_type));
        let work = {
            let (inner, leased) = (self.clone(), leased.clone());
            let (report, cancel) = (report.clone(), running.cancel.clone());
            tokio::spawn(async move {
                match leased.execution.job_type {
                    JobType::Backup => inner.back_up(&leased, &report, &cancel).await,
                    JobType::Restore => inner.bring_back(&leased, &report, &cancel).await,
                }
            })
        };
        let outcome = self.tend(&leased, &report, work).await;
        let why = lock(&running.why).clone();
        if why != Some(StopReason::LostLease) {
            let ending = judge(outcome, why.as_ref(), &leased.execution);
            self.write_down(&leased, &report, ending, why == Some(StopReason::Shutdown))
                .await;
        }
        lock(&self.credentials).remove(&id);
        lock(&self.running).remove(&id);
        self.wake.notify_one();
    }

    /// Waits for the work, and meanwhile writes its progress, renews the lease and minds the
    /// deadline of the auto abort.
    async fn tend(
        &self,
        leased: &Leased,
        report: &Report,
        mut work: JoinHandle<Result<Ending, JobsError>>,
    ) -> Result<Ending, String> {
        let deadline = self.auto_abort_at(leased).await;
        let mut tick = tokio::time::interval(TEND_EVERY);
        let mut renewed = self.clock.now();
        loop {
            tokio::select! {
                ended = &mut work => return match ended {
                    Ok(result) => result.map_err(|error| sentence(&error)),
                    Err(panic) => Err(format!("a mistake of Backstay's ended the run: {panic}")),
                },
                _ = tick.tick() => {}
            }
            let now = self.clock.now();
            if now.since(renewed) * 3 > self.settings.lease {
                self.renew(leased, now).await;
                renewed = now;
            }
            if let Some(snapshot) = report.snapshot_if_changed()
                && let Err(error) = self.catalog.save_progress(leased, &snapshot).await
            {
                tracing::error!(execution = %leased.execution.execution_id, "progress was not written: {error}");
            }
            if let Some((at, minutes)) = deadline
                && now >= at
            {
                self.auto_abort(leased, minutes).await;
            }
        }
    }

    async fn renew(&self, leased: &Leased, now: Moment) {
        match self
            .catalog
            .renew(leased, now.plus(self.settings.lease))
            .await
        {
            Ok(true) => {}
            Ok(false) => self.stop(leased.execution.execution_id, StopReason::LostLease),
            Err(error) => tracing::error!("a lease was not renewed: {error}"),
        }
    }

    async fn auto_abort_at(&self, leased: &Leased) -> Option<(Moment, u32)> {
        let execution = &leased.execution;
        let job = match self.catalog.job(&execution.site_id, execution.job_id).await {
            Ok(job) => job.definition,
            // The run itself meets the same error, and ends by it.
            Err(_) => return None,
        };
        let minutes = job.auto_abort_in_minutes;
        let started = execution.start_time.unwrap_or_else(|| self.clock.now());
        job.is_auto_abort_active.then(|| {
            (
                started.plus(Duration::from_secs(60 * u64::from(minutes))),
                minutes,
            )
        })
    }

    async fn auto_abort(&self, leased: &Leased, minutes: u32) {
        let id = leased.execution.execution_id;
        if lock(&self.running)
            .get(&id)
            .is_some_and(|running| running.cancel.is_cancelled())
        {
            return;
        }
        let limit = words::count(u64::from(minutes), "minute");
        let why = format!("Aborted automatically, because it ran longer than {limit}");
        match self.catalog.request_abort(id, &why).await {
            Ok(_) => self.stop(id, StopReason::Abort(why)),
            Err(error) => {
                tracing::error!(execution = %id, "the auto abort failed and is tried again: {error}")
            }
        }
    }

    /// Writes the end into the catalog, and does not give up at once: a full disk or a busy file
    /// passes. What it cannot write in the end is decided anew when the server starts again.
    async fn write_down(
        &self,
        leased: &Leased,
        report: &Report,
        mut ending: Ending,
        shutdown: bool,
    ) {
        let unfinished = match ending.event {
            RunEvent::Released => Some(PhaseStatus::Aborted),
            RunEvent::Fail => Some(PhaseStatus::Failed),
            _ => None,
        };
        ending.progress = Some(report.final_snapshot(unfinished));
        fail_point!("jobs::a-run-is-over");
        let mut pause = Duration::from_millis(200);
        for _ in 0..12 {
            match self.end(leased, &ending, shutdown).await {
                Ok(Some(status)) => {
                    fail_point!("jobs::an-end-is-written-down");
                    return log_end(&leased.execution, status, &ending.detail);
                }
                Ok(None) => {
                    return tracing::error!(
                        execution = %leased.execution.execution_id,
                        "the lease was lost: somebody else has decided what became of the execution"
                    );
                }
                Err(error) if error.code() == "illegal-transition" => {
                    return tracing::error!(execution = %leased.execution.execution_id, "{error}");
                }
                Err(error) => tracing::error!(
                    execution = %leased.execution.execution_id,
                    "the end of the execution was not written, trying again: {error}"
                ),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(30));
        }
    }

    /// A backup that a shutdown stopped is queued again in the same step that ends it.
    async fn end(
        &self,
        leased: &Leased,
        ending: &Ending,
        shutdown: bool,
    ) -> Result<Option<ExecutionStatus>, catalog::CatalogError> {
        let execution = &leased.execution;
        let again =
            shutdown && ending.event == RunEvent::Fail && execution.job_type == JobType::Backup;
        if again {
            let detail = format!(
                "Queued again: the server was shut down during execution {}",
                execution.execution_id
            );
            let settled = self
                .catalog
                .settle(execution.execution_id, ending, Some(&detail))
                .await?;
            return Ok(Some(settled.status));
        }
        self.catalog.finish(leased, ending).await
    }
}

/// What the end of the work means. A run that reached its end has succeeded, whatever was asked of
/// it in the last moment: its manifest is there.
fn judge(
    outcome: Result<Ending, String>,
    why: Option<&StopReason>,
    execution: &Execution,
) -> Ending {
    match (outcome, why) {
        (Ok(done), _) => done,
        (Err(_), Some(StopReason::Abort(why))) => Ending::because(RunEvent::Released, why),
        (Err(_), Some(StopReason::Shutdown)) => Ending::because(
            RunEvent::Fail,
            match execution.job_type {
                JobType::Backup => {
                    "The server was shut down while this ran; the backup is queued again".to_owned()
                }
                JobType::Restore => {
                    words::continue_restore(execution, "was shut down while this restore ran")
                }
            },
        ),
        (Err(error), _) => Ending::because(RunEvent::Fail, error),
    }
}

fn log_end(execution: &Execution, status: ExecutionStatus, detail: &str) {
    let (id, site, job) = (execution.execution_id, &execution.site_id, execution.job_id);
    let detail = words::one_line(detail);
    match status {
        ExecutionStatus::Failed => tracing::error!(%id, %site, %job, %status, "{detail}"),
        _ => tracing::info!(%id, %site, %job, %status, "{detail}"),
    }
}
