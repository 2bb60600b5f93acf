//! A site that comes out of its vault: with its jobs, its savesets and the executions that made
//! them, all or nothing.

use std::collections::BTreeMap;

use model::{
    ExecutionId, ExecutionStatus, JobDefinition, JobId, JobType, Moment, SiteDefinition, SiteId,
    SiteSecrets,
};

use crate::catalog::next_id;
use crate::database::Connection;
use crate::progress::WrittenNotes;
use crate::savesets::put_saveset;
use crate::sites::{insert_site, site_record};
use crate::stored::{as_i64, id_from, to_json};
use crate::{
    Catalog, CatalogError, ChangedIn, Notes, Origin, ProgressSnapshot, SavesetRecord, SiteKeys,
    SiteRecord,
};

/// A site as its vault tells of it.
#[derive(Debug, Clone)]
pub struct Adoption {
    /// The site.
    pub definition: SiteDefinition,
    /// What its connections need.
    pub secrets: SiteSecrets,
    /// What opens its vault.
    pub keys: SiteKeys,
    /// Every job that a saveset names, and those that have none.
    pub jobs: Vec<AdoptedJob>,
    /// Its savesets.
    pub savesets: Vec<AdoptedSaveset>,
    /// No execution gets this number or a lower one from now on, but those that are adopted.
    pub past_execution: i64,
    /// The same for jobs.
    pub past_job: i64,
}

/// A job of an adopted site.
#[derive(Debug, Clone)]
pub struct AdoptedJob {
    /// Its id where it was made.
    pub job_id: JobId,
    /// What it does.
    pub definition: JobDefinition,
    /// It was deleted there: only its savesets remain.
    pub is_deleted: bool,
}

/// A saveset of an adopted site, with the execution that made it.
#[derive(Debug, Clone)]
pub struct AdoptedSaveset {
    /// With the ids of job and execution where it was made.
    pub record: SavesetRecord,
    /// The attempt that committed it.
    pub attempt: u32,
    /// How the execution ended.
    pub status: ExecutionStatus,
    /// Why it is here.
    pub detail: String,
    /// Bytes read from the database.
    pub bytes_read: u64,
    /// With the id of the parent where it was made.
    pub origin: Origin,
    /// DELTA: how changed blocks were found.
    pub changed_blocks: Vec<ChangedIn>,
    /// What the execution had to say.
    pub notes: Notes,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// The site.
    pub site: SiteRecord,
    /// Jobs whose number was taken here: what it was, what it is.
    pub renumbered_jobs: BTreeMap<JobId, JobId>,
    /// Executions whose number was taken here.
    pub renumbered_executions: BTreeMap<ExecutionId, ExecutionId>,
}

impl Catalog {
    /// Enters a site with everything that its vault tells of. Jobs and executions keep their numbers
    /// where those are free here; the others get new ones.
    ///
    /// # Errors
    /// [`CatalogError::SiteExists`].
    pub async fn adopt_site(&self, adoption: &Adoption) -> Result<Adopted, CatalogError> {
        let site = &adoption.definition.site_id;
        let now = self.now();
        let mut tx = self.database().begin().await?;
        insert_site(&mut tx, &adoption.definition, now).await?;
        self.put_first_secrets(&mut tx, site, &adoption.secrets, &adoption.keys)
            .await?;
        // First of all, so that no new number is one that is still to be kept.
        leave_behind(&mut tx, "job", highest_job(adoption)).await?;
        leave_behind(&mut tx, "execution", highest_execution(adoption)).await?;
        let mut executions = BTreeMap::new();
        for saveset in &adoption.savesets {
            let old = saveset.record.execution_id;
            if taken(&mut tx, "execution", old.get()).await? {
                executions.insert(old, id_from(next_id(&mut tx, "execution").await?)?);
            }
        }
        let mut jobs = BTreeMap::new();
        for job in &adoption.jobs {
            if taken(&mut tx, "job", job.job_id.get()).await? {
                jobs.insert(job.job_id, id_from(next_id(&mut tx, "job").await?)?);
            }
        }
        let renumbered = Renumbered { jobs, executions };
        for job in &adoption.jobs {
            insert_job(&mut tx, site, job, &renumbered, now).await?;
        }
        for saveset in &adoption.savesets {
            let record = renumbered.record(site, &saveset.record);
            let parent = saveset.origin.parent_execution.filter(|parent| {
                // A number that is not adopted may be another's here.
                let mut all = adoption.savesets.iter();
                all.any(|other| other.record.execution_id == *parent)
            });
            let parent = parent.map(|parent| renumbered.execution(parent));
            insert_execution(&mut tx, saveset, &record, parent, &adoption.definition).await?;
            put_saveset(&mut tx, &record).await?;
            if record.is_damaged {
                mark_damaged(&mut tx, &record, now).await?;
            }
        }
        let record = site_record(&mut tx, site).await?;
        tx.commit().await?;
        Ok(Adopted {
            site: record,
            renumbered_jobs: renumbered.jobs,
            renumbered_executions: renumbered.executions,
        })
    }
}

/// Ids that are others here.
struct Renumbered {
    jobs: BTreeMap<JobId, JobId>,
    executions: BTreeMap<ExecutionId, ExecutionId>,
}

impl Renumbered {
    fn job(&self, id: JobId) -> JobId {
        self.jobs.get(&id).copied().unwrap_or(id)
    }

