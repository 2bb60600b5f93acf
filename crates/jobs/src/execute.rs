//! Queueing a run of a job.

use catalog::NewExecution;
use model::{Credentials, ExecutionId, JobId, JobType, RunType, SiteId};

use crate::{Jobs, JobsError};

/// What an execute call brings.
#[derive(Debug, Default)]
pub struct ExecuteRequest {
    /// FULL or DELTA; `None`: the job's `backup_type`.
    pub run_type: Option<RunType>,
    /// A RESTORE job's database credentials; they are never stored.
    pub credentials: Option<Credentials>,
    /// The same key within 24 hours gives the same answer.
    pub idempotency_key: Option<String>,
}

impl Jobs {
    /// Queues a run of a job.
    ///
    /// # Errors
    /// When the job is not there or has an execution that has not ended; when a RESTORE job is
    /// asked for a run type, or lacks credentials, or something is in its way.
    pub async fn execute(
        &self,
        site: &SiteId,
        job: JobId,
        request: ExecuteRequest,
    ) -> Result<ExecutionId, JobsError> {
        let record = self.inner.catalog.job(site, job).await?;
        match record.definition.job_type {
            JobType::Backup => self.execute_backup(site, job, &request).await,
            JobType::Restore => self.execute_restore(record, request).await,
        }
    }

    async fn execute_backup(
        &self,
        site: &SiteId,
        job: JobId,
        request: &ExecuteRequest,
    ) -> Result<ExecutionId, JobsError> {
        let queued = NewExecution {
            site_id: site.clone(),
            job_id: job,
            target_site: None,
            run_type: request.run_type,
            parent_execution: None,
            saveset: None,
            detail: "Waits for a stream".to_owned(),
            requeue_of: None,
        };
        let enqueued = self
            .inner
            .catalog
            .enqueue(&queued, request.idempotency_key.as_deref())
            .await?;
        self.inner.wake.notify_one();
        Ok(enqueued.execution_id)
    }
}
