//! What a saveset says about a file, beside its pages.

use model::ClosingFacts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::SqliteError;

/// The form of the facts; a higher one was written by a newer program.
const VERSION: u32 = 1;

/// What a table plan holds: enough to lay the pages out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageFacts {
    version: u32,
    /// Bytes of a page: a power of two from 512 to 65,536.
    pub(crate) page_size: u32,
    /// Pages of the snapshot; 0 for an empty file.
    pub(crate) page_count: u32,
}

impl PageFacts {
    pub(crate) fn new(page_size: u32, page_count: u32) -> Self {
        PageFacts {
            version: VERSION,
            page_size,
            page_count,
        }
    }

    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.page_size) * u64::from(self.page_count)
    }

    pub(crate) fn to_value(self) -> Value {
        serde_json::json!(self)
    }

    /// Reads them back from a saveset.
    pub(crate) fn from_value(value: &Value) -> Result<Self, SqliteError> {
        let facts: PageFacts = read(value)?;
        if (512..=65536).contains(&facts.page_size) && facts.page_size.is_power_of_two() {
            Ok(facts)
        } else {
            Err(SqliteError::Saveset {
                why: format!("{} is no size of a page", facts.page_size),
            })
        }
    }
}

/// The rows of one table when it was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableRows {
    pub(crate) name: String,
    pub(crate) rows: u64,
}

/// What a source says at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileFacts {
    version: u32,
    pub(crate) pages: PageFacts,
    pub(crate) header: HeaderFacts,
    /// The file in its directory: whether it is untouched since is told by these (and more).
    pub(crate) file: StatFacts,
    /// Whether it had been still for a while, and nothing was in its `-wal`.
    #[serde(default)]
    pub(crate) still: bool,
    /// Counted inside the snapshot, for files up to a size.
    pub(crate) rows: Vec<TableRows>,
}

/// What SQLite's header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeaderFacts {
    pub(crate) journal_mode: String,
    pub(crate) encoding: String,
    pub(crate) auto_vacuum: i64,
    pub(crate) change_counter: u32,
    pub(crate) schema_version: i64,
    pub(crate) user_version: i64,
    pub(crate) application_id: i64,
    pub(crate) freelist_count: i64,
    /// Of the SQLite that read it.
    pub(crate) sqlite_version: String,
}

/// What the file system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatFacts {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) bytes: u64,
    pub(crate) modified_ns: i64,
    /// The permission bits, as 0o640.
    pub(crate) mode: u32,
}

impl FileFacts {
    pub(crate) fn new(
        pages: PageFacts,
        header: HeaderFacts,
        (file, still): (StatFacts, bool),
        rows: Vec<TableRows>,
    ) -> Self {
        FileFacts {
            version: VERSION,
            pages,
            header,
            file,
            still,
            rows,
        }
    }

    pub(crate) fn closing(&self) -> ClosingFacts {
        ClosingFacts(serde_json::json!(self))
    }

    pub(crate) fn from_closing(facts: &ClosingFacts) -> Result<Self, SqliteError> {
        read(&facts.0)
    }
}

/// The version is looked at first: a newer form may have other fields.
fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, SqliteError> {
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {
            T::deserialize(value).map_err(|error| SqliteError::Saveset {
                why: format!("its facts cannot be read ({error})"),
            })
        }
        Some(version) => Err(SqliteError::Saveset {
            why: format!("its facts have form {version}; this program knows form {VERSION}"),
        }),
        None => Err(SqliteError::Saveset {
            why: "it has no facts of the SQLite engine".to_owned(),
        }),
    }
}
