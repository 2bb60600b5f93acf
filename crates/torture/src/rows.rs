//! Row count and an order-free hash of rows as COPY writes them.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use model::{ObjectName, RowFormat};
use tokio_postgres::Client;

use crate::Trouble;

/// What a COPY BINARY begins with: signature, flags, no extension.
const HEADER: usize = 19;

/// Rows, whatever their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rows {
    /// How many.
    pub count: u64,
    /// The sum of their hashes: equal rows do not cancel each other out.
    pub sum: u128,
}

impl Rows {
    /// Rows as they lie in a saveset.
    ///
    /// # Errors
    /// When the bytes are not whole rows.
    pub fn of(format: RowFormat, bytes: &[u8]) -> Result<Rows, Trouble> {
        let mut rows = Rows::default();
        match format {
            RowFormat::Binary => rows.add_binary(bytes)?,
            RowFormat::Text => rows.add_text(bytes)?,
            RowFormat::Pages => return Err(Trouble::new("pages are no rows of PostgreSQL")),
        }
        Ok(rows)
    }

    /// Adds others.
    pub fn add(&mut self, others: Rows) {
        self.count += others.count;
        self.sum = self.sum.wrapping_add(others.sum);
    }

    fn add_one(&mut self, row: &[u8]) {
        let hash = blake3::hash(row);
        let (half, _) = hash.as_bytes().split_at(16);
        let half = half.try_into().map_or(0, u128::from_le_bytes);
        self.count += 1;
        self.sum = self.sum.wrapping_add(half);
    }

    fn add_text(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let rest = bytes.rsplit(|byte| *byte == b'\n').next();
        if rest.is_some_and(|rest| !rest.is_empty()) {
            return Err(Trouble::new("a row of COPY TEXT has no end"));
        }
        // What splitting gives behind the last end of a line is no row.
        let lines = bytes.split(|byte| *byte == b'\n');
        let count = bytes.iter().filter(|byte| **byte == b'\n').count();
        lines.take(count).for_each(|line| self.add_one(line));
        Ok(())
    }

    fn add_binary(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            let end =
                end_of_row(bytes).ok_or_else(|| Trouble::new("a row of COPY BINARY is cut off"))?;
            let (row, rest) = bytes.split_at(end);
            self.add_one(row);
            bytes = rest;
        }
        Ok(())
    }
}

fn end_of_row(bytes: &[u8]) -> Option<usize> {
    let fields = u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
    let mut at = 2;
    for _ in 0..fields {
        let length = i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    (at <= bytes.len()).then_some(at)
}

/// The rows of one table as a snapshot sees them, in each form that a saveset may have chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// As COPY BINARY gives them, columns in the table's order.
    pub binary: Rows,
    /// As COPY TEXT gives them, columns in the table's order.
    pub text: Rows,
    /// As COPY TEXT gives them, all columns, ordered by name: a restored table may have another order.
    pub by_name: Rows,
}

impl Seen {
    /// In that form.
    pub fn in_form(&self, format: RowFormat) -> Rows {
        match format {
            RowFormat::Binary => self.binary,
            _ => self.text,
        }
    }
}

/// The tables of a database, by name.
pub type Tables = BTreeMap<String, Seen>;

const LISTED: &str = "
    SELECT n.nspname::text, c.relname::text,
           coalesce(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                    FILTER (WHERE a.attgenerated = ''), ''),
           coalesce(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE \"C\"), '')
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a
           ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
    GROUP BY n.nspname, c.relname";

/// All rows of all tables, as the client sees them, large objects too. Takes no lock that the client
/// has not, except on tables that nobody locked before.
///
/// # Errors
/// What PostgreSQL says.
pub async fn of_database(client: &Client) -> Result<Tables, Trouble> {
    let mut tables = Tables::new();
    for row in client.query(LISTED, &[]).await? {
        let (schema, name): (String, String) = (row.get(0), row.get(1));
        let (ordered, by_name): (String, String) = (row.get(2), row.get(3));
        let table = ObjectName::two(&schema, &name).to_string();
        let from = format!("ONLY {}.{}", quoted(&schema), quoted(&name));
        tables.insert(table, seen(client, &from, &ordered, &by_name).await?);
    }
    let columns = "loid, pageno, data";
    let large = seen(client, "pg_catalog.pg_largeobject", columns, columns).await?;
    if large.text.count > 0 {
        let name = ObjectName::two("pg_catalog", "pg_largeobject").to_string();
        tables.insert(name, large);
    }
    Ok(tables)
}

async fn seen(client: &Client, from: &str, ordered: &str, by_name: &str) -> Result<Seen, Trouble> {
    let text = |columns: &str| format!("COPY (SELECT {columns} FROM {from}) TO STDOUT");
    let binary = format!("COPY (SELECT {ordered} FROM {from}) TO STDOUT (FORMAT binary)");
    let binary = copied(client, &binary).await?;
    // Header in front, the mark of the end behind.
    let end = binary.len().saturating_sub(2).max(HEADER);
    let rows = binary.get(HEADER..end).unwrap_or_default();
    Ok(Seen {
        binary: Rows::of(RowFormat::Binary, rows)?,
        text: Rows::of(RowFormat::Text, &copied(client, &text(ordered)).await?)?,
        by_name: Rows::of(RowFormat::Text, &copied(client, &text(by_name)).await?)?,
    })
}

async fn copied(client: &Client, query: &str) -> Result<Vec<u8>, Trouble> {
    let stream = client.copy_out(query).await?;
    let bytes = stream.try_fold(Vec::new(), |mut all, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    Ok(bytes.await?)
}

/// A name as SQL takes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_count_and_every_row_does() {
        let rows = |text: &str| Rows::of(RowFormat::Text, text.as_bytes()).unwrap();
        assert_eq!(rows("a\tb\nc\td\n"), rows("c\td\na\tb\n"));
        assert_ne!(rows("a\na\n"), rows("b\nb\n"));
        assert_eq!(rows("\n\n").count, 2);
        assert_eq!(rows(""), Rows::default());
        assert!(Rows::of(RowFormat::Text, b"a\nb").is_err());
    }

    #[test]
    fn a_binary_row_ends_where_its_last_field_does() {
        let one = [0, 2, 0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff];
        let both = [one, one].concat();
        assert_eq!(Rows::of(RowFormat::Binary, &both).unwrap().count, 2);
        assert!(Rows::of(RowFormat::Binary, &both[..both.len() - 1]).is_err());
    }
}
