//! Asking for a restore: checked against saveset and target before anything is queued.

use std::sync::Arc;

use catalog::{JobRecord, NewExecution, SiteRecord};
use flow::DatabaseRestore;
use model::{
    Credentials, ExecutionId, Findings, JobDefinition, JobId, JobType, NoProgress, ObjectName,
    Progress, RestoreSettings, Selection, ServerExecutionId, SiteId, SiteType,
};
use vault::Saveset;

use crate::{ExecuteRequest, Jobs, JobsError, lock, words};

/// A restore as it is asked for; what the saveset decides is filled in here.
#[derive(Debug, Clone)]
pub struct RestoreDraft {
    /// The RESTORE job to be; its `restore` is `None` still.
    pub job: JobDefinition,
    /// The site restored to.
    pub target_site: SiteId,
    /// Its new name; `None`: its own.
    pub new_name: Option<ObjectName>,
    /// Whether the new name came as `rename_to`.
    pub named_by_rename_to: bool,
    /// Only new objects; `None`: true where a new name is given and nothing is to be replaced, since
    /// a copy replaces nothing.
    pub run_as_copy: Option<bool>,
    /// A filled target is put aside.
    pub replace_existing: bool,
    /// Leave out statistics.
    pub skip_statistics: bool,
    /// Leave out secondary indexes that are no constraint.
    pub skip_indexes: bool,
    /// As the request had it.
    pub retained_copy: Option<String>,
    /// Only the plan is wanted.
    pub dry_run: bool,
}

/// What became of the wish.
#[derive(Debug)]
pub enum Restored {
    /// It is queued.
    Queued {
        /// The RESTORE job that was made.
        job: JobId,
        /// Its first execution.
        execution: ExecutionId,
    },
    /// The plan of a dry run; nothing was touched.
    Plan(Findings),
}

impl Jobs {
    /// Makes a RESTORE job out of a backup execution and queues it, after a look at the target.
    ///
    /// # Errors
    /// When there is nothing to restore, the credentials are missing or refused, or something is
    /// in the way.
    pub async fn restore(
        &self,
        site: &SiteId,
        job: JobId,
        backup: ExecutionId,
        draft: RestoreDraft,
        request: ExecuteRequest,
    ) -> Result<Restored, JobsError> {
        self.inner.catalog.had_job(site, job).await?;
        let saveset_id = self.saveset_of(site, job, backup).await?;
        let mut objects = draft.job.selection.objects.iter();
        let named_anew =
            draft.new_name.is_some() || objects.all(|object| object.rename_to.is_some());
        let settings = RestoreSettings {
            backup_execution_id: backup,
            backup_job_id: job.get(),
            saveset_id,
            target_site: draft.target_site,
            run_as_copy: draft
                .run_as_copy
                .unwrap_or(named_anew && !draft.replace_existing),
            new_name: draft.new_name,
            named_by_rename_to: draft.named_by_rename_to,
            replace_existing: draft.replace_existing,
            skip_statistics: draft.skip_statistics,
            skip_indexes: draft.skip_indexes,
            retained_copy: draft.retained_copy,
        };
        let mut definition = draft.job;
        definition.restore = Some(settings.clone());
        if let Some(key) = request
            .idempotency_key
            .as_deref()
            .filter(|_| !draft.dry_run)
            && let Some(earlier) = self
                .inner
                .catalog
                .earlier_restore(site, &definition, key)
                .await?
        {
            return Ok(Restored::Queued {
                job: earlier.job_id,
                execution: earlier.execution_id,
            });
        }
        let selection = &definition.selection;
        let prepared = self.inner.prepare_restore(site, selection, &settings);
        let prepared = prepared.await?;
        let (credentials, plan) = self.look(&prepared, &settings, request.credentials).await?;
        if draft.dry_run {
            return Ok(Restored::Plan(plan));
        }
        nothing_in_the_way(plan)?;
        let admission = self.inner.admission.lock().await;
        let queued = self
            .inner
            .catalog
            .enqueue_restore(site, &definition, request.idempotency_key.as_deref())
            .await?;
        if !queued.repeated {
            self.keep_credentials(queued.execution_id, credentials);
        }
        drop(admission);
        self.inner.wake.notify_one();
        Ok(Restored::Queued {
            job: queued.job_id,
            execution: queued.execution_id,
        })
    }

