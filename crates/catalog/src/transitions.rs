//! How executions end.

use model::{
    ExecutionId, ExecutionStatus, IllegalTransition, JobType, Moment, PhaseStatus, RunEvent,
    RunType, SavesetId, next,
};

use crate::database::Connection;
use crate::enqueue::requeue;
use crate::executions::execution_record;
use crate::progress::WrittenNotes;
use crate::savesets::put_made_saveset;
use crate::stored::{as_i64, from_json, to_json, word_from};
use crate::{
    Catalog, CatalogError, ChangedIn, Leased, PhaseRecord, ProgressSnapshot, SavesetRecord,
};

/// How an execution ends, and what it leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// What happened.
    pub event: RunEvent,
    /// `status_detail`: a sentence for a person.
    pub detail: String,
    /// What the run became; `None`: as it was.
    pub run_type: Option<RunType>,
    /// The saveset that a backup has committed; it enters the list of savesets together with the
    /// status, with the sizes below. A restore has had its saveset from the start.
    pub saveset: Option<SavesetId>,
    /// See [`Execution::backup_set_size`](crate::Execution::backup_set_size).
    pub backup_set_size: u64,
    /// New bytes in the vault.
    pub bytes_stored: u64,
    /// See [`Execution::changed_blocks`](crate::Execution::changed_blocks).
    pub changed_blocks: Vec<ChangedIn>,
    /// The last state of the run; `None`: as it was saved last. Its `detail` is not looked at.
    pub progress: Option<ProgressSnapshot>,
}

impl Ending {
    /// An ending that leaves nothing but a sentence.
    pub fn because(event: RunEvent, detail: impl Into<String>) -> Self {
        Ending {
            event,
            detail: detail.into(),
            run_type: None,
            saveset: None,
            backup_set_size: 0,
            bytes_stored: 0,
            changed_blocks: Vec::new(),
            progress: None,
        }
    }
}

/// What became of an execution that was ended without its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// How it ended.
    pub status: ExecutionStatus,
    /// The new execution that does its work again.
    pub requeued: Option<ExecutionId>,
}

/// An execution's row as the transition finds it.
#[derive(sqlx_macros::FromRow)]
struct Before {
    status: String,
    start_time: Option<i64>,
    phases: String,
    lease_owner: Option<String>,
    lease_epoch: i64,
}

impl Catalog {
    /// Ends an execution by whoever runs it. `None`: the lease is lost, and nothing was written.
    ///
    /// # Errors
    /// [`CatalogError::Illegal`] if what happened is no ending of what it is.
    pub async fn finish(
        &self,
        leased: &Leased,
        ending: &Ending,
    ) -> Result<Option<ExecutionStatus>, CatalogError> {
        let mut tx = self.database().begin().await?;
        let execution = leased.execution.execution_id;
        let before = before(&mut tx, execution).await?;
        let held = before.lease_owner.as_deref() == Some(self.node_id())
            && before.lease_epoch == leased.epoch;
        if !held {
            return Ok(None);
        }
        let status = end(&mut tx, execution, before, ending, self.now()).await?;
        tx.commit().await?;
        Ok(Some(status))
    }

    /// Ends an execution whose run is dead or that never ran, whoever holds its lease: that lease
    /// is lost by it. With `requeue` (the detail of the new one) a new execution of the same job
    /// is queued in the same step, unless the job has been deleted.
    ///
    /// # Errors
    /// [`CatalogError::UnknownExecution`]; [`CatalogError::Illegal`] if what happened is no
    /// ending of what it is, also when it has ended already.
    pub async fn settle(
        &self,
        execution: ExecutionId,
        ending: &Ending,
        requeue_detail: Option<&str>,
    ) -> Result<Settled, CatalogError> {
        let mut tx = self.database().begin().await?;
        let before = before(&mut tx, execution).await?;
        let status = end(&mut tx, execution, before, ending, self.now()).await?;
        let requeued = match requeue_detail {
            Some(detail) => requeue(&mut tx, execution, detail, self.now()).await?,
            None => None,
        };
        tx.commit().await?;
        Ok(Settled { status, requeued })
    }

