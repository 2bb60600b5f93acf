//! Executions: the runs of jobs.

use model::{
    BackupMechanism, ExecutionId, ExecutionStatus, JobId, JobType, Moment, RunType, SavesetId,
    ServerExecutionId, SiteId, SiteType,
};

use crate::database::Connection;
use crate::stored::{as_u64, from_json, id_from, maybe_id, maybe_moment, site_from, word_from};
use crate::{Catalog, CatalogError, ChangedIn, PhaseRecord};

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Its id.
    pub execution_id: ExecutionId,
    /// The site it belongs to; a restore belongs to the site of the saveset.
    pub site_id: SiteId,
    /// BACKUP: where its saveset is copied to, if anywhere. RESTORE: where it goes.
    pub target_site: Option<SiteId>,
    /// Its job.
    pub job_id: JobId,
    /// The job's name when it was queued.
    pub job_name: String,
    /// BACKUP or RESTORE.
    pub job_type: JobType,
    /// The job's when it was queued.
    pub backup_mechanism: BackupMechanism,
    /// The site's.
    pub site_type: SiteType,
    /// 1 (highest) to 5, the job's when it was queued.
    pub priority: u8,
    /// What it became; while QUEUED, what was asked for.
    pub run_type: Option<RunType>,
    /// BACKUP: why it became that, as the beginning of a sentence; `None` before its start.
    pub run_reason: Option<String>,
    /// RESTORE: the backup that it restores. DELTA: the backup that it builds on.
    pub parent_execution: Option<ExecutionId>,
    /// DELTA: the saveset that it builds on.
    pub base_saveset: Option<SavesetId>,
    /// DELTA: how changed blocks were found in each database, once it has succeeded.
    pub changed_blocks: Vec<ChangedIn>,
    /// The execution that died and whose work it does again.
    pub requeue_of: Option<ExecutionId>,
    /// What it is.
    pub status: ExecutionStatus,
    /// A sentence for a person.
    pub status_detail: String,
    /// When it was asked for.
    pub queued_at: Moment,
    /// `None` while QUEUED, and where it never started.
    pub start_time: Option<Moment>,
    /// `None` until it has ended.
    pub end_time: Option<Moment>,
    /// 0 before its start, then from 1.
    pub attempt: u32,
    /// BACKUP: the saveset made, once it is committed. RESTORE: the saveset restored.
    pub saveset_id: Option<SavesetId>,
    /// BACKUP: the saveset that the newest attempt has claimed, committed or not.
    pub claimed_saveset: Option<SavesetId>,
    /// The saveset's manifest is gone.
    pub is_saveset_deleted: bool,
    /// The saveset is there, and protected from retention.
    pub is_saveset_retained: bool,
    /// BACKUP: bytes in the vault that the saveset refers to. RESTORE: bytes read.
    pub backup_set_size: u64,
    /// Bytes read from the database (a restore: from the vault).
    pub bytes_read: u64,
    /// New bytes in the vault.
    pub bytes_stored: u64,
    /// The phases that have begun, in their order.
    pub phases: Vec<PhaseRecord>,
    /// Who runs it.
    pub lease_node: Option<String>,
    /// Past this moment whoever runs it has stopped renewing its lease.
    pub lease_until: Option<Moment>,
}

impl Execution {
    /// The site whose database system does the work: a restore's target, else its own site.
    pub fn runs_on(&self) -> &SiteId {
        runs_on(self.job_type, &self.site_id, self.target_site.as_ref())
    }

    /// `<execution_id>.<attempt>`; `None` before its start.
    pub fn server_execution_id(&self) -> Option<ServerExecutionId> {
        (self.attempt > 0).then_some(ServerExecutionId {
            execution: self.execution_id,
            attempt: self.attempt,
        })
    }
}

pub(crate) fn runs_on<'a>(
    job_type: JobType,
    site: &'a SiteId,
    target: Option<&'a SiteId>,
) -> &'a SiteId {
    match (job_type, target) {
        (JobType::Restore, Some(target)) => target,
        _ => site,
    }
}

#[derive(sqlx_macros::FromRow)]
pub(crate) struct ExecutionRow {
    execution_id: i64,
    site_id: String,
    target_site: Option<String>,
    job_id: i64,
    job_name: String,
    job_type: String,
    backup_mechanism: String,
    site_type: String,
    priority: i64,
    run_type: Option<String>,
    run_reason: Option<String>,
    parent_execution: Option<i64>,
    base_saveset: Option<i64>,
    changed_blocks: String,
    requeue_of: Option<i64>,
    status: String,
    status_detail: String,
    queued_at: i64,
    start_time: Option<i64>,
    end_time: Option<i64>,
    order_time: i64,
    attempt: i64,
    saveset_id: Option<i64>,
    claimed_saveset: Option<i64>,
    is_saveset_deleted: bool,
    is_saveset_retained: bool,
    backup_set_size: i64,
    bytes_read: i64,
    bytes_stored: i64,
    phases: String,
    lease_owner: Option<String>,
    lease_until: Option<i64>,
}

