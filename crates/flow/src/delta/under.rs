//! What the base has in some blocks. Pure: the indexes were read before.

use model::{
    BlockHash, BlockIndex, BlockIndexError, BlockRange, BlockSet, BlockSpan, Layer, overlay,
};
use vault::{SegmentEntry, TableSize};

/// A segment or patch with its index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Indexed<'a> {
    /// As it counts.
    pub(crate) entry: &'a SegmentEntry,
    pub(crate) index: &'a BlockIndex,
}

/// What is told to the reader of a part of the new patch, and kept for the count of rows.
#[derive(Debug, Default)]
pub(crate) struct Under {
    /// What is left below the new patch.
    pub(crate) known: Vec<(BlockSpan, BlockHash)>,
    /// What the new patch must have whether or not it changed.
    pub(crate) must: BlockSet,
    /// What the base has.
    pub(crate) before: Vec<BlockSpan>,
}

impl<'a> Indexed<'a> {
    /// The blocks of a range that it has, with the hash of each if it was told.
    fn spans(self, range: BlockRange) -> impl Iterator<Item = (BlockSpan, Option<BlockHash>)> + 'a {
        let all = self.index.spans();
        let common = self.entry.blocks.common(range);
        let (start, end) = common.map_or((0, 0), |range| {
            let start = all.partition_point(|span| span.block < range.start);
            let within = all[start..].partition_point(|span| range.contains(span.block));
            (start, start + within)
        });
        let hashes = self.index.hashes();
        (start..end).map(move |place| (all[place], hashes.map(|hashes| hashes[place])))
    }

    fn layer(self, blocks: BlockRange) -> Option<Layer<'a>> {
        Some(Layer {
            saveset: self.entry.saveset,
            blocks: self.entry.blocks.common(blocks)?,
            index: self.index,
        })
    }
}

/// Looks up blocks of a segment: `must` are those that no kept layer has. `patches` are the base's, oldest
/// first.
pub(crate) fn under(
    blocks: &BlockSet,
    must: &BlockSet,
    segment: Indexed<'_>,
    patches: &[Indexed<'_>],
) -> Under {
    let newer = patches.iter().rev().copied();
    let newer = newer.filter(|patch| patch.entry.saveset > segment.entry.saveset);
    let mut found: Vec<(BlockSpan, Option<BlockHash>)> = Vec::new();
    let mut left = blocks.clone();
    for layer in newer.chain([segment]) {
        let spans = layer.spans(segment.entry.blocks);
        found.extend(spans.filter(|(span, _)| left.remove(span.block)));
    }
    found.sort_unstable_by_key(|(span, _)| span.block);
    let mut under = Under {
        must: must.clone(),
        ..Under::default()
    };
    for (span, hash) in found {
        under.before.push(span);
        match hash {
            _ if must.contains(span.block) => {}
            Some(hash) => under.known.push((span, hash)),
            // Whoever wrote it told no hash: nobody can say that it is the same.
            None => {
                under.must.insert(span.block);
            }
        }
    }
    under
}

impl Under {
    /// What is below the blocks behind those.
    pub(crate) fn append(&mut self, next: Under) {
        self.known.extend(next.known);
        self.must |= next.must;
        self.before.extend(next.before);
    }

    /// What is known, as an index.
    pub(crate) fn index(&self) -> Result<BlockIndex, BlockIndexError> {
        let mut index = BlockIndex::new();
        for (span, _) in &self.known {
            index.push(*span)?;
        }
        index.with_hashes(self.known.iter().map(|(_, hash)| *hash).collect())
    }
}

/// What a range of a segment comes to with the patches over it.
pub(crate) fn size(segment: Indexed<'_>, range: BlockRange, patches: &[Indexed<'_>]) -> TableSize {
    let over = patches.iter().filter_map(|patch| patch.layer(range));
    let over: Vec<Layer<'_>> = over.collect();
    let pieces = segment.layer(range).map(|below| overlay(&[below], &over));
    let mut size = TableSize {
        rows: 0,
        plain_bytes: 0,
    };
    for piece in pieces.unwrap_or_default() {
        size.rows += piece.rows;
        size.plain_bytes += piece.bytes.end - piece.bytes.start;
    }
    size
}