    /// Runs a RESTORE job again, from the beginning, with credentials brought anew.
    pub(crate) async fn execute_restore(
        &self,
        job: JobRecord,
        request: ExecuteRequest,
    ) -> Result<ExecutionId, JobsError> {
        if request.run_type.is_some() {
            return Err(JobsError::NotForThisJob("a RESTORE job takes no run_type"));
        }
        let definition = job.definition;
        let settings = definition
            .restore
            .ok_or(JobsError::NoRestoreSettings(job.job_id))?;
        let queued = NewExecution {
            site_id: job.site_id.clone(),
            job_id: job.job_id,
            target_site: Some(settings.target_site.clone()),
            run_type: None,
            parent_execution: Some(settings.backup_execution_id),
            saveset: Some(settings.saveset_id),
            detail: "Waits for a stream".to_owned(),
            requeue_of: None,
        };
        if let Some(key) = request.idempotency_key.as_deref()
            && let Some(earlier) = self.inner.catalog.earlier_execution(&queued, key).await?
        {
            return Ok(earlier);
        }
        let selection = &definition.selection;
        let prepared = self
            .inner
            .prepare_restore(&job.site_id, selection, &settings)
            .await?;
        let (credentials, plan) = self.look(&prepared, &settings, request.credentials).await?;
        nothing_in_the_way(plan)?;
        let admission = self.inner.admission.lock().await;
        let enqueued = self
            .inner
            .catalog
            .enqueue(&queued, request.idempotency_key.as_deref())
            .await?;
        if !enqueued.repeated {
            self.keep_credentials(enqueued.execution_id, credentials);
        }
        drop(admission);
        self.inner.wake.notify_one();
        Ok(enqueued.execution_id)
    }

    /// Looks at the target with the credentials that the restore will run with.
    async fn look(
        &self,
        prepared: &PreparedRestore,
        settings: &RestoreSettings,
        given: Option<Credentials>,
    ) -> Result<(Option<Credentials>, Findings), JobsError> {
        let credentials = prepared.credentials(given)?;
        let plan = self
            .inner
            .plan(prepared, settings, credentials.clone())
            .await?;
        Ok((credentials, plan))
    }

    fn keep_credentials(&self, execution: ExecutionId, credentials: Option<Credentials>) {
        if let Some(credentials) = credentials {
            lock(&self.inner.credentials).insert(execution, credentials);
        }
    }
}

/// A restore whose saveset and target are there.
pub(crate) struct PreparedRestore {
    pub(crate) saveset: Saveset,
    pub(crate) databases: Vec<DatabaseRestore>,
    pub(crate) target: SiteRecord,
}

impl PreparedRestore {
    /// SQLite files have no users: credentials are not needed there, and ignored.
    pub(crate) fn credentials(
        &self,
        given: Option<Credentials>,
    ) -> Result<Option<Credentials>, JobsError> {
        match self.target.definition.site_type {
            SiteType::Sqlite => Ok(None),
            SiteType::Postgresql => given.map(Some).ok_or(JobsError::NoCredentials),
        }
    }
}

impl crate::Inner {
    pub(crate) async fn prepare_restore(
        &self,
        site: &SiteId,
        selection: &Selection,
        settings: &RestoreSettings,
    ) -> Result<PreparedRestore, JobsError> {
        let source = self.catalog.site(site).await?;
        let target = self.catalog.site(&settings.target_site).await?;
        let (source_type, target_type) = (source.definition.site_type, target.definition.site_type);
        if source_type != target_type {
            return Err(JobsError::OtherKind {
                source_type,
                target_type,
            });
        }
        let saveset = self
            .vault(&source)
            .await?
            .open_saveset(settings.saveset_id)
            .await?;
        let databases = wanted(&saveset, selection, settings.new_name.as_ref())?;
        Ok(PreparedRestore {
            saveset,
            databases,
            target,
        })
    }

