//! Databases as maps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{BlockSet, Extent};

use serde::{Deserialize, Serialize};

/// What two databases are compared by: the DDL, the sequences, the rows of each table in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The text of the DDL.
    pub ddl: String,
    /// Values by name.
    pub sequences: BTreeMap<String, i64>,
    /// Rows by table.
    pub tables: BTreeMap<String, Vec<Vec<u8>>>,
}

/// A database: some DDL, sequences, and tables whose rows lie in blocks. It remembers when each block was
/// written, so that it can tell what has changed since an earlier backup.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabase {
    pub(super) ddl: String,
    pub(super) sequences: BTreeMap<String, i64>,
    pub(super) tables: BTreeMap<String, MemoryTable>,
}

/// Rows by block.
pub(super) type Blocks = BTreeMap<u32, Vec<Vec<u8>>>;

/// A table's rows, and when they were written.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryTable {
    pub(super) blocks: Blocks,
    /// When each block was written last.
    written: BTreeMap<u32, u64>,
    /// When it was made, or rewritten.
    made: u64,
    /// When it lost its end, and from which block on.
    cuts: Vec<(u64, u32)>,
    /// How many blocks it has, with and without rows.
    size: u32,
}

/// Every change of any database has a later time than those before.
static TIME: AtomicU64 = AtomicU64::new(1);

/// The time of a change that is made now.
fn tick() -> u64 {
    TIME.fetch_add(1, Ordering::SeqCst)
}

/// What was changed until now has an earlier time.
pub(super) fn now() -> u64 {
    TIME.load(Ordering::SeqCst)
}

impl MemoryTable {
    /// An empty one.
    pub(super) fn made_now() -> Self {
        MemoryTable {
            made: tick(),
            ..MemoryTable::default()
        }
    }

    /// Writes a block's rows.
    fn write(&mut self, block: u32, rows: Vec<Vec<u8>>) {
        self.blocks.insert(block, rows);
        self.written.insert(block, tick());
        self.size = self.size.max(block + 1);
    }

    /// Loads rows; `false`: the block has some.
    pub(super) fn load(&mut self, block: u32, rows: Vec<Vec<u8>>) -> bool {
        let is_new = !self.blocks.contains_key(&block);
        self.write(block, rows);
        is_new
    }

    pub(super) fn extent(&self) -> Extent {
        let rows = self.blocks.values().flatten();
        Extent {
            blocks: self.size,
            bytes: rows.map(|row| written(row)).sum(),
        }
    }

    /// Whether it is the same table as at that time.
    pub(super) fn is_of(&self, time: u64) -> bool {
        self.made < time
    }

    /// The blocks that were written since that time, and the first one that was lost.
    pub(super) fn changed_since(&self, time: u64) -> (BlockSet, u32) {
        let later = self.written.iter().filter(|(_, at)| **at >= time);
        let lost = self.cuts.iter().filter(|(at, _)| *at >= time);
        let holds = lost.map(|(_, from)| *from).min();
        (
            later.map(|(block, _)| *block).collect(),
            holds.unwrap_or(u32::MAX),
        )
    }
}

/// A database's dictionary, as its part `schema.json` has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Schema {
    pub(super) ddl: String,
    pub(super) tables: Vec<String>,
}

impl MemoryDatabase {
    /// An empty one.
    pub fn new() -> Self {
        MemoryDatabase::default()
    }

    /// With that DDL; any text will do.
    #[must_use]
    pub fn ddl(mut self, ddl: &str) -> Self {
        self.ddl = ddl.to_owned();
        self
    }

    /// With a sequence of that value.
    #[must_use]
    pub fn sequence(mut self, name: &str, value: i64) -> Self {
        self.sequences.insert(name.to_owned(), value);
        self
    }

    /// With a table of those rows, so many in a block.
    #[must_use]
    pub fn table(
        mut self,
        name: &str,
        rows: impl IntoIterator<Item = Vec<u8>>,
        rows_per_block: usize,
    ) -> Self {
        let mut blocks = Blocks::new();
        for (number, row) in rows.into_iter().enumerate() {
            let block = u32::try_from(number / rows_per_block.max(1)).expect("a block's number");
            blocks.entry(block).or_default().push(row);
        }
        let mut table = MemoryTable::made_now();
        for (block, rows) in blocks {
            table.write(block, rows);
        }
        self.tables.insert(name.to_owned(), table);
        self
    }

    /// Writes a block of a table: what stood there is gone. Tables that are not there are made.
    pub fn write(&mut self, table: &str, block: u32, rows: Vec<Vec<u8>>) {
        let table = self.tables.entry(table.to_owned());
        table
            .or_insert_with(MemoryTable::made_now)
            .write(block, rows);
    }

    /// A table loses this block and all behind it.
    pub fn cut(&mut self, table: &str, from: u32) {
        let Some(table) = self.tables.get_mut(table).filter(|table| from < table.size) else {
            return;
        };
        table.blocks.retain(|block, _| *block < from);
        table.written.retain(|block, _| *block < from);
        table.cuts.push((tick(), from));
        table.size = from;
    }

    /// A table has so many blocks at least, the new ones without rows.
    pub fn grow(&mut self, table: &str, blocks: u32) {
        if let Some(table) = self.tables.get_mut(table) {
            table.size = table.size.max(blocks);
        }
    }

    /// A table is another one from now on, with the same rows.
    pub fn rewrite(&mut self, table: &str) {
        if let Some(table) = self.tables.get_mut(table) {
            table.made = tick();
        }
    }

    /// Takes a table away.
    pub fn drop_table(&mut self, table: &str) {
        self.tables.remove(table);
    }

    /// Other DDL.
    pub fn set_ddl(&mut self, ddl: &str) {
        self.ddl = ddl.to_owned();
    }

    /// What it holds.
    pub fn contents(&self) -> Contents {
        let rows = |table: &MemoryTable| table.blocks.values().flatten().cloned().collect();
        let tables = self.tables.iter();
        Contents {
            ddl: self.ddl.clone(),
            sequences: self.sequences.clone(),
            tables: tables
                .map(|(name, table)| (name.clone(), rows(table)))
                .collect(),
        }
    }

    pub(super) fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

/// The bytes of a row as it is written.
pub(super) fn written(row: &[u8]) -> u64 {
    4 + row.len() as u64
}
