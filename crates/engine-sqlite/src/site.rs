//! A site's directory and the names of the files in it.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Connection, ObjectName};

use crate::database::ReadOnly;
use crate::error::SqliteError;
use crate::snapshot::pragma;

/// What SQLite puts beside a database. A file of such a name belongs to the one without it.
pub(crate) const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What every working file of a restore begins with.
pub(crate) const WORKING_PREFIX: &str = ".backstay-restore-";

/// How long a listing waits for the lock of one file.
const LOOK_WAIT: Duration = Duration::from_millis(200);

/// SQLite puts `-journal` behind a file's name, and a name has at most 255 bytes.
const LONGEST_NAME: usize = 255 - "-journal".len();

/// A database's file name: no path, no side file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileName(String);

impl FileName {
    /// The file of a DATABASE.
    pub(crate) fn of(name: &ObjectName) -> Result<Self, SqliteError> {
        match name.parts() {
            [one] => FileName::parse(one),
            _ => Err(SqliteError::BadName {
                name: name.to_string(),
                why: "it has several parts; put a name with dots into double quotes",
            }),
        }
    }

    fn parse(name: &str) -> Result<Self, SqliteError> {
        let why = if name.is_empty() {
            "it is empty"
        } else if name.contains('/') {
            "it holds a slash; a database is a file in the site's own directory"
        } else if name.contains('\0') {
            "it holds a NUL character"
        } else if name == "." || name == ".." {
            "it is a directory's"
        } else if SIDE_FILES.iter().any(|side| name.ends_with(side)) {
            "SQLite uses names that end in -wal, -shm and -journal for its own files"
        } else if name.starts_with(WORKING_PREFIX) {
            "names that begin so are the working files of restores"
        } else if name.len() > LONGEST_NAME {
            "it is longer than 247 bytes, so that SQLite could not put its journal beside it"
        } else {
            return Ok(FileName(name.to_owned()));
        };
        Err(SqliteError::BadName {
            name: name.to_owned(),
            why,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn object_name(&self) -> ObjectName {
        ObjectName::one(self.0.as_str())
    }
}

/// A site's directory, without symbolic links, so that SQLite may refuse any that comes later.
#[derive(Debug, Clone)]
pub(crate) struct SiteDirectory {
    path: PathBuf,
}

impl SiteDirectory {
    pub(crate) fn open(connection: &Connection) -> Result<Self, SqliteError> {
        let Connection::Sqlite { path } = connection else {
            return Err(SqliteError::WrongConnection);
        };
        let wrong = |source| SqliteError::Directory {
            path: path.clone(),
            source,
        };
        let real = fs::canonicalize(path).map_err(wrong)?;
        if fs::metadata(&real).map_err(wrong)?.is_dir() {
            Ok(SiteDirectory { path: real })
        } else {
            Err(wrong(io::ErrorKind::NotADirectory.into()))
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &FileName) -> PathBuf {
        self.path.join(name.as_str())
    }

    /// What stands under that name; `None`: nothing.
    pub(crate) fn look(&self, name: &FileName) -> Result<Option<Metadata>, SqliteError> {
        let path = self.file(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(found)),
            Ok(found) => Err(SqliteError::NotAFile {
                path,
                what: kind(&found),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SqliteError::file("looking at", &path, error)),
        }
    }

    /// The file of a database that must be there.
    pub(crate) fn existing(&self, name: &FileName) -> Result<(PathBuf, Metadata), SqliteError> {
        match self.look(name)? {
            Some(found) => Ok((self.file(name), found)),
            None => Err(SqliteError::NoDatabase {
                name: name.as_str().to_owned(),
                directory: self.path.clone(),
            }),
        }
    }

    /// Which of SQLite's own files lie beside a database.
    pub(crate) fn side_files(&self, name: &FileName) -> Vec<PathBuf> {
        SIDE_FILES
            .iter()
            .map(|side| self.path.join(format!("{}{side}", name.as_str())))
            .filter(|path| fs::symlink_metadata(path).is_ok())
            .collect()
    }

    /// Every file of the directory, sorted by name, with what it turned out to be.
    pub(crate) fn listing(&self) -> Result<Vec<Listed>, SqliteError> {
        let wrong = |source| SqliteError::Directory {
            path: self.path.clone(),
            source,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            match fs::symlink_metadata(entry.path()) {
                Ok(data) => found.extend(self.listed(&entry.file_name(), &data)),
                // Gone since the directory was read: as if it had never been listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(SqliteError::file("looking at", &entry.path(), error)),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn listed(&self, name: &std::ffi::OsStr, data: &Metadata) -> Option<Listed> {
        let readable = name.to_string_lossy().into_owned();
        let what = match (name.to_str().map(FileName::parse), data.is_file()) {
            (_, false) => return None,
            (_, true) if readable.starts_with(WORKING_PREFIX) => Kind::WorkingFile,
            // An empty file is a valid database, but it has no header: a backup takes it when it
            // is named, a listing does not guess.
            (_, true) if data.len() == 0 => return None,
            (None, true) => Kind::NoUtf8,
            (Some(Err(_)), true) => return None,
            (Some(Ok(file)), true) => match probe(&self.file(&file)) {
                Ok(shape) => Kind::Database { file, shape },
                Err(SqliteError::NotADatabase { .. }) => return None,
                Err(error) => Kind::Unreadable { file, error },
            },
        };
        Some(Listed {
            name: readable,
            what,
        })
    }
}

/// A file of the directory that matters.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Its name, readable.
    pub(crate) name: String,
    pub(crate) what: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Database {
        file: FileName,
        shape: Shape,
    },
    /// Locked, no rights, damaged: it may be a database.
    Unreadable {
        file: FileName,
        error: SqliteError,
    },
    /// Its name cannot be written in a job.
    NoUtf8,
    WorkingFile,
}

/// What a look at a database tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) bytes: u64,
    pub(crate) is_wal: bool,
}

fn probe(path: &Path) -> Result<Shape, SqliteError> {
    let database = ReadOnly::open(path)?;
    let look = || -> rusqlite::Result<Shape> {
        database.busy_timeout(LOOK_WAIT)?;
        let pages: u32 = pragma(&database, "page_count")?;
        let size: u32 = pragma(&database, "page_size")?;
        let mode: String = pragma(&database, "journal_mode")?;
        Ok(Shape {
            bytes: u64::from(pages) * u64::from(size),
            is_wal: mode == "wal",
        })
    };
    look().map_err(|error| SqliteError::of("looking at", path, error))
}

fn kind(data: &Metadata) -> &'static str {
    if data.is_symlink() {
        "a symbolic link"
    } else if data.is_dir() {
        "a directory"
    } else {
        "no regular file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_plain_file_name() {
        for good in [
            "shop.db",
            "a b",
            "schöne daten",
            "file:x?mode=rw",
            "-x",
            "'",
            "\"",
            "%00",
        ] {
            assert!(FileName::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(248);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/a",
            "a\0",
            "shop.db-wal",
            "x-journal",
            &long,
        ] {
            assert!(FileName::parse(bad).is_err(), "{bad}");
        }
        assert!(FileName::of(&ObjectName::two("a", "b")).is_err());
    }
}