    async fn plan(
        &self,
        prepared: &PreparedRestore,
        settings: &RestoreSettings,
        credentials: Option<Credentials>,
    ) -> Result<Findings, JobsError> {
        // Nothing runs under this id: a plan only looks.
        let looking = ServerExecutionId {
            execution: settings.backup_execution_id,
            attempt: 0,
        };
        let input = self
            .restore_input(
                prepared,
                settings,
                credentials,
                looking,
                Vec::new(),
                Arc::new(NoProgress),
            )
            .await?;
        Ok(flow::plan_restore(&input).await?)
    }

    pub(crate) async fn restore_input(
        &self,
        prepared: &PreparedRestore,
        settings: &RestoreSettings,
        credentials: Option<Credentials>,
        id: ServerExecutionId,
        earlier: Vec<ServerExecutionId>,
        progress: Arc<dyn Progress>,
    ) -> Result<flow::RestoreInput, JobsError> {
        let target = &prepared.target.definition;
        Ok(flow::RestoreInput {
            engine: self.registry.engine(target.site_type)?,
            connection: self.connection(&prepared.target).await?,
            credentials,
            saveset: prepared.saveset.clone(),
            databases: prepared.databases.clone(),
            options: flow::RestoreOptions {
                as_copy: settings.run_as_copy,
                replace_existing: settings.replace_existing,
                skip_statistics: settings.skip_statistics,
                skip_indexes: settings.skip_indexes,
            },
            streams: usize::try_from(target.soft_limit).unwrap_or(usize::MAX),
            limits: self.site_streams(&target.site_id, target.hard_limit),
            server_execution_id: id,
            earlier,
            progress,
        })
    }
}

fn nothing_in_the_way(plan: Findings) -> Result<(), JobsError> {
    match plan.obstacles.into_iter().next() {
        Some(obstacle) => Err(JobsError::InTheWay(obstacle)),
        None => Ok(()),
    }
}

/// What of the saveset is wanted, by database, and what each is called on the target.
fn wanted(
    saveset: &Saveset,
    selection: &Selection,
    new_name: Option<&ObjectName>,
) -> Result<Vec<DatabaseRestore>, JobsError> {
    let contents = &saveset.manifest().contents;
    let held: Vec<ObjectName> = contents.databases.iter().map(|d| d.name.clone()).collect();
    let asked = selection.by_database(&held)?;
    for selection in &asked {
        if contents.place_of(&selection.database).is_none() {
            return Err(JobsError::NotInSaveset {
                saveset: saveset.id(),
                holds: words::list(&held),
                asked: selection.database.to_string(),
            });
        }
    }
    flow::all_held(saveset, &asked)?;
    let wanted = asked.into_iter().map(|one| {
        let named = || selection.new_name_of(&one.database);
        let renamed = new_name.or_else(named);
        DatabaseRestore {
            target_database: renamed.unwrap_or(&one.database).clone(),
            selection: one,
        }
    });
    Ok(wanted.collect())
}

/// A RESTORE job's definition around a name and a selection, everything else neutral.
pub fn restore_job(name: String, selection: model::Selection) -> JobDefinition {
    JobDefinition {
        name,
        description: None,
        job_type: JobType::Restore,
        backup_type: model::RunType::Full,
        backup_mechanism: model::BackupMechanism::Dsa,
        is_active: true,
        priority: 5,
        no_of_retention_copies: 1,
        is_auto_abort_active: false,
        auto_abort_in_minutes: 0,
        online: true,
        continue_on_access_right_violation: false,
        selection,
        yield_to_ddl_seconds: 0,
        restore: None,
    }
}
