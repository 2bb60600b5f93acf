//! Any table, changed in any way over many generations: its sheet, with all patches laid over, is the
//! table after each of them.

use std::collections::BTreeMap;

use model::{
    BlockIndex, BlockRange, BlockSet, BlockWriter, Extent, FRAME_BYTES, Layer, LayerId, ObjectName,
    Outcome, Patching, PieceSink, RowFormat, SavesetId, SegmentTask, TablePlan, overlay,
};
use proptest::prelude::*;
use vault::{ContentHash, FrameRun, ManifestTable, PackId, SegmentEntry, TableSheet, TableSize};

use super::next_table::less;
use super::rules::{
    BaseTable, GENERATIONS, Next, OldPatch, Part, in_segments, overlapping, patches_over, within,
};
use super::under::{Indexed, Under, size, under};
use super::*;

/// Rows by block.
type Rows = BTreeMap<u32, Vec<Vec<u8>>>;

/// As if a block had so many bytes: a segment has eight blocks.
const BLOCK_BYTES: u64 = 1 << 20;

/// The blocks that a table may have.
const BLOCKS: u32 = 64;

#[derive(Default)]
struct Kept(Vec<u8>);

impl PieceSink for Kept {
    fn buffer(&mut self) -> Outcome<Vec<u8>> {
        Ok(Vec::with_capacity(FRAME_BYTES))
    }

    fn full(&mut self, buffer: Vec<u8>) -> Outcome<()> {
        self.0.extend(buffer);
        Ok(())
    }
}

/// A table, and what savesets have of it.
struct World {
    rows: Rows,
    blocks: u32,
    /// The blocks that it had when it was largest.
    most: u32,
    saveset: i64,
    /// What entries have, by the frame of their index.
    written: Vec<(BlockIndex, Vec<u8>)>,
    sheet: TableSheet,
    size: TableSize,
    end: u32,
    /// Entries written by the last saveset.
    new: usize,
}

impl World {
    fn full(rows: Rows, blocks: u32) -> Self {
        let mut world = World {
            rows,
            blocks,
            most: 0,
            saveset: 0,
            written: Vec::new(),
            sheet: TableSheet::default(),
            size: TableSize {
                rows: 0,
                plain_bytes: 0,
            },
            end: 0,
            new: 0,
        };
        let mut ranges = in_segments(BlockRange::ALL, world.extent());
        if let Some(last) = ranges.last_mut() {
            last.end = None;
        }
        world.read(FromBase::Nothing, ranges.into_iter().map(fresh).collect());
        world
    }

    fn extent(&self) -> Extent {
        Extent {
            blocks: self.blocks,
            bytes: u64::from(self.blocks) * BLOCK_BYTES,
        }
    }

    fn index(&self, entry: &SegmentEntry) -> &BlockIndex {
        &self.written[entry.index[0].first as usize].0
    }

    fn indexed<'a>(&'a self, entry: &'a SegmentEntry) -> Indexed<'a> {
        Indexed {
            entry,
            index: self.index(entry),
        }
    }

    /// The next saveset, by the rules.
    fn delta(&mut self, change: &Change) {
        let listed = self.sheet.patches.iter().map(|patch| {
            let blocks = self.index(patch).spans().iter().map(|span| span.block);
            blocks
                .filter(|block| patch.blocks.contains(*block))
                .collect()
        });
        let base = BaseTable {
            listed: listed.collect(),
            sheet: self.sheet.clone(),
            end: self.end,
        };
        let extent = self.extent();
        let next = next(&base, change, extent);
        let mut tasks: Vec<Ready> = next.fresh.iter().copied().map(fresh).collect();
        let patches: Vec<Indexed<'_>> =
            base.sheet.patches.iter().map(|p| self.indexed(p)).collect();
        let mut left = self.size;
        for (place, range) in &next.gone {
            let gone = size(self.indexed(&base.sheet.segments[*place]), *range, &patches);
            left = less(left, gone).expect("more is gone than there was");
        }
        for part in &next.patch {
            tasks.push(self.part(&next, part));
        }
        let before = ManifestTable {
            plan: TablePlan {
                name: ObjectName::one("t"),
                format: RowFormat::Binary,
                shape: "1".to_owned(),
                facts: serde_json::Value::Null,
            },
            sheet: None,
            rows: self.size.rows,
            plain_bytes: self.size.plain_bytes,
            end: Some(self.end),
        };
        let from_base = match next.kept.is_empty() {
            true => FromBase::Nothing,
            false => FromBase::Some(Arc::new(Onto {
                before,
                end: base.end.min(hold(change, extent)),
                left,
                next,
            })),
        };
        self.read(from_base, tasks);
    }

