//! Comparing the rows of each block with the hash that an index has of them.

use model::{BlockHash, BlockHasher, BlockIndex, BlockSpan};

/// A frame, by the path of its pack and its number there.
pub(crate) type FrameName = (String, u32);

/// Takes the rows of an entry as they pass by, in any pieces.
pub(crate) struct BlockCheck {
    /// The blocks that are still to come, the last one first.
    rest: Vec<(BlockSpan, BlockHash)>,
    /// Of the first of them: the bytes that have passed, their hash, and where they began.
    passed: u64,
    hash: BlockHasher,
    begun: Option<FrameName>,
    /// A byte of it could not be read.
    unread: bool,
    /// The path of the index's pack.
    of_index: String,
}

/// A block whose rows are not those that the index has a hash of.
pub(crate) struct WrongBlock {
    pub(crate) span: BlockSpan,
    /// The pack and the frame in which its rows begin; if it has none, the index's pack.
    pub(crate) object: String,
    pub(crate) frame: Option<u32>,
}

impl BlockCheck {
    pub(crate) fn new(index: &BlockIndex, of_index: String) -> Self {
        let hashes = index.hashes().unwrap_or_default();
        let blocks = index.spans().iter().copied().zip(hashes.iter().copied());
        BlockCheck {
            rest: blocks.rev().collect(),
            passed: 0,
            hash: BlockHasher::default(),
            begun: None,
            unread: false,
            of_index,
        }
    }

    /// Some more bytes, which lie in one frame.
    pub(crate) fn take(&mut self, mut bytes: &[u8], frame: FrameName, wrong: &mut Vec<WrongBlock>) {
        while let Some(now) = self.part(bytes.len() as u64) {
            let (of_block, later) = bytes.split_at(now as usize);
            self.hash.update(of_block);
            if now > 0 && self.begun.is_none() {
                self.begun = Some(frame.clone());
            }
            bytes = later;
            if !self.pass(now, wrong) {
                break;
            }
        }
    }

    /// So many bytes could not be read.
    pub(crate) fn skip(&mut self, mut bytes: u64, wrong: &mut Vec<WrongBlock>) {
        while let Some(now) = self.part(bytes) {
            self.unread |= now > 0;
            bytes -= now;
            if !self.pass(now, wrong) {
                break;
            }
        }
    }

    /// All bytes have passed: what is left are blocks without rows.
    pub(crate) fn end(mut self) -> Vec<WrongBlock> {
        let mut wrong = Vec::new();
        self.skip(0, &mut wrong);
        wrong
    }

    /// How many of the next bytes are of the block that is under way; `None`: no block is left.
    fn part(&self, bytes: u64) -> Option<u64> {
        let (span, _) = self.rest.last()?;
        Some(bytes.min(span.bytes - self.passed))
    }

    /// Whether the block is at its end.
    fn pass(&mut self, bytes: u64, wrong: &mut Vec<WrongBlock>) -> bool {
        self.passed += bytes;
        let passed = self.passed;
        let Some((span, hash)) = self.rest.pop_if(|(span, _)| span.bytes == passed) else {
            return false;
        };
        let found = std::mem::take(&mut self.hash).finish();
        let (object, frame) = match self.begun.take() {
            Some((pack, frame)) => (pack, Some(frame)),
            None => (self.of_index.clone(), None),
        };
        if !std::mem::take(&mut self.unread) && found != hash {
            wrong.push(WrongBlock {
                span,
                object,
                frame,
            });
        }
        self.passed = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(rows: &[Vec<u8>], spoilt: &[usize]) -> BlockIndex {
        let mut index = BlockIndex::new();
        let mut hashes = Vec::new();
        for (place, rows) in rows.iter().enumerate() {
            let span = BlockSpan {
                block: 3 * place as u32,
                bytes: rows.len() as u64,
                rows: 1,
            };
            index.push(span).unwrap();
            let mut hasher = BlockHasher::default();
            hasher.update(rows);
            let mut hash = hasher.finish();
            hash[place % 16] ^= u8::from(spoilt.contains(&place));
            hashes.push(hash);
        }
        index.with_hashes(hashes).unwrap()
    }

    proptest! {
        #[test]
        fn exactly_the_blocks_are_wrong_whose_hash_is_another_and_whose_bytes_were_all_read(
            rows in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            spoilt in prop::collection::vec(0..20_usize, 0..4),
            pieces in prop::collection::vec((0..90_usize, prop::bool::weighted(0.2)), 0..40),
        ) {
            let mut check = BlockCheck::new(&index(&rows, &spoilt), "index".to_owned());
            let (mut wrong, mut frames) = (Vec::new(), Vec::new());
            let all = rows.concat();
            let mut rest = &all[..];
            for (frame, (length, lost)) in (0..).zip(pieces.into_iter().chain([(all.len(), false)])) {
                let (piece, later) = rest.split_at(length.min(rest.len()));
                rest = later;
                frames.extend(piece.iter().map(|_| (frame, lost)));
                match lost {
                    true => check.skip(piece.len() as u64, &mut wrong),
                    false => check.take(piece, ("pack".to_owned(), frame), &mut wrong),
                }
            }
            wrong.extend(check.end());
            let mut expected = Vec::new();
            let mut at = 0;
            for (place, rows) in rows.iter().enumerate() {
                let of_block = &frames[at..at + rows.len()];
                at += rows.len();
                if spoilt.contains(&place) && !of_block.iter().any(|(_, lost)| *lost) {
                    let frame = of_block.first().map(|(frame, _)| *frame);
                    let object = if frame.is_some() { "pack" } else { "index" };
                    expected.push((3 * place as u32, object.to_owned(), frame));
                }
            }
            let found = wrong.into_iter().map(|wrong| (wrong.span.block, wrong.object, wrong.frame));
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }
}
