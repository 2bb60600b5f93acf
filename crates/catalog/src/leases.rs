//! The queue: who takes which execution, and for how long.
//!
//! A lease is a name, a moment and an epoch. The epoch grows with each taking and each settling,
//! so whoever held an older one writes nothing any more. A lease that has run out is not taken
//! over here: what an interrupted run has left in the vault is looked at first, then
//! [`Catalog::settle`] ends the execution.

use model::{
    ExecutionId, ExecutionStatus, JobId, JobType, Moment, RunEvent, RunType, SiteId, next,
};

use crate::executions::execution_record;
use crate::stored::{id_from, site_from, word_from};
use crate::{Catalog, CatalogError, Execution};

/// The right to run an execution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Which one.
    pub execution_id: ExecutionId,
    /// Who has the right.
    pub node: String,
    /// Which taking it was.
    pub epoch: i64,
}

/// An execution that was taken to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The right to run it.
    pub lease: Lease,
    /// What is to be run; RUNNING now.
    pub execution: Execution,
}

/// An execution that waits, as far as the choice of the next one needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedExecution {
    /// Its id.
    pub execution_id: ExecutionId,
    /// Its site.
    pub site_id: SiteId,
    /// The site that a restore goes to.
    pub target_site: Option<SiteId>,
    /// Its job.
    pub job_id: JobId,
    /// BACKUP or RESTORE.
    pub job_type: JobType,
    /// What was asked for.
    pub run_type: Option<RunType>,
    /// 1 (highest) to 5.
    pub priority: u8,
}

#[derive(sqlx_macros::FromRow)]
struct QueuedRow {
    execution_id: i64,
    site_id: String,
    target_site: Option<String>,
    job_id: i64,
    job_type: String,
    run_type: Option<String>,
    priority: i64,
}

impl QueuedRow {
    fn into_queued(self) -> Result<QueuedExecution, CatalogError> {
        Ok(QueuedExecution {
            execution_id: id_from(self.execution_id)?,
            site_id: site_from(&self.site_id)?,
            target_site: self.target_site.map(|text| site_from(&text)).transpose()?,
            job_id: id_from(self.job_id)?,
            job_type: word_from("job type", &self.job_type)?,
            run_type: self
                .run_type
                .map(|text| word_from("run type", &text))
                .transpose()?,
            priority: u8::try_from(self.priority)
                .map_err(|_| CatalogError::Damaged(format!("{} is no priority", self.priority)))?,
        })
    }
}

impl Catalog {
    /// Takes the most urgent queued execution that `may_run` lets pass: by priority, 1 first, then
    /// by age. It is RUNNING from now on. `None`: none may run now.
    pub async fn take_next(
        &self,
        node: &str,
        until: Moment,
        may_run: impl Fn(&QueuedExecution) -> bool,
    ) -> Result<Option<Leased>, CatalogError> {
        // Most calls find an empty queue, and need not wait for the writer to learn it.
        if self.queued().await?.is_empty() {
            return Ok(None);
        }
        let mut tx = self.database().begin().await?;
        let rows: Vec<QueuedRow> = sqlx::query_as(QUEUE).fetch_all(&mut *tx).await?;
        let mut chosen = None;
        for row in rows {
            let queued = row.into_queued()?;
            if may_run(&queued) {
                chosen = Some(queued.execution_id);
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
             SET status = $1, status_detail = 'Started.', start_time = $2, order_time = $2,
                 attempt = 1, lease_owner = $3, lease_until = $4, lease_epoch = lease_epoch + 1
             WHERE execution_id = $5 AND status = 'QUEUED'
             RETURNING lease_epoch",
        )
        .bind(running.to_string())
        .bind(self.now().as_micros())
        .bind(node)
        .bind(until.as_micros())
        .bind(execution.get())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(epoch) = epoch else { return Ok(None) };
        let lease = Lease {
            execution_id: execution,
            node: node.to_owned(),
            epoch,
        };
        let execution = execution_record(&mut tx, execution).await?;
        tx.commit().await?;
        Ok(Some(Leased { lease, execution }))
    }

    /// What waits, the most urgent first.
    pub async fn queued(&self) -> Result<Vec<QueuedExecution>, CatalogError> {
        let rows: Vec<QueuedRow> = sqlx::query_as(QUEUE)
            .fetch_all(self.database().read())
            .await?;
        rows.into_iter().map(QueuedRow::into_queued).collect()
    }

    /// Holds a lease for longer. `false`: it is lost, and the run must stop.
    pub async fn renew(&self, lease: &Lease, until: Moment) -> Result<bool, CatalogError> {
        let changed = sqlx::query(
            "UPDATE execution SET lease_until = $1
             WHERE execution_id = $2 AND lease_owner = $3 AND lease_epoch = $4
               AND status IN ('RUNNING', 'ABORTING')",
        )
        .bind(until.as_micros())
        .bind(lease.execution_id.get())
        .bind(&lease.node)
        .bind(lease.epoch)
        .execute(self.database().write())
        .await?;
        Ok(changed.rows_affected() == 1)
    }
}

const QUEUE: &str =
    "SELECT execution_id, site_id, target_site, job_id, job_type, run_type, priority
     FROM execution WHERE status = 'QUEUED' ORDER BY priority, execution_id";