    fn part(&self, next: &Next, part: &Part) -> Ready {
        let over = patches_over(&next.patches, |patch: &OldPatch| &patch.entry, part.range);
        let over: Vec<Indexed<'_>> = over
            .map(|at| self.indexed(&next.patches[at].entry))
            .collect();
        let mut all = Under::default();
        let read = part.blocks();
        for place in overlapping(&next.kept, |(_, entry)| entry, part.range) {
            let entry = &next.kept[place].1;
            let blocks = within(&read, entry.blocks);
            let must = &part.must & &blocks;
            all.append(under(&blocks, &must, self.indexed(entry), &over));
        }
        assert_eq!(all.must, part.must, "every block has a hash");
        let mut ready = fresh(part.range);
        ready.task.patch = Some(Arc::new(Patching {
            blocks: read,
            known: all.index().unwrap(),
            must: all.must,
        }));
        ready.before = all.before;
        ready
    }

    /// Reads the tasks, and puts the next sheet together.
    fn read(&mut self, from_base: FromBase, tasks: Vec<Ready>) {
        self.saveset += 1;
        self.most = self.most.max(self.blocks);
        let mut gathered = Gathered::default();
        for ready in &tasks {
            let mut sink = Kept::default();
            let mut writer = BlockWriter::new(&mut sink, ready.task.patch.as_deref());
            let asked = |block: &u32| match &ready.task.patch {
                Some(patch) => patch.blocks.contains(*block),
                None => ready.task.blocks.contains(*block),
            };
            for (block, rows) in self.rows.iter().filter(|(block, _)| asked(block)) {
                for row in rows {
                    writer.row(*block, row.len() as u64).unwrap();
                    writer.push(row).unwrap();
                }
            }
            let index = writer.finish().unwrap().index;
            let is_none = ready.task.patch.is_some() && index.spans().is_empty();
            let entry = (!is_none).then(|| self.entry(ready.task.blocks, &index, sink.0));
            gathered.add(ready, &index, entry);
        }
        self.new = gathered.segments.len() + gathered.patches.len();
        match from_base.table(gathered).expect("rows add up") {
            NextTable::Same(_) => assert_eq!(self.new, 0),
            NextTable::Own { sheet, size, end } => {
                self.sheet = sheet.unwrap_or_default();
                (self.size, self.end) = (size, end);
            }
        }
    }

    fn entry(&mut self, blocks: BlockRange, index: &BlockIndex, bytes: Vec<u8>) -> SegmentEntry {
        let run = |first: usize| FrameRun {
            pack: PackId::from_bytes([0; 16]),
            first: first as u32,
            count: 1,
        };
        let entry = SegmentEntry {
            saveset: SavesetId::new(self.saveset).unwrap(),
            blocks,
            narrowed: false,
            rows: Vec::new(),
            plain_bytes: bytes.len() as u64,
            stored_bytes: 0,
            row_count: index.rows(),
            index: vec![run(self.written.len())],
            hash: ContentHash::of(&bytes),
        };
        self.written.push((index.clone(), bytes));
        entry
    }