    /// Asks an execution to stop. One that is QUEUED is ABORTED at once; one that is RUNNING
    /// becomes ABORTING, and whoever runs it has to look. Asking again changes nothing.
    ///
    /// # Errors
    /// [`CatalogError::UnknownExecution`], [`CatalogError::ExecutionEnded`].
    pub async fn request_abort(
        &self,
        execution: ExecutionId,
        why: &str,
    ) -> Result<ExecutionStatus, CatalogError> {
        let mut tx = self.database().begin().await?;
        let before = before(&mut tx, execution).await?;
        let from = before.status()?;
        if from.is_final() {
            return Err(CatalogError::ExecutionEnded {
                execution,
                status: from,
            });
        }
        if from == ExecutionStatus::Aborting {
            return Ok(from);
        }
        let to = step(execution, from, RunEvent::AskAbort)?;
        if to.is_final() {
            let ending = Ending::because(RunEvent::AskAbort, why);
            end(&mut tx, execution, before, &ending, self.now()).await?;
        } else {
            sqlx::query(
                "UPDATE execution SET status = $1, status_detail = $2
                 WHERE execution_id = $3 AND status = $4",
            )
            .bind(to.to_string())
            .bind(why)
            .bind(execution.get())
            .bind(from.to_string())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(to)
    }
}

impl Before {
    fn status(&self) -> Result<ExecutionStatus, CatalogError> {
        word_from("status", &self.status)
    }
}

async fn before(tx: &mut Connection, execution: ExecutionId) -> Result<Before, CatalogError> {
    let row: Option<Before> = sqlx::query_as(
        "SELECT status, start_time, phases, lease_owner, lease_epoch
         FROM execution WHERE execution_id = $1",
    )
    .bind(execution.get())
    .fetch_optional(tx)
    .await?;
    row.ok_or(CatalogError::UnknownExecution(execution))
}

fn step(
    execution: ExecutionId,
    from: ExecutionStatus,
    event: RunEvent,
) -> Result<ExecutionStatus, CatalogError> {
    next(from, event).map_err(|step| CatalogError::Illegal { execution, step })
}

/// Writes the end of an execution and what it leaves.
async fn end(
    tx: &mut Connection,
    execution: ExecutionId,
    before: Before,
    ending: &Ending,
    now: Moment,
) -> Result<ExecutionStatus, CatalogError> {
    let from = before.status()?;
    let to = step(execution, from, ending.event)?;
    if !to.is_final() {
        let step = IllegalTransition {
            from,
            event: ending.event,
        };
        return Err(CatalogError::Illegal { execution, step });
    }
    // A clock that was set back must not end a run before it began.
    let end_time = before
        .start_time
        .map_or(now, |start| now.max(Moment::from_micros(start)));
    let phases = match &ending.progress {
        Some(progress) => progress.phases.clone(),
        None => from_json("the phases", &before.phases)?,
    };
    let changed = sqlx::query(
        "UPDATE execution
         SET status = $1, status_detail = $2, end_time = $3,
             order_time = COALESCE(start_time, $3), phases = $4,
             run_type = COALESCE($5, run_type), backup_set_size = $6, bytes_stored = $7,
             bytes_read = COALESCE($8, bytes_read), saveset_id = COALESCE($9, saveset_id),
             changed_blocks = $13,
             lease_owner = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1
         WHERE execution_id = $10 AND status = $11 AND lease_epoch = $12",
    )
    .bind(to.to_string())
    .bind(&ending.detail)
    .bind(end_time.as_micros())
    .bind(to_json("the phases", &ended_phases(phases, to, end_time))?)
    .bind(ending.run_type.map(|run_type| run_type.to_string()))
    .bind(as_i64(ending.backup_set_size))
    .bind(as_i64(ending.bytes_stored))
    .bind(
        ending
            .progress
            .as_ref()
            .map(|progress| as_i64(progress.bytes_read)),
    )
    .bind(ending.saveset.map(SavesetId::get))
    .bind(execution.get())
    .bind(from.to_string())
    .bind(before.lease_epoch)
    .bind(to_json(
        "how changed blocks were found",
        &ending.changed_blocks,
    )?)
    .execute(&mut *tx)
    .await?;
    if changed.rows_affected() != 1 {
        return Err(CatalogError::Busy(
            "end an execution that somebody else is changing",
        ));
    }
    if let Some(progress) = &ending.progress {
        WrittenNotes::of(progress)?.save(tx, execution).await?;
    }
    if let Some(saveset) = ending.saveset {
        let execution = execution_record(tx, execution).await?;
        if execution.job_type == JobType::Backup {
            put_made_saveset(tx, &SavesetRecord::of(&execution, saveset)).await?;
        }
    }
    Ok(to)
}

/// A phase that never ended takes the status of its execution.
fn ended_phases(
    mut phases: Vec<PhaseRecord>,
    status: ExecutionStatus,
    end_time: Moment,
) -> Vec<PhaseRecord> {
    use ExecutionStatus as S;
    let status = match status {
        S::Successful | S::CompletedWithWarnings | S::CompletedWithErrors => {
            PhaseStatus::Successful
        }
        S::Aborted => PhaseStatus::Aborted,
        S::Failed | S::Skipped | S::Queued | S::Running | S::Aborting => PhaseStatus::Failed,
    };
    for phase in phases
        .iter_mut()
        .filter(|phase| phase.status == PhaseStatus::Running)
    {
        phase.status = status;
        phase.end_time = Some(end_time.max(phase.start_time));
    }
    phases
}
