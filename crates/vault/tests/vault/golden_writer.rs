//! Writes a golden vault: a little of everything that a vault of this format can hold. Its inputs are
//! fixed; keys, ids and nonces are random, so that it is written once for each version of the format.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{
    BlockRange, ChangedBlocks, ChangedBlocksSource, ClosingFacts, DatabaseSelection,
    ExcludedObject, FRAME_BYTES, JobId, Moment, ObjectName, ObjectType, RowFormat, RunType,
    SavesetId, SavesetObject, Scope, SiteType, SkippedObject, TablePlan,
};
use object_store::ObjectStore;
use serde_json::json;
use vault::{
    BlobRef, ContentHash, FrameCutter, ManifestDraft, ManifestTable, PackWriter, RowCursor,
    SavedDatabase, SavesetWriter, SealedPack, SegmentEntry, SheetRef, TableSheet, TableSize, Vault,
    runs, write_patched_sheet,
};

use crate::golden_rows::{self as rows, Block, Blocks};
use crate::sample::{self, Keys, execution, owner, saveset_id};

/// A table, as the last saveset of it has it.
#[derive(Clone)]
struct Table {
    name: ObjectName,
    format: RowFormat,
    blocks: Blocks,
    sheet: TableSheet,
    /// Where the sheet is; `None`: it has changed since, or nothing was ever read.
    written: Option<SheetRef>,
}

#[derive(Clone)]
struct Database {
    name: ObjectName,
    tables: Vec<Table>,
    dictionary: Vec<BlobRef>,
}

/// A run, with the pack that it fills.
struct Run {
    writer: SavesetWriter,
    packs: PackWriter,
    /// Bytes of a frame of rows.
    frame: usize,
}

impl Run {
    async fn begin(vault: &Vault, number: i64, base: Option<SavesetId>, frame: usize) -> Run {
        let writer = vault.begin(execution(number, 1), base).await.unwrap();
        Run {
            packs: writer.pack_writer().unwrap(),
            writer,
            frame,
        }
    }

    /// Reads a range of a table for a segment, or some blocks of it for a patch.
    fn entry(&mut self, format: RowFormat, range: BlockRange, blocks: &Blocks) -> SegmentEntry {
        let within = blocks.iter().filter(|(block, _)| range.contains(**block));
        let within: Vec<(u32, &Block)> = within.map(|(block, rows)| (*block, rows)).collect();
        let bytes: Vec<u8> = within.iter().flat_map(|(_, b)| b.bytes.clone()).collect();
        let mut cursor = (format == RowFormat::Binary).then(RowCursor::new);
        let frames = bytes.chunks(self.frame).map(|frame| match &mut cursor {
            Some(cursor) => self.packs.append_rows(frame, cursor).unwrap(),
            None => self.packs.append(frame).unwrap(),
        });
        let frames: Vec<_> = frames.collect();
        let index = sample::index(within.iter().map(|(n, b)| (*n, &b.bytes[..], b.rows)));
        let encoded = match within.is_empty() {
            true => Vec::new(),
            false => index.encode(),
        };
        let pieces = encoded.chunks(FRAME_BYTES);
        let index_frames: Vec<_> = pieces.map(|p| self.packs.append(p).unwrap()).collect();
        let all = frames.iter().chain(&index_frames);
        SegmentEntry {
            saveset: self.writer.saveset_id(),
            blocks: range,
            narrowed: false,
            rows: runs(&frames),
            plain_bytes: bytes.len() as u64,
            stored_bytes: all.map(|frame| u64::from(frame.stored)).sum(),
            row_count: index.rows(),
            index: runs(&index_frames),
            hash: ContentHash::of(&encoded),
        }
    }

    /// A new table, in segments of so many blocks; the last one is open.
    fn table(&mut self, name: &str, format: RowFormat, blocks: Blocks, segment: u32) -> Table {
        let last = blocks.keys().max().copied().unwrap_or(0);
        let starts = (0..=last).step_by(segment as usize);
        let segments = starts.map(|start| {
            let end = start + segment;
            let end = (end <= last).then_some(end);
            self.entry(format, BlockRange { start, end }, &blocks)
        });
        Table {
            name: name.parse().unwrap(),
            format,
            sheet: TableSheet {
                segments: segments.collect(),
                patches: Vec::new(),
            },
            blocks,
            written: None,
        }
    }

