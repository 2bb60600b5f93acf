//! A new database that tables are brought into, with the settings of the one that they come from.

use std::path::Path;

use model::{ObjectName, ServerExecutionId};

use crate::error::SqliteError;
use crate::facts::{FileFacts, PageFacts};
use crate::restore::tables::open_own;
use crate::restore::working_file::{self, WorkingFile};
use crate::site::{FileName, SiteDirectory};

/// The name that its working file goes by: another one than that of the saved file.
fn own_name(name: &FileName) -> Result<FileName, SqliteError> {
    let hash = blake3::hash(name.as_str().as_bytes()).to_hex();
    FileName::of(&ObjectName::one(format!("new-{hash}")))
}

/// Makes it, empty, beside the target.
pub(crate) fn make(
    site: &SiteDirectory,
    name: &FileName,
    execution: ServerExecutionId,
    facts: &FileFacts,
) -> Result<WorkingFile, SqliteError> {
    let pages = PageFacts::new(facts.pages.page_size, 0);
    let file = WorkingFile::make(site.path(), &own_name(name)?, execution, pages)?;
    let database = open_own(file.path())?;
    let failed = |error| SqliteError::of("making", file.path(), error);
    let set = || -> rusqlite::Result<()> {
        database.pragma_update(None, "page_size", facts.pages.page_size)?;
        database.pragma_update(None, "encoding", &facts.header.encoding)?;
        database.pragma_update(None, "auto_vacuum", facts.header.auto_vacuum)?;
        database.pragma_update(None, "user_version", facts.header.user_version)?;
        database.pragma_update(None, "application_id", facts.header.application_id)
    };
    set().map_err(failed)?;
    database.close().map_err(|(_, error)| failed(error))?;
    Ok(file)
}

/// Once it is filled: as programs find it.
pub(crate) fn finish(path: &Path, facts: &FileFacts) -> Result<(), SqliteError> {
    if facts.header.journal_mode != "wal" {
        return Ok(());
    }
    let failed = |error| SqliteError::of("finishing", path, error);
    let database = open_own(path)?;
    let set = database.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
    set.map_err(failed)?;
    database.close().map_err(|(_, error)| failed(error))
}

/// Removes what a crash left of an earlier run.
pub(crate) fn remove_left(
    site: &SiteDirectory,
    name: &FileName,
    earlier: ServerExecutionId,
) -> Result<(), SqliteError> {
    working_file::remove_left(site.path(), &own_name(name)?, earlier)
}
