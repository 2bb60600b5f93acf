//! DATA: one stream's loader. A range is one COPY FROM STDIN; several streams may load ranges of
//! one table at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::SinkExt;
use model::{LoadTask, Outcome, RestoreTable, RowFormat, RowStream, SegmentLoader};

use super::dictionary::check_version;
use super::fault::RestoreError;
use super::pages::Pages;
use super::quote::{ident, literal, qualified};
use super::wanted::Places;
use crate::error::PostgresError;
use crate::facts::{QualifiedName, TableFacts, TableKind};
use crate::session::Session;

/// What stands before the tuples of COPY BINARY: signature, no flags, no extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What stands behind them.
pub(crate) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// A table of the saveset, ready to be loaded.
#[derive(Debug)]
pub(super) struct LoadTable {
    /// As a person reads it.
    name: String,
    format: RowFormat,
    facts: TableFacts,
    /// `COPY … FROM STDIN …`; not used for large objects.
    copy: String,
}

/// Reads the facts of all tables; `None` for one that is nowhere on the target.
pub(super) fn tables(
    tables: &[RestoreTable],
    places: &Places,
) -> Result<Vec<Option<LoadTable>>, RestoreError> {
    tables
        .iter()
        .map(|table| load_table(table, places))
        .collect()
}

/// The tables whose rows the saveset holds.
pub(super) fn held(tables: &[RestoreTable]) -> Result<BTreeSet<QualifiedName>, RestoreError> {
    let named = tables.iter().map(|table| Ok(facts_of(table)?.name()));
    named.collect()
}

/// What the source said of a table.
pub(crate) fn facts_of(table: &RestoreTable) -> Result<TableFacts, RestoreError> {
    let part = format!("the entry of {}", table.plan.name);
    let facts: TableFacts =
        serde_json::from_value(table.plan.facts.clone()).map_err(|source| RestoreError::Facts {
            part: part.clone(),
            source,
        })?;
    check_version(&part, facts.version)?;
    Ok(facts)
}

fn load_table(table: &RestoreTable, places: &Places) -> Result<Option<LoadTable>, RestoreError> {
    let mut facts = facts_of(table)?;
    match facts.kind {
        TableKind::LargeObjects if !places.with_large_objects() => return Ok(None),
        TableKind::LargeObjects => {}
        TableKind::Rows => {
            let Some(place) = places.of_relation(&facts.name()) else {
                return Ok(None);
            };
            (facts.schema, facts.name) = (place.schema, place.name);
            if let Some(root) = &facts.load_through {
                // A leaf is loaded by itself where its root does not come along: then it is no leaf.
                facts.load_through = places.of_relation(root);
            }
        }
    }
    Ok(Some(LoadTable {
        copy: copy_statement(&facts, table.plan.format),
        format: table.plan.format,
        facts,
        name: table.plan.name.to_string(),
    }))
}

fn copy_statement(facts: &TableFacts, format: RowFormat) -> String {
    let table = match &facts.load_through {
        Some(root) => root.sql(),
        None => qualified(&facts.schema, &facts.name),
    };
    let columns: Vec<String> = facts.columns.iter().map(|c| ident(c)).collect();
    let columns = match columns.is_empty() {
        true => String::new(),
        false => format!(" ({})", columns.join(", ")),
    };
    let format = match format {
        RowFormat::Binary => "binary",
        RowFormat::Text | RowFormat::Pages => "text",
    };
    format!("COPY {table}{columns} FROM STDIN (FORMAT {format})")
}

/// Loads ranges over one connection.
pub(super) struct Loader {
    session: Session,
    tables: Arc<Vec<Option<LoadTable>>>,
    page_bytes: u32,
    encoding: String,
}

impl Loader {
    /// A loader that has this session to itself. `page_bytes`: of a large object.
    pub(super) fn new(
        session: Session,
        tables: Arc<Vec<Option<LoadTable>>>,
        page_bytes: u32,
    ) -> Self {
        Loader {
            session,
            tables,
            page_bytes,
            encoding: "UTF8".to_owned(),
        }
    }

