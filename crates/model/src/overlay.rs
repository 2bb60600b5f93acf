//! Which rows of a table's segments and patches are the table's rows.
//!
//! A segment holds all rows of a range of blocks as they were when a saveset read them. A patch holds
//! those of some blocks as a later saveset found them: for a block of a segment that is *older* than
//! the patch they take the place of what the segment has there. Of several patches the newest wins. What
//! lies outside of a layer's range does not count, and what lies in no segment is no row of the table:
//! so a segment that was read afresh needs no patch taken out below it, and a table that was cut off at
//! a block is one whose segments end there.

use std::ops::Range;

use crate::{BlockIndex, BlockRange, BlockSpan, SavesetId};

/// A segment or a patch, by its index.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The saveset that read its rows: the greater, the newer.
    pub saveset: SavesetId,
    /// Its blocks that count.
    pub blocks: BlockRange,
    /// Where the rows of each block are.
    pub index: &'a BlockIndex,
}

/// A layer by its place among those given to [`overlay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerId {
    /// A segment.
    Segment(usize),
    /// A patch.
    Patch(usize),
}

/// Some bytes of the rows of one layer: whole rows of neighbouring blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Whose.
    pub layer: LayerId,
    /// Which bytes of its rows.
    pub bytes: Range<u64>,
    /// How many rows.
    pub rows: u64,
}

/// The table's rows in block order, as pieces of layers: what is left when the patches are applied to
/// the segments one by one. Segments ascend and do not overlap; patches are in order, oldest first. The
/// pieces of one layer ascend too.
pub fn overlay(segments: &[Layer<'_>], patches: &[Layer<'_>]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (place, segment) in segments.iter().enumerate() {
        let newer = patches
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, patch)| patch.saveset > segment.saveset)
            .filter_map(|(place, patch)| {
                let common = patch.blocks.common(segment.blocks)?;
                Some(Cursor::new(LayerId::Patch(place), patch, common))
            });
        let mut cursors: Vec<Cursor> = newer.collect();
        cursors.push(Cursor::new(
            LayerId::Segment(place),
            segment,
            segment.blocks,
        ));
        merge(&mut cursors, &mut pieces);
    }
    pieces
}

/// For each block the rows of the first cursor that has it.
fn merge(cursors: &mut [Cursor<'_>], pieces: &mut Vec<Piece>) {
    while let Some(block) = cursors.iter().filter_map(Cursor::block).min() {
        let mut taken = false;
        for cursor in cursors.iter_mut().filter(|c| c.block() == Some(block)) {
            let piece = cursor.take();
            if !taken {
                add(pieces, piece);
            }
            taken = true;
        }
    }
}

fn add(pieces: &mut Vec<Piece>, piece: Piece) {
    if piece.bytes.is_empty() {
        return;
    }
    match pieces.last_mut() {
        Some(last) if last.layer == piece.layer && last.bytes.end == piece.bytes.start => {
            last.bytes.end = piece.bytes.end;
            last.rows += piece.rows;
        }
        _ => pieces.push(piece),
    }
}

/// The blocks of a layer that are still to be looked at.
struct Cursor<'a> {
    layer: LayerId,
    spans: &'a [BlockSpan],
    /// Where the rows of the first of them begin.
    at: u64,
}

impl<'a> Cursor<'a> {
    fn new(layer: LayerId, of: &Layer<'a>, blocks: BlockRange) -> Self {
        let all = of.index.spans();
        let before = all.partition_point(|span| span.block < blocks.start);
        let within = all[before..].partition_point(|span| blocks.contains(span.block));
        Cursor {
            layer,
            spans: &all[before..before + within],
            at: all[..before].iter().map(|span| span.bytes).sum(),
        }
    }

    fn block(&self) -> Option<u32> {
        self.spans.first().map(|span| span.block)
    }