    /// What a restore gives.
    fn restored(&self) -> Vec<u8> {
        let layer = |entry| Layer {
            saveset: SegmentEntry::clone(entry).saveset,
            blocks: entry.blocks,
            index: self.index(entry),
        };
        let segments: Vec<Layer<'_>> = self.sheet.segments.iter().map(layer).collect();
        let patches: Vec<Layer<'_>> = self.sheet.patches.iter().map(layer).collect();
        let mut found = Vec::new();
        for piece in overlay(&segments, &patches) {
            let entry = match piece.layer {
                LayerId::Segment(place) => &self.sheet.segments[place],
                LayerId::Patch(place) => &self.sheet.patches[place],
            };
            let bytes = &self.written[entry.index[0].first as usize].1;
            found.extend_from_slice(&bytes[piece.bytes.start as usize..piece.bytes.end as usize]);
        }
        found
    }

    fn check(&self) {
        let all: Vec<u8> = self.rows.values().flatten().flatten().copied().collect();
        assert_eq!(self.restored(), all, "{:#?}", self.sheet);
        let rows = self
            .rows
            .values()
            .map(|rows| rows.len() as u64)
            .sum::<u64>();
        assert_eq!(
            (self.size.rows, self.size.plain_bytes),
            (rows, all.len() as u64)
        );
        let mut filled = self.rows.iter().filter(|(_, rows)| !rows.is_empty());
        assert!(
            filled
                .next_back()
                .is_none_or(|(block, _)| *block < self.end)
        );
        let patches = &self.sheet.patches;
        let mut savesets: Vec<SavesetId> = patches.iter().map(|patch| patch.saveset).collect();
        assert!(savesets.is_sorted());
        savesets.dedup();
        assert!(savesets.len() <= GENERATIONS, "{savesets:?}");
        let ascend = |one: &SegmentEntry, next: &SegmentEntry| {
            one.blocks.end.is_some_and(|end| end <= next.blocks.start)
        };
        let segments = &self.sheet.segments;
        assert!(segments.windows(2).all(|pair| ascend(&pair[0], &pair[1])));
        let same = |pair: &&[SegmentEntry]| pair[0].saveset == pair[1].saveset;
        assert!(
            patches
                .windows(2)
                .filter(same)
                .all(|pair| ascend(&pair[0], &pair[1]))
        );
        assert!(
            patches
                .iter()
                .all(|patch| !self.index(patch).spans().is_empty())
        );
        let segments = self.sheet.segments.len();
        assert!(
            segments <= 4 + 3 * self.most as usize / 8,
            "{segments} segments"
        );
    }
}

fn fresh(blocks: BlockRange) -> Ready {
    Ready {
        task: SegmentTask {
            table: 0,
            blocks,
            estimated_bytes: 0,
            patch: None,
        },
        before: Vec::new(),
    }
}

/// What happens to a table between two savesets.
#[derive(Debug, Clone)]
struct Step {
    /// Blocks that are written, each with so many rows of that byte.
    written: Vec<(u32, usize, u8)>,
    /// The table loses its end.
    cut: Option<u32>,
    /// And grows to that.
    grown: Option<u32>,
    known: Known,
}

#[derive(Debug, Clone)]
enum Known {
    Exactly,
    /// These too may have changed.
    More(Vec<u32>),
    No,
}

fn rows_of(count: usize, byte: u8) -> Vec<Vec<u8>> {
    (0..count).map(|row| vec![byte; 1 + row % 3]).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let block = (0..BLOCKS, 0_usize..4, 0_u8..4);
    let few = prop::collection::vec(block.clone(), 0..4);
    let many = prop::collection::vec(block, 0..40);
    let known = prop_oneof![
        4 => Just(Known::Exactly),
        2 => prop::collection::vec(0..BLOCKS, 0..20).prop_map(Known::More),
        1 => Just(Known::No),
    ];
    let cut = prop::option::weighted(0.15, 0..BLOCKS);
    let grown = prop::option::weighted(0.15, 0..=BLOCKS);
    (prop_oneof![5 => few, 1 => many], cut, grown, known).prop_map(
        |(written, cut, grown, known)| Step {
            written,
            cut,
            grown,
            known,
        },
    )
}

