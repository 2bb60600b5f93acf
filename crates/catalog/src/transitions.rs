//! How executions end.

use model::{
    ExecutionId, ExecutionStatus, IllegalTransition, Moment, PhaseStatus, RunEvent, RunType, next,
};

use crate::database::Connection;
use crate::enqueue::requeue;
use crate::progress::save_notes;
use crate::savesets::put_saveset;
use crate::stored::{as_i64, from_json, to_json, word_from};
use crate::{Catalog, CatalogError, Lease, PhaseRecord, ProgressSnapshot, SavesetRecord};

/// What an execution leaves behind. What is `None` stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// `status_detail`: a sentence for a person.
    pub detail: String,
    /// The last state of the run; its own `detail` is not looked at.
    pub progress: Option<ProgressSnapshot>,
    /// The saveset that a backup has committed; it enters the catalog together with the status.
    pub saveset: Option<SavesetRecord>,
    /// In bytes; with a saveset, that one's.
    pub backup_set_size: Option<u64>,
    /// What the run became.
    pub run_type: Option<RunType>,
    /// How a DELTA found what has changed.
    pub changed_blocks_source: Option<String>,
}

impl Ending {
    /// An ending with nothing but a sentence.
    pub fn because(detail: impl Into<String>) -> Self {
        Ending {
            detail: detail.into(),
            ..Ending::default()
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
    /// [`CatalogError::Illegal`] if `event` is no ending of what it is.
    pub async fn finish(
        &self,
        lease: &Lease,
        event: RunEvent,
        ending: &Ending,
    ) -> Result<Option<ExecutionStatus>, CatalogError> {
        let mut tx = self.database().begin().await?;
        let before = before(&mut tx, lease.execution_id).await?;
        let held = before.lease_owner.as_deref() == Some(lease.node.as_str())
            && before.lease_epoch == lease.epoch;
        if !held {
            return Ok(None);
        }
        let status = end(
            &mut tx,
            lease.execution_id,
            before,
            event,
            ending,
            self.now(),
        )
        .await?;
        tx.commit().await?;
        Ok(Some(status))
    }

    /// Ends an execution whose run is dead or that never ran, whoever holds its lease: that lease
    /// is lost by it. With `requeue` (the detail of the new one) a new execution of the same job
    /// is queued in the same step, unless the job has been deleted.
    ///
    /// # Errors
    /// [`CatalogError::NoExecution`]; [`CatalogError::Illegal`] if `event` is no ending of what
    /// it is, also when it has ended already.
    pub async fn settle(
        &self,
        execution: ExecutionId,
        event: RunEvent,
        ending: &Ending,
        requeue_detail: Option<&str>,
    ) -> Result<Settled, CatalogError> {
        let mut tx = self.database().begin().await?;
        let before = before(&mut tx, execution).await?;
        let status = end(&mut tx, execution, before, event, ending, self.now()).await?;
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
    /// [`CatalogError::NoExecution`], [`CatalogError::ExecutionEnded`].
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
            let ending = Ending::because(why);
            end(
                &mut tx,
                execution,
                before,
                RunEvent::AskAbort,
                &ending,
                self.now(),
            )
            .await?;
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
    row.ok_or(CatalogError::NoExecution(execution))
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
    event: RunEvent,
    ending: &Ending,
    now: Moment,
) -> Result<ExecutionStatus, CatalogError> {
    let from = before.status()?;
    let to = step(execution, from, event)?;
    if !to.is_final() {
        let step = IllegalTransition { from, event };
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
    let size = ending
        .saveset
        .as_ref()
        .map(|saveset| saveset.backup_set_size);
    let changed = sqlx::query(
        "UPDATE execution
         SET status = $1, status_detail = $2, end_time = $3,
             order_time = COALESCE(start_time, $3), phases = $4,
             run_type = COALESCE($5, run_type),
             changed_blocks_source = COALESCE($6, changed_blocks_source),
             backup_set_size = COALESCE($7, backup_set_size),
             bytes_read = COALESCE($8, bytes_read), bytes_stored = COALESCE($9, bytes_stored),
             saveset_id = COALESCE($10, saveset_id),
             lease_owner = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1
         WHERE execution_id = $11 AND status = $12 AND lease_epoch = $13",
    )
    .bind(to.to_string())
    .bind(&ending.detail)
    .bind(end_time.as_micros())
    .bind(to_json("the phases", &ended_phases(phases, to, end_time))?)
    .bind(ending.run_type.map(|run_type| run_type.to_string()))
    .bind(&ending.changed_blocks_source)
    .bind(size.or(ending.backup_set_size).map(as_i64))
    .bind(
        ending
            .progress
            .as_ref()
            .map(|progress| as_i64(progress.bytes_read)),
    )
    .bind(
        ending
            .progress
            .as_ref()
            .map(|progress| as_i64(progress.bytes_stored)),
    )
    .bind(
        ending
            .saveset
            .as_ref()
            .map(|saveset| saveset.saveset_id.get()),
    )
    .bind(execution.get())
    .bind(from.to_string())
    .bind(before.lease_epoch)
    .execute(&mut *tx)
    .await?;
    if changed.rows_affected() != 1 {
        return Err(CatalogError::Busy(
            "end an execution that somebody else is changing",
        ));
    }
    if let Some(progress) = &ending.progress {
        save_notes(tx, execution, progress).await?;
    }
    if let Some(saveset) = &ending.saveset {
        put_saveset(tx, saveset).await?;
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
