//! Savesets in memory, block by block, and deltas that are applied to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine_postgres::{Rule, take_out};
use model::{
    Base, Basis, BlockHash, BlockIndex, BlockRange, BlockSet, BlockSpan, ChangedBlocks,
    ChangedBlocksSource, Patching, SegmentTask,
};
use testkit::postgres::{Server, ServerBuilder};

use crate::reading::{Reading, Segment, begin, psql_copy, read_segment};

/// The rows of a table by block.
type Blocks = BTreeMap<u32, (BlockSpan, BlockHash, Vec<u8>)>;

/// A saveset.
pub struct Saved {
    pub base: Arc<Base>,
    pub basis: Vec<Basis>,
    pub changed_blocks: Option<ChangedBlocks>,
    tables: Vec<Blocks>,
}

/// A server whose WAL is summarized, with a database.
pub struct Shop {
    pub server: Server,
    pub database: &'static str,
}

/// A server whose WAL is summarized and written only when it must be.
pub fn summarizing(version: u32) -> ServerBuilder {
    Server::version(version)
        .durable()
        .setting("summarize_wal", "on")
        .setting("autovacuum", "off")
        .setting("wal_writer_delay", "10s")
        .setting("wal_buffers", "16MB")
        .setting("max_prepared_transactions", "5")
}

impl Shop {
    pub fn open(version: u32) -> Shop {
        Shop::on(summarizing(version).start())
    }

    pub fn on(server: Server) -> Shop {
        server.least_rights_role();
        server.psql("postgres", "CREATE DATABASE shop");
        Shop {
            server,
            database: "shop",
        }
    }

    pub fn sql(&self, sql: &str) -> String {
        self.server.psql(self.database, sql)
    }

    /// A table of rows that fill a block by ten, in a checkpoint's past.
    pub fn ten_a_block(&self, table: &str, blocks: u32) {
        self.sql(&format!(
            "CREATE TABLE {table} (i int, v int, t text) WITH (fillfactor = 90);
             INSERT INTO {table} SELECT i, 0, repeat('x', 660) FROM generate_series(0, {blocks} * 10 - 1) i"
        ));
        // Hints are set: with checksums, whoever reads a block first else marks it as written.
        self.sql(&format!("VACUUM {table}"));
        self.sql("CHECKPOINT");
    }

    /// A transaction that has changed a row of block 5 of `t`, and is open while the client is.
    pub async fn open_update(&self) -> tokio_postgres::Client {
        let writer = self.server.connect(self.database).await;
        let update = "BEGIN; UPDATE t SET v = 1 WHERE i = 55";
        writer.batch_execute(update).await.unwrap();
        writer
    }

