//! The one place that knows which database engine is below. Everything else is SQL in the common
//! dialect of SQLite and PostgreSQL.
//!
//! SQLite has one writer at a time, so there is one connection that writes and a few that read:
//! writers queue in the pool, in order, instead of meeting a lock. A transaction begins IMMEDIATE,
//! because one that reads first and writes then would otherwise fail when another wrote between.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::Connection as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::CatalogError;
use crate::files::{make_private_file, sync_directory, sync_file};

/// A query whose conditions are put together at run time; values are always bound.
pub(crate) type Conditions = sqlx::QueryBuilder<sqlx::Sqlite>;
/// A transaction that may write. Dropped without a commit, it is rolled back.
pub(crate) type Tx = sqlx::Transaction<'static, sqlx::Sqlite>;
/// The plain connection inside a transaction.
pub(crate) type Connection = sqlx::SqliteConnection;

/// How long a statement waits for another one, in this process or outside (a `sqlite3` shell).
const PATIENCE: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// The open database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    read: SqlitePool,
    write: SqlitePool,
}

impl Database {
    /// Opens the file, making an empty database where there is none.
    pub(crate) async fn open(file: &Path) -> Result<Self, CatalogError> {
        make_private_file(file)?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let pool = |most| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .acquire_timeout(PATIENCE)
                .idle_timeout(None)
                .max_lifetime(None)
                // SQLite ends a transaction by itself when the disk is full, and the driver does
                // not know: such a connection would refuse every later transaction.
                .before_acquire(|connection, _| {
                    Box::pin(async move { Ok(!connection.is_in_transaction()) })
                })
        };
        Ok(Database {
            write: pool(1).connect_with(options.clone()).await?,
            read: pool(READERS).connect_with(options).await?,
        })
    }

    /// For single statements that only read.
    pub(crate) fn read(&self) -> &SqlitePool {
        &self.read
    }

    /// For single statements that write.
    pub(crate) fn write(&self) -> &SqlitePool {
        &self.write
    }

    /// For several statements that see and change one state.
    pub(crate) async fn begin(&self) -> Result<Tx, CatalogError> {
        Ok(self.write.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Writes a complete copy of the database beside it, durable before this returns.
    pub(crate) async fn copy_to(&self, copy: &Path) -> Result<(), CatalogError> {
        let mut unfinished = copy.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        let failed = |action| {
            let path = copy.to_owned();
            move |source| CatalogError::File {
                action,
                path,
                source,
            }
        };
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("replace")(error));
            }
            _ => make_private_file(&unfinished)?,
        }
        let name = unfinished
            .to_str()
            .ok_or_else(|| failed("write")(std::io::Error::other("its name is not valid UTF-8")))?;
        sqlx::query("VACUUM INTO $1")
            .bind(name)
            .execute(&self.write)
            .await?;
        sync_file(&unfinished)?;
        std::fs::rename(&unfinished, copy).map_err(failed("write"))?;
        sync_directory(copy.parent().unwrap_or(Path::new(".")))
    }

    /// Ends all connections; the write-ahead log is folded into the file.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(cause) = &error else {
            return match error {
                sqlx::Error::PoolTimedOut => CatalogError::Busy("wait for a connection"),
                sqlx::Error::ColumnDecode { .. } => CatalogError::Damaged(error.to_string()),
                other => CatalogError::Database(other),
            };
        };
        // SQLite's primary result code is the low byte of the extended one.
        let code = cause.code().and_then(|code| code.parse::<i64>().ok());
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => CatalogError::Busy("wait for a lock"),
            Some(13) => CatalogError::DiskFull,
            Some(11 | 26) => CatalogError::Damaged(error.to_string()),
            _ => CatalogError::Database(error),
        }
    }
}

/// Whether a statement failed because a row of that key is there already.
pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|cause| cause.is_unique_violation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_told_and_nothing_is_lost_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("catalog.db"))
            .await
            .unwrap();
        let run = async |sql: &'static str| sqlx::query(sql).execute(database.write()).await;
        run("CREATE TABLE t (x BLOB)").await.unwrap();
        run("PRAGMA max_page_count = 20").await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let large = sqlx::query("INSERT INTO t VALUES (zeroblob(1000000))");
        let full = large.execute(&mut *tx).await.unwrap_err();
        assert!(matches!(full.into(), CatalogError::DiskFull));
        drop(tx);
        let mut tx = database.begin().await.unwrap();
        let small = sqlx::query("INSERT INTO t VALUES (1)");
        small.execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}
