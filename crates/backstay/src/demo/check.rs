//! Is a restored file what the live one is?

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

/// Why it is not.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// SQLite could not read one of them.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The restored file is damaged.
    #[error("the restored file fails its integrity check: {0}")]
    NotWhole(String),
    /// A table has other rows.
    #[error(
        "table {table} was restored with other rows: {live} live, {restored} restored, {differing} differ"
    )]
    OtherRows {
        /// Which.
        table: String,
        /// Rows of the live file.
        live: u64,
        /// Rows of the restored file.
        restored: u64,
        /// Rows that only one of them has.
        differing: u64,
    },
    /// The files have other tables.
    #[error("the restored file has other tables than the live one")]
    OtherTables,
}

/// What was compared.
pub(super) struct Checked {
    tables: usize,
    rows: u64,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "integrity ok, {} tables with {} rows, each equal to the live database's",
            self.tables, self.rows
        )
    }
}

/// Compares every row of every table.
///
/// # Errors
/// When anything is different.
pub(super) fn equal(live: &Path, restored: &Path) -> Result<Checked, CheckError> {
    let failed = |source| CheckError::Unreadable {
        file: restored.to_owned(),
        source,
    };
    let database =
        Connection::open_with_flags(restored, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let verdict: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(failed)?;
    if verdict != "ok" {
        return Err(CheckError::NotWhole(verdict));
    }
    database
        .execute("ATTACH ?1 AS live", [live.to_string_lossy()])
        .map_err(|source| CheckError::Unreadable {
            file: live.to_owned(),
            source,
        })?;
    let tables = tables(&database, "main").map_err(failed)?;
    if tables != self::tables(&database, "live").map_err(failed)? {
        return Err(CheckError::OtherTables);
    }
    let mut rows = 0;
    for table in tables.iter().cloned() {
        let Figures {
            live,
            restored,
            differing,
        } = figures(&database, &table).map_err(failed)?;
        if live != restored || differing != 0 {
            return Err(CheckError::OtherRows {
                table,
                live,
                restored,
                differing,
            });
        }
        rows += restored;
    }
    Ok(Checked {
        tables: tables.len(),
        rows,
    })
}

fn tables(database: &Connection, schema: &str) -> rusqlite::Result<Vec<String>> {
    let query = format!(
        "SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    );
    let mut statement = database.prepare(&query)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

struct Figures {
    live: u64,
    restored: u64,
    differing: u64,
}

fn figures(database: &Connection, table: &str) -> rusqlite::Result<Figures> {
    let name = format!("\"{}\"", table.replace('"', "\"\""));
    let count = |query: &str| -> rusqlite::Result<u64> {
        let found: i64 = database.query_row(query, [], |row| row.get(0))?;
        Ok(found.unsigned_abs())
    };
    Ok(Figures {
        live: count(&format!("SELECT count(*) FROM live.{name}"))?,
        restored: count(&format!("SELECT count(*) FROM main.{name}"))?,
        differing: count(&format!(
            "SELECT (SELECT count(*) FROM (SELECT * FROM main.{name} EXCEPT SELECT * FROM live.{name}))
                  + (SELECT count(*) FROM (SELECT * FROM live.{name} EXCEPT SELECT * FROM main.{name}))"
        ))?,
    })
}
