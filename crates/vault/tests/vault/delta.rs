//! A table over many savesets: full ones, and deltas that change, empty, add and cut off blocks. The
//! product has no such writer yet; what it will write is what the format's page says.

use std::collections::{BTreeMap, BTreeSet};

use model::{BlockRange, FRAME_BYTES};
use vault::{
    ContentHash, PackWriter, Saveset, SavesetWriter, SealedPack, SegmentEntry, TableSheet,
    TableSize, Vault, VaultError, runs, write_patched_sheet,
};

use crate::sample::{self, execution, noise};

/// The rows of each block; one byte is one row.
pub type Blocks = BTreeMap<u32, Vec<u8>>;

pub const BLOCKS: u32 = 48;
const SEGMENT: u32 = 6;

/// More patches are not written: the next delta reads everything afresh.
const MOST_PATCHES: usize = 5;

/// A saveset of one table, what must be in it, and how it is written down.
pub struct Made {
    pub saveset: Saveset,
    pub blocks: Blocks,
    pub sheet: TableSheet,
}

/// Bytes that decide what happens, the same for the same seed.
pub struct Dice(Vec<u8>, usize);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(noise(seed, 1 << 16), 0)
    }

    /// 0 to below `sides`.
    pub fn roll(&mut self, sides: u32) -> u32 {
        let at = self.1;
        self.1 = (at + 2) % (self.0.len() - 2);
        u32::from(u16::from_le_bytes([self.0[at], self.0[at + 1]])) % sides
    }

    /// Rows of a block; of every fifth there are none.
    pub fn rows(&mut self, most: u32) -> Vec<u8> {
        let length = match self.roll(5) {
            0 => 0,
            _ => self.roll(most),
        };
        noise(u64::from(self.roll(60_000)), length as usize)
    }
}

/// What writes entries into packs that are put at once when they are full.
pub struct Pen<'a> {
    pub writer: &'a SavesetWriter,
    pub packs: PackWriter,
    pub frame: usize,
}

impl Pen<'_> {
    /// An entry with all blocks of `rows`; as a segment those within the range.
    pub async fn entry(&mut self, range: BlockRange, rows: &Blocks) -> SegmentEntry {
        let blocks = rows.iter().map(|(block, rows)| (*block, &rows[..]));
        let index = sample::index(blocks.map(|(block, rows)| (block, rows, rows.len() as u32)));
        let content: Vec<u8> = rows.values().flatten().copied().collect();
        let mut places = Vec::new();
        for frame in content.chunks(self.frame) {
            places.push(self.packs.append(frame).unwrap());
        }
        let encoded = match rows.is_empty() {
            true => Vec::new(),
            false => index.encode(),
        };
        let mut index_places = Vec::new();
        for frame in encoded.chunks(FRAME_BYTES) {
            index_places.push(self.packs.append(frame).unwrap());
        }
        let all = places.iter().chain(&index_places);
        let stored = all.map(|p| u64::from(p.stored)).sum();
        SegmentEntry {
            saveset: self.writer.saveset_id(),
            blocks: range,
            narrowed: false,
            rows: runs(&places),
            plain_bytes: content.len() as u64,
            stored_bytes: stored,
            row_count: index.rows(),
            index: runs(&index_places),
            hash: ContentHash::of(&encoded),
        }
    }

    /// Segments with everything that lies from `start` on.
    async fn segments_from(&mut self, start: u32, blocks: &Blocks) -> Vec<SegmentEntry> {
        let mut segments = Vec::new();
        let mut start = start;
        loop {
            let next = (start / SEGMENT + 1) * SEGMENT;
            let end = (next < BLOCKS).then_some(next);
            let range = BlockRange { start, end };
            segments.push(self.entry(range, &within(blocks, range)).await);
            match end {
                Some(end) => start = end,
                None => return segments,
            }
        }
    }

    pub async fn commit(
        mut self,
        sheet: &TableSheet,
        blocks: &Blocks,
    ) -> Result<vault::ManifestDraft, VaultError> {
        let all: u64 = blocks.values().map(|rows| rows.len() as u64).sum();
        let size = TableSize {
            rows: all,
            plain_bytes: all,
        };
        let mut full: Vec<SealedPack> = Vec::new();
        let written = write_patched_sheet(sheet, size, &mut self.packs, &mut |pack| {
            full.push(pack);
            Ok(())
        })?;
        full.extend(self.packs.take()?);
        for pack in full {
            self.writer.put_pack(pack).await?;
        }
        let execution = self.writer.execution();
        let mut draft = sample::draft(execution, Vec::new(), Some((sheet.clone(), written)));
        let table = &mut draft.databases[0].tables[0];
        (table.rows, table.plain_bytes) = (all, all);
        Ok(draft)
    }
}

