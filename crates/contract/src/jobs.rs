//! Jobs: what is backed up or restored, and how.

use model::{
    BackupMechanism, ExecutionStatus, JobDefinition, JobId, JobType, Moment, ObjectType, RunType,
    SiteId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job_parsing::YIELD_TO_DDL_SECONDS;
use crate::objects::{JobObject, shown};
use crate::words;

/// The newest execution of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastExecutionDetails {
    /// Null until it ends.
    #[schema(schema_with = words::moment_or_null)]
    pub end_time: Option<Moment>,
    /// Null while QUEUED.
    #[schema(schema_with = words::moment_or_null)]
    pub start_time: Option<Moment>,
    /// What it is.
    #[schema(schema_with = words::status)]
    pub status: ExecutionStatus,
    /// As in the lists of executions.
    pub backup_set_size: u64,
    /// BACKUP: the job itself. RESTORE: the job whose saveset was restored.
    pub backup_job_id: Option<i64>,
    /// BACKUP: the execution itself. RESTORE: the one that was restored.
    pub backup_job_execution_id: Option<i64>,
    /// BACKUP: the newest restore of it, or null. RESTORE: the execution itself.
    pub restore_execution_id: Option<i64>,
}

/// The second site of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetSiteDetails {
    /// Null: there is none.
    #[serde(default)]
    pub target_site_id: Option<String>,
    /// How many savesets are kept there.
    #[serde(default)]
    pub target_retention_copies_count: u32,
    /// TARGET or SOURCE: whose number counts.
    #[serde(default)]
    pub target_retention_source: Option<String>,
}

/// One row of a list of jobs: the sample's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedJob {
    /// The site it belongs to.
    #[schema(value_type = String)]
    pub site_id: SiteId,
    /// After how many minutes a run is aborted, where that is active.
    pub auto_abort_in_minutes: u32,
    /// What a run becomes that is asked for nothing else.
    #[schema(schema_with = words::run_type)]
    pub backup_type: RunType,
    /// For people.
    pub description: Option<String>,
    /// Whether schedules fire.
    pub is_active: bool,
    /// Whether a run is aborted after a while.
    pub is_auto_abort_active: bool,
    /// One sequence for the whole server.
    #[schema(value_type = i64)]
    pub job_id: JobId,
    /// BACKUP or RESTORE.
    #[schema(schema_with = words::job_type)]
    pub job_type: JobType,
    /// Null before the first run; a running one too.
    pub last_execution_details: Option<LastExecutionDetails>,
    /// For people.
    pub name: String,
    /// Null without a schedule.
    #[schema(schema_with = words::moment_or_null)]
    pub next_run_time: Option<Moment>,
    /// How many savesets are kept.
    pub no_of_retention_copies: u32,
    /// 1 (highest) to 5.
    pub priority: u8,
    /// Where the site's vault is.
    #[serde(rename = "siteTargetType")]
    #[schema(schema_with = words::site_target_type)]
    pub site_target_type: String,
    /// How data leaves the database.
    #[schema(schema_with = words::mechanism)]
    pub backup_mechanism: BackupMechanism,
    /// The second site.
    #[serde(rename = "targetSiteDetails")]
    pub target_site_details: TargetSiteDetails,
}

/// What a job saves or restores. A BACKUP shows the keys of a restore as null or false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobSettings {
    /// A consistent snapshot while others write.
    #[serde(default = "yes")]
    pub online: bool,
    /// What is saved or restored.
    pub objects: Vec<JobObject>,
    /// Whether an object that may not be read is skipped and listed (the run then ends
    /// COMPLETED_WITH_WARNINGS); without it the run is FAILED with the SQL that mends it.
    #[serde(default)]
    pub continue_job_on_access_right_violation: bool,
    /// Restore: only new objects.
    #[serde(default)]
    pub run_as_a_copy_job: bool,
    /// Restore: the database's new name.
    #[serde(default)]
    pub restore_to_a_different_database_on_target_site: Option<String>,
    /// Restore: leave out statistics. Spelt so.
    #[serde(default)]
    pub skip_statstics: bool,
    /// Restore: leave out secondary indexes that are no constraint.
    #[serde(default)]
    pub skip_join_or_hash_indexes: bool,
    /// Restore: a filled target is put aside.
    #[serde(default)]
    pub replace_existing: bool,
    /// Restore: a saveset id, or `latest`.
    #[serde(default)]
    pub retained_copy: Option<String>,
    /// How long locks are kept that others wait for; 0: for ever.
    #[serde(default = "yield_default")]
    pub yield_to_ddl_seconds: u32,
}

fn yes() -> bool {
    true
}