    /// Statements are in UTF8, rows in the encoding that the source's COPY gave them.
    async fn set_encoding(&mut self, encoding: &str) -> Result<(), RestoreError> {
        if self.encoding != encoding {
            let sql = format!("SET client_encoding = {}", literal(encoding));
            self.session
                .run(&sql, "setting the encoding of rows")
                .await?;
            self.encoding = encoding.to_owned();
        }
        Ok(())
    }

    async fn copy(&mut self, table: &LoadTable, rows: &mut dyn RowStream) -> Outcome<u64> {
        let doing = format!("loading rows into {}", table.name);
        let binary = table.format == RowFormat::Binary;
        self.set_encoding("UTF8").await?;
        let copy = self.session.raw()?.prepare(&table.copy).await;
        let copy = copy.map_err(PostgresError::query(&doing))?;
        // The names are understood; from here on bytes are rows.
        self.set_encoding(&table.facts.encoding).await?;
        let sink = self.session.raw()?.copy_in::<_, Bytes>(&copy).await;
        let mut sink = std::pin::pin!(sink.map_err(PostgresError::query(&doing))?);
        if binary {
            let header = Bytes::from_static(HEADER);
            sink.feed(header)
                .await
                .map_err(PostgresError::query(&doing))?;
        }
        // An early return drops the sink, which ends the COPY without its rows.
        while let Some(piece) = rows.next().await? {
            sink.feed(piece)
                .await
                .map_err(PostgresError::query(&doing))?;
        }
        if binary {
            let trailer = Bytes::from_static(TRAILER);
            sink.feed(trailer)
                .await
                .map_err(PostgresError::query(&doing))?;
        }
        let loaded = sink.finish().await.map_err(PostgresError::query(&doing))?;
        Ok(loaded)
    }

    async fn large_objects(&self, rows: &mut dyn RowStream) -> Outcome<u64> {
        let mut pages = Pages::new(&self.session, self.page_bytes);
        while let Some(piece) = rows.next().await? {
            pages.add(&piece).await?;
        }
        Ok(pages.finish().await?)
    }
}

#[async_trait]
impl SegmentLoader for Loader {
    async fn load(&mut self, task: &LoadTask, rows: &mut dyn RowStream) -> Outcome<u64> {
        let tables = Arc::clone(&self.tables);
        let table = tables
            .get(task.table)
            .ok_or_else(|| PostgresError::Misuse {
                what: format!("there is no table {} to load", task.table),
            })?;
        let Some(table) = table else {
            // Nobody could say before the dictionary was there that it is not wanted.
            while rows.next().await?.is_some() {}
            return Ok(task.rows);
        };
        match table.facts.kind {
            TableKind::LargeObjects => self.large_objects(rows).await,
            TableKind::Rows => self.copy(table, rows).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> TableFacts {
        TableFacts {
            version: 1,
            kind: TableKind::Rows,
            schema: "s".into(),
            name: "a \"b\"".into(),
            columns: vec!["x".into(), "Y".into()],
            encoding: "UTF8".into(),
            unlogged: false,
            partition_root: None,
            load_through: None,
            extension: None,
            extension_condition: None,
            forms: Vec::new(),
            heap: None,
        }
    }

    #[test]
    fn columns_are_always_named_and_a_table_without_any_takes_none() {
        assert_eq!(
            copy_statement(&facts(), RowFormat::Binary),
            "COPY \"s\".\"a \"\"b\"\"\" (\"x\", \"Y\") FROM STDIN (FORMAT binary)"
        );
        let empty = TableFacts {
            columns: Vec::new(),
            ..facts()
        };
        assert_eq!(
            copy_statement(&empty, RowFormat::Text),
            "COPY \"s\".\"a \"\"b\"\"\" FROM STDIN (FORMAT text)"
        );
    }

    #[test]
    fn a_partition_whose_hash_may_differ_is_loaded_through_its_root() {
        let through = TableFacts {
            load_through: Some(crate::facts::QualifiedName {
                schema: "s".into(),
                name: "root".into(),
            }),
            ..facts()
        };
        let sql = copy_statement(&through, RowFormat::Text);
        assert!(sql.starts_with("COPY \"s\".\"root\" ("), "{sql}");
    }

    #[test]
    fn the_header_is_the_one_of_copy_binary() {
        assert_eq!(HEADER.len(), 19);
        assert_eq!(TRAILER, [0xff, 0xff]);
    }
}
