//! One read transaction on one file, shared by all that read from it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

use crate::database::ReadOnly;
use crate::error::{SqliteError, failure};
use crate::facts::{HeaderFacts, PageFacts, StatFacts, TableRows};
use crate::unchanged;

/// `sqlite_dbpage` finds a page at once only by equality; a range would read all pages before it.
const PAGE: &str = "SELECT data FROM sqlite_dbpage WHERE pgno = ?1";

/// Rows are counted up to this size: it costs about as much as reading the pages once more.
const COUNT_UP_TO: u64 = 1 << 30;

/// A consistent state of a file, for as long as this value lives.
///
/// SQLite cannot hand a snapshot to a second connection (`sqlite3_snapshot_get` is not in the
/// usual builds), so all readers share this one and lock it for one frame at a time.
pub(crate) struct Snapshot {
    path: PathBuf,
    database: Mutex<ReadOnly>,
    opened: Instant,
    max_age: Option<Duration>,
    pub(crate) pages: PageFacts,
    pub(crate) header: HeaderFacts,
    pub(crate) file: StatFacts,
    /// Whether the file had been still for a while when the snapshot was taken.
    pub(crate) still: bool,
}

impl Snapshot {
    /// Opens the file and its read transaction.
    pub(crate) fn open(
        path: &Path,
        found: &Metadata,
        max_age: Option<Duration>,
    ) -> Result<Self, SqliteError> {
        let database = ReadOnly::open(path)?;
        let failed = |error| SqliteError::of("reading", path, error);
        begin(&database).map_err(failed)?;
        if !has_dbpage(&database).map_err(failed)? {
            return Err(SqliteError::NoDbpage);
        }
        let (pages, header) = facts(&database).map_err(failed)?;
        let (file, still) = unchanged::look(path, stat(found));
        Ok(Snapshot {
            path: path.to_owned(),
            database: Mutex::new(database),
            opened: Instant::now(),
            max_age,
            pages,
            header,
            file,
            still,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_wal(&self) -> bool {
        self.header.journal_mode == "wal"
    }

    /// Appends whole pages to `buffer`: those of the blocks from `first` up to `end`, without it.
    pub(crate) fn read_pages(
        &self,
        first: u32,
        end: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<(), SqliteError> {
        self.check_age()?;
        let database = self.lock();
        let failed = |error| SqliteError::of("reading", &self.path, error);
        let mut statement = database.prepare_cached(PAGE).map_err(failed)?;
        for block in first..end {
            let page = i64::from(block) + 1;
            let mut rows = statement.query([page]).map_err(failed)?;
            let whole = match rows.next().map_err(failed)? {
                Some(row) => append(row, self.pages.page_size, buffer).map_err(failed)?,
                None => false,
            };
            if !whole {
                return Err(SqliteError::Page {
                    page,
                    path: self.path.clone(),
                });
            }
        }
        Ok(())
    }

    /// Runs queries inside the snapshot.
    pub(crate) fn query<T>(
        &self,
        questions: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError> {
        self.check_age()?;
        questions(&self.lock()).map_err(|error| SqliteError::of("reading", &self.path, error))
    }

    /// The rows of every table that can be counted; nothing for a very large file.
    pub(crate) fn count_rows(&self) -> Result<Vec<TableRows>, SqliteError> {
        if self.pages.bytes() > COUNT_UP_TO {
            return Ok(Vec::new());
        }
        self.query(count_rows)
    }

    fn check_age(&self) -> Result<(), SqliteError> {
        match self.max_age {
            Some(limit) if self.opened.elapsed() > limit => Err(SqliteError::SnapshotTooOld {
                path: self.path.clone(),
                minutes: limit.as_secs() / 60,
            }),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ReadOnly> {
        // A reader that panicked has changed nothing: the transaction only reads.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether SQLite was compiled with the virtual table that pages are read by.
pub(crate) fn has_dbpage(database: &Connection) -> rusqlite::Result<bool> {
    let module = "SELECT 1 FROM pragma_module_list WHERE name = 'sqlite_dbpage'";
    Ok(database
        .query_row(module, [], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Counts what can be counted: a table whose index needs a collation of the application cannot,
/// and virtual tables have no rows of their own.
pub(crate) fn count_rows(database: &Connection) -> rusqlite::Result<Vec<TableRows>> {
    let mut counted = Vec::new();
    for name in tables(database)? {
        let question = format!("SELECT count(*) FROM main.{} NOT INDEXED", quoted(&name));
        match database.query_row(&question, [], |row| row.get::<_, i64>(0)) {
            Ok(rows) => counted.push(TableRows {
                name,
                rows: rows.unsigned_abs(),
            }),
            Err(error) if is_plain_error(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(counted)
}

/// Tables with pages of their own.
pub(crate) fn tables(database: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = database.prepare(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// SQLITE_ERROR: the statement cannot be run here (a function or collation is missing), while
/// the file may be in order.
pub(crate) fn is_plain_error(error: &rusqlite::Error) -> bool {
    failure(error).is_some_and(|error| error.code == rusqlite::ErrorCode::Unknown)
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(crate) fn pragma<T: rusqlite::types::FromSql>(
    database: &Connection,
    name: &str,
) -> rusqlite::Result<T> {
    database.pragma_query_value(None, name, |row| row.get(0))
}

fn append(row: &rusqlite::Row<'_>, page_size: u32, buffer: &mut Vec<u8>) -> rusqlite::Result<bool> {
    let data = row.get_ref(0)?.as_blob()?;
    buffer.extend_from_slice(data);
    Ok(data.len() == page_size as usize)
}

/// BEGIN alone takes no snapshot; the first read does.
fn begin(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch("BEGIN")?;
    database.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn facts(database: &Connection) -> rusqlite::Result<(PageFacts, HeaderFacts)> {
    let pages = PageFacts::new(
        pragma(database, "page_size")?,
        pragma(database, "page_count")?,
    );
    Ok((pages, header(database)?))
}

fn header(database: &Connection) -> rusqlite::Result<HeaderFacts> {
    let first: Option<Vec<u8>> = database.query_row(PAGE, [1], |row| row.get(0)).optional()?;
    let counter = first.as_deref().and_then(|page| page.get(24..28));
    Ok(HeaderFacts {
        journal_mode: pragma(database, "journal_mode")?,
        encoding: pragma(database, "encoding")?,
        auto_vacuum: pragma(database, "auto_vacuum")?,
        change_counter: counter.map_or(0, |bytes| {
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u32::from(*byte))
        }),
        schema_version: pragma(database, "schema_version")?,
        user_version: pragma(database, "user_version")?,
        application_id: pragma(database, "application_id")?,
        freelist_count: pragma(database, "freelist_count")?,
        sqlite_version: rusqlite::version().to_owned(),
    })
}

pub(crate) fn stat(found: &Metadata) -> StatFacts {
    StatFacts {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.len(),
        modified_ns: found
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(found.mtime_nsec()),
        mode: found.mode() & 0o7777,
    }
}