/// Changes the table, and tells what a source would tell.
fn change(world: &mut World, step: &Step) -> Change {
    let mut changed = BlockSet::new();
    let mut holds = u32::MAX;
    if let Some(cut) = step.cut.filter(|cut| *cut < world.blocks) {
        world.rows.retain(|block, _| *block < cut);
        (world.blocks, holds) = (cut, cut);
    }
    world.blocks = world.blocks.max(step.grown.unwrap_or(0));
    for (block, count, byte) in &step.written {
        if *block < world.blocks {
            world.rows.insert(*block, rows_of(*count, *byte));
            changed.insert(*block);
        }
    }
    match &step.known {
        Known::Exactly => {}
        Known::More(more) => changed.extend(more.iter().filter(|block| **block < world.blocks)),
        Known::No => return Change::Unknown,
    }
    Change::Blocks(changed, holds)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn after_any_changes_the_sheet_with_its_patches_is_the_table(
        blocks in 0..=BLOCKS, steps in prop::collection::vec(step(), 1..60),
    ) {
        let rows = (0..blocks).map(|block| (block, rows_of(2, block as u8))).collect();
        let mut world = World::full(rows, blocks);
        world.check();
        for step in &steps {
            let change = change(&mut world, step);
            world.delta(&change);
            world.check();
        }
    }

    #[test]
    fn compared_blocks_come_to_the_same_as_those_that_are_known(
        steps in prop::collection::vec(step(), 1..20),
    ) {
        let rows: Rows = (0..BLOCKS).map(|block| (block, rows_of(2, block as u8))).collect();
        let [mut told, mut compared] = [(); 2].map(|()| World::full(rows.clone(), BLOCKS));
        for step in &steps {
            let exactly = Step { known: Known::Exactly, ..step.clone() };
            let known = change(&mut told, &exactly);
            told.delta(&known);
            change(&mut compared, &exactly);
            compared.delta(&Change::Unknown);
            prop_assert_eq!(told.restored(), compared.restored());
            prop_assert_eq!(told.size, compared.size);
        }
    }
}

#[test]
fn minute_deltas_of_one_block_write_little_and_leave_few_generations() {
    let rows: Rows = (0..2_000)
        .map(|block| (block, rows_of(2, block as u8)))
        .collect();
    let mut world = World::full(rows, 2_000);
    let mut written = 0;
    for minute in 0..500_u32 {
        let block = minute.wrapping_mul(2_654_435_761) % 2_000;
        world.rows.insert(block, rows_of(3, minute as u8));
        let before = world.written.len();
        world.delta(&Change::Blocks([block].into_iter().collect(), u32::MAX));
        let new = &world.written[before..];
        written += new
            .iter()
            .map(|(index, _)| index.spans().len())
            .sum::<usize>();
    }
    world.check();
    assert!(
        written < 500 * 12,
        "{written} blocks were written for 500 changes"
    );
}

#[test]
fn a_block_that_hashes_as_before_is_not_stored_again_and_the_sheet_stays() {
    let rows: Rows = (0..BLOCKS)
        .map(|block| (block, rows_of(2, block as u8)))
        .collect();
    let mut world = World::full(rows, BLOCKS);
    for change in [
        Change::Unknown,
        Change::Blocks((0..20).collect(), u32::MAX),
        Change::Blocks(BlockSet::new(), BLOCKS),
    ] {
        let sheet = world.sheet.clone();
        // Three of eight segments may not be read afresh here.
        let change = match change {
            Change::Blocks(blocks, holds) => {
                Change::Blocks(blocks.iter().filter(|b| b % 3 == 0).collect(), holds)
            }
            unknown => unknown,
        };
        world.delta(&change);
        assert_eq!(world.new, 0);
        assert_eq!(world.sheet, sheet);
    }
}

#[test]
fn an_appended_table_is_cut_into_segments_as_it_grows() {
    let mut world = World::full(Rows::new(), 0);
    for block in 0..400 {
        world.rows.insert(block, rows_of(2, block as u8));
        world.blocks = block + 1;
        world.delta(&Change::Blocks([block].into_iter().collect(), block));
        world.check();
    }
    assert!((40..=60).contains(&world.sheet.segments.len()));
}