/// Selects executions with what their savesets have become.
macro_rules! select_executions {
    ($rest:literal) => {
        concat!(
            "SELECT e.execution_id, e.site_id, e.target_site, e.job_id, e.job_name, e.job_type,
                    e.backup_mechanism, e.site_type, e.priority, e.run_type, e.run_reason,
                    e.parent_execution, e.base_saveset, e.changed_blocks, e.requeue_of, e.status, e.status_detail, e.queued_at, e.start_time, e.end_time,
                    e.order_time, e.attempt, e.saveset_id, e.claimed_saveset,
                    (v.deleted_at IS NOT NULL) AS is_saveset_deleted,
                    (v.is_retained IS TRUE AND v.deleted_at IS NULL) AS is_saveset_retained,
                    e.backup_set_size, e.bytes_read, e.bytes_stored,
                    e.phases, e.lease_owner, e.lease_until
             FROM execution e LEFT JOIN saveset v
                 ON v.site_id = e.site_id AND v.saveset_id = e.saveset_id ",
            $rest
        )
    };
}
pub(crate) use select_executions;

impl ExecutionRow {
    /// Where it stands in the order of lists.
    pub(crate) fn place(&self) -> (i64, i64) {
        (self.order_time, self.execution_id)
    }

    pub(crate) fn into_execution(self) -> Result<Execution, CatalogError> {
        let run_type = self
            .run_type
            .map(|text| word_from("run type", &text))
            .transpose()?;
        Ok(Execution {
            execution_id: id_from(self.execution_id)?,
            site_id: site_from(&self.site_id)?,
            target_site: self.target_site.map(|text| site_from(&text)).transpose()?,
            job_id: id_from(self.job_id)?,
            job_name: self.job_name,
            job_type: word_from("job type", &self.job_type)?,
            backup_mechanism: word_from("backup mechanism", &self.backup_mechanism)?,
            site_type: word_from("site type", &self.site_type)?,
            priority: u8::try_from(self.priority)
                .map_err(|_| CatalogError::Damaged(format!("{} is no priority", self.priority)))?,
            run_type,
            run_reason: self.run_reason,
            parent_execution: maybe_id(self.parent_execution)?,
            base_saveset: maybe_id(self.base_saveset)?,
            changed_blocks: from_json("how changed blocks were found", &self.changed_blocks)?,
            requeue_of: maybe_id(self.requeue_of)?,
            status: word_from("status", &self.status)?,
            status_detail: self.status_detail,
            queued_at: Moment::from_micros(self.queued_at),
            start_time: maybe_moment(self.start_time),
            end_time: maybe_moment(self.end_time),
            attempt: u32::try_from(self.attempt)
                .map_err(|_| CatalogError::Damaged(format!("{} is no attempt", self.attempt)))?,
            saveset_id: maybe_id(self.saveset_id)?,
            claimed_saveset: maybe_id(self.claimed_saveset)?,
            is_saveset_deleted: self.is_saveset_deleted,
            is_saveset_retained: self.is_saveset_retained,
            backup_set_size: as_u64(self.backup_set_size),
            bytes_read: as_u64(self.bytes_read),
            bytes_stored: as_u64(self.bytes_stored),
            phases: from_json("the phases", &self.phases)?,
            lease_node: self.lease_owner,
            lease_until: maybe_moment(self.lease_until),
        })
    }
}

impl Catalog {
    /// One execution, asked for under its own site or, a restore, under its target's.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::NoExecution`].
    pub async fn execution(
        &self,
        site: &SiteId,
        execution: ExecutionId,
    ) -> Result<Execution, CatalogError> {
        self.site(site).await?;
        let missing = || CatalogError::NoExecution {
            site: site.clone(),
            execution,
        };
        let found = match self.execution_by_id(execution).await {
            Err(CatalogError::UnknownExecution(_)) => return Err(missing()),
            other => other?,
        };
        let into_it =
            found.job_type == JobType::Restore && found.target_site.as_ref() == Some(site);
        if found.site_id == *site || into_it {
            Ok(found)
        } else {
            Err(missing())
        }
    }

    /// One execution of any site.
    ///
    /// # Errors
    /// [`CatalogError::UnknownExecution`].
    pub async fn execution_by_id(&self, execution: ExecutionId) -> Result<Execution, CatalogError> {
        let mut connection = self.database().read().acquire().await?;
        execution_record(&mut connection, execution).await
    }

    /// All executions that are QUEUED, RUNNING or ABORTING, the oldest first.
    pub async fn unfinished(&self) -> Result<Vec<Execution>, CatalogError> {
        let rows: Vec<ExecutionRow> = sqlx::query_as(select_executions!(
            "WHERE e.status IN ('QUEUED', 'RUNNING', 'ABORTING') ORDER BY e.execution_id"
        ))
        .fetch_all(self.database().read())
        .await?;
        rows.into_iter().map(ExecutionRow::into_execution).collect()
    }
}

/// One execution inside a transaction.
pub(crate) async fn execution_record(
    tx: &mut Connection,
    execution: ExecutionId,
) -> Result<Execution, CatalogError> {
    let row: Option<ExecutionRow> = sqlx::query_as(select_executions!("WHERE e.execution_id = $1"))
        .bind(execution.get())
        .fetch_optional(tx)
        .await?;
    row.ok_or(CatalogError::UnknownExecution(execution))?
        .into_execution()
}

/// The execution of a job that has not ended.
pub(crate) async fn live_execution(
    tx: &mut Connection,
    job: JobId,
) -> Result<Option<ExecutionId>, CatalogError> {
    let execution: Option<i64> = sqlx::query_scalar(
        "SELECT execution_id FROM execution
         WHERE job_id = $1 AND status IN ('QUEUED', 'RUNNING', 'ABORTING')",
    )
    .bind(job.get())
    .fetch_optional(tx)
    .await?;
    maybe_id(execution)
}
