//! The same request asked twice: the same Idempotency-Key within 24 hours gives the same answer.

use std::time::Duration;

use model::{ExecutionId, JobId, Moment, SiteId};

use crate::CatalogError;
use crate::database::Connection;
use crate::stored::id_from;

/// How long a key is kept (contract section 2, *execute*).
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// One request with a key. Keys of different jobs and operations have nothing to do with another.
#[derive(Debug)]
pub(crate) struct KeyedRequest<'a> {
    pub(crate) site: &'a SiteId,
    pub(crate) job: JobId,
    pub(crate) operation: &'static str,
    pub(crate) key: &'a str,
    /// A hash of what was asked for, in hex.
    pub(crate) content_hash: String,
}

impl KeyedRequest<'_> {
    /// What the key made before, if it did.
    ///
    /// # Errors
    /// [`CatalogError::KeyReused`] if that was another request.
    pub(crate) async fn earlier(
        &self,
        tx: &mut Connection,
        now: Moment,
    ) -> Result<Option<ExecutionId>, CatalogError> {
        sqlx::query("DELETE FROM idempotency WHERE created_at <= $1")
            .bind(now.minus(KEPT).as_micros())
            .execute(&mut *tx)
            .await?;
        let found: Option<(String, i64)> = sqlx::query_as(
            "SELECT content_hash, execution_id FROM idempotency
             WHERE site_id = $1 AND job_id = $2 AND operation = $3 AND key_text = $4",
        )
        .bind(self.site.as_str())
        .bind(self.job.get())
        .bind(self.operation)
        .bind(self.key)
        .fetch_optional(tx)
        .await?;
        let Some((content_hash, execution)) = found else {
            return Ok(None);
        };
        let execution = id_from(execution)?;
        if content_hash != self.content_hash {
            return Err(CatalogError::KeyReused {
                key: self.key.to_owned(),
                execution,
            });
        }
        Ok(Some(execution))
    }

    /// Keeps what the key has made.
    pub(crate) async fn keep(
        &self,
        tx: &mut Connection,
        execution: ExecutionId,
        now: Moment,
    ) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO idempotency
                 (site_id, job_id, operation, key_text, content_hash, execution_id, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(self.site.as_str())
        .bind(self.job.get())
        .bind(self.operation)
        .bind(self.key)
        .bind(&self.content_hash)
        .bind(execution.get())
        .bind(now.as_micros())
        .execute(tx)
        .await?;
        Ok(())
    }
}
