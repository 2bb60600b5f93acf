//! A database as SQL, as the sqlite3 shell's `.dump` writes it, with the rowids that no column holds.

use std::io::{self, Write};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::writing::{Failed, Out};
use crate::shape::{Kind, Shape, shapes};
use crate::snapshot::{pragma, quoted};

/// Writes the whole of it.
pub(super) fn dump(database: &Connection, out: &mut Out) -> Result<(), Failed> {
    let encoding: String = pragma(database, "encoding")?;
    let numbers = ["user_version", "application_id"];
    writeln!(
        out,
        "PRAGMA encoding = '{encoding}';\nPRAGMA foreign_keys = OFF;\nBEGIN TRANSACTION;"
    )?;
    let tables = shapes(database, "main")?;
    for table in &tables {
        let sql = sql_of(database, &table.name)?;
        match table.kind {
            Kind::Virtual => virtual_table(&table.name, &sql, out)?,
            // Their virtual table's module knows how they are made; the rows are what counts.
            Kind::Plain | Kind::Shadow => {
                writeln!(out, "{sql};")?;
                rows(database, table, out)?;
            }
        }
    }
    sequences(database, out)?;
    if tables.iter().any(|table| table.kind == Kind::Virtual) {
        writeln!(out, "PRAGMA writable_schema = OFF;")?;
    }
    others(database, out)?;
    writeln!(out, "COMMIT;")?;
    for name in numbers {
        let value: i64 = pragma(database, name)?;
        if value != 0 {
            writeln!(out, "PRAGMA {name} = {value};")?;
        }
    }
    Ok(())
}

fn sql_of(database: &Connection, table: &str) -> rusqlite::Result<String> {
    let question = "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
    database.query_row(question, [table], |row| row.get(0))
}

/// Without its module's help, which would make its other tables anew.
fn virtual_table(name: &str, sql: &str, out: &mut Out) -> io::Result<()> {
    let (name, sql) = (text(name.as_bytes()), text(sql.as_bytes()));
    writeln!(
        out,
        "PRAGMA writable_schema = ON;\nINSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', {name}, {name}, 0, {sql});"
    )
}

fn rows(database: &Connection, table: &Shape, out: &mut Out) -> Result<(), Failed> {
    let list = table.list();
    let name = quoted(&table.name);
    let mut statement = database.prepare(&format!("SELECT {list} FROM main.{name} NOT INDEXED"))?;
    let count = statement.column_count();
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        write!(out, "INSERT INTO {name} ({list}) VALUES (")?;
        for place in 0..count {
            let comma = if place > 0 { ", " } else { "" };
            write!(out, "{comma}{}", literal(row.get_ref(place)?))?;
        }
        writeln!(out, ");")?;
    }
    Ok(())
}

/// What AUTOINCREMENT counts on from.
fn sequences(database: &Connection, out: &mut Out) -> Result<(), Failed> {
    let there = "SELECT count(*) > 0 FROM main.sqlite_schema WHERE name = 'sqlite_sequence'";
    if !database.query_row(there, [], |row| row.get(0))? {
        return Ok(());
    }
    writeln!(out, "DELETE FROM sqlite_sequence;")?;
    let mut statement = database.prepare("SELECT name, seq FROM main.sqlite_sequence")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, value) = (literal(row.get_ref(0)?), literal(row.get_ref(1)?));
        writeln!(out, "INSERT INTO sqlite_sequence VALUES ({name}, {value});")?;
    }
    Ok(())
}

/// Indexes, triggers and views, in the order in which they were made.
fn others(database: &Connection, out: &mut Out) -> Result<(), Failed> {
    let mut statement = database.prepare(
        "SELECT sql FROM main.sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL ORDER BY rowid",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        writeln!(out, "{};", row.get::<_, String>(0)?)?;
    }
    Ok(())
}

/// A value as SQL.
fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) if number.is_infinite() => {
            if number > 0.0 { "9e999" } else { "-9e999" }.to_owned()
        }
        ValueRef::Real(number) => format!("{number:e}"),
        ValueRef::Text(bytes) => text(bytes),
        ValueRef::Blob(bytes) => format!("X'{}'", super::writing::hex(bytes)),
    }
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        // A NUL would end the statement.
        Ok(text) if text.contains('\0') => {
            let parts: Vec<String> = text.split('\0').map(quoted_text).collect();
            format!("({})", parts.join(" || char(0) || "))
        }
        Ok(text) => quoted_text(text),
        Err(_) => format!("CAST(X'{}' AS TEXT)", super::writing::hex(bytes)),
    }
}

fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_when_sqlite_reads_it_back() {
        let database = Connection::open_in_memory().unwrap();
        let values = [
            ValueRef::Null,
            ValueRef::Integer(i64::MIN),
            ValueRef::Integer(i64::MAX),
            ValueRef::Real(0.1),
            ValueRef::Real(-1.5e300),
            ValueRef::Real(3.0),
            ValueRef::Real(f64::NEG_INFINITY),
            ValueRef::Text(b"it's\nso"),
            ValueRef::Text(b"a\0b\0"),
            ValueRef::Text(b"\xff'"),
            ValueRef::Blob(b"\0\xff"),
        ];
        for value in values {
            let sql = format!("SELECT {}", literal(value));
            database
                .query_row(&sql, [], |row| {
                    assert_eq!(row.get_ref(0)?, value, "{sql}");
                    Ok(())
                })
                .unwrap();
        }
    }
}
