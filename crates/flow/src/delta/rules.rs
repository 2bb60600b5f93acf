//! The rules by which a table's sheet goes over into the next one. Pure: nothing is read here.
//!
//! ```text
//! base    |  segment  |  segment  |  segment  |  segment ⋯          patches above them, by generations
//! hold                                  ▲ from here on the base's rows are gone
//! next    |   kept    |   fresh   | kept|      fresh      |          what is kept has one patch more
//! ```
//!
//! A *kept* segment's rows stay where they are, and blocks that may have changed become the new patch. A
//! *fresh* range is read whole: where most blocks of a segment are patched, or nothing is kept. Older
//! patches whose blocks all lie elsewhere now leave the sheet; small ones are read again into the new one,
//! so that a table never has more than [`GENERATIONS`] of them.

use std::ops::Range;

use model::{BlockRange, BlockSet, Extent, SEGMENT_BYTES, SavesetId};
use vault::{SegmentEntry, TableSheet};

/// Patches of so many savesets lie over a table at most, the new one included.
pub(crate) const GENERATIONS: usize = 12;

/// So many neighbouring generations are merged where none is much larger than the new patch.
const MERGED: usize = 4;

/// What the base has of a table.
#[derive(Debug, Clone)]
pub(crate) struct BaseTable {
    pub(crate) sheet: TableSheet,
    /// For each patch the blocks that it lists and that count.
    pub(crate) listed: Vec<BlockSet>,
    /// No row lies in this block or a later one.
    pub(crate) end: u32,
}

/// What may have other rows now.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// These blocks, and whatever lies in this block or a later one.
    Blocks(BlockSet, u32),
    /// Nobody knows.
    Unknown,
}

/// What of the base stays, and what is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Next {
    /// Segments whose rows stay: their places in the base, and what they are now.
    pub(crate) kept: Vec<(usize, SegmentEntry)>,
    /// All patches of the base that lie below `hold`.
    pub(crate) patches: Vec<OldPatch>,
    /// Ranges that are read whole, each about a segment.
    pub(crate) fresh: Vec<BlockRange>,
    /// The new patch, in parts of about a segment's size.
    pub(crate) patch: Vec<Part>,
    /// Parts of segments of the base, by their places, that are kept no more.
    pub(crate) gone: Vec<(usize, BlockRange)>,
    /// Rows of the base may lie behind the table's end now.
    pub(crate) cut: bool,
}

/// A patch of the base.
#[derive(Debug, Clone)]
pub(crate) struct OldPatch {
    /// As it counts now.
    pub(crate) entry: SegmentEntry,
    /// Whether it stays in the sheet.
    pub(crate) stays: bool,
}

/// A part of the new patch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) range: BlockRange,
    /// What is read of it; `None`: all of it.
    pub(crate) some: Option<BlockSet>,
    /// What of that a patch has that is given up.
    pub(crate) must: BlockSet,
}

impl Part {
    /// What is read.
    pub(crate) fn blocks(&self) -> BlockSet {
        let all = || {
            let mut all = BlockSet::new();
            all.insert_range(blocks(self.range));
            all
        };
        self.some.clone().unwrap_or_else(all)
    }

    /// How many blocks that are.
    pub(crate) fn len(&self) -> u64 {
        let all = || blocks(self.range).len() as u64;
        self.some.as_ref().map_or_else(all, BlockSet::len)
    }
}

/// The blocks of a set that lie in a range.
pub(crate) fn within(set: &BlockSet, range: BlockRange) -> BlockSet {
    set.range(blocks(range)).collect()
}

/// A table of which few blocks are kept is simply read again, and the base's sheet is not even looked at.
pub(crate) fn is_read_afresh(changed: &BlockSet, extent: Extent, base_bytes: u64) -> bool {
    const TINY_BLOCKS: u32 = 8;
    const TINY_BYTES: u64 = 128 << 10;
    let tiny = extent.blocks <= TINY_BLOCKS && extent.bytes.max(base_bytes) <= TINY_BYTES;
    let changed = changed.range_cardinality(0..extent.blocks);
    tiny || 2 * changed > u64::from(extent.blocks)
}

