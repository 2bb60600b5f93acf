//! Savesets as the catalog knows them. The vault says which exist; these rows say whose they are.

use model::{ExecutionId, JobId, Moment, RunType, SavesetId, SiteId};

use crate::database::Connection;
use crate::sites::check_version;
use crate::stored::{as_i64, as_u64, id_from, maybe_id, site_from, word_from};
use crate::verifications::{VerificationRow, VerificationStatus, remember};
use crate::{Catalog, CatalogError, Execution, Page, Rows, Verification};

/// What a successful backup has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavesetRecord {
    /// The site whose vault holds it.
    pub site_id: SiteId,
    /// Its id in that vault.
    pub saveset_id: SavesetId,
    /// The job that made it; it may be deleted by now.
    pub job_id: JobId,
    /// That job's name then.
    pub job_name: String,
    /// The execution that made it.
    pub execution_id: ExecutionId,
    /// What that execution became.
    pub run_type: RunType,
    /// When that execution started.
    pub start_time: Moment,
    /// When it was committed.
    pub end_time: Moment,
    /// Bytes in the vault that it refers to.
    pub backup_set_size: u64,
    /// Bytes in the vault that were new with it.
    pub bytes_stored: u64,
    /// Protected from retention.
    pub is_retained: bool,
    /// From 1; one more with each change. Not looked at when a saveset is recorded.
    pub version: i64,
    /// Its deletion is decided and under way. Not looked at when a saveset is recorded.
    pub is_condemned: bool,
    /// A verification has found it damaged, and none that looked as closely has found it sound
    /// since. Not looked at when a saveset is recorded.
    pub is_damaged: bool,
    /// The newest one. Not looked at when a saveset is recorded.
    pub verification: Option<Verification>,
}

impl SavesetRecord {
    /// What a backup execution that has ended has left.
    pub(crate) fn of(execution: &Execution, saveset: SavesetId) -> Self {
        let end_time = execution.end_time.unwrap_or(execution.queued_at);
        SavesetRecord {
            site_id: execution.site_id.clone(),
            saveset_id: saveset,
            job_id: execution.job_id,
            job_name: execution.job_name.clone(),
            execution_id: execution.execution_id,
            // A run that nobody called DELTA has read everything.
            run_type: execution.run_type.unwrap_or(RunType::Full),
            start_time: execution.start_time.unwrap_or(end_time),
            end_time,
            backup_set_size: execution.backup_set_size,
            bytes_stored: execution.bytes_stored,
            is_retained: false,
            version: 1,
            is_condemned: false,
            is_damaged: false,
            verification: None,
        }
    }
}

#[derive(sqlx_macros::FromRow)]
struct SavesetRow {
    site_id: String,
    saveset_id: i64,
    job_id: i64,
    job_name: String,
    execution_id: i64,
    run_type: String,
    start_time: i64,
    end_time: i64,
    backup_set_size: i64,
    bytes_stored: i64,
    is_retained: bool,
    version: i64,
    is_condemned: bool,
    is_damaged: bool,
    #[sqlx(flatten)]
    verification: VerificationRow,
}

macro_rules! select_savesets {
    ($rest:literal) => {
        concat!(
            "SELECT site_id, saveset_id, job_id, job_name, execution_id, run_type, start_time,
                    end_time, backup_set_size, bytes_stored, is_retained, version,
                    (condemned_at IS NOT NULL) AS is_condemned,
                    (damaged_at IS NOT NULL) AS is_damaged,
                    status, thorough, asked_at, began_at, ended_at, bytes_total, bytes_done,
                    damaged, damaged_count, detail
             FROM saveset LEFT JOIN verification ON of_site = site_id AND of_saveset = saveset_id
             WHERE deleted_at IS NULL AND ",
            $rest
        )
    };
}