pub fn within(blocks: &Blocks, range: BlockRange) -> Blocks {
    let inside = blocks.iter().filter(|(block, _)| range.contains(**block));
    inside.map(|(block, rows)| (*block, rows.clone())).collect()
}

fn pen<'a>(writer: &'a SavesetWriter, dice: &mut Dice) -> Pen<'a> {
    Pen {
        writer,
        packs: writer.pack_writer().unwrap(),
        frame: 500 + dice.roll(1_500) as usize,
    }
}

pub async fn full(
    vault: &Vault,
    number: i64,
    most: u32,
    dice: &mut Dice,
) -> Result<Made, VaultError> {
    let writer = vault.begin(execution(number, 1), None).await?;
    let blocks: Blocks = (0..BLOCKS).map(|block| (block, dice.rows(most))).collect();
    let mut pen = pen(&writer, dice);
    let sheet = TableSheet {
        segments: pen.segments_from(0, &blocks).await,
        patches: Vec::new(),
    };
    let draft = pen.commit(&sheet, &blocks).await?;
    Ok(Made {
        saveset: writer.commit(draft).await?,
        blocks,
        sheet,
    })
}

/// A delta: some blocks have other rows, and now and then the table is cut off at a block, and grows
/// again. What is not read afresh is the base's.
pub async fn delta(
    vault: &Vault,
    number: i64,
    base: &Made,
    most: u32,
    dice: &mut Dice,
) -> Result<Made, VaultError> {
    let writer = vault
        .begin(execution(number, 1), Some(base.saveset.id()))
        .await?;
    let mut blocks = base.blocks.clone();
    let mut sheet = base.sheet.clone();
    let mut pen = pen(&writer, dice);
    if dice.roll(8) == 0 {
        let cut = dice.roll(BLOCKS);
        blocks.retain(|block, _| *block < cut);
        for block in cut..cut + dice.roll(BLOCKS - cut) {
            blocks.insert(block, dice.rows(most));
        }
        sheet.segments.retain(|segment| segment.blocks.start < cut);
        if let Some(last) = sheet.segments.last_mut()
            && last.blocks.end.is_none_or(|end| end > cut)
        {
            last.blocks.end = Some(cut);
            last.narrowed = true;
        }
        sheet.segments.extend(pen.segments_from(cut, &blocks).await);
    }
    let changed: BTreeSet<u32> = (0..dice.roll(14)).map(|_| dice.roll(BLOCKS)).collect();
    for block in &changed {
        blocks.insert(*block, dice.rows(most));
    }
    let mut patched = Blocks::new();
    for segment in &mut sheet.segments {
        let range = segment.blocks;
        let here: Vec<u32> = changed
            .iter()
            .copied()
            .filter(|b| range.contains(*b))
            .collect();
        if here.len() > 2 || !here.is_empty() && segment.saveset == writer.saveset_id() {
            *segment = pen.entry(range, &within(&blocks, range)).await;
        } else {
            patched.extend(
                here.into_iter()
                    .map(|block| (block, blocks[&block].clone())),
            );
        }
    }
    if sheet.patches.len() >= MOST_PATCHES {
        sheet = TableSheet {
            segments: pen.segments_from(0, &blocks).await,
            patches: Vec::new(),
        };
    } else if !patched.is_empty() {
        sheet
            .patches
            .push(pen.entry(BlockRange::ALL, &patched).await);
    }
    let draft = pen.commit(&sheet, &blocks).await?;
    Ok(Made {
        saveset: writer.commit(draft).await?,
        blocks,
        sheet,
    })
}

/// Reads the table as a restore does, and compares every row.
pub async fn check(vault: &Vault, made: &Made, what: &str) {
    let saveset = vault.open_saveset(made.saveset.id()).await.unwrap();
    let sheet = saveset.sheet(0, 0).await.unwrap();
    assert_eq!(sheet, made.sheet, "{what}");
    let patches = saveset.patches(&sheet).await.unwrap();
    let mut rows = 0;
    for segment in &sheet.segments {
        let mut reader = saveset.segment_rows(segment, &patches).await.unwrap();
        rows += reader.rows();
        let mut found = Vec::new();
        while let Some(bytes) = reader.next().await.unwrap() {
            assert!(!bytes.is_empty());
            found.extend_from_slice(&bytes);
        }
        assert_eq!(reader.bytes(), found.len() as u64, "{what}");
        let expected = within(&made.blocks, segment.blocks);
        let expected: Vec<u8> = expected.into_values().flatten().collect();
        assert!(found == expected, "{what}: {}", segment.blocks);
    }
    assert_eq!(rows, saveset.databases()[0].tables[0].rows, "{what}");
}
