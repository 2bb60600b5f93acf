//! Files of an export: mode 0600, written to their end and synced.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::SqliteError;

/// A file that grows.
pub(super) type Out = BufWriter<File>;

/// What stopped the writing of a file.
pub(super) enum Failed {
    /// The database could not be read.
    Read(rusqlite::Error),
    /// The file could not be written.
    Write(io::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Failed::Read(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Write(error)
    }
}

/// Makes a file and fills it. `database`: for the error.
pub(super) fn file(
    path: &Path,
    database: &Path,
    fill: impl FnOnce(&mut Out) -> Result<(), Failed>,
) -> Result<(), SqliteError> {
    let make = || -> Result<(), Failed> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut out = BufWriter::with_capacity(256 << 10, file);
        fill(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        Ok(())
    };
    make().map_err(|failed| match failed {
        Failed::Read(error) => SqliteError::of("reading", database, error),
        Failed::Write(error) => SqliteError::file("writing", path, error),
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}