    pub fn reading(&self) -> Reading<'_> {
        let mut reading = Reading::new(&self.server, self.database);
        reading.streams = 1;
        reading.transaction_patience = Some(Duration::from_millis(200));
        reading
    }

    pub async fn full(&self) -> Saved {
        save(&self.reading(), None).await
    }

    pub async fn delta(&self, base: &Saved) -> Saved {
        save(&self.reading(), Some(base)).await
    }

    /// Whether the saveset has the rows that the table has now.
    pub fn is_as(&self, saved: &Saved, table: &str, columns: &str) -> bool {
        let format = saved.base.tables[saved.place(table)].format;
        let query = format!("SELECT {columns} FROM ONLY public.{table}");
        saved.rows_of(table) == psql_copy(&self.server, self.database, &query, format)
    }

    /// All summaries up to now are there when it returns.
    pub fn summarize(&self) {
        let here = self.sql("SELECT pg_current_wal_insert_lsn(); CHECKPOINT");
        let reached =
            format!("SELECT summarized_lsn >= '{here}' FROM pg_get_wal_summarizer_state()");
        for _ in 0..500 {
            if self.sql(&reached) == "t" {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the WAL is not summarized up to {here}");
    }
}

impl Saved {
    pub fn place(&self, table: &str) -> usize {
        let name = match table {
            "pg_largeobject" => "pg_catalog.pg_largeobject".to_owned(),
            table => format!("public.{table}"),
        };
        let mut tables = self.base.tables.iter();
        let found = tables.position(|plan| plan.name.to_string() == name);
        found.unwrap_or_else(|| panic!("{name} is not in the plan"))
    }

    pub fn basis_of(&self, table: &str) -> &Basis {
        &self.basis[self.place(table)]
    }

    /// The blocks that were read for a delta by WAL summaries.
    pub fn changed(&self, table: &str) -> Vec<u32> {
        match self.basis_of(table) {
            Basis::Changed { blocks, .. } => blocks.iter().collect(),
            other => panic!("{table}: {other:?}"),
        }
    }

    pub fn source(&self) -> Option<ChangedBlocksSource> {
        self.changed_blocks.as_ref().map(|changed| changed.source)
    }

    /// Why all was compared.
    pub fn why(&self) -> &str {
        let changed = self.changed_blocks.as_ref().unwrap();
        assert_eq!(changed.source, ChangedBlocksSource::Hash);
        changed.why.as_deref().unwrap()
    }

    pub fn rows_of(&self, table: &str) -> Vec<u8> {
        let blocks = self.tables[self.place(table)].values();
        blocks
            .flat_map(|(_, _, rows)| rows.iter().copied())
            .collect()
    }

    fn known(&self, table: usize, blocks: &BlockSet) -> BlockIndex {
        let mut index = BlockIndex::new();
        let mut hashes = Vec::new();
        let known = &self.tables[table];
        for (span, hash, _) in blocks.iter().filter_map(|block| known.get(&block)) {
            index.push(*span).unwrap();
            hashes.push(*hash);
        }
        index.with_hashes(hashes).unwrap()
    }
}

/// Takes a backup, and of a delta makes a whole saveset again, as flow does.
pub async fn save(reading: &Reading<'_>, base: Option<&Saved>) -> Saved {
    let reading = Reading {
        base: base.map(|base| base.base.clone()),
        beats: reading.beats.clone(),
        progress: reading.progress.clone(),
        selection: reading.selection.clone(),
        ..*reading
    };
    let mut source = reading.open().await.unwrap();
    let mut backup = begin(source.as_mut()).await.unwrap();
    let basis = backup.plan.basis.clone();
    assert_eq!(basis.len(), base.map_or(0, |_| backup.plan.tables.len()));
    let mut tables = vec![Blocks::new(); backup.plan.tables.len()];
    let mut tasks = backup.plan.tasks.clone();
    for (table, basis) in basis.iter().enumerate() {
        let base = base.unwrap();
        if let Some((task, kept)) = patch(base, table, basis) {
            tables[table] = kept;
            assert!(tasks.iter().all(|task| task.table != table));
            tasks.push(task);
        }
    }
    let mut reader = source.reader().await.unwrap();
    let (reader, segments) = tokio::task::spawn_blocking(move || {
        let read = |task: &SegmentTask| read_segment(reader.as_mut(), task).unwrap();
        let segments: Vec<Segment> = tasks.iter().map(read).collect();
        (reader, segments)
    })
    .await
    .unwrap();
    drop(reader);
    for segment in segments {
        apply(&mut tables[segment.task.table], segment);
    }
    let plan = std::mem::take(&mut backup.plan);
    backup.end(source).await.unwrap();
    Saved {
        base: Arc::new(Base {
            facts: backup.facts,
            tables: plan.tables,
        }),
        basis,
        changed_blocks: plan.changed_blocks,
        tables,
    }
}

/// What is read for a delta of a table, and what of the base is kept meanwhile.
fn patch(base: &Saved, table: usize, basis: &Basis) -> Option<(SegmentTask, Blocks)> {
    let (place, blocks, hold, extent) = match basis {
        Basis::Nothing { .. } => return None,
        Basis::Changed {
            base,
            blocks,
            holds,
            extent,
        } => (*base, blocks.clone(), *holds, extent),
        Basis::Compare { base, extent } => (*base, (0..extent.blocks).collect(), u32::MAX, extent),
    };
    let hold = hold.min(extent.blocks);
    let kept = base.tables[place].range(..hold);
    let kept: Blocks = kept.map(|(block, rows)| (*block, rows.clone())).collect();
    let below: BlockSet = blocks.iter().filter(|block| *block < hold).collect();
    let task = SegmentTask {
        table,
        blocks: BlockRange::ALL,
        estimated_bytes: 0,
        patch: Some(Arc::new(Patching {
            known: base.known(place, &below),
            blocks,
            must: BlockSet::new(),
        })),
    };
    Some((task, kept))
}

fn apply(table: &mut Blocks, segment: Segment) {
    let mut rows = segment.rows.as_slice();
    let hashes = segment.index.hashes().unwrap_or_default();
    for (span, hash) in segment.index.spans().iter().zip(hashes) {
        let (own, rest) = rows.split_at(span.bytes as usize);
        rows = rest;
        match span.rows {
            0 => table.remove(&span.block),
            _ => table.insert(span.block, (*span, *hash, own.to_vec())),
        };
    }
}

/// The story ends well; and with these rules taken out too, but not when `rule` is one of them.
pub async fn needs(rule: Rule, others_out: &[Rule], story: impl AsyncFn() -> bool) {
    take_out(others_out);
    assert!(story().await, "rows are lost although {rule} is kept");
    let mut out = others_out.to_vec();
    out.push(rule);
    take_out(&out);
    assert!(!story().await, "nothing is lost without {rule}");
    take_out(&[]);
}
