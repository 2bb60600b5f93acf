//! Whether a restore may write into the directory of a site.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;

use model::{Connection, MissingRight, ObjectName, ObjectType};

use crate::error::SqliteError;
use crate::site::{SiteDirectory, WORKING_PREFIX};

/// Finds out by doing: a file is made and removed again, as every restore begins.
pub(crate) fn missing(connection: &Connection) -> Result<Vec<MissingRight>, SqliteError> {
    let site = SiteDirectory::open(connection)?;
    let process = std::process::id();
    let path = site.path().join(format!("{WORKING_PREFIX}probe-{process}"));
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(_) => {
            fs::remove_file(&path).map_err(|e| SqliteError::file("removing", &path, e))?;
            Ok(Vec::new())
        }
        // Another probe of this process is at work, so it may be written.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Vec::new()),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            let directory = site.path().display().to_string().replace('\'', "'\\''");
            Ok(vec![MissingRight {
                object_name: ObjectName::one("DBC"),
                object_type: ObjectType::Database,
                right: "writing into the site's directory".into(),
                sql: format!("chmod u+rwx '{directory}'"),
            }])
        }
        Err(error) => Err(SqliteError::file("making", &path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_may_be_written_lacks_nothing_and_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::Sqlite {
            path: folder.path().to_owned(),
        };
        assert_eq!(missing(&connection).unwrap(), []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    // Not even root makes files there.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_may_not_be_written_is_told_with_what_mends_it() {
        let connection = Connection::Sqlite {
            path: "/sys".into(),
        };
        let missing = missing(&connection).unwrap();
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].sql, "chmod u+rwx '/sys'");
    }
}
