//! Cutting tables into ranges of blocks of about one segment each.

use model::{BlockRange, SEGMENT_BYTES, SegmentTask};

/// What is known about a table before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableSize {
    /// The blocks of its heap, seen after the snapshot was taken: no row that the snapshot sees
    /// lies behind them.
    pub blocks: u32,
    /// The bytes of its heap and of its TOAST table.
    pub bytes: u64,
    /// Whether it may be read by ranges: only heaps have blocks that we understand.
    pub by_ranges: bool,
}

impl TableSize {
    /// Nothing to read.
    pub(crate) const NOTHING: TableSize = TableSize {
        blocks: 0,
        bytes: 0,
        by_ranges: true,
    };
}

/// The ranges of all tables, largest table first, each table's from its first block on; the last
/// range of each is open, up to whatever it has grown to. A table without blocks has none.
pub(crate) fn cut(sizes: &[TableSize]) -> Vec<SegmentTask> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&table| (std::cmp::Reverse(sizes[table].bytes), table));
    let mut tasks = Vec::new();
    for table in order {
        cut_table(table, sizes[table], &mut tasks);
    }
    tasks
}

fn cut_table(table: usize, size: TableSize, tasks: &mut Vec<SegmentTask>) {
    if size.blocks == 0 {
        return;
    }
    if !size.by_ranges {
        tasks.push(SegmentTask {
            table,
            blocks: BlockRange::ALL,
            estimated_bytes: size.bytes,
            patch: None,
        });
        return;
    }
    let bytes_a_block = (size.bytes / u64::from(size.blocks)).max(1);
    let step = u32::try_from(SEGMENT_BYTES / bytes_a_block)
        .unwrap_or(u32::MAX)
        .max(1);
    let mut start = 0;
    while start < size.blocks {
        let end = start.saturating_add(step).min(size.blocks);
        tasks.push(SegmentTask {
            table,
            blocks: BlockRange {
                start,
                end: (end < size.blocks).then_some(end),
            },
            estimated_bytes: u64::from(end - start) * bytes_a_block,
            patch: None,
        });
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_block_of_every_table_is_in_one_range(
            tables in prop::collection::vec((0u32..5000, 1u64..100_000), 0..6),
        ) {
            let sizes: Vec<TableSize> = tables
                .iter()
                .map(|&(blocks, a_block)| TableSize {
                    blocks,
                    bytes: u64::from(blocks) * a_block,
                    by_ranges: true,
                })
                .collect();
            let tasks = cut(&sizes);
            for (table, size) in sizes.iter().enumerate() {
                let mut next = Some(0);
                for task in tasks.iter().filter(|task| task.table == table) {
                    prop_assert_eq!(Some(task.blocks.start), next);
                    prop_assert!(task.blocks.end.is_none_or(|end| end > task.blocks.start));
                    next = task.blocks.end;
                }
                // The last range is open; an empty table has none.
                prop_assert_eq!(next, if size.blocks == 0 { Some(0) } else { None });
            }
            let firsts: Vec<u64> = tasks.iter().map(|task| sizes[task.table].bytes).collect();
            prop_assert!(firsts.is_sorted_by(|a, b| a >= b), "largest table first");
        }
    }

    #[test]
    fn a_table_is_cut_into_segments_of_about_eight_mebibytes() {
        let size = TableSize {
            blocks: 10_000,
            bytes: 10_000 * 8192,
            by_ranges: true,
        };
        let tasks = cut(&[size]);
        assert_eq!(tasks.len(), 10);
        assert_eq!(tasks[0].estimated_bytes, SEGMENT_BYTES);
        let whole = cut(&[TableSize {
            by_ranges: false,
            ..size
        }]);
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].blocks, BlockRange::ALL);
    }
}
