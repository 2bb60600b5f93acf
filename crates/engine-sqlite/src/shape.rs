//! The shape of tables: which columns a row is made of, and what its rowid is called.

use rusqlite::Connection;

use crate::snapshot::quoted;

/// How a table keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In pages of its own.
    Plain,
    /// A module keeps them, in other tables or elsewhere.
    Virtual,
    /// One of the tables that a module keeps rows of a virtual table in.
    Shadow,
}

/// A table as rows are read from it and written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Without generated and hidden ones.
    pub(crate) columns: Vec<String>,
    /// What the rowid can be called, where no column holds it and no column has that name.
    pub(crate) rowid: Option<&'static str>,
}

impl Shape {
    /// Rowid and columns, quoted, as a list.
    pub(crate) fn list(&self) -> String {
        let columns = self.columns.iter().map(|column| quoted(column));
        let all: Vec<String> = self
            .rowid
            .map(str::to_owned)
            .into_iter()
            .chain(columns)
            .collect();
        all.join(", ")
    }
}

/// All tables of an attached database, in the order in which they were made; without SQLite's own.
pub(crate) fn shapes(database: &Connection, schema: &str) -> rusqlite::Result<Vec<Shape>> {
    let mut statement = database.prepare(&format!(
        "SELECT l.name, l.type, l.wr FROM {}.sqlite_schema s
         JOIN pragma_table_list l ON l.name = s.name AND l.schema = ?1
         WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY s.rowid",
        quoted(schema)
    ))?;
    let tables = statement.query_map([schema], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
    })?;
    let tables: rusqlite::Result<Vec<(String, String, bool)>> = tables.collect();
    tables?
        .into_iter()
        .map(|(name, kind, without_rowid)| {
            let kind = match kind.as_str() {
                "virtual" => Kind::Virtual,
                "shadow" => Kind::Shadow,
                _ => Kind::Plain,
            };
            one(database, schema, name, kind, without_rowid)
        })
        .collect()
}

fn one(
    database: &Connection,
    schema: &str,
    name: String,
    kind: Kind,
    without_rowid: bool,
) -> rusqlite::Result<Shape> {
    // A virtual table whose module is not here has no columns that one could ask for.
    if kind == Kind::Virtual {
        return Ok(Shape {
            columns: columns(database, schema, &name).map_or_else(|_| Vec::new(), |(c, _)| c),
            name,
            kind,
            rowid: None,
        });
    }
    let (columns, has_key) = columns(database, schema, &name)?;
    let key_is_index: bool = database.query_row(
        "SELECT count(*) > 0 FROM pragma_index_list(?1, ?2) WHERE origin = 'pk'",
        [&name, schema],
        |row| row.get(0),
    )?;
    let key_is_rowid = has_key && !key_is_index;
    let is_free = |alias: &&&str| !columns.iter().any(|c| c.eq_ignore_ascii_case(alias));
    let rowid = ["rowid", "_rowid_", "oid"].iter().find(is_free).copied();
    Ok(Shape {
        rowid: rowid.filter(|_| !without_rowid && !key_is_rowid),
        name,
        kind,
        columns,
    })
}

/// The columns that are written, and whether there is a primary key.
fn columns(
    database: &Connection,
    schema: &str,
    table: &str,
) -> rusqlite::Result<(Vec<String>, bool)> {
    let mut statement =
        database.prepare("SELECT name, hidden, pk FROM pragma_table_xinfo(?1, ?2) ORDER BY cid")?;
    let mut rows = statement.query([table, schema])?;
    let (mut columns, mut has_key) = (Vec::new(), false);
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? == 0 {
            columns.push(row.get(0)?);
        }
        has_key |= row.get::<_, i64>(2)? > 0;
    }
    Ok((columns, has_key))
}
