//! How executions come to be.

use model::{
    ExecutionId, JobDefinition, JobId, Moment, RestoreSettings, RunType, SavesetId, SiteId,
    SiteType,
};

use crate::catalog::next_id;
use crate::database::Connection;
use crate::executions::{execution_record, live_execution};
use crate::idempotency::KeyedRequest;
use crate::jobs::{insert_job, job_record};
use crate::savesets::usable_saveset;
use crate::sites::site_record;
use crate::stored::{id_from, to_json, word_from};
use crate::{Catalog, CatalogError};

/// The `order_time` of an execution while it is QUEUED: before everything that has started.
const QUEUED_FIRST: i64 = i64::MAX;

const WAITS: &str = "Waits for its turn";

/// An execution that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExecution {
    /// The job's site.
    pub site_id: SiteId,
    /// The job.
    pub job_id: JobId,
    /// See [`Execution::target_site`](crate::Execution::target_site).
    pub target_site: Option<SiteId>,
    /// BACKUP: what was asked for.
    pub run_type: Option<RunType>,
    /// RESTORE: the backup that it restores. DELTA: the backup that it builds on.
    pub parent_execution: Option<ExecutionId>,
    /// RESTORE: the saveset that it restores; it must be there.
    pub saveset: Option<SavesetId>,
    /// `status_detail` while it waits.
    pub detail: String,
    /// The execution that died and whose work it does again.
    pub requeue_of: Option<ExecutionId>,
}

impl NewExecution {
    /// A run of a job, with nothing else said.
    pub fn of(site_id: SiteId, job_id: JobId) -> Self {
        NewExecution {
            site_id,
            job_id,
            target_site: None,
            run_type: None,
            parent_execution: None,
            saveset: None,
            detail: WAITS.to_owned(),
            requeue_of: None,
        }
    }
}

/// An execution that is QUEUED now, or was made by the same request before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// Its id.
    pub execution_id: ExecutionId,
    /// It was made before; nothing was changed now.
    pub repeated: bool,
}

/// A restore that is QUEUED now, with its job, or was made by the same request before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnqueuedRestore {
    /// The RESTORE job.
    pub job_id: JobId,
    /// Its first execution.
    pub execution_id: ExecutionId,
    /// They were made before; nothing was changed now.
    pub repeated: bool,
}

impl Catalog {
    /// Queues an execution of a job.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::NoJob`]; [`CatalogError::JobRunning`] if the job
    /// has an execution that has not ended; [`CatalogError::NoSaveset`] if what should be restored
    /// is gone or going; [`CatalogError::KeyReused`].
    pub async fn enqueue(
        &self,
        new: &NewExecution,
        idempotency_key: Option<&str>,
    ) -> Result<Enqueued, CatalogError> {
        let now = self.now();
        let request = idempotency_key.map(|key| keyed_execute(new, key));
        let mut tx = self.database().begin().await?;
        let job = job_record(&mut tx, &new.site_id, new.job_id).await?;
        if let Some(request) = &request
            && let Some(execution_id) = request.earlier(&mut tx, now).await?
        {
            return Ok(Enqueued {
                execution_id,
                repeated: true,
            });
        }
        if let Some(execution) = live_execution(&mut tx, new.job_id).await? {
            return Err(CatalogError::JobRunning {
                job: new.job_id,
                execution,
            });
        }
        let execution_id = insert_execution(&mut tx, new, &job.definition, now).await?;
        if let Some(request) = &request {
            request.keep(&mut tx, execution_id, now).await?;
        }
        tx.commit().await?;
        Ok(Enqueued {
            execution_id,
            repeated: false,
        })
    }

    /// The execution that the same request has made before, if it did: asked before anything is
    /// looked at that the first one may have changed.
    ///
    /// # Errors
    /// [`CatalogError::KeyReused`].
    pub async fn earlier_execution(
        &self,
        new: &NewExecution,
        idempotency_key: &str,
    ) -> Result<Option<ExecutionId>, CatalogError> {
        let mut tx = self.database().begin().await?;
        let request = keyed_execute(new, idempotency_key);
        request.earlier(&mut tx, self.now()).await
    }

    /// The restore that the same request has made before, if it did.
    ///
    /// # Errors
    /// [`CatalogError::NoRestoreSettings`], [`CatalogError::KeyReused`].
    pub async fn earlier_restore(
        &self,
        site: &SiteId,
        definition: &JobDefinition,
        idempotency_key: &str,
    ) -> Result<Option<EnqueuedRestore>, CatalogError> {
        let mut tx = self.database().begin().await?;
        let request = keyed_restore(site, definition, idempotency_key)?;
        let Some(execution_id) = request.earlier(&mut tx, self.now()).await? else {
            return Ok(None);
        };
        let job_id = execution_record(&mut tx, execution_id).await?.job_id;
        Ok(Some(EnqueuedRestore {
            job_id,
            execution_id,
            repeated: true,
        }))
    }

