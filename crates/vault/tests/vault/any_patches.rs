//! Any segments and patches of several savesets, through a real vault: what is read is what is left when
//! the patches are applied one by one.

use std::collections::{BTreeMap, BTreeSet};

use model::BlockRange;
use proptest::prelude::*;
use vault::{SegmentEntry, TableSheet};

use crate::delta::{Blocks, Pen, within};
use crate::everything::read_by_both;
use crate::sample::{Keys, execution, memory, saveset_id};

const SAVESETS: i64 = 4;

/// A segment or patch, before it is written.
#[derive(Debug, Clone)]
struct Plan {
    saveset: i64,
    blocks: BlockRange,
    narrowed: bool,
    rows: Blocks,
}

fn any_rows() -> impl Strategy<Value = Blocks> {
    prop::collection::btree_map(0..20_u32, prop::collection::vec(any::<u8>(), 0..40), 0..14)
}

/// The ranges between the cuts, the last one open; some are left out.
fn ranges(cuts: &BTreeSet<u32>, kept: &[bool]) -> Vec<BlockRange> {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().map(Some).chain([None]);
    let ranges = starts.zip(ends).zip(kept);
    let ranges = ranges.filter(|(_, kept)| **kept);
    ranges
        .map(|((start, end), _)| BlockRange { start, end })
        .collect()
}

fn any_ranges() -> impl Strategy<Value = Vec<BlockRange>> {
    let cuts = prop::collection::btree_set(1..20_u32, 0..6);
    let kept = prop::collection::vec(prop::bool::weighted(0.8), 7);
    (cuts, kept).prop_map(|(cuts, kept)| ranges(&cuts, &kept))
}

/// Only the frames of a narrowed entry may hold rows of other blocks.
fn plan(saveset: i64, blocks: BlockRange, narrowed: bool, rows: Blocks) -> Plan {
    Plan {
        saveset,
        blocks,
        narrowed,
        rows: match narrowed {
            true => rows,
            false => within(&rows, blocks),
        },
    }
}

fn any_segments() -> impl Strategy<Value = Vec<Plan>> {
    let each = prop::collection::vec((1..=SAVESETS, any::<bool>(), any_rows()), 7);
    (any_ranges(), each).prop_map(|(ranges, each)| {
        let plans = ranges.into_iter().zip(each);
        let plans =
            plans.map(|(blocks, (saveset, narrowed, rows))| plan(saveset, blocks, narrowed, rows));
        plans.collect()
    })
}

/// Those of one saveset.
fn any_patches(saveset: i64) -> impl Strategy<Value = Vec<Plan>> {
    let each = prop::collection::vec((prop::bool::weighted(0.2), any_rows()), 7);
    (any_ranges(), each).prop_map(move |(ranges, each)| {
        let plans = ranges.into_iter().zip(each);
        let plans = plans.map(|(blocks, (narrowed, rows))| plan(saveset, blocks, narrowed, rows));
        plans.filter(|plan| !plan.rows.is_empty()).collect()
    })
}

/// The table as that saveset has it.
fn applied(segments: &[Plan], patches: &[Plan], saveset: i64) -> Vec<(BlockRange, Blocks)> {
    let there = |plan: &&Plan| plan.saveset <= saveset;
    let mut table = Vec::new();
    for segment in segments.iter().filter(there) {
        let mut blocks = within(&segment.rows, segment.blocks);
        for patch in patches.iter().filter(there) {
            if patch.saveset > segment.saveset {
                let counts = within(&patch.rows, patch.blocks);
                blocks.extend(within(&counts, segment.blocks));
            }
        }
        table.push((segment.blocks, blocks));
    }
    table
}

async fn write(segments: Vec<Plan>, patches: Vec<Plan>, frame: usize) {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    let mut written: BTreeMap<(bool, usize), SegmentEntry> = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for saveset in 1..=SAVESETS {
        let base = (saveset > 1).then(|| saveset_id(saveset - 1));
        let writer = vault.begin(execution(saveset, 1), base).await.unwrap();
        let mut pen = Pen {
            packs: writer.pack_writer().unwrap(),
            writer: &writer,
            frame,
        };
        for (is_patch, plans) in [(false, &segments), (true, &patches)] {
            for (place, plan) in plans.iter().enumerate() {
                if plan.saveset == saveset {
                    let mut entry = pen.entry(plan.blocks, &plan.rows).await;
                    entry.narrowed = plan.narrowed;
                    written.insert((is_patch, place), entry);
                }
            }
        }
        let entries = |patches: bool| {
            let entries = written.iter().filter(move |(key, _)| key.0 == patches);
            entries.map(|(_, entry)| entry.clone()).collect()
        };
        let sheet = TableSheet {
            segments: entries(false),
            patches: entries(true),
        };
        let table = applied(&segments, &patches, saveset);
        let blocks: Blocks = table.iter().flat_map(|(_, rows)| rows.clone()).collect();
        let draft = pen.commit(&sheet, &blocks).await.unwrap();
        let saveset = writer.commit(draft).await.unwrap();
        let patches = saveset.patches(&sheet).await.unwrap();
        for (segment, (range, blocks)) in sheet.segments.iter().zip(&table) {
            let reader = saveset.segment_rows(segment, &patches).await.unwrap();
            let rows: usize = blocks.values().map(Vec::len).sum();
            assert_eq!(reader.rows(), rows as u64, "{range}");
        }
        let rows: Vec<u8> = blocks.into_values().flatten().collect();
        let name = format!(
            "saveset {}, database shop, table public.orders",
            saveset.id()
        );
        expected.insert(name, rows);
    }
    let found = read_by_both(&*store, &keys.recovery, &vault).await;
    assert_eq!(found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_segments_and_patches_of_several_savesets_read_as_if_they_were_applied_one_by_one(
        segments in any_segments(),
        patches in [1, 2, 3, 4].map(any_patches),
        frame in 1..120_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(write(segments, patches.concat(), frame));
    }
}
