//! The index of a segment: which bytes of it are which block's rows.

use serde::{Deserialize, Serialize};

use crate::{Blame, Fault};

/// The rows of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSpan {
    /// The block's number in the table.
    pub block: u32,
    /// How many bytes its rows take; 0 for a block that is known to be empty.
    pub bytes: u64,
    /// How many rows.
    pub rows: u32,
}

impl BlockSpan {
    /// A block without rows.
    pub fn empty(block: u32) -> Self {
        BlockSpan {
            block,
            bytes: 0,
            rows: 0,
        }
    }
}

/// Why bytes are no block index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockIndexError {
    /// Blocks must ascend, each once.
    #[error("the block index is out of order: block {after} follows block {before}")]
    Order {
        /// The one before.
        before: u32,
        /// The one that does not ascend.
        after: u32,
    },
    /// There must be a hash for each block, or none at all.
    #[error("the block index has {hashes} hashes for {blocks} blocks")]
    Hashes {
        /// Blocks.
        blocks: usize,
        /// Hashes.
        hashes: usize,
    },
    /// The bytes end too early, or something follows them.
    #[error("the block index is cut short or too long")]
    Length,
    /// A number that does not fit.
    #[error("the block index holds a number that is too large")]
    Number,
}

/// Only an engine that breaks the laws of its seam comes to one while it reads.
impl Fault for BlockIndexError {
    fn code(&self) -> &'static str {
        "internal"
    }

    fn blame(&self) -> Blame {
        Blame::Bug
    }
}

/// A [hash](crate::BlockHasher) of a block's rows: the same rows need not be stored again.
pub type BlockHash = [u8; 16];

/// Block → rows of one segment or patch. It covers every byte of it, and blocks ascend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockIndex {
    spans: Vec<BlockSpan>,
    /// One for each block, or none at all.
    hashes: Vec<BlockHash>,
}

impl BlockIndex {
    /// An empty one.
    pub fn new() -> Self {
        BlockIndex::default()
    }

    /// Appends a block. Hashes are gone with it.
    pub fn push(&mut self, span: BlockSpan) -> Result<(), BlockIndexError> {
        if let Some(last) = self.spans.last().filter(|last| last.block >= span.block) {
            return Err(BlockIndexError::Order {
                before: last.block,
                after: span.block,
            });
        }
        self.hashes.clear();
        self.spans.push(span);
        Ok(())
    }

    /// The same with a hash for each block, in their order.
    ///
    /// # Errors
    /// When there are more or fewer hashes than blocks.
    pub fn with_hashes(mut self, hashes: Vec<BlockHash>) -> Result<Self, BlockIndexError> {
        if hashes.len() != self.spans.len() {
            return Err(BlockIndexError::Hashes {
                blocks: self.spans.len(),
                hashes: hashes.len(),
            });
        }
        self.hashes = hashes;
        Ok(self)
    }

    /// The hashes of the blocks' rows, in the blocks' order; `None`: whoever wrote it told none.
    pub fn hashes(&self) -> Option<&[BlockHash]> {
        (self.hashes.len() == self.spans.len()).then_some(&self.hashes)
    }

    /// The blocks, ascending.
    pub fn spans(&self) -> &[BlockSpan] {
        &self.spans
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.spans.iter().map(|s| s.bytes).sum()
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.spans.iter().map(|s| u64::from(s.rows)).sum()
    }

    /// As bytes: twice the number of blocks, and one more where hashes follow; then for each block
    /// its distance to the one before, its bytes and its rows, all as LEB128; then the hashes
    /// (`docs/saveset-format.md`).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.spans.len() * 4 + self.hashes.len() * 16);
        let hashed = u64::from(!self.hashes.is_empty());
        put(&mut out, 2 * self.spans.len() as u64 + hashed);
        let mut before = 0;
        for span in &self.spans {
            put(&mut out, u64::from(span.block - before));
            put(&mut out, span.bytes);
            put(&mut out, u64::from(span.rows));
            before = span.block;
        }
        out.extend_from_slice(self.hashes.as_flattened());
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// When a byte is missing, one is left over, blocks do not ascend, or a number is too large.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, BlockIndexError> {
        let (count, hashed) = match take(&mut bytes)? {
            1 => return Err(BlockIndexError::Length),
            number => (number / 2, number % 2 == 1),
        };
        let mut index = BlockIndex::new();
        let mut before = 0u32;
        for _ in 0..count {
            let step = narrow(take(&mut bytes)?)?;
            let block = before.checked_add(step).ok_or(BlockIndexError::Number)?;
            let span = BlockSpan {
                block,
                bytes: take(&mut bytes)?,
                rows: narrow(take(&mut bytes)?)?,
            };
            index.push(span)?;
            before = block;
        }
        if hashed {
            let (hashes, rest) = bytes.as_chunks::<16>();
            if hashes.len() != index.spans.len() || !rest.is_empty() {
                return Err(BlockIndexError::Length);
            }
            index.hashes = hashes.to_vec();
            return Ok(index);
        }
        match bytes.is_empty() {
            true => Ok(index),
            false => Err(BlockIndexError::Length),
        }
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, BlockIndexError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(BlockIndexError::Length)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(BlockIndexError::Number);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(BlockIndexError::Number)
}

fn narrow(number: u64) -> Result<u32, BlockIndexError> {
    u32::try_from(number).map_err(|_| BlockIndexError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_index() -> impl Strategy<Value = BlockIndex> {
        let blocks = prop::collection::btree_map(any::<u32>(), (any::<u32>(), any::<u32>()), 0..50);
        (blocks, any::<Option<BlockHash>>()).prop_map(|(m, hash)| {
            let hashes = vec![hash.unwrap_or_default(); m.len()];
            let mut index = BlockIndex::new();
            for (block, (bytes, rows)) in m {
                index
                    .push(BlockSpan {
                        block,
                        bytes: u64::from(bytes),
                        rows,
                    })
                    .unwrap();
            }
            match hash {
                Some(_) => index.with_hashes(hashes).unwrap(),
                None => index,
            }
        })
    }

    proptest! {
        #[test]
        fn any_index_reads_back(index in any_index()) {
            prop_assert_eq!(BlockIndex::decode(&index.encode()), Ok(index));
        }

        #[test]
        fn a_cut_index_is_refused(index in any_index()) {
            let bytes = index.encode();
            for end in 0..bytes.len() {
                prop_assert!(BlockIndex::decode(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = BlockIndex::decode(&bytes);
        }
    }

    #[test]
    fn blocks_are_added_up_and_must_ascend() {
        let span = |block, bytes, rows| BlockSpan { block, bytes, rows };
        let mut index = BlockIndex::new();
        index.push(span(3, 22, 2)).unwrap();
        index.push(span(7, 1, 1)).unwrap();
        assert_eq!(index.spans(), [span(3, 22, 2), span(7, 1, 1)]);
        assert!(index.push(span(7, 1, 1)).is_err());
        assert!(index.push(span(6, 1, 1)).is_err());
        assert_eq!((index.bytes(), index.rows()), (23, 3));
        assert_eq!(index.hashes(), None);
        assert!(index.clone().with_hashes(vec![[1; 16]]).is_err());
        let mut hashed = index.with_hashes(vec![[1; 16], [2; 16]]).unwrap();
        assert_eq!(hashed.hashes().unwrap()[1], [2; 16]);
        hashed.push(span(8, 1, 1)).unwrap();
        assert_eq!(hashed.hashes(), None, "a block has none");
    }
}
