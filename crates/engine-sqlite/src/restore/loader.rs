//! Writes segments of pages at their places.

use std::sync::Arc;

use async_trait::async_trait;
use model::{BlockRange, LoadTask, Outcome, RowStream, SegmentLoader};

use crate::error::{SqliteError, blocking};
use crate::facts::PageFacts;
use crate::restore::working_file::WorkingFile;

pub(crate) struct PageLoader {
    working: Arc<WorkingFile>,
}

impl PageLoader {
    pub(crate) fn new(working: Arc<WorkingFile>) -> Self {
        PageLoader { working }
    }
}

#[async_trait]
impl SegmentLoader for PageLoader {
    async fn load(&mut self, task: &LoadTask, rows: &mut dyn RowStream) -> Outcome<u64> {
        let count = pages_of(task, self.working.pages())?;
        let start = u64::from(task.blocks.start) * u64::from(self.working.pages().page_size);
        let mut arrived = 0_u64;
        while let Some(piece) = rows.next().await? {
            let offset = start + arrived;
            arrived += piece.len() as u64;
            if arrived > task.bytes {
                break;
            }
            let working = Arc::clone(&self.working);
            blocking(move || working.write(&piece, offset)).await?;
        }
        if arrived != task.bytes {
            return Err(SqliteError::Pages {
                why: format!(
                    "{} should have {} bytes, not {arrived}",
                    task.blocks, task.bytes
                ),
            }
            .into());
        }
        self.working.wrote(task.blocks.start, count);
        Ok(u64::from(count))
    }
}

/// The pages of a task, which must lie without a gap from its first block on, and inside the file.
/// Only where the file ends may a range hold fewer than it is long.
fn pages_of(task: &LoadTask, pages: PageFacts) -> Result<u32, SqliteError> {
    let BlockRange { start, end } = task.blocks;
    let wrong = |why: String| SqliteError::Pages { why };
    if task.rows * u64::from(pages.page_size) != task.bytes {
        return Err(wrong(format!(
            "{} are {} pages, but {} bytes",
            task.blocks, task.rows, task.bytes
        )));
    }
    let behind = u64::from(start) + task.rows;
    let is_whole = end.is_some_and(|end| behind == u64::from(end));
    let ends_the_file =
        behind == u64::from(pages.page_count) && end.is_none_or(|end| behind <= u64::from(end));
    if behind > u64::from(pages.page_count) || !(is_whole || ends_the_file) {
        return Err(wrong(format!(
            "{} hold {} pages, and the file has {}",
            task.blocks, task.rows, pages.page_count
        )));
    }
    u32::try_from(task.rows).map_err(|_| wrong(format!("{} pages are too many", task.rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(start: u32, end: Option<u32>, rows: u64) -> LoadTask {
        LoadTask {
            table: 0,
            blocks: BlockRange { start, end },
            bytes: rows * 512,
            rows,
        }
    }

    #[test]
    fn a_range_is_whole_or_ends_the_file() {
        let pages = PageFacts::new(512, 100);
        for good in [
            task(0, Some(50), 50),
            task(50, Some(100), 50),
            task(50, None, 50),
            task(90, Some(200), 10),
        ] {
            assert!(pages_of(&good, pages).is_ok(), "{good:?}");
        }
        for bad in [
            task(0, Some(50), 49),
            task(0, Some(50), 51),
            task(50, None, 49),
            task(90, Some(200), 11),
            task(0, Some(u32::MAX), u64::from(u32::MAX)),
        ] {
            assert!(pages_of(&bad, pages).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pages_and_bytes_must_agree() {
        let mut odd = task(0, Some(50), 50);
        odd.bytes -= 1;
        assert!(pages_of(&odd, PageFacts::new(512, 100)).is_err());
    }
}
