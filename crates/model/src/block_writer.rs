//! Rows into lent buffers, block by block: what the readers of all engines have in common.

use crate::block_hash::{BlockHasher, hash_in_place};
use crate::{
    BlockHash, BlockIndex, BlockIndexError, BlockSet, BlockSpan, FRAME_BYTES, Outcome, Patching,
    PieceSink, SegmentRead,
};

/// Takes the rows of one [`SegmentTask`](crate::SegmentTask) in block order, fills lent buffers with
/// them and keeps the index with a hash for each block. Where the task is a patch's, a block whose rows
/// the base has already is taken back, unless a part of it was handed over before its end was seen: to
/// store it again costs room and is not wrong.
pub struct BlockWriter<'a> {
    sink: &'a mut dyn PieceSink,
    patching: Option<&'a Patching>,
    /// The buffer being filled; without room where none is lent.
    current: Vec<u8>,
    open: Option<OpenBlock>,
    spans: Vec<BlockSpan>,
    hashes: Vec<BlockHash>,
    /// Blocks that had rows, those that were taken back too.
    seen: BlockSet,
}

struct OpenBlock {
    span: BlockSpan,
    /// Where its rows begin in the current buffer.
    start: usize,
    /// The hash of those that went out with earlier buffers.
    handed_over: Option<Box<BlockHasher>>,
}

impl<'a> BlockWriter<'a> {
    /// For one task; `patching` is the task's.
    pub fn new(sink: &'a mut dyn PieceSink, patching: Option<&'a Patching>) -> Self {
        BlockWriter {
            sink,
            patching,
            current: Vec::new(),
            open: None,
            spans: Vec::new(),
            hashes: Vec::new(),
            seen: BlockSet::new(),
        }
    }

    /// The next row is one of this block, and has so many bytes: they follow by
    /// [`push`](Self::push).
    ///
    /// # Errors
    /// When the block does not ascend.
    pub fn row(&mut self, block: u32, bytes: u64) -> Result<(), BlockIndexError> {
        if let Some(open) = &mut self.open {
            if open.span.block == block {
                open.span.bytes += bytes;
                open.span.rows += 1;
                return Ok(());
            }
            if open.span.block > block {
                return Err(BlockIndexError::Order {
                    before: open.span.block,
                    after: block,
                });
            }
            self.close_block();
        }
        self.open = Some(OpenBlock {
            span: BlockSpan {
                block,
                bytes,
                rows: 1,
            },
            start: self.current.len(),
            handed_over: None,
        });
        Ok(())
    }