/// Cuts a range into parts that come to about [`SEGMENT_BYTES`] each.
pub(crate) fn in_segments(range: BlockRange, extent: Extent) -> Vec<BlockRange> {
    let (start, end) = (range.start, range.end.unwrap_or(extent.blocks));
    let blocks = u64::from(end.saturating_sub(start));
    let parts = parts(blocks, bytes_per_block(extent));
    let at = |part: u64| start + (blocks * part / parts) as u32;
    let cut = (0..parts).map(|part| BlockRange {
        start: at(part),
        end: Some(at(part + 1)),
    });
    cut.filter(|range| range.end > Some(range.start)).collect()
}

/// How many bytes a block has, about.
pub(crate) fn bytes_per_block(extent: Extent) -> u64 {
    (extent.bytes / u64::from(extent.blocks).max(1)).max(1)
}

fn parts(blocks: u64, block_bytes: u64) -> u64 {
    let bytes = blocks.saturating_mul(block_bytes);
    ((bytes + SEGMENT_BYTES / 2) / SEGMENT_BYTES).clamp(1, blocks.max(1))
}

/// Which of some entries that ascend and do not overlap have blocks of a range: their places.
pub(crate) fn overlapping<T>(
    all: &[T],
    entry: impl Fn(&T) -> &SegmentEntry,
    range: BlockRange,
) -> Range<usize> {
    let before = |one: &T| entry(one).blocks.end.is_some_and(|end| end <= range.start);
    let begun = |one: &T| range.end.is_none_or(|end| entry(one).blocks.start < end);
    let first = all.partition_point(before);
    first..first + all[first..].partition_point(begun)
}

/// The same for patches: those of one saveset ascend and do not overlap.
pub(crate) fn patches_over<T>(
    all: &[T],
    entry: impl Fn(&T) -> &SegmentEntry + Copy,
    range: BlockRange,
) -> impl Iterator<Item = usize> {
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(saveset) = all.get(start).map(|one| entry(one).saveset) {
        let end = all.partition_point(|one| entry(one).saveset <= saveset);
        let within = overlapping(&all[start..end], entry, range);
        found.push(start + within.start..start + within.end);
        start = end;
    }
    found.into_iter().flatten()
}

/// The rules, one after the other.
pub(crate) fn next(base: &BaseTable, change: &Change, extent: Extent) -> Next {
    let (changed, holds) = match change {
        Change::Blocks(blocks, holds) => (Some(blocks), *holds),
        Change::Unknown => (None, u32::MAX),
    };
    let hold = holds.min(extent.blocks);
    let segments = held(base, hold, extent.blocks);
    let all_owned: BlockSet = owners(base, &segments, hold)
        .iter()
        .fold(BlockSet::new(), |all, generation| all | &generation.owned);
    let patched = match changed {
        Some(changed) => all_owned | changed,
        None => all_owned,
    };
    let (kept, mut fresh) = by_patched_share(segments, &patched, extent);
    fresh.extend(gaps(&kept, &fresh, changed, extent.blocks));
    let generations = owners(base, &kept, hold);
    let inside = inside(&kept);
    let changed = changed.map(|changed| changed & &inside);
    let given_up = given_up(&generations, changed.as_ref());
    let mut must = BlockSet::new();
    for generation in given_up.iter().map(|place| &generations[*place]) {
        must |= &generation.owned;
    }
    let patch = match changed {
        Some(changed) => in_parts(&(changed | &must), &must, extent),
        None => compared(&kept, &must),
    };
    let mut stays = vec![false; base.sheet.patches.len()];
    for (place, generation) in generations.iter().enumerate() {
        for patch in generation.patches.clone() {
            // No other patch of its generation has blocks there.
            let range = blocks(base.sheet.patches[patch].blocks);
            let owns = generation.owned.range_cardinality(range) > 0;
            stays[patch] = owns && !given_up.contains(&place);
        }
    }
    Next {
        patches: below(base, hold, &stays),
        fresh: joined(fresh)
            .into_iter()
            .flat_map(|range| in_segments(range, extent))
            .collect(),
        patch,
        gone: gone(base, &kept),
        cut: base.end > hold,
        kept: kept
            .into_iter()
            .map(|kept| (kept.place, kept.entry))
            .collect(),
    }
}

/// A segment of the base whose rows still count.
struct Held {
    place: usize,
    entry: SegmentEntry,
}

impl Held {
    fn range(&self) -> Range<u32> {
        blocks(self.entry.blocks)
    }
}