#[test]
fn patches_below_a_segment_that_is_read_afresh_leave_the_sheet() {
    let rows: Rows = (0..BLOCKS)
        .map(|block| (block, rows_of(2, block as u8)))
        .collect();
    let mut world = World::full(rows, BLOCKS);
    let write = |world: &mut World, blocks: std::ops::Range<u32>, byte| {
        for block in blocks.clone() {
            world.rows.insert(block, rows_of(3, byte));
        }
        world.delta(&Change::Blocks(blocks.collect(), u32::MAX));
        world.check();
    };
    write(&mut world, 0..2, 100);
    write(&mut world, 9..11, 101);
    assert_eq!(world.sheet.patches.len(), 2);
    // Most of the first segment: the patch in it counts no more, the other one stays.
    write(&mut world, 2..7, 102);
    assert_eq!(world.sheet.patches.len(), 1);
    write(&mut world, 11..16, 103);
    assert_eq!(world.sheet.patches, []);
    assert_eq!(world.sheet.segments.len(), 8);
}

#[test]
fn generations_that_shrink_step_by_step_are_merged_when_there_are_too_many() {
    let rows: Rows = (0..1_000)
        .map(|block| (block, rows_of(2, block as u8)))
        .collect();
    let mut world = World::full(rows, 1_000);
    let mut left = (0..1_000).step_by(3);
    let sizes = [27, 27, 27, 9, 9, 9, 3, 3, 3, 1, 1, 1, 1, 1, 1];
    for (number, size) in sizes.into_iter().enumerate() {
        let blocks: BlockSet = left.by_ref().take(size).collect();
        for block in &blocks {
            world.rows.insert(block, rows_of(3, number as u8));
        }
        world.delta(&Change::Blocks(blocks, u32::MAX));
        world.check();
        let generations = world
            .sheet
            .patches
            .chunk_by(|one, next| one.saveset == next.saveset);
        let generations = generations.count();
        match number < GENERATIONS {
            true => assert_eq!(generations, number + 1),
            false => assert!(generations <= GENERATIONS),
        }
    }
}

#[test]
fn a_sheet_of_many_segments_and_patches_is_planned_without_looking_at_all_of_them_for_each() {
    let entry = |saveset: i64, start: u32, end: u32| SegmentEntry {
        saveset: SavesetId::new(saveset).unwrap(),
        blocks: BlockRange {
            start,
            end: Some(end),
        },
        narrowed: false,
        rows: Vec::new(),
        plain_bytes: 8 << 20,
        stored_bytes: 0,
        row_count: 1_000,
        index: Vec::new(),
        hash: ContentHash::of(&[]),
    };
    let segments = (0..5_000).map(|place| entry(1, place * 1_000, (place + 1) * 1_000));
    let mut base = BaseTable {
        sheet: TableSheet {
            segments: segments.collect(),
            patches: Vec::new(),
        },
        listed: Vec::new(),
        end: 5_000_000,
    };
    for generation in 0..10 {
        for place in 0..500 {
            let start = place * 10_000;
            let patch = entry(2 + generation, start, start + 10_000);
            base.sheet.patches.push(patch);
            let first = start + generation as u32 * 7;
            base.listed
                .push((first..start + 10_000).step_by(100).collect());
        }
    }
    let extent = Extent {
        blocks: 5_000_000,
        bytes: 40 << 30,
    };
    let changed: BlockSet = (0..5_000_000).step_by(5_003).collect();
    for change in [Change::Blocks(changed, u32::MAX), Change::Unknown] {
        let next = next(&base, &change, extent);
        assert_eq!(next.kept.len(), 5_000);
        assert_eq!(next.fresh, []);
        let parts = &next.patch;
        assert!(parts.len() <= 5_000);
        let over: usize = parts
            .iter()
            .step_by(100)
            .map(|part| {
                patches_over(&next.patches, |patch: &OldPatch| &patch.entry, part.range).count()
            })
            .sum();
        assert!(over > 0);
    }
}