    /// The rows of its next block; none if it has no block left.
    fn take(&mut self) -> Piece {
        let start = self.at;
        let mut rows = 0;
        if let Some((span, rest)) = self.spans.split_first() {
            self.spans = rest;
            self.at += span.bytes;
            rows = u64::from(span.rows);
        }
        Piece {
            layer: self.layer,
            bytes: start..self.at,
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A layer with the rows of each block: a row is one byte, and tells its layer.
    #[derive(Debug, Clone)]
    struct Written {
        saveset: SavesetId,
        blocks: BlockRange,
        rows: BTreeMap<u32, Vec<u8>>,
    }

    impl Written {
        fn index(&self) -> BlockIndex {
            let mut index = BlockIndex::new();
            for (block, rows) in &self.rows {
                index
                    .push(BlockSpan {
                        block: *block,
                        bytes: rows.len() as u64,
                        rows: rows.len() as u32,
                    })
                    .unwrap();
            }
            index
        }

        fn content(&self) -> Vec<u8> {
            self.rows.values().flatten().copied().collect()
        }

        /// The blocks that count.
        fn counting(&self) -> impl Iterator<Item = (u32, &Vec<u8>)> {
            let rows = self.rows.iter().map(|(block, rows)| (*block, rows));
            rows.filter(|(block, _)| self.blocks.contains(*block))
        }
    }

    const BLOCKS: u32 = 24;

    fn rows() -> impl Strategy<Value = BTreeMap<u32, Vec<u8>>> {
        let row = prop::collection::vec(any::<u8>(), 0..4);
        prop::collection::btree_map(0..BLOCKS, row, 0..20)
    }

    fn range() -> impl Strategy<Value = BlockRange> {
        (0..BLOCKS, prop::option::of(0..=BLOCKS)).prop_map(|(start, end)| BlockRange {
            start,
            end: end.map(|end| end.max(start)),
        })
    }

    fn saveset() -> impl Strategy<Value = SavesetId> {
        (1_i64..6).prop_map(|id| SavesetId::new(id).unwrap())
    }

    /// Segments of any age that ascend, with gaps between some of them; their rows lie anywhere.
    fn segments() -> impl Strategy<Value = Vec<Written>> {
        let cuts = prop::collection::btree_set(0..BLOCKS, 0..6);
        let each = prop::collection::vec((saveset(), rows(), any::<bool>()), 6);
        (cuts, each, any::<bool>()).prop_map(|(cuts, each, open)| {
            let cuts: Vec<u32> = cuts.into_iter().collect();
            let ends = cuts.iter().skip(1).map(|cut| Some(*cut));
            let ends = ends.chain([(!open).then_some(BLOCKS)]);
            let ranges = cuts.iter().zip(ends);
            let made = ranges.zip(each).filter(|(_, (_, _, gap))| !gap);
            made.map(|((start, end), (saveset, rows, _))| Written {
                saveset,
                blocks: BlockRange { start: *start, end },
                rows,
            })
            .collect()
        })
    }

    fn patches() -> impl Strategy<Value = Vec<Written>> {
        let patch = (saveset(), range(), rows()).prop_map(|(saveset, blocks, rows)| Written {
            saveset,
            blocks,
            rows,
        });
        prop::collection::vec(patch, 0..5).prop_map(|mut patches| {
            patches.sort_by_key(|patch| patch.saveset);
            patches
        })
    }

    /// The patches applied one by one to segments that are rewritten each time.
    fn one_by_one(segments: &[Written], patches: &[Written]) -> Vec<u8> {
        let mut segments = segments.to_vec();
        for segment in &mut segments {
            segment.rows = segment.counting().map(|(b, r)| (b, r.clone())).collect();
        }
        for patch in patches {
            for segment in &mut segments {
                for (block, rows) in patch.counting() {
                    if patch.saveset > segment.saveset && segment.blocks.contains(block) {
                        segment.rows.insert(block, rows.clone());
                    }
                }
            }
        }
        segments.iter().flat_map(Written::content).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn an_overlay_is_what_applying_the_patches_one_by_one_leaves(
            segments in segments(),
            patches in patches(),
        ) {
            let indexes: Vec<Vec<BlockIndex>> = [&segments, &patches]
                .map(|layers| layers.iter().map(Written::index).collect())
                .into();
            let layers = |written: &[Written], of: usize| -> Vec<(SavesetId, BlockRange, usize)> {
                written.iter().enumerate().map(|(at, w)| (w.saveset, w.blocks, of * 100 + at)).collect()
            };
            let layer = |(saveset, blocks, at): (SavesetId, BlockRange, usize)| Layer {
                saveset,
                blocks,
                index: &indexes[at / 100][at % 100],
            };
            let bottom: Vec<Layer> = layers(&segments, 0).into_iter().map(layer).collect();
            let top: Vec<Layer> = layers(&patches, 1).into_iter().map(layer).collect();
            let pieces = overlay(&bottom, &top);
            let mut found = Vec::new();
            let mut before: BTreeMap<LayerId, u64> = BTreeMap::new();
            for (place, piece) in pieces.iter().enumerate() {
                let written = match piece.layer {
                    LayerId::Segment(at) => &segments[at],
                    LayerId::Patch(at) => &patches[at],
                };
                let bytes = piece.bytes.start as usize..piece.bytes.end as usize;
                found.extend_from_slice(&written.content()[bytes]);
                prop_assert_eq!(piece.rows, piece.bytes.end - piece.bytes.start);
                // A layer is read forwards only, and neighbours are one piece.
                let seen = before.insert(piece.layer, piece.bytes.end).unwrap_or(0);
                prop_assert!(seen <= piece.bytes.start);
                if place > 0 && pieces[place - 1].layer == piece.layer {
                    prop_assert!(pieces[place - 1].bytes.end < piece.bytes.start);
                }
            }
            prop_assert_eq!(found, one_by_one(&segments, &patches));
        }
    }
}
