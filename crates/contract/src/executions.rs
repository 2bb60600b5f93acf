//! Executions: the runs of jobs.

use model::{
    BackupMechanism, ChangedBlocks, ChangedBlocksSource, ExecutionId, ExecutionStatus, JobId,
    JobType, Moment, ObjectName, ObjectType, Phase, PhaseStatus, RunType, SavesetId,
    ServerExecutionId, SiteId, SiteType,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::{DisplayFromStr, serde_as};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::objects::shown;
use crate::query::ExecuteQuery;
use crate::{Refusal, words};

/// One row of a list of executions.
#[serde_as]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Execution {
    /// The site of its job.
    #[schema(value_type = String)]
    pub site_id: SiteId,
    /// RESTORE: the site restored to. BACKUP: the job's second site, or null.
    #[schema(value_type = Option<String>)]
    pub target_site: Option<SiteId>,
    /// Its job.
    #[schema(value_type = i64)]
    pub job_id: JobId,
    /// The job's name.
    pub job_name: String,
    /// How data leaves the database.
    #[schema(schema_with = words::mechanism)]
    pub backup_mechanism: BackupMechanism,
    /// BACKUP or RESTORE.
    #[schema(schema_with = words::job_type)]
    pub job_type: JobType,
    /// One sequence for the whole server, never reused.
    #[serde_as(as = "DisplayFromStr")]
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub execution_id: ExecutionId,
    /// The job's name and the start to the second; null while QUEUED.
    pub execution_name: Option<String>,
    /// Null while QUEUED.
    #[schema(schema_with = words::moment_or_null)]
    pub start_time: Option<Moment>,
    /// Null until it ends.
    #[schema(schema_with = words::moment_or_null)]
    pub end_time: Option<Moment>,
    /// BACKUP: bytes in the vault that the saveset refers to. RESTORE: bytes read.
    pub backup_set_size: u64,
    /// The execution and its attempt, `121.1`; null while QUEUED.
    #[schema(value_type = Option<String>)]
    pub server_execution_id: Option<ServerExecutionId>,
    /// RESTORE: the execution it restores. DELTA: the one whose saveset it builds on, known from its start.
    #[serde_as(as = "Option<DisplayFromStr>")]
    #[schema(value_type = Option<String>)]
    pub parent_execution_id: Option<ExecutionId>,
    /// What it is.
    #[schema(schema_with = words::status)]
    pub status: ExecutionStatus,
    /// Null without a second site.
    pub saveset_replication_status: Option<String>,
    /// Whether its saveset is protected from retention.
    pub is_saveset_retained: bool,
    /// Whether its saveset's manifest is gone; false where there never was one.
    pub is_saveset_deleted: bool,
    /// BACKUP: the saveset made. RESTORE: the one restored.
    #[schema(value_type = Option<i64>)]
    pub saveset_id: Option<SavesetId>,
    /// What it became, FULL or DELTA; `status_detail` says why. While QUEUED what was asked for, null:
    /// the job's `backup_type`.
    #[schema(schema_with = words::run_type_or_null)]
    pub run_type: Option<RunType>,
    /// The type of its site.
    #[schema(schema_with = words::site_type)]
    pub site_type: SiteType,
    /// A sentence for a person: how far it is, or why it ended so.
    pub status_detail: String,
}

/// One phase of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionPhase {
    /// DICTIONARY, DATA, BUILD, POSTSCRIPT.
    #[schema(schema_with = words::phase)]
    pub phase: Phase,
    /// How far it is.
    #[schema(schema_with = words::phase_status)]
    pub status: PhaseStatus,
    /// Objects done.
    pub objects_done: u64,
    /// Objects in all; 0 while nobody knows.
    pub objects_total: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// When it began.
    #[schema(schema_with = words::moment_or_null)]
    pub start_time: Option<Moment>,
    /// Null until it ends.
    #[schema(schema_with = words::moment_or_null)]
    pub end_time: Option<Moment>,
    /// Average; up to now while it runs.
    pub bytes_per_second: u64,
    /// DATA of a DELTA that has succeeded: how the changed blocks of each database were found. A database
    /// that the saveset before does not have was read whole and is not listed. Empty everywhere else.
    pub databases: Vec<ChangedBlocksOfDatabase>,
}

/// How the changed blocks of one database were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedBlocksOfDatabase {
    /// The database.
    pub object_name: String,
    /// WAL_SUMMARY: PostgreSQL's WAL summaries told which blocks were written, and only they were read.
    /// HASH: all was read, and what had not changed was not stored again.
    #[schema(schema_with = words::changed_blocks_source)]
    pub changed_blocks_source: ChangedBlocksSource,
    /// Why not better; null: it is the best that there is.
    pub reason: Option<String>,
}

impl ChangedBlocksOfDatabase {
    /// As it is answered.
    pub fn of(database: &ObjectName, found: &ChangedBlocks) -> Self {
        ChangedBlocksOfDatabase {
            object_name: shown(database, Some(ObjectType::Database)),
            changed_blocks_source: found.source,
            reason: found.why.clone(),
        }
    }
}

impl ExecutionPhase {
    /// Bytes a second between a phase's start and its end, or `now` while it runs.
    pub fn speed(bytes: u64, start: Option<Moment>, end: Option<Moment>, now: Moment) -> u64 {
        let Some(start) = start else { return 0 };
        let micros = end.unwrap_or(now).since(start).as_micros().max(1);
        u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
    }
}

/// An object that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// In SQL quoting.
    pub object: String,
    /// As a sentence.
    pub reason: String,
}

/// One execution with everything known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OneExecution {
    /// As in the lists.
    #[serde(flatten)]
    pub execution: Execution,
    /// Its phases so far.
    pub phases: Vec<ExecutionPhase>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// What was left out.
    pub skipped_objects: Vec<Skipped>,
    /// Bytes read out of the database, or out of the vault by a restore.
    pub bytes_read: u64,
    /// Bytes that were new in the vault.
    pub bytes_stored: u64,
    /// WAL_SUMMARY or HASH for a DELTA that has succeeded, else null. Of several databases the slower way
    /// counts.
    #[schema(schema_with = words::changed_blocks_source_or_null)]
    pub changed_blocks_source: Option<ChangedBlocksSource>,
}

/// Reads `run_type` of row 3 from the query and the body; the body may be absent.
///
/// # Errors
/// A field that is not known, a word that is none, or two that differ.
pub fn parse_execute(
    query: ExecuteQuery,
    body: Option<&Value>,
) -> Result<Option<RunType>, Refusal> {
    let Some(body) = body else {
        return Ok(query.run_type);
    };
    let fields = Fields::of(body, "", &["run_type"], &[])?;
    let in_body = fields.word("run_type", &words::all::<RunType>())?;
    match (query.run_type, in_body) {
        (Some(one), Some(other)) if one != other => Err(fields.wrong(
            "run_type",
            format!("is {other} in the body and {one} in the query; give it once"),
        )),
        (one, other) => Ok(one.or(other)),
    }
}