/// A range that has an end.
fn blocks(range: BlockRange) -> Range<u32> {
    range.start..range.end.unwrap_or(u32::MAX)
}

/// Where the rows of a segment of the base end: an open one has rows as far as the table had.
fn covered(segment: &SegmentEntry, end: u32) -> u32 {
    let start = segment.blocks.start;
    segment.blocks.end.unwrap_or(end.max(start))
}

/// What of the base's segments lies below `hold`. The last one takes what the table has grown by, unless
/// its frames may hold other rows of those blocks.
fn held(base: &BaseTable, hold: u32, table_end: u32) -> Vec<Held> {
    let segments = base.sheet.segments.iter().enumerate();
    let below = segments.map(|(place, segment)| {
        let end = covered(segment, base.end);
        let mut entry = segment.clone();
        entry.blocks.end = Some(end.min(hold));
        entry.narrowed |= end > hold && base.end > hold;
        Held { place, entry }
    });
    let mut held: Vec<Held> = below.filter(|held| !held.range().is_empty()).collect();
    if let Some(last) = held.last_mut().filter(|last| !last.entry.narrowed) {
        last.entry.blocks.end = last.entry.blocks.end.max(Some(table_end));
    }
    held
}

/// The patches of one saveset.
struct Generation {
    patches: Range<usize>,
    /// The blocks whose rows are the table's.
    owned: BlockSet,
}

/// Which generation has which blocks of these segments, newest first.
fn owners(base: &BaseTable, segments: &[Held], hold: u32) -> Vec<Generation> {
    let patches = &base.sheet.patches;
    let Some(oldest) = patches.first().map(|patch| patch.saveset) else {
        return Vec::new();
    };
    let newer: Vec<(SavesetId, Range<u32>)> = segments
        .iter()
        .filter(|held| held.entry.saveset >= oldest)
        .map(|held| (held.entry.saveset, held.range()))
        .collect();
    let mut open = inside(segments);
    open.remove_range(hold..);
    let mut generations = Vec::new();
    let mut end = patches.len();
    while let Some(newest) = patches[..end].last() {
        let saveset = newest.saveset;
        let start = patches.partition_point(|patch| patch.saveset < saveset);
        let mut owned = BlockSet::new();
        base.listed[start..end]
            .iter()
            .for_each(|listed| owned |= listed);
        owned &= &open;
        for (_, range) in newer.iter().filter(|(segment, _)| *segment >= saveset) {
            owned.remove_range(range.clone());
        }
        open -= &owned;
        generations.push(Generation {
            patches: start..end,
            owned,
        });
        end = start;
    }
    generations
}

/// All blocks of some segments.
fn inside(segments: &[Held]) -> BlockSet {
    let mut inside = BlockSet::new();
    for range in joined(segments.iter().map(|held| held.entry.blocks).collect()) {
        inside.insert_range(blocks(range));
    }
    inside
}

/// Ranges in their order, those that touch as one.
fn joined(mut ranges: Vec<BlockRange>) -> Vec<BlockRange> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<BlockRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end >= Some(range.start) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Segments that are mostly patched are read afresh. One that lost its end is too if it is small and
/// what follows is fresh: else a table whose end comes and goes would fall into ever more of them.
fn by_patched_share(
    held: Vec<Held>,
    patched: &BlockSet,
    extent: Extent,
) -> (Vec<Held>, Vec<BlockRange>) {
    let (mut kept, mut fresh) = (Vec::with_capacity(held.len()), Vec::new());
    let mut fresh_from = match held.last() {
        Some(last) if last.range().end >= extent.blocks => u32::MAX,
        Some(last) => last.range().end,
        None => 0,
    };
    for held in held.into_iter().rev() {
        let range = held.range();
        let mostly = 2 * patched.range_cardinality(range.clone()) > range.len() as u64;
        let bytes = range.len() as u64 * bytes_per_block(extent);
        let small = held.entry.narrowed && bytes <= SEGMENT_BYTES / 2 && range.end == fresh_from;
        if mostly || small {
            fresh_from = range.start;
            fresh.push(held.entry.blocks);
        } else {
            kept.push(held);
        }
    }
    kept.reverse();
    (kept, fresh)
}

