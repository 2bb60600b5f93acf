//! How a backup begins, once more or for the first time, inside of its execution.

use std::collections::BTreeMap;

use model::{
    ChangedBlocks, ChangedBlocksSource, ExecutionId, ObjectName, RunType, SavesetId, SiteId,
};
use serde::{Deserialize, Serialize};

use crate::savesets::usable_saveset;
use crate::stored::{id_from, maybe_id};
use crate::{Catalog, CatalogError, Leased};

/// What an attempt of a backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// What it becomes.
    pub run_type: RunType,
    /// Why, as the beginning of a sentence.
    pub reason: String,
    /// DELTA: the saveset that it builds on.
    pub base: Option<SavesetId>,
    /// What decides what is stored, for whoever builds on it later. Opaque to the catalog.
    pub made_with: String,
}

/// Whether an attempt has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It has; nobody can delete its base from now on.
    Yes,
    /// Its base is deleted, or is about to be. Nothing was written.
    BaseGone,
    /// The lease is lost: the run must stop.
    LeaseLost,
}

/// How changed blocks were found in one database of a DELTA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedIn {
    /// The database.
    pub database: ObjectName,
    /// How, and why not better.
    #[serde(flatten)]
    pub found: ChangedBlocks,
}

/// Where a saveset comes from, beyond what its manifest says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The execution whose saveset it was built on.
    pub parent_execution: Option<ExecutionId>,
    /// See [`Attempt::made_with`].
    pub made_with: Option<String>,
}

/// How changed blocks were found over all databases: the slower way counts. `None`: in none.
pub fn changed_blocks_source(databases: &[ChangedIn]) -> Option<ChangedBlocksSource> {
    ChangedBlocksSource::of_all(databases.iter().map(|one| one.found.source))
}

impl Catalog {
    /// A backup begins (anew) inside its execution. What the attempt before had claimed and told is
    /// forgotten, and its base is free again.
    pub async fn begin_attempt(
        &self,
        leased: &Leased,
        attempt: &Attempt,
    ) -> Result<Begun, CatalogError> {
        let execution = &leased.execution;
        let mut tx = self.database().begin().await?;
        let parent = match attempt.base {
            None => None,
            Some(base) => match usable_saveset(&mut tx, &execution.site_id, base).await {
                Ok(record) => Some(record.execution_id),
                Err(CatalogError::NoSaveset { .. }) => return Ok(Begun::BaseGone),
                Err(error) => return Err(error),
            },
        };
        let run_type = Some(attempt.run_type);
        if !self
            .reset(&mut tx, leased, attempt.number, run_type)
            .await?
        {
            return Ok(Begun::LeaseLost);
        }
        sqlx::query(
            "UPDATE execution
             SET run_reason = $1, base_saveset = $2, parent_execution = $3, made_with = $4,
                 changed_blocks = '[]'
             WHERE execution_id = $5",
        )
        .bind(&attempt.reason)
        .bind(attempt.base.map(SavesetId::get))
        .bind(parent.map(ExecutionId::get))
        .bind(&attempt.made_with)
        .bind(execution.execution_id.get())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Begun::Yes)
    }

    /// Where the savesets of a site that exist come from, by the executions that made them.
    pub async fn origins(
        &self,
        site: &SiteId,
    ) -> Result<BTreeMap<ExecutionId, Origin>, CatalogError> {
        let rows: Vec<(i64, Option<i64>, Option<String>)> = sqlx::query_as(
            "SELECT e.execution_id, e.parent_execution, e.made_with
             FROM saveset v JOIN execution e ON e.execution_id = v.execution_id
             WHERE v.site_id = $1 AND v.deleted_at IS NULL AND e.job_type = 'BACKUP'",
        )
        .bind(site.as_str())
        .fetch_all(self.database().read())
        .await?;
        let rows = rows.into_iter().map(|(execution, parent, made_with)| {
            let origin = Origin {
                parent_execution: maybe_id(parent)?,
                made_with,
            };
            Ok((id_from(execution)?, origin))
        });
        rows.collect()
    }

    /// With what an execution's saveset was made; `None`: nobody noted it.
    pub async fn made_with(&self, execution: ExecutionId) -> Result<Option<String>, CatalogError> {
        let noted: Option<Option<String>> =
            sqlx::query_scalar("SELECT made_with FROM execution WHERE execution_id = $1")
                .bind(execution.get())
                .fetch_optional(self.database().read())
                .await?;
        Ok(noted.flatten())
    }
}
