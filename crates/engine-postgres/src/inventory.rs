//! What is in a database, as one snapshot sees it.

use std::collections::HashMap;

use crate::error::PostgresError;
use crate::fingerprint::Types;
use crate::session::Session;

/// An object's number in the catalog.
pub(crate) type Oid = u32;

/// A column of a table, or an attribute of a composite type.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub number: i16,
    pub name: String,
    pub type_oid: Oid,
    pub typmod: i32,
    pub generated: bool,
    pub dropped: bool,
    /// What rows from before the column was added have.
    pub missing: Option<String>,
}

/// A table whose rows are read.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    pub unlogged: bool,
    /// Whether its access method is the built-in heap.
    pub heap: bool,
    pub extension: Option<String>,
    pub condition: Option<String>,
    pub root: Option<Oid>,
    /// A hash partitioned ancestor that rows must be loaded through.
    pub through: Option<Oid>,
    /// Which transaction wrote its schema's row last.
    pub schema_version: String,
}

impl Table {
    /// As an error or a warning names it.
    pub(crate) fn qualified(&self) -> String {
        model::ObjectName::two(&self.schema, &self.name).to_string()
    }
}

/// An identifier for a statement of a session, whose `client_encoding` is UTF8.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An identifier for a statement on a COPY stream, whose `client_encoding` is the database's own:
/// what is not ASCII is escaped where that encoding is another than the one of our strings. (In
/// SQL_ASCII bytes mean nothing: names come and go as they are, and escapes are refused.)
pub(crate) fn quoted_in(encoding: &str, name: &str) -> String {
    if name.is_ascii() || matches!(encoding, "UTF8" | "SQL_ASCII") {
        return quoted(name);
    }
    let mut text = String::from("U&\"");
    for c in name.chars() {
        match c {
            '"' => text.push_str("\"\""),
            '\\' => text.push_str("\\\\"),
            c if c.is_ascii() => text.push(c),
            c => text.push_str(&format!("\\+{:06X}", u32::from(c))),
        }
    }
    text.push('"');
    text
}

/// Everything about tables and types that decides how rows are read.
pub(crate) struct Inventory {
    /// By OID, ascending.
    pub tables: Vec<Table>,
    /// By relation.
    pub columns: HashMap<Oid, Vec<Column>>,
    /// All types.
    pub types: Types,
}

impl Inventory {
    /// Reads it in the session's transaction.
    pub(crate) async fn read(session: &Session) -> Result<Inventory, PostgresError> {
        let tables = read_tables(session).await?;
        let columns = read_columns(session).await?;
        let types = Types::read(session).await?;
        Ok(Inventory {
            tables,
            columns,
            types,
        })
    }

    /// A table's columns, by number, dropped ones too.
    pub(crate) fn columns_of(&self, table: Oid) -> &[Column] {
        self.columns.get(&table).map_or(&[], Vec::as_slice)
    }
}

async fn read_tables(session: &Session) -> Result<Vec<Table>, PostgresError> {
    let doing = "reading the list of tables";
    let sql = include_str!("../sql/tables_14.sql");
    let rows = session.rows(sql, &[], doing).await?;
    let sql = include_str!("../sql/partitioned_14.sql");
    let through: HashMap<Oid, Oid> = session
        .rows(sql, &[], doing)
        .await?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let tables = rows.iter().map(|row| Table {
        oid: row.get("oid"),
        schema: row.get("schema"),
        name: row.get("name"),
        unlogged: row.get("unlogged"),
        heap: row.get("heap"),
        extension: row.get("extension"),
        condition: row.get("condition"),
        root: row.get("root"),
        through: through.get(&row.get("oid")).copied(),
        schema_version: row.get("schema_version"),
    });
    Ok(tables.collect())
}

async fn read_columns(session: &Session) -> Result<HashMap<Oid, Vec<Column>>, PostgresError> {
    let sql = include_str!("../sql/columns_14.sql");
    let rows = session.rows(sql, &[], "reading the columns").await?;
    let mut columns: HashMap<Oid, Vec<Column>> = HashMap::new();
    for row in rows {
        columns.entry(row.get(0)).or_default().push(Column {
            number: row.get(1),
            name: row.get(2),
            type_oid: row.get(3),
            typmod: row.get(4),
            generated: row.get(5),
            dropped: row.get(6),
            missing: row.get(7),
        });
    }
    Ok(columns)
}

/// Schema and name of relations.
pub(crate) async fn names_of(
    session: &Session,
    relations: &[Oid],
) -> Result<HashMap<Oid, (String, String)>, PostgresError> {
    let sql = include_str!("../sql/relation_names_14.sql");
    let rows = session.rows(sql, &[&relations], "reading names").await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect())
}

/// Bytes of heap and TOAST of tables.
pub(crate) async fn sizes_of(
    session: &Session,
    tables: &[Oid],
) -> Result<HashMap<Oid, (u64, u64)>, PostgresError> {
    let sql = include_str!("../sql/sizes_14.sql");
    let rows = session.rows(sql, &[&tables], "reading sizes").await?;
    // A size is NULL where the relation is gone, which a lock forbids.
    let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Ok(rows
        .iter()
        .map(|row| (row.get(0), (bytes(row.get(1)), bytes(row.get(2)))))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_quoted_and_escaped_only_where_it_must_be() {
        assert_eq!(quoted("a\"b.c\\"), "\"a\"\"b.c\\\"");
        assert_eq!(quoted_in("LATIN1", "plain\""), "\"plain\"\"\"");
        assert_eq!(quoted_in("UTF8", "größe"), "\"größe\"");
        assert_eq!(quoted_in("SQL_ASCII", "größe"), "\"größe\"");
        let escaped = quoted_in("LATIN1", "größe\\\"");
        assert_eq!(escaped, r#"U&"gr\+0000F6\+0000DFe\\""""#);
    }
}