fn yield_default() -> u32 {
    YIELD_TO_DDL_SECONDS
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// As in the lists.
    #[serde(flatten)]
    pub listed: ListedJob,
    /// What it saves or restores.
    pub job_settings: JobSettings,
    /// RESTORE: the site restored to; else null.
    #[schema(value_type = Option<String>)]
    pub target_site: Option<SiteId>,
    /// When it was made.
    #[schema(schema_with = words::moment)]
    pub created_at: Moment,
}

/// A job as a client writes it: POST, PUT and, with the changed fields only, PATCH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobRequest {
    /// For people.
    #[schema(min_length = 1, max_length = 255)]
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// BACKUP; a RESTORE job is made by POST …/restores.
    #[schema(schema_with = words::job_type)]
    pub job_type: JobType,
    /// FULL by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::run_type)]
    pub backup_type: Option<RunType>,
    /// DSA by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::mechanism)]
    pub backup_mechanism: Option<BackupMechanism>,
    /// true by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub is_active: Option<bool>,
    /// 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 5)]
    pub priority: Option<u8>,
    /// 7 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub no_of_retention_copies: Option<u32>,
    /// false by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub is_auto_abort_active: Option<bool>,
    /// 0 by default; 1 or more where the auto abort is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub auto_abort_in_minutes: Option<u32>,
    /// The second site; only none is there yet.
    #[serde(
        rename = "targetSiteDetails",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub target_site_details: Option<TargetSiteDetails>,
    /// What it saves.
    pub job_settings: JobSettings,
}

/// The body of row 3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecuteRequest {
    /// FULL or DELTA, in any letter case; the job's backup_type by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::run_type)]
    pub run_type: Option<RunType>,
}

impl JobSettings {
    /// As answers show the settings of a job; a RESTORE job's as its request had them.
    pub fn of(definition: &JobDefinition) -> Self {
        let restore = definition.restore.as_ref();
        let new_name = restore.and_then(|r| r.new_name.as_ref());
        let by_rename = restore.is_some_and(|r| r.named_by_rename_to);
        let objects = definition.selection.objects.iter();
        JobSettings {
            online: definition.online,
            objects: objects
                .map(|object| JobObject::of(object, new_name.filter(|_| by_rename)))
                .collect(),
            continue_job_on_access_right_violation: definition.continue_on_access_right_violation,
            run_as_a_copy_job: restore.is_some_and(|r| r.run_as_copy),
            restore_to_a_different_database_on_target_site: new_name
                .filter(|_| !by_rename)
                .map(|name| shown(name, Some(ObjectType::Database))),
            skip_statstics: restore.is_some_and(|r| r.skip_statistics),
            skip_join_or_hash_indexes: restore.is_some_and(|r| r.skip_indexes),
            replace_existing: restore.is_some_and(|r| r.replace_existing),
            retained_copy: restore.and_then(|r| r.retained_copy.clone()),
            yield_to_ddl_seconds: definition.yield_to_ddl_seconds,
        }
    }

    /// Those of a backup of one whole database, all else by default.
    pub fn whole_database(name: &str) -> Self {
        JobSettings {
            online: true,
            objects: vec![JobObject {
                object_name: name.to_owned(),
                object_type: ObjectType::Database,
                parent_name: Some("DBC".to_owned()),
                parent_type: Some(ObjectType::Database),
                include_all: true,
                exclude_objects: Vec::new(),
                rename_to: None,
            }],
            continue_job_on_access_right_violation: false,
            run_as_a_copy_job: false,
            restore_to_a_different_database_on_target_site: None,
            skip_statstics: false,
            skip_join_or_hash_indexes: false,
            replace_existing: false,
            retained_copy: None,
            yield_to_ddl_seconds: YIELD_TO_DDL_SECONDS,
        }
    }
}

impl ListedJob {
    /// As lists show a job.
    pub fn of(
        site_id: &SiteId,
        job_id: JobId,
        definition: &JobDefinition,
        site_target_type: &str,
        last: Option<LastExecutionDetails>,
    ) -> Self {
        ListedJob {
            site_id: site_id.clone(),
            auto_abort_in_minutes: definition.auto_abort_in_minutes,
            backup_type: definition.backup_type,
            description: definition.description.clone(),
            is_active: definition.is_active,
            is_auto_abort_active: definition.is_auto_abort_active,
            job_id,
            job_type: definition.job_type,
            last_execution_details: last,
            name: definition.name.clone(),
            next_run_time: None,
            no_of_retention_copies: definition.no_of_retention_copies,
            priority: definition.priority,
            site_target_type: site_target_type.to_owned(),
            backup_mechanism: definition.backup_mechanism,
            target_site_details: TargetSiteDetails::default(),
        }
    }
}