    /// The next bytes of the row.
    ///
    /// # Errors
    /// What the sink says.
    pub fn push(&mut self, mut bytes: &[u8]) -> Outcome<()> {
        while !bytes.is_empty() {
            if self.current.capacity() == 0 {
                self.current = self.sink.buffer()?;
                self.current.reserve(FRAME_BYTES);
            }
            let room = FRAME_BYTES - self.current.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.current.extend_from_slice(now);
            bytes = later;
            if self.current.len() == FRAME_BYTES {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    /// Hands over what is left, and tells what the segment came to.
    ///
    /// # Errors
    /// What the sink says.
    pub fn finish(mut self) -> Outcome<SegmentRead> {
        self.close_block();
        if !self.current.is_empty() {
            self.hand_over()?;
        }
        let mut index = BlockIndex::new();
        let mut hashes = Vec::with_capacity(self.hashes.len());
        let mut emptied = self.emptied().into_iter().peekable();
        let no_rows = BlockHasher::default().finish();
        let mut add = |span: BlockSpan, hash| {
            hashes.push(hash);
            index.push(span)
        };
        for (span, hash) in self.spans.iter().zip(&self.hashes) {
            while let Some(block) = emptied.next_if(|block| *block < span.block) {
                add(BlockSpan::empty(block), no_rows)?;
            }
            add(*span, *hash)?;
        }
        for block in emptied {
            add(BlockSpan::empty(block), no_rows)?;
        }
        Ok(SegmentRead {
            index: index.with_hashes(hashes)?,
        })
    }

    /// The blocks that a patch must list though they have no rows now.
    fn emptied(&self) -> BlockSet {
        let Some(patching) = self.patching else {
            return BlockSet::new();
        };
        let known = patching.known.spans().iter();
        let known = known.filter(|span| span.rows > 0).map(|span| span.block);
        let mut listed: BlockSet = known.collect();
        listed |= &patching.must;
        listed &= &patching.blocks;
        listed - &self.seen
    }

    fn close_block(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let whole_here = open.handed_over.is_none();
        let hash = match open.handed_over {
            Some(mut begun) => {
                begun.update(&self.current[open.start..]);
                begun.finish()
            }
            None => hash_in_place(&mut self.current, open.start),
        };
        if self.patching.is_some() {
            self.seen.insert(open.span.block);
        }
        if whole_here && self.base_has(&open.span, &hash) {
            self.current.truncate(open.start);
            return;
        }
        self.spans.push(open.span);
        self.hashes.push(hash);
    }

    fn base_has(&self, span: &BlockSpan, hash: &BlockHash) -> bool {
        let Some(known) = self.patching.map(|patching| &patching.known) else {
            return false;
        };
        let place = known.spans().binary_search_by_key(&span.block, |s| s.block);
        let hashes = known.hashes().unwrap_or_default();
        // The zeros that were hashed with the rows are none of them.
        place.is_ok_and(|place| {
            known.spans()[place].bytes == span.bytes && hashes.get(place) == Some(hash)
        })
    }

    fn hand_over(&mut self) -> Outcome<()> {
        if let Some(open) = &mut self.open {
            let begun = open.handed_over.get_or_insert_default();
            begun.update(&self.current[open.start..]);
            open.start = 0;
        }
        self.sink.full(std::mem::take(&mut self.current))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Kept(Vec<u8>);

    impl PieceSink for Kept {
        fn buffer(&mut self) -> Outcome<Vec<u8>> {
            Ok(Vec::with_capacity(FRAME_BYTES))
        }

        fn full(&mut self, buffer: Vec<u8>) -> Outcome<()> {
            assert!(!buffer.is_empty() && buffer.len() <= FRAME_BYTES);
            self.0.extend(buffer);
            Ok(())
        }
    }

    /// Rows by block.
    type Rows = BTreeMap<u32, Vec<Vec<u8>>>;

    fn written(rows: &Rows, patching: Option<&Patching>) -> (BlockIndex, Vec<u8>) {
        let mut sink = Kept::default();
        let mut writer = BlockWriter::new(&mut sink, patching);
        for (block, rows) in rows {
            for row in rows {
                writer.row(*block, row.len() as u64).unwrap();
                row.chunks(70_000)
                    .for_each(|part| writer.push(part).unwrap());
            }
        }
        let index = writer.finish().unwrap().index;
        assert_eq!(index.bytes(), sink.0.len() as u64);
        (index, sink.0)
    }

    fn rows() -> impl Strategy<Value = Rows> {
        let small = prop::collection::vec(0_u8..3, 0..3);
        let large = (0_u8..2).prop_map(|byte| vec![byte; 700_000]);
        let row = prop_oneof![9 => small, 1 => large];
        prop::collection::btree_map(0_u32..12, prop::collection::vec(row, 1..3), 0..8)
    }

    fn contents(index: &BlockIndex, mut bytes: &[u8]) -> BTreeMap<u32, Vec<u8>> {
        let mut blocks = BTreeMap::new();
        for span in index.spans() {
            let (own, rest) = bytes.split_at(span.bytes as usize);
            blocks.insert(span.block, own.to_vec());
            bytes = rest;
        }
        blocks
    }

    proptest! {
        #[test]
        fn what_the_base_has_with_the_patch_over_it_is_what_is_there_now(
            before in rows(), now in rows(), must in prop::collection::btree_set(0_u32..12, 0..3),
        ) {
            let (base, bytes) = written(&before, None);
            let mut patched = contents(&base, &bytes);
            let all: BlockSet = (0..12).collect();
            let patching = Patching { blocks: all, known: base, must: must.iter().copied().collect() };
            let (patch, bytes) = written(&now, Some(&patching));
            prop_assert!(must.iter().all(|block| patch.spans().iter().any(|s| s.block == *block)
                || patched.get(block).is_some_and(|rows| now.get(block).is_some_and(|now| now.concat() == *rows))));
            patched.extend(contents(&patch, &bytes));
            patched.retain(|_, rows| !rows.is_empty());
            let there: BTreeMap<u32, Vec<u8>> = now.iter().map(|(b, rows)| (*b, rows.concat())).collect();
            let there: BTreeMap<u32, Vec<u8>> = there.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
            prop_assert_eq!(patched, there);
        }

        #[test]
        fn a_patch_of_nothing_changed_is_empty_where_blocks_fit_a_buffer(now in rows()) {
            let small: Rows = now.into_iter().filter(|(_, rows)| rows.concat().len() < 1000).collect();
            let (base, _) = written(&small, None);
            let blocks: BlockSet = (0..12).collect();
            let patching = Patching { blocks, known: base, must: BlockSet::new() };
            let (patch, bytes) = written(&small, Some(&patching));
            prop_assert!(patch.spans().is_empty() && bytes.is_empty());
        }
    }

    #[test]
    fn a_block_that_must_be_listed_is_listed_though_it_is_empty_and_unknown() {
        let patching = Patching {
            blocks: (0..4).collect(),
            known: BlockIndex::new(),
            must: [2].into_iter().collect(),
        };
        let (patch, _) = written(&Rows::new(), Some(&patching));
        assert_eq!(patch.spans(), [BlockSpan::empty(2)]);
    }

    #[test]
    fn rows_of_one_block_are_added_up_and_blocks_must_ascend() {
        let mut sink = Kept::default();
        let mut writer = BlockWriter::new(&mut sink, None);
        for (block, bytes) in [(3, 10), (3, 12), (7, 1)] {
            writer.row(block, bytes).unwrap();
            writer.push(&vec![0; bytes as usize]).unwrap();
        }
        assert!(writer.row(6, 1).is_err());
        let index = writer.finish().unwrap().index;
        let span = |block, bytes, rows| BlockSpan { block, bytes, rows };
        assert_eq!(index.spans(), [span(3, 22, 2), span(7, 1, 1)]);
        assert_eq!((index.bytes(), index.rows()), (23, 3));
    }
}