    /// Other rows in some blocks of a table, as one more patch.
    fn patch(&mut self, table: &mut Table, changed: Blocks) {
        let patch = self.entry(table.format, BlockRange::ALL, &changed);
        table.blocks.extend(changed);
        table.sheet.patches.push(patch);
        table.written = None;
    }

    /// A segment is read afresh: patches below it count no more.
    fn afresh(&mut self, table: &mut Table, place: usize, changed: Blocks) {
        table.blocks.extend(changed);
        let range = table.sheet.segments[place].blocks;
        table.sheet.segments[place] = self.entry(table.format, range, &table.blocks);
        table.written = None;
    }

    /// The table was cut off at a block within its last segment, and has grown again.
    fn cut_off(&mut self, table: &mut Table, at: u32, grown: Blocks) {
        table.blocks.retain(|block, _| *block < at);
        table.blocks.extend(grown);
        table.sheet.segments.retain(|one| one.blocks.start < at);
        let last = table.sheet.segments.last_mut().unwrap();
        assert!(last.blocks.contains(at) && last.blocks.start < at);
        last.blocks.end = Some(at);
        last.narrowed = true;
        for patch in &mut table.sheet.patches {
            patch.blocks.end = Some(at);
            patch.narrowed = true;
        }
        let range = BlockRange {
            start: at,
            end: None,
        };
        let new = self.entry(table.format, range, &table.blocks);
        table.sheet.segments.push(new);
        table.written = None;
    }

    /// All rows of a table anew.
    fn whole(&mut self, table: &mut Table, blocks: Blocks) {
        *table = self.table(&table.name.to_string(), table.format, blocks, 1_000);
    }

    fn part(&mut self, name: &str, content: &[u8]) -> BlobRef {
        let mut never = |_| panic!("a golden vault fills no pack");
        let mut cutter = FrameCutter::new(&mut self.packs, &mut never);
        cutter.push(content).unwrap();
        let written = cutter.finish().unwrap();
        BlobRef {
            name: name.to_owned(),
            stored_bytes: written.stored(),
            runs: runs(&written.places),
            plain_bytes: written.bytes,
            hash: written.hash,
        }
    }

    /// Closes the pack: what comes next lies in another.
    async fn next_pack(&mut self) {
        if let Some(pack) = self.packs.take().unwrap() {
            self.writer.put_pack(pack).await.unwrap();
        }
    }

    /// Writes the sheets that are new, and commits.
    async fn commit(mut self, site_type: SiteType, databases: &mut [Database], base: Option<i64>) {
        let mut full: Vec<SealedPack> = Vec::new();
        for table in databases.iter_mut().flat_map(|d| &mut d.tables) {
            let nothing = table.sheet.segments.is_empty();
            if table.written.is_none() && !nothing {
                let size = TableSize {
                    rows: table.blocks.values().map(|b| u64::from(b.rows)).sum(),
                    plain_bytes: table.blocks.values().map(|b| b.bytes.len() as u64).sum(),
                };
                let mut on_full = |pack| {
                    full.push(pack);
                    Ok(())
                };
                let sheet = &table.sheet;
                let written = write_patched_sheet(sheet, size, &mut self.packs, &mut on_full);
                table.written = Some(written.unwrap());
            }
        }
        assert!(full.is_empty());
        self.next_pack().await;
        let number = self.writer.execution().execution.get();
        let at = |seconds: i64| Moment::from_micros((number * 3_600 + seconds) * 1_000_000 + 123);
        let draft = ManifestDraft {
            bytes_read: base.map(|base| 1_000 + base as u64),
            run_type: match base {
                Some(_) => RunType::Delta,
                None => RunType::Full,
            },
            base: base.map(saveset_id),
            job_id: JobId::new(34).unwrap(),
            job_name: "nightly".to_owned(),
            execution: self.writer.execution(),
            site_id: "golden".parse().unwrap(),
            site_type,
            databases: databases
                .iter()
                .map(|database| database.saved(at(1), base.is_some()))
                .collect(),
            start: at(0),
            end: at(60),
            warnings: vec!["A warning, with an umlaut: ü.".to_owned()],
            skipped: vec![SkippedObject {
                object: "public.secret".to_owned(),
                reason: "the role may not read it".to_owned(),
            }],
        };
        self.writer.commit(draft).await.unwrap();
    }
}

