//! The directory of one exported database: files of mode 0600 in directories of mode 0700.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::safe_file_name;

use super::fault::ExportError;

/// Below it lie the rows.
pub(super) const ROWS: &str = "rows";

/// The directory, once it is made.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// In lower case: there are file systems that ignore case.
    taken: BTreeSet<String>,
}

impl Folder {
    /// Makes it; nothing may be there of that name.
    pub(super) fn make(path: PathBuf) -> Result<Folder, ExportError> {
        for directory in [path.clone(), path.join(ROWS)] {
            let made = DirBuilder::new().mode(0o700).create(&directory);
            made.map_err(ExportError::file("making the directory", &directory))?;
        }
        Ok(Folder {
            path,
            taken: BTreeSet::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A name below [`ROWS`] for an object, different from all that were given before.
    pub(super) fn name_rows(&mut self, parts: &[&str], ending: &str) -> String {
        let stem = safe_file_name(parts);
        let mut name = format!("{stem}.{ending}");
        let mut count = 1;
        while !self.taken.insert(name.to_lowercase()) {
            count += 1;
            name = format!("{stem}~{count}.{ending}");
        }
        format!("{ROWS}/{name}")
    }

    /// Writes a whole file.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), ExportError> {
        let path = self.path.join(name);
        let write = || -> io::Result<()> {
            let mut file = create(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(ExportError::file("writing", &path))
    }

    /// Takes everything away again.
    pub(super) fn remove(self) -> Result<(), ExportError> {
        let removed = fs::remove_dir_all(&self.path);
        removed.map_err(ExportError::file("removing", &self.path))
    }
}

/// A new file that only its owner reads.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}
