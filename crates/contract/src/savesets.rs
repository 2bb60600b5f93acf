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
