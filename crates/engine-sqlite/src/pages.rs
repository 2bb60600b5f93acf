//! Segments of pages, and the reader of one.

use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{
    BlockRange, BlockWriter, CancelOnDrop, FRAME_BYTES, Outcome, PieceSink, SEGMENT_BYTES,
    SegmentRead, SegmentReader, SegmentTask,
};

use crate::error::SqliteError;
use crate::facts::PageFacts;
use crate::snapshot::Snapshot;

/// Cuts the pages of a file into segments of about 8 MiB; all but the last are equal.
pub(crate) fn tasks(table: usize, pages: PageFacts) -> Vec<SegmentTask> {
    let size = u64::from(pages.page_size);
    let step = (SEGMENT_BYTES / size) as usize;
    (0..pages.page_count)
        .step_by(step)
        .map(|start| {
            let end = pages.page_count.min(start.saturating_add(step as u32));
            SegmentTask {
                table,
                blocks: BlockRange {
                    start,
                    end: Some(end),
                },
                estimated_bytes: u64::from(end - start) * size,
                patch: None,
            }
        })
        .collect()
}

/// Reads segments from the shared snapshot.
pub(crate) struct PageReader {
    snapshot: Arc<Snapshot>,
    cancelled: Arc<AtomicBool>,
    /// Pages of about one frame.
    read_ahead: Vec<u8>,
}

impl PageReader {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        PageReader {
            snapshot,
            cancelled: Arc::new(AtomicBool::new(false)),
            read_ahead: Vec::with_capacity(FRAME_BYTES),
        }
    }

    fn frame(&mut self, first: u32, end: u32) -> Result<(), SqliteError> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(SqliteError::Cancelled {
                path: self.snapshot.path().to_owned(),
            });
        }
        self.snapshot.read_pages(first, end, &mut self.read_ahead)
    }
}

impl SegmentReader for PageReader {
    fn read(&mut self, task: &SegmentTask, sink: &mut dyn PieceSink) -> Outcome<SegmentRead> {
        let pages = self.snapshot.pages;
        let end = task.blocks.end.unwrap_or(pages.page_count);
        if end > pages.page_count || task.blocks.start > end {
            return Err(SqliteError::BadTask {
                blocks: task.blocks.to_string(),
                page_count: pages.page_count,
            }
            .into());
        }
        let step = FRAME_BYTES as u32 / pages.page_size;
        let mut rows = BlockWriter::new(sink, task.patch.as_deref());
        for blocks in runs(task, end) {
            let mut first = blocks.start;
            while first < blocks.end {
                let next = blocks.end.min(first.saturating_add(step));
                self.read_ahead.clear();
                self.frame(first, next)?;
                let size = pages.page_size as usize;
                for (block, page) in (first..next).zip(self.read_ahead.chunks_exact(size)) {
                    rows.row(block, u64::from(pages.page_size))?;
                    rows.push(page)?;
                }
                first = next;
            }
        }
        rows.finish()
    }

    /// A page is read in microseconds: a flag that is looked at once a frame stops a reader soon
    /// enough. The connection is the other readers' too, and closes with the source.
    fn canceller(&self) -> CancelOnDrop {
        let cancelled = Arc::clone(&self.cancelled);
        CancelOnDrop::new(move || cancelled.store(true, Ordering::Release))
    }
}

/// The blocks of a task that are there, as runs of neighbours.
fn runs(task: &SegmentTask, end: u32) -> Vec<Range<u32>> {
    let Some(patch) = &task.patch else {
        return iter::once(task.blocks.start..end).collect();
    };
    let mut runs: Vec<Range<u32>> = Vec::new();
    for block in patch.blocks.iter().take_while(|block| *block < end) {
        match runs.last_mut() {
            Some(run) if run.end == block => run.end += 1,
            _ => runs.push(block..block + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_file_has_no_segment() {
        assert!(tasks(0, PageFacts::new(4096, 0)).is_empty());
    }

    proptest! {
        #[test]
        fn segments_cover_every_page_once_in_order_and_are_about_8_mib(
            shift in 9_u32..=16, page_count in 1_u32..5_000_000,
        ) {
            let pages = PageFacts::new(1 << shift, page_count);
            let mut next = 0;
            for task in tasks(3, pages) {
                prop_assert_eq!(task.table, 3);
                prop_assert_eq!(task.blocks.start, next);
                next = task.blocks.end.unwrap();
                prop_assert!(task.estimated_bytes > 0 && task.estimated_bytes <= SEGMENT_BYTES);
            }
            prop_assert_eq!(next, page_count);
        }
    }
}
