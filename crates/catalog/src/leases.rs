//! The queue: who takes which execution, and for how long.
//!
//! A lease is a name, a moment and an epoch. The epoch grows with each taking and each ending, so
//! whoever held an older one writes nothing any more. A lease that has run out is not taken over
//! here: what an interrupted run has left in the vault is looked at first, then
//! [`Catalog::settle`] ends the execution.

use model::{ExecutionStatus, Moment, RunEvent, SiteId, next};

use crate::executions::{execution_record, runs_on};
use crate::stored::{id_from, site_from, word_from};
use crate::{Catalog, CatalogError, Execution};

/// An execution that was taken to be run, and the right to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// What is to be run, as it was when it was taken: RUNNING, attempt 1.
    pub execution: Execution,
    /// Which taking it was. Grows with each taking and ending; an older one writes nothing.
    pub epoch: i64,
}

#[derive(sqlx_macros::FromRow)]
struct QueuedRow {
    execution_id: i64,
    site_id: String,
    target_site: Option<String>,
    job_type: String,
}

impl QueuedRow {
    fn runs_on_one_of(&self, sites: &[SiteId]) -> Result<bool, CatalogError> {
        let site = site_from(&self.site_id)?;
        let target = self.target_site.as_deref().map(site_from).transpose()?;
        let job_type = word_from("job type", &self.job_type)?;
        Ok(sites.contains(runs_on(job_type, &site, target.as_ref())))
    }
}

impl Catalog {
    /// Takes the most urgent queued execution: by priority, 1 first, then by age; those that would
    /// run on a busy site (see [`Execution::runs_on`]) wait. It is RUNNING from now on, leased by
    /// this node. `None`: none may run now.
    pub async fn take_next(
        &self,
        until: Moment,
        busy: &[SiteId],
    ) -> Result<Option<Leased>, CatalogError> {
        // Most calls find an empty queue, and need not wait for the writer to learn it.
        let waiting: i64 =
            sqlx::query_scalar("SELECT count(*) FROM execution WHERE status = 'QUEUED'")
                .fetch_one(self.database().read())
                .await?;
        if waiting == 0 {
            return Ok(None);
        }
        let mut tx = self.database().begin().await?;
        let rows: Vec<QueuedRow> = sqlx::query_as(
            "SELECT execution_id, site_id, target_site, job_type
             FROM execution WHERE status = 'QUEUED' ORDER BY priority, execution_id",
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut chosen = None;
        for row in rows {
            if !row.runs_on_one_of(busy)? {
                chosen = Some(id_from(row.execution_id)?);
                break;
            }
        }
        let Some(execution) = chosen else {
            return Ok(None);
        };
        let running = next(ExecutionStatus::Queued, RunEvent::Start)
            .map_err(|step| CatalogError::Illegal { execution, step })?;
        let epoch: Option<i64> = sqlx::query_scalar(
            "UPDATE execution
             SET status = $1, status_detail = 'Started', start_time = $2, order_time = $2,
                 attempt = 1, lease_owner = $3, lease_until = $4, lease_epoch = lease_epoch + 1
             WHERE execution_id = $5 AND status = 'QUEUED'
             RETURNING lease_epoch",
        )
        .bind(running.to_string())
        .bind(self.now().as_micros())
        .bind(self.node_id())
        .bind(until.as_micros())
        .bind(execution.get())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(epoch) = epoch else { return Ok(None) };
        let execution = execution_record(&mut tx, execution).await?;
        tx.commit().await?;
        Ok(Some(Leased { execution, epoch }))
    }

    /// Holds a lease for longer. `false`: it is lost, and the run must stop.
    pub async fn renew(&self, leased: &Leased, until: Moment) -> Result<bool, CatalogError> {
        let changed = sqlx::query(
            "UPDATE execution SET lease_until = $1
             WHERE execution_id = $2 AND lease_owner = $3 AND lease_epoch = $4
               AND status IN ('RUNNING', 'ABORTING')",
        )
        .bind(until.as_micros())
        .bind(leased.execution.execution_id.get())
        .bind(self.node_id())
        .bind(leased.epoch)
        .execute(self.database().write())
        .await?;
        Ok(changed.rows_affected() == 1)
    }
}
