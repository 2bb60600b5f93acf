//! What a run says while it runs.

use model::{ExecutionId, Moment, Phase, PhaseStatus, RunType, SavesetId, SkippedObject};
use serde::{Deserialize, Serialize};

use crate::database::Connection;
use crate::stored::{as_i64, from_json, to_json};
use crate::{Catalog, CatalogError, Leased};

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
    /// Things that a person should look at.
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
    /// The run begins (anew) inside its execution, and knows what it becomes, FULL or DELTA. What
    /// the attempt before had claimed and told is forgotten. `false`: the lease is lost.
    pub async fn set_attempt(
        &self,
        leased: &Leased,
        attempt: u32,
        run_type: Option<RunType>,
    ) -> Result<bool, CatalogError> {
        let mut tx = self.database().begin().await?;
        let held = self.reset(&mut tx, leased, attempt, run_type).await?;
        if held {
            tx.commit().await?;
        }
        Ok(held)
    }

    /// Forgets what the attempt before has told. `false`: the lease is lost.
    pub(crate) async fn reset(
        &self,
        tx: &mut Connection,
        leased: &Leased,
        attempt: u32,
        run_type: Option<RunType>,
    ) -> Result<bool, CatalogError> {
        let execution = leased.execution.execution_id.get();
        let changed = sqlx::query(
            "UPDATE execution
             SET attempt = $1, run_type = COALESCE($2, run_type), claimed_saveset = NULL,
                 phases = '[]', bytes_read = 0, notes_hash = ''
             WHERE execution_id = $3 AND lease_owner = $4 AND lease_epoch = $5
               AND status IN ('RUNNING', 'ABORTING')",
        )
        .bind(i64::from(attempt))
        .bind(run_type.map(|run_type| run_type.to_string()))
        .bind(execution)
        .bind(self.node_id())
        .bind(leased.epoch)
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() != 1 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM execution_notes WHERE execution_id = $1")
            .bind(execution)
            .execute(&mut *tx)
            .await?;
        Ok(true)
    }

    /// Notes the saveset that the attempt has claimed in the vault: who finds the run dead has to
    /// put its tombstone there. Not shown before it is committed. `false`: the lease is lost, and
    /// the run must stop.
    pub async fn set_saveset(
        &self,
        leased: &Leased,
        saveset: SavesetId,
    ) -> Result<bool, CatalogError> {
        let changed = sqlx::query(
            "UPDATE execution SET claimed_saveset = $1
             WHERE execution_id = $2 AND lease_owner = $3 AND lease_epoch = $4
               AND status IN ('RUNNING', 'ABORTING')",
        )
        .bind(saveset.get())
        .bind(leased.execution.execution_id.get())
        .bind(self.node_id())
        .bind(leased.epoch)
        .execute(self.database().write())
        .await?;
        Ok(changed.rows_affected() == 1)
    }

    /// Saves a snapshot: one small statement, and a second one only when a warning or a skipped
    /// object is new. `false`: the lease is lost.
    pub async fn save_progress(
        &self,
        leased: &Leased,
        snapshot: &ProgressSnapshot,
    ) -> Result<bool, CatalogError> {
        let known_notes: Option<String> = sqlx::query_scalar(
            "UPDATE execution
             SET phases = $1, bytes_read = $2,
                 status_detail = CASE WHEN status = 'RUNNING' THEN $3 ELSE status_detail END
             WHERE execution_id = $4 AND lease_owner = $5 AND lease_epoch = $6
               AND status IN ('RUNNING', 'ABORTING')
             RETURNING notes_hash",
        )
        .bind(to_json("the phases", &snapshot.phases)?)
        .bind(as_i64(snapshot.bytes_read))
        .bind(&snapshot.detail)
        .bind(leased.execution.execution_id.get())
        .bind(self.node_id())
        .bind(leased.epoch)
        .fetch_optional(self.database().write())
        .await?;
        let Some(known_notes) = known_notes else {
            return Ok(false);
        };
        let notes = WrittenNotes::of(snapshot)?;
        if notes.hash == known_notes {
            return Ok(true);
        }
        let mut tx = self.database().begin().await?;
        // The execution may have been ended since: the notes of its end must stay.
        let held: Option<i64> = sqlx::query_scalar(
            "SELECT execution_id FROM execution
             WHERE execution_id = $1 AND lease_owner = $2 AND lease_epoch = $3",
        )
        .bind(leased.execution.execution_id.get())
        .bind(self.node_id())
        .bind(leased.epoch)
        .fetch_optional(&mut *tx)
        .await?;
        if held.is_none() {
            return Ok(false);
        }
        notes.save(&mut tx, leased.execution.execution_id).await?;
        tx.commit().await?;
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

/// Notes as they are kept, with a hash that tells whether they are kept already.
pub(crate) struct WrittenNotes {
    warnings: String,
    skipped: String,
    hash: String,
}

impl WrittenNotes {
    pub(crate) fn of(snapshot: &ProgressSnapshot) -> Result<Self, CatalogError> {
        let warnings = to_json("a warning", &snapshot.warnings)?;
        let skipped = to_json("a skipped object", &snapshot.skipped)?;
        let nothing = snapshot.warnings.is_empty() && snapshot.skipped.is_empty();
        let hash = match nothing {
            true => String::new(),
            // Both are JSON arrays: no two pairs are written alike.
            false => blake3::hash(format!("{warnings}{skipped}").as_bytes())
                .to_hex()
                .to_string(),
        };
        Ok(WrittenNotes {
            warnings,
            skipped,
            hash,
        })
    }

    /// Replaces an execution's notes.
    pub(crate) async fn save(
        &self,
        tx: &mut Connection,
        execution: ExecutionId,
    ) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO execution_notes (execution_id, warnings, skipped) VALUES ($1, $2, $3)
             ON CONFLICT (execution_id) DO UPDATE
                 SET warnings = excluded.warnings, skipped = excluded.skipped",
        )
        .bind(execution.get())
        .bind(&self.warnings)
        .bind(&self.skipped)
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE execution SET notes_hash = $1 WHERE execution_id = $2")
            .bind(&self.hash)
            .bind(execution.get())
            .execute(tx)
            .await?;
        Ok(())
    }
}
