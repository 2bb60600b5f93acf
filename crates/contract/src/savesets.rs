//! Savesets: the copies that are retained.

use model::{ExecutionId, JobId, Moment, RunType, SavesetId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::{DisplayFromStr, serde_as};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::{Refusal, words};

/// One retained copy.
#[serde_as]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Saveset {
    /// Its number in the vault.
    #[schema(value_type = i64)]
    pub saveset_id: SavesetId,
    /// The job that made it; it may be deleted since.
    #[schema(value_type = i64)]
    pub job_id: JobId,
    /// The execution that made it.
    #[serde_as(as = "DisplayFromStr")]
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub execution_id: ExecutionId,
    /// FULL or DELTA.
    #[schema(schema_with = words::run_type)]
    pub run_type: RunType,
    /// When its execution started.
    #[schema(schema_with = words::moment)]
    pub start_time: Moment,
    /// When its execution ended.
    #[schema(schema_with = words::moment)]
    pub end_time: Moment,
    /// Bytes in the vault that it refers to.
    pub backup_set_size: u64,
    /// Bytes that were new with it.
    pub bytes_stored: u64,
    /// Protected from retention.
    pub is_saveset_retained: bool,
    /// A verification has found it damaged, and none that looked as closely has found it sound
    /// since.
    pub is_saveset_damaged: bool,
    /// The newest verification; `null`: it was never verified.
    pub verification: Option<Verification>,
}

/// A verification of a saveset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// QUEUED, RUNNING, SUCCESSFUL, FAILED (something is damaged) or ABORTED (it did not come to its
    /// end, so that nothing is known).
    #[schema(schema_with = words::verification_status)]
    pub status: String,
    /// READ_ONLY.
    #[schema(schema_with = words::verification_method)]
    pub method: String,
    /// Whether contents are also unpacked and compared with their hashes.
    pub thorough: bool,
    /// When it was asked for.
    #[schema(schema_with = words::moment)]
    pub asked_time: Moment,
    /// When it began to read.
    #[schema(schema_with = words::moment_or_null)]
    pub start_time: Option<Moment>,
    /// When it ended.
    #[schema(schema_with = words::moment_or_null)]
    pub end_time: Option<Moment>,
    /// Bytes in the vault that were read.
    pub bytes: u64,
    /// Bytes in the vault that there are to be read.
    pub bytes_total: u64,
    /// What is damaged or missing; at most 200 of them.
    pub damaged: Vec<DamagedObject>,
    /// How many are damaged or missing in all.
    pub damaged_count: u64,
    /// A sentence for a person.
    pub detail: String,
}

/// An object of the vault that is not what was written, or not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DamagedObject {
    /// Its path in the vault.
    pub object: String,
    /// Which frame of it; `null`: all of it.
    pub frame: Option<u32>,
    /// What is wrong.
    pub what: String,
    /// What cannot be restored.
    pub concerns: Vec<Concerned>,
}

/// What a damage concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Concerned {
    /// SAVESET, DICTIONARY or ROWS.
    #[schema(schema_with = words::concerned_kind)]
    pub kind: String,
    /// The database.
    pub database: Option<String>,
    /// The table, or the part of the dictionary.
    pub object_name: Option<String>,
    /// ROWS: how many of the table.
    pub rows: Option<u64>,
    /// A sentence for a person.
    pub detail: String,
}

/// The body of POST `/sites/{site_id}/savesets/{saveset_id}/verify`; it may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyRequest {
    /// READ_ONLY, the default: every byte is read and its seal opened.
    #[schema(schema_with = words::verification_method)]
    pub method: Option<String>,
    /// Also unpack every content and compare it with its hash; false by default.
    #[serde(default)]
    pub thorough: bool,
}

/// Reads it; answers whether the verification is a thorough one.
///
/// # Errors
/// A field that is not known, or a method that is not there.
pub fn parse_verify(body: Option<&Value>) -> Result<bool, Refusal> {
    let Some(body) = body else {
        return Ok(false);
    };
    let fields = Fields::of(body, "", &["method", "thorough"], &[])?;
    match fields
        .text("method")?
        .map(str::to_ascii_uppercase)
        .as_deref()
    {
        None | Some(words::READ_ONLY) => {}
        Some("VALIDATE") => {
            return Err(fields.not_built("method", "VALIDATE", "READ_ONLY, or nothing"));
        }
        Some(_) => {
            return Err(fields.wrong("method", "must be READ_ONLY"));
        }
    }
    fields.flag("thorough", false)
}

/// The body of PATCH `/sites/{site_id}/savesets/{saveset_id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SavesetPatch {
    /// Protect it from retention, or no longer.
    pub is_saveset_retained: bool,
}

/// Reads it.
///
/// # Errors
/// A field that is not known, or no `is_saveset_retained`.
pub fn parse_saveset_patch(body: &Value) -> Result<SavesetPatch, Refusal> {
    let fields = Fields::of(body, "", &["is_saveset_retained"], &[])?;
    fields.required("is_saveset_retained")?;
    Ok(SavesetPatch {
        is_saveset_retained: fields.flag("is_saveset_retained", false)?,
    })
}
