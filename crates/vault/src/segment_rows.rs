//! The rows of a segment as they are in a saveset: its own, and those of the patches above it.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use model::{BlockIndex, BlockRange, Layer, LayerId, Piece, overlay};

use crate::frame::add_frame;
use crate::shared_frames::SharedFrames;
use crate::{FrameRun, RunReader, Saveset, SegmentEntry, TableSheet, Vault, VaultError};

/// Small pieces are given together, in about this many bytes.
const TOGETHER: usize = 256 << 10;

/// The patches of one table with their indexes: read once for all its segments. In the sheet's order:
/// oldest first, those of one saveset by ascending blocks and without overlap.
#[derive(Debug, Default)]
pub struct Patches(Vec<(SegmentEntry, BlockIndex)>);

/// The rows of one segment in block order, patches applied; only the frames that hold some of them are
/// read. A few frames of each layer are in memory at once.
pub struct SegmentRows {
    rows: u64,
    bytes: u64,
    source: Source,
}

enum Source {
    /// All rows of the segment.
    Whole(Box<RunReader>),
    /// What is left of several layers.
    Pieces(Box<Pieces>),
}

struct Pieces {
    /// From which layer, and how many bytes.
    rest: VecDeque<(usize, u64)>,
    layers: Vec<LayerReader>,
}

impl Saveset {
    /// The patches of a sheet.
    ///
    /// # Errors
    /// When an index is missing or damaged.
    pub async fn patches(&self, sheet: &TableSheet) -> Result<Patches, VaultError> {
        let indexes = self.indexes(&sheet.patches).await?;
        let patches = sheet.patches.iter().cloned();
        Ok(Patches(patches.zip(indexes).collect()))
    }

    /// The rows of a segment, with the patches of its sheet.
    ///
    /// # Errors
    /// When its index, or the footer of a pack, is missing or damaged.
    pub async fn segment_rows(
        &self,
        segment: &SegmentEntry,
        patches: &Patches,
    ) -> Result<SegmentRows, VaultError> {
        let over = patches.over(segment);
        if over.is_empty() && !segment.narrowed {
            return Ok(SegmentRows {
                rows: segment.row_count,
                bytes: segment.plain_bytes,
                source: Source::Whole(Box::new(self.rows(segment))),
            });
        }
        let index = self.index(segment).await?;
        let bottom = layer(segment, &index);
        let top: Vec<Layer> = over
            .iter()
            .map(|(entry, index)| layer(entry, index))
            .collect();
        let pieces = overlay(&[bottom], &top);
        let mut layers = vec![
            self.layer_reader(segment, &pieces, LayerId::Segment(0))
                .await?,
        ];
        for (place, (patch, _)) in over.iter().enumerate() {
            layers.push(
                self.layer_reader(patch, &pieces, LayerId::Patch(place))
                    .await?,
            );
        }
        let rest = pieces.iter().map(|piece| {
            let layer = match piece.layer {
                LayerId::Segment(_) => 0,
                LayerId::Patch(place) => 1 + place,
            };
            (layer, piece.bytes.end - piece.bytes.start)
        });
        Ok(SegmentRows {
            rows: pieces.iter().map(|piece| piece.rows).sum(),
            bytes: rest.clone().map(|(_, bytes)| bytes).sum(),
            source: Source::Pieces(Box::new(Pieces {
                rest: rest.collect(),
                layers,
            })),
        })
    }

    /// Reads what the pieces want of one layer.
    async fn layer_reader(
        &self,
        entry: &SegmentEntry,
        pieces: &[Piece],
        layer: LayerId,
    ) -> Result<LayerReader, VaultError> {
        let wanted = pieces.iter().filter(|piece| piece.layer == layer);
        let wanted = wanted.map(|piece| piece.bytes.clone()).collect();
        LayerReader::new(self.vault(), entry, wanted, layer).await
    }
}

fn layer<'a>(entry: &SegmentEntry, index: &'a BlockIndex) -> Layer<'a> {
    Layer {
        saveset: entry.saveset,
        blocks: entry.blocks,
        index,
    }
}

impl Patches {
    /// Those that list blocks of a segment.
    fn over(&self, segment: &SegmentEntry) -> Vec<&(SegmentEntry, BlockIndex)> {
        let blocks = segment.blocks;
        let mut over = Vec::new();
        let older = |(patch, _): &(SegmentEntry, BlockIndex)| patch.saveset <= segment.saveset;
        let mut rest = &self.0[self.0.partition_point(older)..];
        while let Some((first, _)) = rest.first() {
            let same = |(patch, _): &(SegmentEntry, BlockIndex)| patch.saveset == first.saveset;
            let (generation, newer) = rest.split_at(rest.partition_point(same));
            let before = |(patch, _): &(SegmentEntry, BlockIndex)| {
                patch.blocks.end.is_some_and(|end| end <= blocks.start)
            };
            let begun = |(patch, _): &&(SegmentEntry, BlockIndex)| {
                blocks.end.is_none_or(|end| patch.blocks.start < end)
            };
            let reaching = &generation[generation.partition_point(before)..];
            let within = reaching.iter().take_while(begun);
            over.extend(within.filter(|(patch, index)| lists_some(patch, index, blocks)));
            rest = newer;
        }
        over
    }
}

/// Whether a patch has a block of a range, with rows or without.
fn lists_some(patch: &SegmentEntry, index: &BlockIndex, blocks: BlockRange) -> bool {
    let Some(common) = patch.blocks.common(blocks) else {
        return false;
    };
    let spans = index.spans();
    let first = spans.partition_point(|span| span.block < common.start);
    let found = spans.get(first);
    found.is_some_and(|span| common.contains(span.block))
}