impl Database {
    fn saved(&self, snapshot_time: Moment, is_delta: bool) -> SavedDatabase {
        let excluded = ExcludedObject {
            name: ObjectName::two("public", "log"),
            object_type: ObjectType::Table,
            everywhere: false,
        };
        let object = |(place, table): (usize, &Table)| SavesetObject {
            name: table.name.clone(),
            object_type: ObjectType::Table,
            parent_name: self.name.clone(),
            parent_type: ObjectType::Database,
            table: Some(place),
        };
        let view = SavesetObject {
            name: ObjectName::two("public", "a view"),
            object_type: ObjectType::View,
            parent_name: self.name.clone(),
            parent_type: ObjectType::Database,
            table: None,
        };
        let objects = self.tables.iter().enumerate().map(object);
        SavedDatabase {
            name: self.name.clone(),
            selection: DatabaseSelection {
                database: self.name.clone(),
                scope: Scope::Whole {
                    exclude: vec![excluded],
                },
            },
            snapshot_time,
            dictionary: self.dictionary.clone(),
            tables: self.tables.iter().map(Table::listed).collect(),
            objects: objects.chain([view]).collect(),
            facts: ClosingFacts(json!({"version": 1, "database": self.name.to_string()})),
            changed_blocks: is_delta.then(|| ChangedBlocks {
                source: ChangedBlocksSource::Hash,
                why: Some("summarize_wal is off".to_owned()),
            }),
        }
    }
}

impl Table {
    fn listed(&self) -> ManifestTable {
        let sum = |of: fn(&SheetRef) -> u64| self.written.as_ref().map_or(0, of);
        let filled = self.blocks.iter().filter(|(_, block)| block.rows > 0);
        let last = filled.map(|(block, _)| *block).max();
        ManifestTable {
            end: last.map(|last| last + 1),
            plan: TablePlan {
                name: self.name.clone(),
                format: self.format,
                shape: "a shape".to_owned(),
                facts: json!({"version": 1, "name": self.name.to_string()}),
            },
            rows: sum(|sheet| sheet.rows),
            plain_bytes: sum(|sheet| sheet.plain_bytes),
            sheet: self.written.clone(),
        }
    }
}

/// What is in the vault is listed in `testdata/README.md`.
pub async fn write(store: Arc<dyn ObjectStore>, keys: &Keys) {
    let vault = keys.create(store.clone()).await;
    let mut shop = full(&vault, 1).await;
    let mut files = pages(&vault, 2).await;
    first_delta(&vault, 3, &mut shop).await;
    let dead = vault.begin(execution(4, 2), None).await.unwrap();
    dead.abandon("it was aborted by a golden hand")
        .await
        .unwrap();
    second_delta(&vault, 5, &mut shop).await;
    vault.drop_saveset(saveset_id(1)).await.unwrap();
    assert!(vault.compact(&owner()).await.unwrap().rewritten > 0);
    for _ in 0..2 {
        vault.sweep(&owner(), Duration::ZERO).await.unwrap();
    }
    full(&vault, 6).await;
    third_delta(&vault, 7, &mut shop).await;
    delta_of_pages(&vault, 8, &mut files).await;
    for number in [7, 8] {
        let rows = json!({"format": 1, "site": {"site_id": "golden"}, "jobs": [], "retained": [],
            "savesets": [{"saveset_id": number, "job_id": 34, "execution_id": number}]});
        let id = execution(number, 1).execution;
        let rows = rows.to_string().into_bytes();
        vault.put_catalog(id, rows).await.unwrap();
    }
    // A run that is under way: its pin stays.
    drop(vault.begin(execution(9, 1), None).await.unwrap());
}

