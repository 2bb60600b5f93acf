//! Jobs: what is backed up or restored, by what settings.

use model::{ExecutionId, ExecutionStatus, JobDefinition, JobId, JobType, Moment, SiteId};

use crate::catalog::next_id;
use crate::database::Connection;
use crate::executions::live_execution;
use crate::sites::{check_fixed, check_version, site_record};
use crate::stored::{
    as_u64, from_json, id_from, maybe_id, maybe_moment, site_from, to_json, word_from,
};
use crate::{Catalog, CatalogError, Page, Rows};

/// A job as the catalog keeps it. Names of jobs need not be unique: the id is what counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub job_id: JobId,
    /// The site it belongs to; a restore belongs to the site of the saveset.
    pub site_id: SiteId,
    /// As its user defined it.
    pub definition: JobDefinition,
    /// From 1; one more with each change.
    pub version: i64,
    /// When it was made.
    pub created_at: Moment,
    /// Its newest execution, one that has not ended too; `None` before the first.
    pub last_execution: Option<LastExecution>,
}

/// A job's newest execution (contract section 2, `last_execution_details`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastExecution {
    /// `None` while QUEUED, and where it never started.
    pub start_time: Option<Moment>,
    /// `None` until it has ended.
    pub end_time: Option<Moment>,
    /// What it is.
    pub status: ExecutionStatus,
    /// In bytes.
    pub backup_set_size: u64,
    /// BACKUP: this job. RESTORE: the job whose saveset was restored.
    pub backup_job_id: Option<JobId>,
    /// BACKUP: the execution itself. RESTORE: the one whose saveset was restored.
    pub backup_job_execution_id: Option<ExecutionId>,
    /// BACKUP: the newest restore of that execution. RESTORE: the execution itself.
    pub restore_execution_id: Option<ExecutionId>,
}

/// Which jobs a list shows. The default is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// By the definition's flag.
    pub is_active: Option<bool>,
    /// BACKUP or RESTORE.
    pub job_type: Option<JobType>,
}

#[derive(sqlx_macros::FromRow)]
struct JobRow {
    job_id: i64,
    site_id: String,
    document: String,
    version: i64,
    created_at: i64,
    last_id: Option<i64>,
    last_start: Option<i64>,
    last_end: Option<i64>,
    last_status: Option<String>,
    last_size: Option<i64>,
    last_parent: Option<i64>,
    last_restore: Option<i64>,
}

/// Selects jobs with their newest executions. A job's executions follow one another, so the
/// newest has the highest id.
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT j.job_id, j.site_id, j.document, j.version, j.created_at,
                    e.execution_id AS last_id, e.start_time AS last_start, e.end_time AS last_end,
                    e.status AS last_status, e.backup_set_size AS last_size,
                    e.parent_execution AS last_parent,
                    (SELECT max(r.execution_id) FROM execution r
                     WHERE r.parent_execution = e.execution_id AND r.job_type = 'RESTORE')
                        AS last_restore
             FROM job j LEFT JOIN execution e ON e.execution_id =
                 (SELECT max(l.execution_id) FROM execution l WHERE l.job_id = j.job_id) ",
            $rest
        )
    };
}

impl JobRow {
    fn into_record(self) -> Result<JobRecord, CatalogError> {
        let definition: JobDefinition = from_json("a job", &self.document)?;
        let job_id = id_from(self.job_id)?;
        let last_execution = self.last_execution(job_id, &definition)?;
        Ok(JobRecord {
            job_id,
            site_id: site_from(&self.site_id)?,
            definition,
            version: self.version,
            created_at: Moment::from_micros(self.created_at),
            last_execution,
        })
    }

    fn last_execution(
        &self,
        job_id: JobId,
        definition: &JobDefinition,
    ) -> Result<Option<LastExecution>, CatalogError> {
        let (Some(id), Some(status)) = (self.last_id, &self.last_status) else {
            return Ok(None);
        };
        let own = id_from(id)?;
        let (backup_job_id, backup_job_execution_id, restore_execution_id) =
            match &definition.restore {
                None => (Some(job_id), Some(own), maybe_id(self.last_restore)?),
                Some(restore) => (
                    maybe_id(Some(restore.backup_job_id))?,
                    maybe_id(self.last_parent)?,
                    Some(own),
                ),
            };
        Ok(Some(LastExecution {
            start_time: maybe_moment(self.last_start),
            end_time: maybe_moment(self.last_end),
            status: word_from("status", status)?,
            backup_set_size: as_u64(self.last_size.unwrap_or(0)),
            backup_job_id,
            backup_job_execution_id,
            restore_execution_id,
        }))
    }
}

impl Catalog {
    /// Makes a job.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`].
    pub async fn create_job(
        &self,
        site: &SiteId,
        definition: &JobDefinition,
    ) -> Result<JobRecord, CatalogError> {
        let mut tx = self.database().begin().await?;
        site_record(&mut tx, site).await?;
        let job = insert_job(&mut tx, site, definition, self.now()).await?;
        let record = job_record(&mut tx, site, job).await?;
        tx.commit().await?;
        Ok(record)
    }

    /// One job of a site.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::NoJob`].
    pub async fn job(&self, site: &SiteId, job: JobId) -> Result<JobRecord, CatalogError> {
        let mut connection = self.database().read().acquire().await?;
        job_record(&mut connection, site, job).await
    }