/// Blocks that lie in no range yet and may have rows.
fn gaps(
    kept: &[Held],
    fresh: &[BlockRange],
    changed: Option<&BlockSet>,
    table_end: u32,
) -> Vec<BlockRange> {
    let covered = kept.iter().map(|held| held.entry.blocks);
    let covered = joined(covered.chain(fresh.iter().copied()).collect());
    let starts = std::iter::once(0).chain(covered.iter().map(|range| blocks(*range).end));
    let ends = covered.iter().map(|range| range.start);
    let between = starts.zip(ends.chain([table_end]));
    between
        .filter(|(start, end)| start < end)
        .filter(|(start, end)| changed.is_none_or(|set| set.range_cardinality(*start..*end) > 0))
        .map(|(start, end)| BlockRange {
            start,
            end: Some(end),
        })
        .collect()
}

/// Which generations leave the sheet, by their places (newest first): those without a block that is
/// not read anyway, and small ones next to the new patch.
fn given_up(generations: &[Generation], changed: Option<&BlockSet>) -> Vec<usize> {
    let live = |generation: &Generation| match changed {
        Some(changed) => (&generation.owned - changed).len(),
        None => generation.owned.len(),
    };
    let sizes = generations.iter().map(live).enumerate();
    let (empty, filled): (Vec<_>, Vec<_>) = sizes.partition(|(_, live)| *live == 0);
    let mut given_up: Vec<usize> = empty.into_iter().map(|(place, _)| place).collect();
    let mut new = match changed {
        Some(changed) => changed.len(),
        None => filled.first().map_or(1, |(_, live)| *live),
    };
    let mut rest = filled.as_slice();
    while new > 0 {
        let small = rest.iter().take_while(|(_, live)| *live <= 2 * new).count();
        let merged = match small >= MERGED {
            true => small,
            false if rest.len() + 1 > GENERATIONS => 1,
            false => break,
        };
        let (taken, left) = rest.split_at(merged);
        new += taken.iter().map(|(_, live)| live).sum::<u64>();
        given_up.extend(taken.iter().map(|(place, _)| *place));
        rest = left;
    }
    given_up
}

/// The new patch where its blocks are known.
fn in_parts(all: &BlockSet, must: &BlockSet, extent: Extent) -> Vec<Part> {
    let parts = parts(all.len(), bytes_per_block(extent));
    let each = all.len().div_ceil(parts).max(1);
    let mut blocks = all.iter();
    let mut made = Vec::new();
    loop {
        let part: BlockSet = blocks.by_ref().take(each as usize).collect();
        let (Some(first), Some(last)) = (part.min(), part.max()) else {
            return made;
        };
        made.push(Part {
            range: BlockRange {
                start: first,
                end: Some(last.saturating_add(1)),
            },
            must: must & &part,
            some: Some(part),
        });
    }
}

/// The new patch where all blocks are compared.
fn compared(kept: &[Held], must: &BlockSet) -> Vec<Part> {
    let parts = kept.iter().map(|held| Part {
        range: held.entry.blocks,
        some: None,
        must: within(must, held.entry.blocks),
    });
    parts.collect()
}

/// The base's patches as they count now.
fn below(base: &BaseTable, hold: u32, stays: &[bool]) -> Vec<OldPatch> {
    let patches = base.sheet.patches.iter().enumerate();
    let begun = patches.filter(|(_, patch)| patch.blocks.start < hold);
    let below = begun.map(|(place, patch)| {
        let mut entry = patch.clone();
        let end = entry.blocks.end.unwrap_or(u32::MAX);
        entry.blocks.end = Some(end.min(hold));
        entry.narrowed |= base.listed[place].max().is_some_and(|last| last >= hold);
        OldPatch {
            entry,
            stays: stays[place],
        }
    });
    below.collect()
}

/// What the base has that is kept no more.
fn gone(base: &BaseTable, kept: &[Held]) -> Vec<(usize, BlockRange)> {
    let mut kept = kept.iter().peekable();
    let segments = base.sheet.segments.iter().enumerate();
    let gone = segments.filter_map(|(place, segment)| {
        let still = kept.next_if(|kept| kept.place == place);
        let start = still.map_or(segment.blocks.start, |kept| kept.range().end);
        let end = covered(segment, base.end).min(base.end);
        (start < end).then_some((
            place,
            BlockRange {
                start,
                end: Some(end),
            },
        ))
    });
    gone.collect()
}
