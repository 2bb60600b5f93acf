//! Tables as CSV: every value in double quotes, those inside doubled; a NULL is nothing at all, a blob
//! is X and its bytes in hex.

use std::io::{self, Write};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::writing::{Failed, Out, hex};
use crate::shape::Shape;
use crate::snapshot::quoted;

/// Writes a table; answers how many rows it has.
pub(super) fn table(database: &Connection, table: &Shape, out: &mut Out) -> Result<u64, Failed> {
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(column)).collect();
    for (place, column) in table.columns.iter().enumerate() {
        comma(place, out)?;
        value(column.as_bytes(), out)?;
    }
    out.write_all(b"\r\n")?;
    let question = format!(
        "SELECT {} FROM main.{}",
        columns.join(", "),
        quoted(&table.name)
    );
    let mut statement = database.prepare(&question)?;
    let mut found = statement.query([])?;
    let mut rows = 0;
    while let Some(row) = found.next()? {
        for place in 0..columns.len() {
            comma(place, out)?;
            match row.get_ref(place)? {
                ValueRef::Null => {}
                ValueRef::Integer(number) => value(number.to_string().as_bytes(), out)?,
                ValueRef::Real(number) => value(number.to_string().as_bytes(), out)?,
                ValueRef::Text(bytes) => value(bytes, out)?,
                ValueRef::Blob(bytes) => value(format!("X'{}'", hex(bytes)).as_bytes(), out)?,
            }
        }
        out.write_all(b"\r\n")?;
        rows += 1;
    }
    Ok(rows)
}

fn comma(place: usize, out: &mut Out) -> io::Result<()> {
    if place > 0 {
        out.write_all(b",")?;
    }
    Ok(())
}

fn value(bytes: &[u8], out: &mut Out) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut parts = bytes.split(|byte| *byte == b'"');
    if let Some(first) = parts.next() {
        out.write_all(first)?;
    }
    for part in parts {
        out.write_all(b"\"\"")?;
        out.write_all(part)?;
    }
    out.write_all(b"\"")
}
