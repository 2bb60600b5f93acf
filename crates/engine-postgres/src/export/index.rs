//! `index.json`: which file is which object.

use serde::Serialize;

use super::fault::ExportError;
use super::rows::TableFile;
use crate::facts::{DatabaseFacts, TableKind};

/// The version of its form.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize)]
pub(super) struct Index<'a> {
    format: u32,
    database: &'a str,
    server: String,
    encoding: &'a str,
    /// Whether everything that was in the database is here.
    whole: bool,
    scripts: &'a [&'static str],
    tables: Vec<TableEntry<'a>>,
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct TableEntry<'a> {
    #[serde(flatten)]
    what: What<'a>,
    /// `None`: it has no rows.
    file: Option<&'a str>,
    content: &'static str,
    encoding: &'a str,
    columns: &'a [String],
    rows: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum What<'a> {
    Table { schema: &'a str, name: &'a str },
    LargeObjects,
}

impl<'a> Index<'a> {
    pub(super) fn to_json(&self) -> Result<String, ExportError> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| ExportError::File {
            doing: "writing",
            path: "index.json".into(),
            source: error.into(),
        })?;
        Ok(text + "\n")
    }

    pub(super) fn of(
        facts: &'a DatabaseFacts,
        tables: impl Iterator<Item = &'a TableFile>,
        scripts: &'a [&'static str],
        whole: bool,
        notes: &'a [String],
    ) -> Self {
        Index {
            format: FORMAT,
            database: &facts.name,
            server: format!("PostgreSQL {}", facts.server_version),
            encoding: &facts.encoding,
            whole,
            scripts,
            tables: tables.map(entry).collect(),
            notes,
        }
    }
}

fn entry(table: &TableFile) -> TableEntry<'_> {
    let facts = &table.facts;
    TableEntry {
        what: match facts.kind {
            TableKind::LargeObjects => What::LargeObjects,
            TableKind::Rows => What::Table {
                schema: &facts.schema,
                name: &facts.name,
            },
        },
        file: table.is_made().then_some(table.file.as_str()),
        content: table.content.word(),
        encoding: &facts.encoding,
        columns: &facts.columns,
        rows: table.rows,
    }
}
