//! The file that pages are written into before it becomes the database.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::ServerExecutionId;
use tempfile::TempPath;

use crate::error::SqliteError;
use crate::facts::PageFacts;
use crate::site::{FileName, WORKING_PREFIX};

/// A file of the right size that fills up with pages. Dropping the last owner removes it.
pub(crate) struct WorkingFile {
    path: TempPath,
    file: File,
    pages: PageFacts,
    /// (first page's block, number of pages) of everything written.
    written: Mutex<Vec<(u32, u32)>>,
}

impl WorkingFile {
    /// Makes it beside the target, readable to nobody else; an existing one is left alone.
    pub(crate) fn make(
        directory: &Path,
        name: &FileName,
        execution: ServerExecutionId,
        pages: PageFacts,
    ) -> Result<Self, SqliteError> {
        let path = directory.join(working_name(name, execution));
        let wrong = |error| SqliteError::file("making", &path, error);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(wrong)?;
        // From here on a drop removes the file: it is ours.
        let owned = TempPath::try_from_path(&path).map_err(wrong)?;
        file.set_len(pages.bytes()).map_err(wrong)?;
        Ok(WorkingFile {
            path: owned,
            file,
            pages,
            written: Mutex::default(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn pages(&self) -> PageFacts {
        self.pages
    }

    /// Writes bytes of pages at their place.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), SqliteError> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|error| SqliteError::file("writing", &self.path, error))
    }

    /// Notes that a range is there, whole.
    pub(crate) fn wrote(&self, block: u32, count: u32) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.push((block, count));
    }

    /// Makes sure that every page is there, each once, and that they are on the disk.
    pub(crate) fn complete(&self) -> Result<(), SqliteError> {
        let mut ranges = self
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        ranges.sort_unstable();
        let mut next = 0_u64;
        for (block, count) in ranges {
            let block = u64::from(block);
            if block != next {
                let what = if block > next {
                    "missing"
                } else {
                    "there twice"
                };
                return Err(SqliteError::Pages {
                    why: format!("page {} is {what}", block.min(next) + 1),
                });
            }
            next = block + u64::from(count);
        }
        if next != u64::from(self.pages.page_count) {
            return Err(SqliteError::Pages {
                why: format!(
                    "{next} pages arrived, {} were backed up",
                    self.pages.page_count
                ),
            });
        }
        self.sync()
    }

    pub(crate) fn sync(&self) -> Result<(), SqliteError> {
        self.file
            .sync_all()
            .map_err(|error| SqliteError::file("writing", &self.path, error))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives up the descriptor and everything but the path.
    pub(crate) fn into_path(self) -> TempPath {
        self.path
    }

    /// Removes it, and says if that failed.
    pub(crate) fn discard(working: Arc<Self>) -> Result<(), SqliteError> {
        let working = sole(working)?;
        let path = working.path().to_owned();
        let removed = working.into_path().close();
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SqliteError::file("removing", &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// The seam's order says that all loaders are dropped by now. A write whose loader was dropped in
/// the middle of it still runs on its thread: it is waited for, a while.
pub(crate) fn sole(mut working: Arc<WorkingFile>) -> Result<WorkingFile, SqliteError> {
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        working = match Arc::try_unwrap(working) {
            Ok(alone) => return Ok(alone),
            Err(shared) => shared,
        };
        if Instant::now() > limit {
            return Err(SqliteError::Order {
                step: "publish or discard",
                needs: "the drop of all loaders",
            });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes what a crash left of an earlier run of the same restore. Only that run ever opened it.
pub(crate) fn remove_left(
    directory: &Path,
    name: &FileName,
    earlier: ServerExecutionId,
) -> Result<(), SqliteError> {
    let left = directory.join(working_name(name, earlier));
    match fs::remove_file(&left) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SqliteError::file("removing", &left, error))
        }
        _ => Ok(()),
    }
}

/// Short, whatever the target is called: the name of the target goes in as a hash.
fn working_name(name: &FileName, execution: ServerExecutionId) -> String {
    let hash = blake3::hash(name.as_str().as_bytes()).to_hex();
    format!("{WORKING_PREFIX}{execution}-{}", &hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ObjectName;
    use proptest::prelude::*;

    fn working(directory: &Path, page_count: u32) -> WorkingFile {
        let name = FileName::of(&ObjectName::one("a.db")).unwrap();
        let execution = "7.1".parse().unwrap();
        WorkingFile::make(directory, &name, execution, PageFacts::new(512, page_count)).unwrap()
    }

    #[test]
    fn a_page_that_is_missing_or_there_twice_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = working(directory.path(), 10);
        file.wrote(5, 5);
        assert!(
            file.complete()
                .unwrap_err()
                .to_string()
                .contains("page 1 is missing")
        );
        file.wrote(0, 6);
        assert!(
            file.complete()
                .unwrap_err()
                .to_string()
                .contains("page 6 is there twice")
        );
    }

    #[test]
    fn dropping_it_removes_it_and_a_second_one_of_the_same_name_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let name = FileName::of(&ObjectName::one("a.db")).unwrap();
        let file = working(directory.path(), 1);
        let second = WorkingFile::make(
            directory.path(),
            &name,
            "7.1".parse().unwrap(),
            file.pages(),
        );
        assert!(second.is_err());
        assert!(file.path().exists(), "the refusal left the first one alone");
        drop(file);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    proptest! {
        #[test]
        fn ranges_that_tile_the_file_in_any_order_complete_it(
            counts in prop::collection::vec(1_u32..9, 1..20), seed in any::<u64>(),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let file = working(directory.path(), counts.iter().sum());
            let mut ranges = Vec::new();
            let mut next = 0;
            for count in counts {
                ranges.push((next, count));
                next += count;
            }
            let turn = seed as usize % ranges.len();
            ranges.rotate_left(turn);
            for (block, count) in ranges {
                prop_assert!(file.complete().is_err());
                file.wrote(block, count);
            }
            prop_assert!(file.complete().is_ok());
        }
    }
}