impl SavesetRow {
    fn into_record(self) -> Result<SavesetRecord, CatalogError> {
        Ok(SavesetRecord {
            site_id: site_from(&self.site_id)?,
            saveset_id: id_from(self.saveset_id)?,
            job_id: id_from(self.job_id)?,
            job_name: self.job_name,
            execution_id: id_from(self.execution_id)?,
            run_type: word_from("run type", &self.run_type)?,
            start_time: Moment::from_micros(self.start_time),
            end_time: Moment::from_micros(self.end_time),
            backup_set_size: as_u64(self.backup_set_size),
            bytes_stored: as_u64(self.bytes_stored),
            is_retained: self.is_retained,
            version: self.version,
            is_condemned: self.is_condemned,
            is_damaged: self.is_damaged,
            verification: self.verification.into_verification()?,
        })
    }
}

impl Catalog {
    /// Records a saveset that the vault holds, as when the catalog is brought in line with it.
    /// Recording it again refreshes the facts, keeps its protection, and takes back a deletion
    /// that the vault does not know of.
    pub async fn record_saveset(&self, saveset: &SavesetRecord) -> Result<(), CatalogError> {
        let mut tx = self.database().begin().await?;
        put_saveset(&mut tx, saveset).await?;
        tx.commit().await?;
        Ok(())
    }

    /// One saveset that exists.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::NoSaveset`].
    pub async fn saveset(
        &self,
        site: &SiteId,
        saveset: SavesetId,
    ) -> Result<SavesetRecord, CatalogError> {
        self.site(site).await?;
        let mut connection = self.database().read().acquire().await?;
        saveset_record(&mut connection, site, saveset).await
    }

