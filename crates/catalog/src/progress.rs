//! What a run says while it runs.

use model::{ExecutionId, Moment, Phase, PhaseStatus, RunType, SavesetId, SkippedObject};
use serde::{Deserialize, Serialize};

use crate::database::Connection;
use crate::stored::{as_i64, from_json, to_json};
use crate::{Catalog, CatalogError, Lease};

/// How far a phase of an execution is, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Which one.
    pub phase: Phase,
    /// Whether it has ended, and how.
    pub status: PhaseStatus,
    /// Objects that are done.
    pub objects_done: u64,
    /// Objects that there are; 0 while that is not known.
    pub objects_total: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// When it began.
    pub start_time: Moment,
    /// When it ended.
    pub end_time: Option<Moment>,
}

/// The state of a run, as of now. Each snapshot replaces the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// The phases that have begun, in their order.
    pub phases: Vec<PhaseRecord>,
    /// Bytes read from the database (a restore: from the vault).
    pub bytes_read: u64,
    /// New bytes in the vault.
    pub bytes_stored: u64,
    /// Things that a person should look at. This list and the next only grow within a run.
    pub warnings: Vec<String>,
    /// Objects left out.
    pub skipped: Vec<SkippedObject>,
    /// `status_detail`: a sentence for a person. Not written once an abort was asked for: then
    /// who asked stays visible.
    pub detail: String,
}

/// What an execution has to say beside its numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Things that a person should look at.
    pub warnings: Vec<String>,
    /// Objects left out.
    pub skipped: Vec<SkippedObject>,
}

impl Catalog {
    /// The run begins (anew) inside its execution: attempt 1 is counted by `take_next` already.
    /// What it becomes, FULL or DELTA, is known here; what the attempt before had claimed and
    /// counted is forgotten. `false`: the lease is lost.
    pub async fn set_attempt(
        &self,
        lease: &Lease,
        attempt: u32,
        run_type: Option<RunType>,
        detail: &str,
    ) -> Result<bool, CatalogError> {
        let mut tx = self.database().begin().await?;
        let changed = sqlx::query(
            "UPDATE execution
             SET attempt = $1, run_type = COALESCE($2, run_type), claimed_saveset = NULL,
                 phases = '[]', bytes_read = 0, bytes_stored = 0, warning_count = 0,
                 skipped_count = 0,
                 status_detail = CASE WHEN status = 'RUNNING' THEN $3 ELSE status_detail END
             WHERE execution_id = $4 AND lease_owner = $5 AND lease_epoch = $6
               AND status IN ('RUNNING', 'ABORTING')",
        )
        .bind(i64::from(attempt))
        .bind(run_type.map(|run_type| run_type.to_string()))
        .bind(detail)
        .bind(lease.execution_id.get())
        .bind(&lease.node)
        .bind(lease.epoch)
        .execute(&mut *tx)
        .await?;
        let held = changed.rows_affected() == 1;
        if held {
            sqlx::query("DELETE FROM execution_notes WHERE execution_id = $1")
                .bind(lease.execution_id.get())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(held)
    }

    /// Notes the saveset that the attempt has claimed in the vault: who finds the run dead has to
    /// put its tombstone there. Not shown before it is committed. `false`: the lease is lost, and
    /// the run must stop.
    pub async fn set_saveset(
        &self,
        lease: &Lease,
        saveset: SavesetId,
    ) -> Result<bool, CatalogError> {
        let changed = sqlx::query(
            "UPDATE execution SET claimed_saveset = $1
             WHERE execution_id = $2 AND lease_owner = $3 AND lease_epoch = $4
               AND status IN ('RUNNING', 'ABORTING')",
        )
        .bind(saveset.get())
        .bind(lease.execution_id.get())
        .bind(&lease.node)
        .bind(lease.epoch)
        .execute(self.database().write())
        .await?;
        Ok(changed.rows_affected() == 1)
    }

    /// Saves a snapshot: one small statement, and a second one only when a warning or a skipped
    /// object is new. `false`: the lease is lost.
    pub async fn save_progress(
        &self,
        lease: &Lease,
        snapshot: &ProgressSnapshot,
    ) -> Result<bool, CatalogError> {
        let counts: Option<(i64, i64)> = sqlx::query_as(
            "UPDATE execution
             SET phases = $1, bytes_read = $2, bytes_stored = $3,
                 status_detail = CASE WHEN status = 'RUNNING' THEN $4 ELSE status_detail END
             WHERE execution_id = $5 AND lease_owner = $6 AND lease_epoch = $7
               AND status IN ('RUNNING', 'ABORTING')
             RETURNING warning_count, skipped_count",
        )
        .bind(to_json("the phases", &snapshot.phases)?)
        .bind(as_i64(snapshot.bytes_read))
        .bind(as_i64(snapshot.bytes_stored))
        .bind(&snapshot.detail)
        .bind(lease.execution_id.get())
        .bind(&lease.node)
        .bind(lease.epoch)
        .fetch_optional(self.database().write())
        .await?;
        let Some(counts) = counts else {
            return Ok(false);
        };
        if counts != note_counts(snapshot) {
            let mut tx = self.database().begin().await?;
            save_notes(&mut tx, lease.execution_id, snapshot).await?;
            tx.commit().await?;
        }
        Ok(true)
    }

    /// The warnings of an execution and what it left out.
    pub async fn notes(&self, execution: ExecutionId) -> Result<Notes, CatalogError> {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT warnings, skipped FROM execution_notes WHERE execution_id = $1")
                .bind(execution.get())
                .fetch_optional(self.database().read())
                .await?;
        let Some((warnings, skipped)) = row else {
            return Ok(Notes::default());
        };
        Ok(Notes {
            warnings: from_json("a warning", &warnings)?,
            skipped: from_json("a skipped object", &skipped)?,
        })
    }
}

pub(crate) fn note_counts(snapshot: &ProgressSnapshot) -> (i64, i64) {
    (
        as_i64(snapshot.warnings.len() as u64),
        as_i64(snapshot.skipped.len() as u64),
    )
}

/// Replaces an execution's notes and their counts.
pub(crate) async fn save_notes(
    tx: &mut Connection,
    execution: ExecutionId,
    snapshot: &ProgressSnapshot,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO execution_notes (execution_id, warnings, skipped) VALUES ($1, $2, $3)
         ON CONFLICT (execution_id) DO UPDATE
             SET warnings = excluded.warnings, skipped = excluded.skipped",
    )
    .bind(execution.get())
    .bind(to_json("a warning", &snapshot.warnings)?)
    .bind(to_json("a skipped object", &snapshot.skipped)?)
    .execute(&mut *tx)
    .await?;
    let (warnings, skipped) = note_counts(snapshot);
    sqlx::query(
        "UPDATE execution SET warning_count = $1, skipped_count = $2 WHERE execution_id = $3",
    )
    .bind(warnings)
    .bind(skipped)
    .bind(execution.get())
    .execute(tx)
    .await?;
    Ok(())
}
