//! Opens databases, and leaves nothing behind.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::SqliteError;
use crate::site::SIDE_FILES;

/// How long we wait for a lock before the error says that somebody holds it.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How long an offline backup waits for a writer to finish.
const OFFLINE_WAIT: Duration = Duration::from_secs(30);

/// A connection that can change nothing.
///
/// A reader of a database in WAL mode makes its -wal and -shm where they are absent, and one that
/// only reads cannot remove them. Left there under another user's name they could lock the
/// database's own program out, so dropping this lets SQLite remove them, if nobody else has come.
pub(crate) struct ReadOnly {
    /// `None` only while it is dropped.
    database: Option<Connection>,
    path: PathBuf,
    found_alone: bool,
}

impl ReadOnly {
    pub(crate) fn open(path: &Path) -> Result<ReadOnly, SqliteError> {
        let found_alone = is_alone(path);
        let database = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(ReadOnly {
            database: Some(database),
            path: path.to_owned(),
            found_alone,
        })
    }
}

impl Deref for ReadOnly {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.database
            .as_ref()
            .expect("the connection is there until the drop")
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        drop(self.database.take());
        if self.found_alone && !is_alone(&self.path) {
            // Two small files more hurt nobody at once: no reason to fail what was read well.
            let _ = let_sqlite_tidy_up(&self.path);
        }
    }
}

/// Whoever closes a database in WAL mode last, and may write, removes the side files. Whether
/// there is anybody else is SQLite's to decide, by its locks.
fn let_sqlite_tidy_up(path: &Path) -> Result<(), SqliteError> {
    let database = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let failed = |error| SqliteError::of("closing", path, error);
    database.busy_timeout(Duration::ZERO).map_err(failed)?;
    // Opening alone does not look at the -wal; the first read does.
    let read = database.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    read.map_err(failed)?;
    database.close().map_err(|(_, error)| failed(error))
}

fn is_alone(path: &Path) -> bool {
    SIDE_FILES.iter().all(|side| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(side);
        Path::new(&beside).symlink_metadata().is_err()
    })
}

/// Keeps writers of a file waiting: a transaction that writes nothing, but holds the lock of whoever
/// does. Readers go on. Dropping it lets the writers go on too.
pub(crate) struct WritersWait {
    /// Only held, never asked by two at once.
    database: Mutex<Connection>,
    path: PathBuf,
}

impl WritersWait {
    /// Waits, bounded, until the writer of the moment has finished.
    pub(crate) fn begin(path: &Path) -> Result<Self, SqliteError> {
        let database = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let begin = || -> rusqlite::Result<()> {
            database.busy_timeout(OFFLINE_WAIT)?;
            database.execute_batch("BEGIN IMMEDIATE")
        };
        begin().map_err(|error| SqliteError::of("locking", path, error))?;
        Ok(WritersWait {
            database: Mutex::new(database),
            path: path.to_owned(),
        })
    }

    /// Ends it, and says if that failed.
    pub(crate) fn end(self) -> Result<(), SqliteError> {
        let database = self.database.into_inner();
        let database = database.unwrap_or_else(PoisonError::into_inner);
        let ended = database.execute_batch("ROLLBACK");
        ended.map_err(|error| SqliteError::of("unlocking", &self.path, error))
    }
}

/// Opens an existing file, no symbolic link, and trusts nothing that its schema says.
pub(crate) fn open(path: &Path, access: OpenFlags) -> Result<Connection, SqliteError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let open = || -> rusqlite::Result<Connection> {
        let database = Connection::open_with_flags(path, flags)?;
        database.busy_timeout(LOCK_WAIT)?;
        database.pragma_update(None, "trusted_schema", false)?;
        Ok(database)
    };
    open().map_err(|error| SqliteError::of("opening", path, error))
}
