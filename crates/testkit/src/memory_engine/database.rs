//! Databases as maps.

use std::collections::BTreeMap;

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

/// A database: some DDL, sequences, and tables whose rows lie in blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryDatabase {
    pub(super) ddl: String,
    pub(super) sequences: BTreeMap<String, i64>,
    pub(super) tables: BTreeMap<String, Blocks>,
}

/// Rows by block.
pub(super) type Blocks = BTreeMap<u32, Vec<Vec<u8>>>;

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
        self.tables.insert(name.to_owned(), blocks);
        self
    }

    /// What it holds.
    pub fn contents(&self) -> Contents {
        let rows = |blocks: &Blocks| blocks.values().flatten().cloned().collect();
        let tables = self.tables.iter();
        Contents {
            ddl: self.ddl.clone(),
            sequences: self.sequences.clone(),
            tables: tables
                .map(|(name, blocks)| (name.clone(), rows(blocks)))
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
