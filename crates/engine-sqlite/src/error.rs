//! What can go wrong, as sentences.

use std::io;
use std::path::{Path, PathBuf};

use model::{Blame, Fault, Retry};
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// Every error of this engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// The connection is another engine's.
    #[error("this site's connection is no directory of SQLite files")]
    WrongConnection,
    /// The site's directory is not there, is none, or cannot be read.
    #[error("the site's directory {path} cannot be used")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A name that no file of the site can have.
    #[error("{name:?} is no name of a SQLite database: {why}")]
    BadName {
        /// The name.
        name: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Only one whole database is backed up by a job.
    #[error("{what} is not built yet for SQLite sites: a job holds one DATABASE with include_all")]
    NotBuiltYet {
        /// What was asked for.
        what: String,
    },
    /// An object that cannot be restored without the rest of its file.
    #[error("{what} cannot be restored by itself: {why}")]
    NotAlone {
        /// Its type and name.
        what: String,
        /// Why.
        why: &'static str,
    },
    /// The saveset's file has no such object.
    #[error("the saveset's file has no {what}")]
    NoSuchObject {
        /// Its type and name.
        what: String,
    },
    /// No such file.
    #[error("there is no database {name:?} in {directory}")]
    NoDatabase {
        /// Its name.
        name: String,
        /// The site's directory.
        directory: PathBuf,
    },
    /// A symbolic link, a directory, a device.
    #[error("{path} is {what}: a database is a regular file in the site's directory")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is, with its article.
        what: &'static str,
    },
    /// The header is another.
    #[error("{path} is no SQLite database, or it is an encrypted one")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// Somebody holds a lock longer than we wait.
    #[error("{path} is locked by another program")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A writer died and left its journal; a reader may not roll it back.
    #[error("{path} was left unfinished by a program that died, and waits for its recovery")]
    NeedsRecovery {
        /// The file.
        path: PathBuf,
    },
    /// SQLite found damage while reading.
    #[error("{path} is damaged: SQLite cannot read it ({detail})")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// Any other error of SQLite.
    #[error("{doing} {path} failed")]
    Sqlite {
        /// What was done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// This build of SQLite lacks what the reader needs.
    #[error(
        "this build of backstay cannot read SQLite files: its SQLite was compiled without sqlite_dbpage"
    )]
    NoDbpage,
    /// A page that must be there is not, or has another size.
    #[error("page {page} of {path} could not be read whole")]
    Page {
        /// Its number, from 1.
        page: i64,
        /// The file.
        path: PathBuf,
    },
    /// The site's limit for the age of a snapshot.
    #[error("the snapshot of {path} became older than the site's limit of {minutes} minutes")]
    SnapshotTooOld {
        /// The file.
        path: PathBuf,
        /// The limit.
        minutes: u64,
    },
    /// The reading was stopped.
    #[error("the reading of {path} was cancelled")]
    Cancelled {
        /// The file.
        path: PathBuf,
    },
    /// A task that names no pages of the snapshot.
    #[error("a segment asks for {blocks}, but the file has {page_count} pages")]
    BadTask {
        /// What was asked for.
        blocks: String,
        /// What there is.
        page_count: u32,
    },
    /// The saveset is not one that this engine can restore.
    #[error("this saveset cannot be restored as a SQLite file: {why}")]
    Saveset {
        /// Why.
        why: String,
    },
    /// The pages that arrived are not those of the saveset's facts.
    #[error("the restored pages do not fit: {why}")]
    Pages {
        /// How.
        why: String,
    },
    /// The file that would replace a good one is damaged.
    #[error(
        "the restored file did not pass PRAGMA integrity_check, and {target} was not replaced by it: {findings}"
    )]
    Integrity {
        /// The file that stays as it is.
        target: PathBuf,
        /// What SQLite found.
        findings: String,
    },
    /// A table has another number of rows than when it was backed up.
    #[error("after the restore table {table:?} has {found} rows, but {expected} were backed up")]
    RowCount {
        /// The table.
        table: String,
        /// What the backup counted.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Something stands where the database should go.
    #[error("{detail}")]
    InTheWay {
        /// The obstacle's code.
        code: String,
        /// The obstacle, as a sentence.
        detail: String,
        /// What to do.
        remedy: Option<String>,
    },
    /// The database that would be put aside is in use.
    #[error("{path} cannot be put aside: another program has it open")]
    TargetInUse {
        /// The file.
        path: PathBuf,
    },
    /// A file operation of a restore.
    #[error("{doing} {path} failed")]
    File {
        /// What was done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A step came before the one that it needs.
    #[error("{step} was called before {needs}")]
    Order {
        /// What was called.
        step: &'static str,
        /// What must come before.
        needs: &'static str,
    },
    /// A worker ended without an answer.
    #[error("a worker of the SQLite engine panicked")]
    Panicked,
}

impl SqliteError {
    /// Sorts an error of SQLite by what a person can do about it.
    pub(crate) fn of(doing: &'static str, path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let Some(inner) = failure(&error).copied() else {
            return SqliteError::Sqlite {
                doing,
                path,
                source: error,
            };
        };
        match (inner.code, inner.extended_code) {
            (ErrorCode::NotADatabase, _) => SqliteError::NotADatabase { path },
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
                SqliteError::Locked { path }
            }
            (_, ffi::SQLITE_READONLY_ROLLBACK | ffi::SQLITE_READONLY_RECOVERY) => {
                SqliteError::NeedsRecovery { path }
            }
            (_, ffi::SQLITE_CANTOPEN_SYMLINK) => SqliteError::NotAFile {
                path,
                what: "a symbolic link",
            },
            (ErrorCode::DatabaseCorrupt, _) => SqliteError::Corrupt {
                path,
                detail: error.to_string(),
            },
            _ => SqliteError::Sqlite {
                doing,
                path,
                source: error,
            },
        }
    }

    /// An error of the file system.
    pub(crate) fn file(doing: &'static str, path: &Path, source: io::Error) -> Self {
        SqliteError::File {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    fn is_denied(&self) -> bool {
        match self {
            SqliteError::Directory { source, .. } | SqliteError::File { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }
}

impl Fault for SqliteError {
    fn code(&self) -> &'static str {
        match self {
            SqliteError::WrongConnection => "sqlite-wrong-connection",
            SqliteError::Directory { .. } => "sqlite-directory",
            SqliteError::BadName { .. } => "sqlite-bad-name",
            SqliteError::NotBuiltYet { .. } => "not-built-yet",
            SqliteError::NotAlone { .. } => "sqlite-not-alone",
            SqliteError::NoSuchObject { .. } => "no-such-object",
            SqliteError::NoDatabase { .. } => "sqlite-no-database",
            SqliteError::NotAFile { .. } => "sqlite-not-a-file",
            SqliteError::NotADatabase { .. } => "sqlite-not-a-database",
            SqliteError::Locked { .. } => "sqlite-locked",
            SqliteError::NeedsRecovery { .. } => "sqlite-needs-recovery",
            SqliteError::Corrupt { .. } => "sqlite-damaged",
            SqliteError::Sqlite { .. } => "sqlite-failed",
            SqliteError::NoDbpage => "sqlite-no-dbpage",
            SqliteError::Page { .. } => "sqlite-page",
            SqliteError::SnapshotTooOld { .. } => "snapshot-too-old",
            SqliteError::Cancelled { .. } => "cancelled",
            SqliteError::BadTask { .. } => "sqlite-bad-task",
            SqliteError::Saveset { .. } => "sqlite-saveset",
            SqliteError::Pages { .. } => "sqlite-pages",
            SqliteError::Integrity { .. } => "sqlite-integrity",
            SqliteError::RowCount { .. } => "sqlite-row-count",
            // The obstacles' codes are the contract's; each is listed here by its own.
            SqliteError::InTheWay { code, .. } => match code.as_str() {
                "target-not-empty" => "target-not-empty",
                "target-exists" => "target-exists",
                "no-such-object" => "no-such-object",
                "in-the-way" => "in-the-way",
                "not-built-yet" => "not-built-yet",
                _ => "target-in-the-way",
            },
            SqliteError::TargetInUse { .. } => "sqlite-target-in-use",
            SqliteError::File { .. } => "sqlite-file",
            SqliteError::Order { .. } => "sqlite-order",
            SqliteError::Panicked => "sqlite-panicked",
        }
    }

    fn blame(&self) -> Blame {
        if self.is_denied() {
            return Blame::Access;
        }
        match self {
            SqliteError::BadName { .. }
            | SqliteError::NotAlone { .. }
            | SqliteError::NotBuiltYet { .. } => Blame::Request,
            SqliteError::NoDatabase { .. } | SqliteError::NoSuchObject { .. } => Blame::Missing,
            SqliteError::InTheWay { .. } => Blame::Conflict,
            SqliteError::Locked { .. } | SqliteError::TargetInUse { .. } => Blame::Busy,
            SqliteError::Saveset { .. }
            | SqliteError::Pages { .. }
            | SqliteError::Integrity { .. }
            | SqliteError::RowCount { .. } => Blame::Damaged,
            SqliteError::WrongConnection
            | SqliteError::NoDbpage
            | SqliteError::BadTask { .. }
            | SqliteError::Order { .. }
            | SqliteError::Panicked => Blame::Bug,
            SqliteError::Directory { .. }
            | SqliteError::NotAFile { .. }
            | SqliteError::NotADatabase { .. }
            | SqliteError::NeedsRecovery { .. }
            | SqliteError::Corrupt { .. }
            | SqliteError::Sqlite { .. }
            | SqliteError::Page { .. }
            | SqliteError::SnapshotTooOld { .. }
            | SqliteError::Cancelled { .. }
            | SqliteError::File { .. } => Blame::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            SqliteError::Locked { .. }
            | SqliteError::TargetInUse { .. }
            | SqliteError::Directory { .. }
            | SqliteError::SnapshotTooOld { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            SqliteError::Directory { .. } => {
                "Check the site's path, and that the server's user may read and enter it."
            }
            SqliteError::NoDatabase { .. } => {
                "Browse the site to see its databases; names are file names, case counts."
            }
            SqliteError::NotAlone { .. } => {
                "Restore the whole file under another name, and copy out of it what you need."
            }
            SqliteError::NotADatabase { .. } => {
                "Encrypted files (SQLCipher and others) cannot be read through SQLite; take them out of the job."
            }
            SqliteError::Locked { .. } => {
                "Try again when that program has finished its transaction; WAL mode lets readers and a writer work side by side."
            }
            SqliteError::NeedsRecovery { .. } => {
                "Open it once with its own program or with the sqlite3 shell, which rolls the unfinished transaction back; then run the job again."
            }
            SqliteError::Corrupt { .. } => {
                "Look at it with PRAGMA integrity_check and restore an earlier saveset."
            }
            SqliteError::Sqlite { .. } => {
                "The server's user must read the file; in WAL mode it must also be able to write the -shm file beside it."
            }
            SqliteError::NoDbpage => {
                "Compile it with LIBSQLITE3_FLAGS=-DSQLITE_ENABLE_DBPAGE_VTAB, as .cargo/config.toml of the sources does."
            }
            SqliteError::Integrity { .. } => {
                "The file was damaged before it was backed up. Restore it under a new name to save what can be read, or restore an earlier saveset."
            }
            SqliteError::TargetInUse { .. } => {
                "Stop the programs that use it, or restore under a new name."
            }
            SqliteError::File { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                "The disk is full: make room there, or choose a directory on another disk."
            }
            SqliteError::InTheWay { remedy, .. } => return remedy.clone(),
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// What SQLite answered, whether a statement failed while it was read or while it ran.
pub(crate) fn failure(error: &rusqlite::Error) -> Option<&ffi::Error> {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => Some(failure),
        rusqlite::Error::SqlInputError { error, .. } => Some(error),
        _ => None,
    }
}

/// Runs work that blocks off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqliteError> + Send + 'static,
) -> Result<T, SqliteError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(SqliteError::Panicked),
    }
}
