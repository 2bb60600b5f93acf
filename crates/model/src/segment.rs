//! Segments: the rows of a table that lie in one range of blocks.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::BlockIndex;

/// A frame's plaintext is at most this long: 1 MiB.
pub const FRAME_BYTES: usize = 1 << 20;

/// What a segment should come to, in bytes of rows: 8 MiB.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// Blocks from `start` up to `end`, which is not part of it; without an end, all that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRange {
    /// The first block.
    pub start: u32,
    /// The first block behind it; `None`: open, up to whatever the table has grown to.
    pub end: Option<u32>,
}

impl BlockRange {
    /// Every block.
    pub const ALL: BlockRange = BlockRange {
        start: 0,
        end: None,
    };

    /// Whether a block lies in it.
    pub fn contains(self, block: u32) -> bool {
        block >= self.start && self.end.is_none_or(|end| block < end)
    }

    /// The blocks that lie in both; `None`: none does.
    pub fn common(self, other: BlockRange) -> Option<BlockRange> {
        let start = self.start.max(other.start);
        let end = match (self.end, other.end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        end.is_none_or(|end| start < end)
            .then_some(BlockRange { start, end })
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "blocks {} to {}", self.start, end.saturating_sub(1)),
            None => write!(f, "blocks from {}", self.start),
        }
    }
}

/// How the rows of a table are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, Serialize, Deserialize)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RowFormat {
    /// PostgreSQL's COPY BINARY, tuples only: no header, no trailer.
    Binary,
    /// PostgreSQL's COPY TEXT lines.
    Text,
    /// Whole pages of a SQLite file, one behind the other.
    Pages,
}

/// One range of one table to read; several streams take them, largest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentTask {
    /// The table's place in the plan.
    pub table: usize,
    /// Which blocks.
    pub blocks: BlockRange,
    /// What it will come to, about, in bytes; 0 where nobody can know.
    pub estimated_bytes: u64,
    /// What of the range is read for a patch; `None`: all of it, for a segment.
    pub patch: Option<Arc<Patching>>,
}

/// Numbers of blocks.
pub type BlockSet = roaring::RoaringBitmap;

/// What a task reads for a patch: the blocks of its range that are not as the base has them, or may not
/// be. The patch lists each of them that has other rows now, one that is empty now with none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patching {
    /// The blocks to read, all of them in the task's range.
    pub blocks: BlockSet,
    /// What the base has of them, with hashes. A block that is not listed had no rows; one whose rows
    /// hash as before is left out of the patch.
    pub known: BlockIndex,
    /// Of these the patch must have the rows whether or not they changed: the patch that had them until
    /// now is given up. `known` has none of them.
    pub must: BlockSet,
}
