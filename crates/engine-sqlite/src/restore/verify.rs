//! Looks at a restored file before it is put in its place.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::error::SqliteError;
use crate::facts::{PageFacts, TableRows};
use crate::snapshot::{count_rows, is_plain_error, pragma, quoted, tables};

/// As many findings of SQLite are told.
const FINDINGS: u32 = 20;

/// What `PRAGMA integrity_check` said.
#[derive(Debug, Default)]
pub(crate) struct Integrity {
    /// Wrong pages, cells, indexes.
    pub(crate) damage: Vec<String>,
    /// Rows that break a rule of their table. SQLite lets such rows live (a NOT NULL that came
    /// later, a number in a text column): they were in the source and are restored. CHECKs are not
    /// even parsed on a connection that only reads.
    broken_rows: Vec<String>,
    /// Tables that only their own program can check, with what is missing here.
    unchecked: Vec<String>,
}

impl Integrity {
    pub(crate) fn warnings(&self) -> Vec<String> {
        let broken = self.broken_rows.iter().map(|finding| {
            format!("The restored rows are those of the backup, but break a constraint: {finding}.")
        });
        let unchecked = self.unchecked.iter().map(|finding| {
            format!("PRAGMA integrity_check could not be run here for {finding}; its pages are those of the backup.")
        });
        broken.chain(unchecked).collect()
    }

    fn add(&mut self, finding: String) {
        const OF_ROWS: [&str; 3] = ["NULL value in ", "NUMERIC value in ", "TEXT value in "];
        if finding == "ok" {
            return;
        }
        if OF_ROWS.iter().any(|start| finding.starts_with(start)) {
            self.broken_rows.push(finding);
        } else {
            self.damage.push(finding);
        }
    }
}

/// Runs `PRAGMA integrity_check`. An index over a function or collation of the application stops
/// the check of the whole file: then table by table.
pub(crate) fn integrity(path: &Path, pages: PageFacts) -> Result<Integrity, SqliteError> {
    let Some(database) = open(path, pages)? else {
        return Ok(Integrity::default());
    };
    let failed = |error| SqliteError::of("checking", path, error);
    let mut found = Integrity::default();
    match check(&database, &FINDINGS.to_string(), &mut found) {
        Ok(()) => return Ok(found),
        Err(error) if is_plain_error(&error) => found = Integrity::default(),
        Err(error) => return unreadable(error, found, path),
    }
    for table in tables(&database).map_err(failed)? {
        match check(&database, &quoted(&table), &mut found) {
            Ok(()) => {}
            Err(error) if is_plain_error(&error) => {
                found.unchecked.push(format!("table {table} ({error})"));
            }
            Err(error) => return unreadable(error, found, path),
        }
    }
    Ok(found)
}

/// A file whose damage stops the check itself: that is the finding.
fn unreadable(
    error: rusqlite::Error,
    mut found: Integrity,
    path: &Path,
) -> Result<Integrity, SqliteError> {
    match SqliteError::of("checking", path, error) {
        SqliteError::Corrupt { detail, .. } => found.damage.push(detail),
        SqliteError::NotADatabase { .. } => {
            found
                .damage
                .push("the first page is no header of SQLite".to_owned());
        }
        other => return Err(other),
    }
    Ok(found)
}

fn check(database: &Connection, argument: &str, found: &mut Integrity) -> rusqlite::Result<()> {
    let mut statement = database.prepare(&format!("PRAGMA main.integrity_check({argument})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        found.add(row.get(0)?);
    }
    Ok(())
}

/// Compares the rows of each table that the backup counted.
pub(crate) fn rows(
    path: &Path,
    pages: PageFacts,
    expected: &[TableRows],
) -> Result<(), SqliteError> {
    if expected.is_empty() {
        return Ok(());
    }
    let counted = match open(path, pages)? {
        Some(database) => count_rows(&database),
        None => Ok(Vec::new()),
    };
    let counted = counted.map_err(|error| SqliteError::of("counting", path, error))?;
    for table in expected {
        let found = counted.iter().find(|other| other.name == table.name);
        let found = found.map_or(0, |other| other.rows);
        if found != table.rows {
            return Err(SqliteError::RowCount {
                table: table.name.clone(),
                expected: table.rows,
                found,
            });
        }
    }
    Ok(())
}

/// Opens the working file as one that nobody changes: no locks, no -wal, nothing left behind.
/// `None`: it has no pages.
pub(crate) fn open(path: &Path, pages: PageFacts) -> Result<Option<Connection>, SqliteError> {
    if pages.page_count == 0 {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_URI;
    let open = || -> rusqlite::Result<(Connection, u32)> {
        let database = Connection::open_with_flags(immutable(path), flags)?;
        database.pragma_update(None, "trusted_schema", false)?;
        let size = pragma(&database, "page_size")?;
        Ok((database, size))
    };
    let (database, size) = open().map_err(|error| SqliteError::of("checking", path, error))?;
    if size != pages.page_size {
        return Err(SqliteError::Pages {
            why: format!(
                "its header says {size} bytes a page, the saveset {}",
                pages.page_size
            ),
        });
    }
    Ok(Some(database))
}

/// The file's URI; every byte that is not plain is escaped.
pub(crate) fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.') {
            uri.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_path_means_anything_in_its_uri() {
        assert_eq!(
            immutable(Path::new("/a b/?x=1#%/ä")),
            "file:/a%20b/%3Fx%3D1%23%25/%C3%A4?immutable=1"
        );
    }
}