    /// The savesets of a site, or of one of its jobs, that exist; the newest first.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`].
    pub async fn savesets(
        &self,
        site: &SiteId,
        job: Option<JobId>,
        page: Page,
    ) -> Result<Rows<SavesetRecord>, CatalogError> {
        self.site(site).await?;
        let (limit, offset) = page.limit_and_offset();
        let job = job.map(JobId::get);
        let rows: Vec<SavesetRow> = sqlx::query_as(select_savesets!(
            "site_id = $1 AND ($2 IS NULL OR job_id = $2)
             ORDER BY saveset_id DESC LIMIT $3 OFFSET $4"
        ))
        .bind(site.as_str())
        .bind(job)
        .bind(limit)
        .bind(offset)
        .fetch_all(self.database().read())
        .await?;
        let total: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM saveset
             WHERE deleted_at IS NULL AND site_id = $1 AND ($2 IS NULL OR job_id = $2)",
        )
        .bind(site.as_str())
        .bind(job)
        .fetch_one(self.database().read())
        .await?;
        let rows = rows
            .into_iter()
            .map(SavesetRow::into_record)
            .collect::<Result<_, _>>()?;
        Ok(Rows {
            rows,
            total: as_u64(total),
        })
    }

    /// The savesets that a job has made and that exist, the newest first.
    pub async fn savesets_of_job(
        &self,
        site: &SiteId,
        job: JobId,
    ) -> Result<Vec<SavesetRecord>, CatalogError> {
        Ok(self.savesets(site, Some(job), Page::All).await?.rows)
    }

    /// A run has found that a saveset cannot be read. It is known as damaged until a verification finds
    /// it sound that looked at everything.
    pub async fn mark_damaged(
        &self,
        site: &SiteId,
        saveset: SavesetId,
    ) -> Result<(), CatalogError> {
        let mut tx = self.database().begin().await?;
        let now = self.now().as_micros();
        remember(
            &mut tx,
            site,
            saveset,
            VerificationStatus::Failed,
            true,
            now,
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether the site has a saveset, or had one: then its vault must be there.
    pub async fn has_savesets(&self, site: &SiteId) -> Result<bool, CatalogError> {
        let savesets: i64 = sqlx::query_scalar("SELECT count(*) FROM saveset WHERE site_id = $1")
            .bind(site.as_str())
            .fetch_one(self.database().read())
            .await?;
        Ok(savesets > 0)
    }

    /// Protects a saveset from retention, or no longer. `expected` is the version that the caller
    /// has seen; `None` changes any.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`]; [`CatalogError::NoSaveset`], also when its deletion has begun;
    /// [`CatalogError::StaleVersion`].
    pub async fn set_retained(
        &self,
        site: &SiteId,
        saveset: SavesetId,
        retained: bool,
        expected: Option<i64>,
    ) -> Result<SavesetRecord, CatalogError> {
        self.site(site).await?;
        let mut tx = self.database().begin().await?;
        let before = usable_saveset(&mut tx, site, saveset).await?;
        check_version(&format!("saveset {saveset}"), before.version, expected)?;
        if before.is_retained != retained {
            sqlx::query(
                "UPDATE saveset SET is_retained = $1, version = version + 1
                 WHERE site_id = $2 AND saveset_id = $3 AND version = $4",
            )
            .bind(retained)
            .bind(site.as_str())
            .bind(saveset.get())
            .bind(before.version)
            .execute(&mut *tx)
            .await?;
        }
        let record = saveset_record(&mut tx, site, saveset).await?;
        tx.commit().await?;
        Ok(record)
    }

    /// Decides that a saveset goes: from now on nothing can begin to restore it. To be called
    /// before its manifest is dropped; [`Catalog::mark_deleted`] follows. Calling it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`CatalogError::NoSaveset`], [`CatalogError::SavesetRetained`],
    /// [`CatalogError::SavesetInUse`] while a restore of it, or a backup that builds on it, has not
    /// ended.
    pub async fn condemn_saveset(
        &self,
        site: &SiteId,
        saveset: SavesetId,
    ) -> Result<(), CatalogError> {
        let mut tx = self.database().begin().await?;
        let record = saveset_record(&mut tx, site, saveset).await?;
        if record.is_retained {
            return Err(CatalogError::SavesetRetained {
                site: site.clone(),
                saveset,
            });
        }
        let reader: Option<i64> = sqlx::query_scalar(
            "SELECT min(execution_id) FROM execution
             WHERE site_id = $1 AND status IN ('QUEUED', 'RUNNING', 'ABORTING')
               AND ((job_type = 'RESTORE' AND saveset_id = $2)
                    OR (job_type = 'BACKUP' AND base_saveset = $2))",
        )
        .bind(site.as_str())
        .bind(saveset.get())
        .fetch_one(&mut *tx)
        .await?;
        if let Some(execution) = maybe_id(reader)? {
            return Err(CatalogError::SavesetInUse {
                site: site.clone(),
                saveset,
                execution,
            });
        }
        sqlx::query(
            "UPDATE saveset SET condemned_at = $1
             WHERE site_id = $2 AND saveset_id = $3 AND condemned_at IS NULL",
        )
        .bind(self.now().as_micros())
        .bind(site.as_str())
        .bind(saveset.get())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes a decision of [`Catalog::condemn_saveset`] back: the vault does not let the saveset go.
    /// One that is deleted stays so.
    pub async fn reprieve_saveset(
        &self,
        site: &SiteId,
        saveset: SavesetId,
    ) -> Result<(), CatalogError> {
        sqlx::query(
            "UPDATE saveset SET condemned_at = NULL
             WHERE site_id = $1 AND saveset_id = $2 AND deleted_at IS NULL",
        )
        .bind(site.as_str())
        .bind(saveset.get())
        .execute(self.database().write())
        .await?;
        Ok(())
    }

    /// Savesets whose deletion was decided and has not been finished, as after a crash.
    pub async fn condemned_savesets(&self) -> Result<Vec<SavesetRecord>, CatalogError> {
        let rows: Vec<SavesetRow> = sqlx::query_as(select_savesets!(
            "condemned_at IS NOT NULL ORDER BY site_id, saveset_id"
        ))
        .fetch_all(self.database().read())
        .await?;
        rows.into_iter().map(SavesetRow::into_record).collect()
    }

    /// Its manifest is gone. The row stays, so that executions can say so.
    ///
    /// # Errors
    /// [`CatalogError::NoSaveset`] if it is not known, or is marked already.
    pub async fn mark_deleted(
        &self,
        site: &SiteId,
        saveset: SavesetId,
    ) -> Result<(), CatalogError> {
        let changed = sqlx::query(
            "UPDATE saveset SET deleted_at = $1, is_retained = FALSE
             WHERE site_id = $2 AND saveset_id = $3 AND deleted_at IS NULL",
        )
        .bind(self.now().as_micros())
        .bind(site.as_str())
        .bind(saveset.get())
        .execute(self.database().write())
        .await?;
        match changed.rows_affected() {
            1 => Ok(()),
            _ => Err(CatalogError::NoSaveset {
                site: site.clone(),
                saveset,
            }),
        }
    }
}

async fn saveset_record(
    tx: &mut Connection,
    site: &SiteId,
    saveset: SavesetId,
) -> Result<SavesetRecord, CatalogError> {
    let row: Option<SavesetRow> =
        sqlx::query_as(select_savesets!("site_id = $1 AND saveset_id = $2"))
            .bind(site.as_str())
            .bind(saveset.get())
            .fetch_optional(tx)
            .await?;
    row.ok_or_else(|| CatalogError::NoSaveset {
        site: site.clone(),
        saveset,
    })?
    .into_record()
}

/// A saveset that exists and is going to stay.
pub(crate) async fn usable_saveset(
    tx: &mut Connection,
    site: &SiteId,
    saveset: SavesetId,
) -> Result<SavesetRecord, CatalogError> {
    let record = saveset_record(tx, site, saveset).await?;
    if record.is_condemned {
        return Err(CatalogError::NoSaveset {
            site: site.clone(),
            saveset,
        });
    }
    Ok(record)
}

/// Writes the row of a saveset that an execution has just made. One that was recorded out of the
/// vault before stands: its manifest knows better when it was committed.
pub(crate) async fn put_made_saveset(
    tx: &mut Connection,
    saveset: &SavesetRecord,
) -> Result<(), CatalogError> {
    match saveset_record(tx, &saveset.site_id, saveset.saveset_id).await {
        Err(CatalogError::NoSaveset { .. }) => put_saveset(tx, saveset).await,
        Err(other) => Err(other),
        Ok(_) => Ok(()),
    }
}

/// Writes a saveset's row, or refreshes it.
pub(crate) async fn put_saveset(
    tx: &mut Connection,
    saveset: &SavesetRecord,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO saveset (
             site_id, saveset_id, job_id, job_name, execution_id, run_type, start_time, end_time,
             backup_set_size, bytes_stored, is_retained, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1)
         ON CONFLICT (site_id, saveset_id) DO UPDATE
             SET job_id = excluded.job_id, job_name = excluded.job_name,
                 execution_id = excluded.execution_id, run_type = excluded.run_type,
                 start_time = excluded.start_time, end_time = excluded.end_time,
                 backup_set_size = excluded.backup_set_size,
                 bytes_stored = excluded.bytes_stored, deleted_at = NULL",
    )
    .bind(saveset.site_id.as_str())
    .bind(saveset.saveset_id.get())
    .bind(saveset.job_id.get())
    .bind(&saveset.job_name)
    .bind(saveset.execution_id.get())
    .bind(saveset.run_type.to_string())
    .bind(saveset.start_time.as_micros())
    .bind(saveset.end_time.as_micros())
    .bind(as_i64(saveset.backup_set_size))
    .bind(as_i64(saveset.bytes_stored))
    .bind(saveset.is_retained)
    .execute(tx)
    .await?;
    Ok(())
}
