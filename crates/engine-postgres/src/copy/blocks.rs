//! Statements for scattered blocks: one COPY of a UNION ALL of many ranges reads them at the price of
//! their rows alone. Ranges come in order, and so do the rows: an Append without parallel workers reads
//! its parts one after the other.

use model::{BlockRange, BlockSet};

/// The most ranges of one statement.
const RANGES: usize = 1000;

/// The most bytes of its text, about: tables with many columns have long ones.
const BYTES: usize = 1 << 20;

/// Neighbouring blocks as ranges, ascending. Only the blocks of the set lie in them.
fn ranges(blocks: &BlockSet) -> Vec<BlockRange> {
    let mut ranges: Vec<BlockRange> = Vec::new();
    for block in blocks {
        let end = block.checked_add(1);
        match ranges.last_mut() {
            Some(last) if last.end == Some(block) => last.end = end,
            _ => ranges.push(BlockRange { start: block, end }),
        }
    }
    ranges
}

/// A query with a condition on the ctid.
pub(super) fn limited(query: &str, blocks: BlockRange) -> String {
    let mut limited = format!("{query} WHERE ctid >= '({},0)'", blocks.start);
    if let Some(end) = blocks.end {
        limited.push_str(&format!(" AND ctid < '({end},0)'"));
    }
    limited
}

/// The queries that give the rows of these blocks, to be asked one after the other.
pub(super) fn queries(query: &str, blocks: &BlockSet) -> Vec<String> {
    // The condition has at most so many bytes more.
    let longest = query.len() + " WHERE ctid >= '(4294967294,0)' AND ctid < '(4294967295,0)'".len();
    let together = (BYTES / longest).clamp(1, RANGES);
    let ranges = ranges(blocks);
    let statements = ranges.chunks(together).map(|ranges| {
        let queries: Vec<String> = ranges.iter().map(|range| limited(query, *range)).collect();
        queries.join(" UNION ALL ")
    });
    statements.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_exactly_the_blocks_and_ascend(
            blocks in prop::collection::btree_set(prop_oneof![0_u32..50, Just(u32::MAX)], 0..30),
        ) {
            let set: BlockSet = blocks.iter().copied().collect();
            let ranges = ranges(&set);
            let held: Vec<u32> = ranges.iter().flat_map(|range| {
                (range.start..range.end.unwrap_or(u32::MAX)).chain(range.end.is_none().then_some(u32::MAX))
            }).collect();
            prop_assert_eq!(held, blocks.into_iter().collect::<Vec<u32>>());
            let apart = ranges.windows(2).all(|pair| pair[0].end < Some(pair[1].start));
            prop_assert!(apart, "{:?}", ranges);
        }
    }

    #[test]
    fn many_ranges_are_several_statements() {
        let scattered: BlockSet = (0..2500).map(|n| n * 2).collect();
        let statements = queries("SELECT ctid FROM ONLY t", &scattered);
        let ranges: Vec<usize> = statements
            .iter()
            .map(|s| s.matches("WHERE").count())
            .collect();
        assert_eq!(ranges, [1000, 1000, 500]);
        let wide = format!("SELECT {} FROM ONLY t", "x".repeat(BYTES / 4));
        assert_eq!(queries(&wide, &scattered).len(), 2500_usize.div_ceil(3));
        assert_eq!(queries("SELECT", &BlockSet::new()), Vec::<String>::new());
    }
}