    /// Whether the site has that job, or had it: a deleted job's savesets can be restored.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::NoJob`] if it never had it.
    pub async fn had_job(&self, site: &SiteId, job: JobId) -> Result<(), CatalogError> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT job_id FROM job WHERE job_id = $1 AND site_id = $2")
                .bind(job.get())
                .bind(site.as_str())
                .fetch_optional(self.database().read())
                .await?;
        if found.is_some() {
            return Ok(());
        }
        self.site(site).await?;
        Err(CatalogError::NoJob {
            site: site.clone(),
            job,
        })
    }

    /// Jobs of a site by their ids.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`].
    pub async fn jobs(
        &self,
        site: &SiteId,
        filter: JobFilter,
        page: Page,
    ) -> Result<Rows<JobRecord>, CatalogError> {
        self.site(site).await?;
        let (limit, offset) = page.limit_and_offset();
        let job_type = filter.job_type.map(|job_type| job_type.to_string());
        let rows: Vec<JobRow> = sqlx::query_as(select_jobs!(
            "WHERE j.site_id = $1 AND j.deleted_at IS NULL
               AND ($2 IS NULL OR j.is_active = $2) AND ($3 IS NULL OR j.job_type = $3)
             ORDER BY j.job_id LIMIT $4 OFFSET $5"
        ))
        .bind(site.as_str())
        .bind(filter.is_active)
        .bind(&job_type)
        .bind(limit)
        .bind(offset)
        .fetch_all(self.database().read())
        .await?;
        let total: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM job WHERE site_id = $1 AND deleted_at IS NULL
               AND ($2 IS NULL OR is_active = $2) AND ($3 IS NULL OR job_type = $3)",
        )
        .bind(site.as_str())
        .bind(filter.is_active)
        .bind(&job_type)
        .fetch_one(self.database().read())
        .await?;
        let rows = rows
            .into_iter()
            .map(JobRow::into_record)
            .collect::<Result<_, _>>()?;
        Ok(Rows {
            rows,
            total: as_u64(total),
        })
    }

    /// All jobs of all sites, by their ids.
    pub async fn all_jobs(&self) -> Result<Vec<JobRecord>, CatalogError> {
        let rows: Vec<JobRow> =
            sqlx::query_as(select_jobs!("WHERE j.deleted_at IS NULL ORDER BY j.job_id"))
                .fetch_all(self.database().read())
                .await?;
        rows.into_iter().map(JobRow::into_record).collect()
    }

    /// Changes a job. `expected` is the version that the caller has seen; `None` changes any. An
    /// execution that is queued or running goes on with what it has read.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::NoJob`], [`CatalogError::StaleVersion`],
    /// [`CatalogError::Fixed`] for another job type.
    pub async fn update_job(
        &self,
        site: &SiteId,
        job: JobId,
        definition: &JobDefinition,
        expected: Option<i64>,
    ) -> Result<JobRecord, CatalogError> {
        let mut tx = self.database().begin().await?;
        let before = job_record(&mut tx, site, job).await?;
        check_version(&format!("job {job}"), before.version, expected)?;
        check_fixed("job_type", before.definition.job_type, definition.job_type)?;
        sqlx::query(
            "UPDATE job SET is_active = $1, document = $2, version = version + 1, updated_at = $3
             WHERE job_id = $4 AND version = $5",
        )
        .bind(definition.is_active)
        .bind(to_json("a job", definition)?)
        .bind(self.now().as_micros())
        .bind(job.get())
        .bind(before.version)
        .execute(&mut *tx)
        .await?;
        let record = job_record(&mut tx, site, job).await?;
        tx.commit().await?;
        Ok(record)
    }

    /// Deletes a job. Its executions stay in the site's list, its savesets under the site.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::NoJob`], [`CatalogError::JobRunning`].
    pub async fn delete_job(&self, site: &SiteId, job: JobId) -> Result<(), CatalogError> {
        let mut tx = self.database().begin().await?;
        job_record(&mut tx, site, job).await?;
        if let Some(execution) = live_execution(&mut tx, job).await? {
            return Err(CatalogError::JobRunning { job, execution });
        }
        sqlx::query("UPDATE job SET deleted_at = $1 WHERE job_id = $2")
            .bind(self.now().as_micros())
            .bind(job.get())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// One job inside a transaction.
pub(crate) async fn job_record(
    tx: &mut Connection,
    site: &SiteId,
    job: JobId,
) -> Result<JobRecord, CatalogError> {
    let row: Option<JobRow> = sqlx::query_as(select_jobs!(
        "WHERE j.job_id = $1 AND j.site_id = $2 AND j.deleted_at IS NULL"
    ))
    .bind(job.get())
    .bind(site.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    match row {
        Some(row) => row.into_record(),
        None => {
            site_record(tx, site).await?;
            Err(CatalogError::NoJob {
                site: site.clone(),
                job,
            })
        }
    }
}

/// Writes a new job's row; the site is known to be there.
pub(crate) async fn insert_job(
    tx: &mut Connection,
    site: &SiteId,
    definition: &JobDefinition,
    now: Moment,
) -> Result<JobId, CatalogError> {
    let job = next_id(tx, "job").await?;
    sqlx::query(
        "INSERT INTO job (job_id, site_id, job_type, is_active, document, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, 1, $6, $6)",
    )
    .bind(job)
    .bind(site.as_str())
    .bind(definition.job_type.to_string())
    .bind(definition.is_active)
    .bind(to_json("a job", definition)?)
    .bind(now.as_micros())
    .execute(tx)
    .await?;
    id_from(job)
}
