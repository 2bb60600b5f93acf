//! What a job is, as a user defines it.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::{ExecutionId, JobType, ObjectName, RunType, SavesetId, Selection, SiteId};

/// How data leaves the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, Serialize, Deserialize)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BackupMechanism {
    /// Objects are streamed in parallel out of the database.
    Dsa,
}

/// What a restore brings back, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSettings {
    /// The backup execution whose saveset is restored.
    pub backup_execution_id: ExecutionId,
    /// The job of that execution.
    pub backup_job_id: i64,
    /// The saveset.
    pub saveset_id: SavesetId,
    /// The site that it is restored to.
    pub target_site: SiteId,
    /// The database's new name; `None`: its own.
    pub new_name: Option<ObjectName>,
    /// Whether the new name came as the object's `rename_to` (else by
    /// `restore_to_a_different_database_on_target_site`): answers show the request's form.
    pub named_by_rename_to: bool,
    /// Only new objects; see the contract.
    pub run_as_copy: bool,
    /// A filled target is put aside.
    pub replace_existing: bool,
    /// Leave out statistics.
    pub skip_statistics: bool,
    /// Leave out secondary indexes that are no constraint.
    pub skip_indexes: bool,
    /// As the request had it: a saveset id, or `latest`.
    pub retained_copy: Option<String>,
}

/// A job as its user defines it; valid, defaults filled in (contract section 2, *defaults*).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDefinition {
    /// For people; not empty.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// BACKUP or RESTORE.
    pub job_type: JobType,
    /// What a run becomes that is asked for nothing else.
    pub backup_type: RunType,
    /// How data leaves the database.
    pub backup_mechanism: BackupMechanism,
    /// Whether schedules fire.
    pub is_active: bool,
    /// 1 (highest) to 5.
    pub priority: u8,
    /// How many savesets are kept; 1 or more.
    pub no_of_retention_copies: u32,
    /// Whether a run is aborted after a while.
    pub is_auto_abort_active: bool,
    /// After how long; 1 or more where it is active.
    pub auto_abort_in_minutes: u32,
    /// A consistent snapshot while others write; `false`: tables are locked against writes.
    pub online: bool,
    /// Whether an object that the role may not read is skipped and listed, not the end of the run.
    #[serde(default)]
    pub continue_on_access_right_violation: bool,
    /// What is backed up or restored.
    pub selection: Selection,
    /// How long locks are kept that others wait for; 0: for ever.
    pub yield_to_ddl_seconds: u32,
    /// A RESTORE job's settings; `None` for a backup.
    pub restore: Option<RestoreSettings>,
}