impl SegmentRows {
    /// How many rows it will give.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes it will give.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes in the vault that were read so far for the rows.
    pub fn stored_bytes(&self) -> u64 {
        match &self.source {
            Source::Whole(reader) => reader.stored_bytes(),
            Source::Pieces(pieces) => {
                let layers = pieces.layers.iter();
                layers.map(|layer| layer.frames.stored_bytes()).sum()
            }
        }
    }

    /// The next bytes, or `None` at the end; rows may span what is given.
    ///
    /// # Errors
    /// When a pack is missing or damaged, or the whole is not what was written. Nothing that was given
    /// before is then worth anything either.
    pub async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        match &mut self.source {
            Source::Whole(reader) => reader.next().await,
            Source::Pieces(pieces) => pieces.next().await,
        }
    }
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        let mut together = BytesMut::new();
        while let Some((layer, left)) = self.rest.front_mut() {
            let bytes = self.layers[*layer].take(*left).await?;
            *left -= bytes.len() as u64;
            if *left == 0 {
                self.rest.pop_front();
            }
            if together.is_empty() && bytes.len() >= TOGETHER / 2 {
                return Ok(Some(bytes));
            }
            together.extend_from_slice(&bytes);
            if together.len() >= TOGETHER {
                break;
            }
        }
        Ok((!together.is_empty()).then(|| together.freeze()))
    }
}

/// The frames of a layer.
enum Frames {
    /// No other segment has rows in them.
    Own(RunReader),
    Shared(SharedFrames),
}

impl Frames {
    async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        match self {
            Frames::Own(frames) => frames.next().await,
            Frames::Shared(frames) => frames.next().await,
        }
    }

    fn stored_bytes(&self) -> u64 {
        match self {
            Frames::Own(frames) => frames.stored_bytes(),
            Frames::Shared(frames) => frames.stored_bytes(),
        }
    }
}

/// Some byte ranges of an entry's rows, forwards.
struct LayerReader {
    what: String,
    /// Only frames that hold some of the bytes.
    frames: Frames,
    /// For each of those frames what is wanted of it.
    cuts: VecDeque<VecDeque<Range<usize>>>,
    frame: Bytes,
    wanted: VecDeque<Range<usize>>,
}

impl LayerReader {
    /// The ranges ascend and do not touch each other.
    async fn new(
        vault: &Vault,
        entry: &SegmentEntry,
        ranges: Vec<Range<u64>>,
        layer: LayerId,
    ) -> Result<Self, VaultError> {
        let what = match entry.rows.last() {
            Some(run) => run.pack.path(),
            None => format!("the rows of {}", entry.blocks),
        };
        let mut ranges = VecDeque::from(ranges);
        let mut runs: Vec<FrameRun> = Vec::new();
        let mut cuts = VecDeque::new();
        let mut at = 0;
        for run in &entry.rows {
            // Where nothing is wanted no footer is asked for.
            if ranges.is_empty() {
                break;
            }
            for (frame, plain) in (run.first..).zip(vault.plain_bytes(run).await?) {
                let end = at + u64::from(plain);
                let cut = cut(&mut ranges_within(&ranges, at, end), at);
                while ranges.front().is_some_and(|range| range.end <= end) {
                    ranges.pop_front();
                }
                if !cut.is_empty() {
                    cuts.push_back(cut);
                    add_frame(&mut runs, run.pack, frame);
                }
                at = end;
            }
        }
        if !ranges.is_empty() {
            let why = format!(
                "the frames that end in it hold {at} bytes of rows, not {}",
                entry.plain_bytes
            );
            return Err(VaultError::damaged(what, why));
        }
        Ok(LayerReader {
            what,
            frames: match layer {
                LayerId::Segment(_) => Frames::Own(RunReader::new(vault, &runs, None)),
                LayerId::Patch(_) => Frames::Shared(SharedFrames::new(vault, &runs)),
            },
            cuts,
            frame: Bytes::new(),
            wanted: VecDeque::new(),
        })
    }

    /// The next bytes, 1 to `most`.
    async fn take(&mut self, most: u64) -> Result<Bytes, VaultError> {
        while self.wanted.is_empty() {
            let frame = self.frames.next().await?;
            let (Some(frame), Some(wanted)) = (frame, self.cuts.pop_front()) else {
                let why = "it holds fewer bytes of rows than its index tells";
                return Err(VaultError::damaged(&self.what, why));
            };
            (self.frame, self.wanted) = (frame, wanted);
        }
        let range = &mut self.wanted[0];
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let end = range.end.min(range.start.saturating_add(most));
        let bytes = self.frame.slice(range.start..end);
        range.start = end;
        if range.start == range.end {
            self.wanted.pop_front();
        }
        Ok(bytes)
    }
}

/// What lies between two bytes.
fn ranges_within(
    ranges: &VecDeque<Range<u64>>,
    start: u64,
    end: u64,
) -> impl Iterator<Item = Range<u64>> {
    let begun = ranges.iter().take_while(move |range| range.start < end);
    begun
        .map(move |range| range.start.max(start)..range.end.min(end))
        .filter(|range| !range.is_empty())
}

/// The same, counted from the beginning of a frame.
fn cut(ranges: &mut dyn Iterator<Item = Range<u64>>, at: u64) -> VecDeque<Range<usize>> {
    ranges
        .map(|range| (range.start - at) as usize..(range.end - at) as usize)
        .collect()
}