    fn execution(&self, id: ExecutionId) -> ExecutionId {
        self.executions.get(&id).copied().unwrap_or(id)
    }

    fn record(&self, site: &SiteId, record: &SavesetRecord) -> SavesetRecord {
        SavesetRecord {
            site_id: site.clone(),
            job_id: self.job(record.job_id),
            execution_id: self.execution(record.execution_id),
            ..record.clone()
        }
    }
}

fn highest_job(adoption: &Adoption) -> i64 {
    let jobs = adoption.jobs.iter().map(|job| job.job_id.get());
    jobs.fold(adoption.past_job, i64::max)
}

fn highest_execution(adoption: &Adoption) -> i64 {
    let savesets = adoption.savesets.iter();
    let executions = savesets.map(|saveset| saveset.record.execution_id.get());
    executions.fold(adoption.past_execution, i64::max)
}

/// The sequence gives no number up to that one any more.
async fn leave_behind(tx: &mut Connection, counter: &str, number: i64) -> Result<(), CatalogError> {
    sqlx::query("UPDATE counter SET value = $1 WHERE name = $2 AND value < $1")
        .bind(number)
        .bind(counter)
        .execute(tx)
        .await?;
    Ok(())
}

async fn taken(tx: &mut Connection, what: &'static str, id: i64) -> Result<bool, CatalogError> {
    let statement = match what {
        "job" => "SELECT count(*) FROM job WHERE job_id = $1",
        _ => "SELECT count(*) FROM execution WHERE execution_id = $1",
    };
    let there: i64 = sqlx::query_scalar(statement).bind(id).fetch_one(tx).await?;
    Ok(there > 0)
}

async fn insert_job(
    tx: &mut Connection,
    site: &SiteId,
    job: &AdoptedJob,
    renumbered: &Renumbered,
    now: Moment,
) -> Result<(), CatalogError> {
    let mut definition = job.definition.clone();
    if let Some(restore) = &mut definition.restore {
        restore.backup_execution_id = renumbered.execution(restore.backup_execution_id);
        if let Ok(backup) = JobId::new(restore.backup_job_id) {
            restore.backup_job_id = renumbered.job(backup).get();
        }
    }
    sqlx::query(
        "INSERT INTO job (job_id, site_id, job_type, is_active, document, version, created_at,
             updated_at, deleted_at)
         VALUES ($1, $2, $3, $4, $5, 1, $6, $6, $7)",
    )
    .bind(renumbered.job(job.job_id).get())
    .bind(site.as_str())
    .bind(definition.job_type.to_string())
    .bind(definition.is_active)
    .bind(to_json("a job", &definition)?)
    .bind(now.as_micros())
    .bind(job.is_deleted.then_some(now.as_micros()))
    .execute(tx)
    .await?;
    Ok(())
}

/// What a verification has found where the site was stays known.
async fn mark_damaged(
    tx: &mut Connection,
    record: &SavesetRecord,
    now: Moment,
) -> Result<(), CatalogError> {
    sqlx::query("UPDATE saveset SET damaged_at = $1 WHERE site_id = $2 AND saveset_id = $3")
        .bind(now.as_micros())
        .bind(record.site_id.as_str())
        .bind(record.saveset_id.get())
        .execute(tx)
        .await?;
    Ok(())
}

/// The execution that made a saveset, as it ended.
async fn insert_execution(
    tx: &mut Connection,
    saveset: &AdoptedSaveset,
    record: &SavesetRecord,
    parent: Option<ExecutionId>,
    site: &SiteDefinition,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO execution (
             execution_id, site_id, job_id, job_name, job_type, backup_mechanism, site_type,
             priority, run_type, status, status_detail, queued_at, start_time, end_time, order_time,
             attempt, claimed_saveset, saveset_id, backup_set_size, bytes_read, bytes_stored,
             parent_execution, made_with, changed_blocks)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 5, $8, $9, $10, $11, $11, $12, $11, $13, $14, $14,
             $15, $16, $17, $18, $19, $20)",
    )
    .bind(record.execution_id.get())
    .bind(site.site_id.as_str())
    .bind(record.job_id.get())
    .bind(&record.job_name)
    .bind(JobType::Backup.to_string())
    .bind(model::BackupMechanism::Dsa.to_string())
    .bind(site.site_type.to_string())
    .bind(record.run_type.to_string())
    .bind(saveset.status.to_string())
    .bind(&saveset.detail)
    .bind(record.start_time.as_micros())
    .bind(record.end_time.as_micros())
    .bind(i64::from(saveset.attempt))
    .bind(record.saveset_id.get())
    .bind(as_i64(record.backup_set_size))
    .bind(as_i64(saveset.bytes_read))
    .bind(as_i64(record.bytes_stored))
    .bind(parent.map(ExecutionId::get))
    .bind(&saveset.origin.made_with)
    .bind(to_json(
        "how changed blocks were found",
        &saveset.changed_blocks,
    )?)
    .execute(&mut *tx)
    .await?;
    let said = ProgressSnapshot {
        warnings: saveset.notes.warnings.clone(),
        skipped: saveset.notes.skipped.clone(),
        ..ProgressSnapshot::default()
    };
    if said.warnings.is_empty() && said.skipped.is_empty() {
        return Ok(());
    }
    WrittenNotes::of(&said)?.save(tx, record.execution_id).await
}