/// Two databases; tables in BINARY and TEXT.
async fn full(vault: &Vault, number: i64) -> Vec<Database> {
    let mut run = Run::begin(vault, number, None, 12_345).await;
    let seed = number as u32;
    let binary = RowFormat::Binary;
    let mut tables = vec![
        run.table("public.orders", binary, rows::orders(0..60, seed), 16),
        run.table("public.tiny", binary, rows::tiny(), 8),
        run.table("public.notes", RowFormat::Text, rows::notes(0..12, seed), 5),
        run.table("public.cut", binary, rows::orders(0..14, seed + 100), 8),
    ];
    run.next_pack().await;
    tables.push(run.table("public.wide", binary, rows::wide(seed), 8));
    tables.push(run.table(
        "public.replaced",
        RowFormat::Text,
        rows::noise(30_000, seed),
        8,
    ));
    run.frame = FRAME_BYTES;
    tables.push(run.table("public.frames", binary, rows::zeros(), 8));
    // One that has no rows, and one that was not read at all.
    tables.push(run.table("public.empty", binary, Blocks::new(), 8));
    tables.push(Table {
        name: "public.unread".parse().unwrap(),
        format: binary,
        blocks: Blocks::new(),
        sheet: TableSheet::default(),
        written: None,
    });
    let shop = Database {
        name: ObjectName::one("shop"),
        tables,
        dictionary: vec![
            run.part("schema.dump", rows::ddl().as_bytes()),
            run.part("empty.sql", b""),
        ],
    };
    run.frame = 700;
    let quoted = r#""a ""Größe"".x"."a table
of two lines""#;
    let odd = Database {
        name: ObjectName::one("odd.name \"ü\""),
        tables: vec![run.table(quoted, RowFormat::Text, rows::notes(0..4, seed + 7), 4)],
        dictionary: vec![run.part("schema.dump", b"-- nothing")],
    };
    let mut databases = vec![shop, odd];
    run.commit(SiteType::Postgresql, &mut databases, None).await;
    databases
}

fn table<'a>(databases: &'a mut [Database], name: &str) -> &'a mut Table {
    let tables = databases.iter_mut().flat_map(|d| &mut d.tables);
    let mut named = tables.filter(|table| table.name.to_string() == name);
    named.next().unwrap()
}

/// Patches, one of a block that is empty now; a table that was cut off; a table that was replaced.
async fn first_delta(vault: &Vault, number: i64, shop: &mut [Database]) {
    let mut run = Run::begin(vault, number, Some(saveset_id(1)), 9_000).await;
    let mut changed = rows::orders(17..20, 31);
    changed.insert(5, Block::default());
    changed.extend(rows::orders(40..41, 31));
    changed.extend(rows::orders(60..62, 31));
    run.patch(table(shop, "public.orders"), changed);
    run.cut_off(table(shop, "public.cut"), 11, rows::orders(11..13, 32));
    run.whole(table(shop, "public.replaced"), rows::noise(500, 33));
    run.commit(SiteType::Postgresql, shop, Some(1)).await;
}

/// A patch over a patch, a segment read afresh, a patch of lines, a narrowed segment that is patched.
async fn second_delta(vault: &Vault, number: i64, shop: &mut [Database]) {
    let mut run = Run::begin(vault, number, Some(saveset_id(3)), 20_000).await;
    run.patch(table(shop, "public.orders"), rows::orders(18..19, 51));
    run.afresh(table(shop, "public.orders"), 2, rows::orders(40..42, 52));
    run.patch(table(shop, "public.notes"), rows::notes(3..4, 53));
    run.patch(table(shop, "public.cut"), rows::orders(9..12, 54));
    run.commit(SiteType::Postgresql, shop, Some(3)).await;
}

/// Over frames that were moved; a third generation of patches, of which two are in one saveset.
async fn third_delta(vault: &Vault, number: i64, shop: &mut [Database]) {
    let mut run = Run::begin(vault, number, Some(saveset_id(5)), 20_000).await;
    let orders = table(shop, "public.orders");
    for (start, end) in [(0, Some(30)), (30, None)] {
        let changed = rows::orders(start + 17..start + 20, 71);
        let patch = run.entry(orders.format, BlockRange { start, end }, &changed);
        orders.blocks.extend(changed);
        orders.sheet.patches.push(patch);
    }
    orders.written = None;
    run.cut_off(table(shop, "public.cut"), 10, rows::orders(10..11, 73));
    run.commit(SiteType::Postgresql, shop, Some(5)).await;
}

async fn pages(vault: &Vault, number: i64) -> Vec<Database> {
    let mut run = Run::begin(vault, number, None, 4_000).await;
    let pages = rows::pages(0..30, 1);
    let mut files = vec![Database {
        name: ObjectName::one("app.db"),
        tables: vec![run.table("app.db", RowFormat::Pages, pages, 16)],
        dictionary: Vec::new(),
    }];
    run.commit(SiteType::Sqlite, &mut files, None).await;
    files
}

async fn delta_of_pages(vault: &Vault, number: i64, files: &mut [Database]) {
    let mut run = Run::begin(vault, number, Some(saveset_id(2)), 4_000).await;
    let mut changed: BTreeMap<u32, Block> = rows::pages(2..4, 2);
    changed.extend(rows::pages(30..33, 2));
    run.patch(table(files, "app.db"), changed);
    run.commit(SiteType::Sqlite, files, Some(2)).await;
}