    /// Makes a RESTORE job under the saveset's site, and queues its first execution, both or
    /// neither.
    ///
    /// # Errors
    /// [`CatalogError::NoRestoreSettings`]; [`CatalogError::NoSite`] for either site;
    /// [`CatalogError::NoSaveset`] if the saveset is gone or going; [`CatalogError::KeyReused`].
    pub async fn enqueue_restore(
        &self,
        site: &SiteId,
        definition: &JobDefinition,
        idempotency_key: Option<&str>,
    ) -> Result<EnqueuedRestore, CatalogError> {
        let settings = restore_settings(definition)?;
        let now = self.now();
        let request = idempotency_key
            .map(|key| keyed_restore(site, definition, key))
            .transpose()?;
        let mut tx = self.database().begin().await?;
        site_record(&mut tx, site).await?;
        if let Some(request) = &request
            && let Some(execution_id) = request.earlier(&mut tx, now).await?
        {
            let job_id = execution_record(&mut tx, execution_id).await?.job_id;
            return Ok(EnqueuedRestore {
                job_id,
                execution_id,
                repeated: true,
            });
        }
        site_record(&mut tx, &settings.target_site).await?;
        let job_id = insert_job(&mut tx, site, definition, now).await?;
        let new = NewExecution {
            target_site: Some(settings.target_site.clone()),
            parent_execution: Some(settings.backup_execution_id),
            saveset: Some(settings.saveset_id),
            ..NewExecution::of(site.clone(), job_id)
        };
        let execution_id = insert_execution(&mut tx, &new, definition, now).await?;
        if let Some(request) = &request {
            request.keep(&mut tx, execution_id, now).await?;
        }
        tx.commit().await?;
        Ok(EnqueuedRestore {
            job_id,
            execution_id,
            repeated: false,
        })
    }
}

/// Queues the work of an execution that has died once more; `None` if its job was deleted.
pub(crate) async fn requeue(
    tx: &mut Connection,
    dead: ExecutionId,
    detail: &str,
    now: Moment,
) -> Result<Option<ExecutionId>, CatalogError> {
    let dead = execution_record(tx, dead).await?;
    let job = match job_record(tx, &dead.site_id, dead.job_id).await {
        Err(CatalogError::NoJob { .. }) => return Ok(None),
        other => other?,
    };
    let asked: Option<String> =
        sqlx::query_scalar("SELECT asked_run_type FROM execution WHERE execution_id = $1")
            .bind(dead.execution_id.get())
            .fetch_one(&mut *tx)
            .await?;
    let asked = asked.map(|word| word_from("run type", &word)).transpose()?;
    let new = NewExecution {
        target_site: dead.target_site,
        // Not what it had become: whatever forced that is looked at again.
        run_type: asked,
        detail: detail.to_owned(),
        requeue_of: Some(dead.execution_id),
        ..NewExecution::of(dead.site_id, dead.job_id)
    };
    insert_execution(tx, &new, &job.definition, now)
        .await
        .map(Some)
}

async fn insert_execution(
    tx: &mut Connection,
    new: &NewExecution,
    job: &JobDefinition,
    now: Moment,
) -> Result<ExecutionId, CatalogError> {
    if let Some(saveset) = new.saveset {
        usable_saveset(tx, &new.site_id, saveset).await?;
    }
    let site_type: SiteType = site_record(tx, &new.site_id).await?.definition.site_type;
    let id = next_id(tx, "execution").await?;
    sqlx::query(
        "INSERT INTO execution (
             execution_id, site_id, job_id, job_name, job_type, backup_mechanism, site_type,
             priority, target_site, run_type, parent_execution, requeue_of, status, status_detail,
             queued_at, order_time, saveset_id, asked_run_type)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'QUEUED', $13, $14, $15, $16,
             $10)",
    )
    .bind(id)
    .bind(new.site_id.as_str())
    .bind(new.job_id.get())
    .bind(&job.name)
    .bind(job.job_type.to_string())
    .bind(job.backup_mechanism.to_string())
    .bind(site_type.to_string())
    .bind(i64::from(job.priority))
    .bind(new.target_site.as_ref().map(SiteId::as_str))
    .bind(new.run_type.map(|run_type| run_type.to_string()))
    .bind(new.parent_execution.map(ExecutionId::get))
    .bind(new.requeue_of.map(ExecutionId::get))
    .bind(&new.detail)
    .bind(now.as_micros())
    .bind(QUEUED_FIRST)
    .bind(new.saveset.map(SavesetId::get))
    .execute(tx)
    .await?;
    id_from(id)
}

fn restore_settings(definition: &JobDefinition) -> Result<&RestoreSettings, CatalogError> {
    let settings = definition.restore.as_ref();
    settings.ok_or_else(|| CatalogError::NoRestoreSettings(definition.name.clone()))
}

fn keyed_execute<'a>(new: &'a NewExecution, key: &'a str) -> KeyedRequest<'a> {
    KeyedRequest {
        site: &new.site_id,
        job: new.job_id,
        operation: "execute",
        key,
        content_hash: content_of_execute(new),
    }
}

fn keyed_restore<'a>(
    site: &'a SiteId,
    definition: &JobDefinition,
    key: &'a str,
) -> Result<KeyedRequest<'a>, CatalogError> {
    let backup_job = restore_settings(definition)?.backup_job_id;
    let document = to_json("a job", definition)?;
    Ok(KeyedRequest {
        site,
        job: JobId::new(backup_job)
            .map_err(|_| CatalogError::NoRestoreSettings(definition.name.clone()))?,
        operation: "restore",
        key,
        content_hash: blake3::hash(document.as_bytes()).to_hex().to_string(),
    })
}

/// What makes two requests to run a job the same.
fn content_of_execute(new: &NewExecution) -> String {
    let content = format!(
        "{:?} {:?} {:?} {:?}",
        new.run_type, new.target_site, new.parent_execution, new.saveset
    );
    blake3::hash(content.as_bytes()).to_hex().to_string()
}
