//! A database as SQL, as the sqlite3 shell's `.dump` writes it, with the rowids that no column holds.

use std::io::{self, Write};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

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
    let mut reals = Reals::new(database)?;
    while let Some(row) = found.next()? {
        write!(out, "INSERT INTO {name} ({list}) VALUES (")?;
        for place in 0..count {
            let comma = if place > 0 { ", " } else { "" };
            write!(out, "{comma}{}", literal(row.get_ref(place)?, &mut reals)?)?;
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
    let mut reals = Reals::new(database)?;
    while let Some(row) = rows.next()? {
        let name = literal(row.get_ref(0)?, &mut reals)?;
        let value = literal(row.get_ref(1)?, &mut reals)?;
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
fn literal(value: ValueRef<'_>, reals: &mut Reals<'_>) -> rusqlite::Result<String> {
    Ok(match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => reals.print(number)?,
        ValueRef::Text(bytes) => text(bytes),
        ValueRef::Blob(bytes) => format!("X'{}'", super::writing::hex(bytes)),
    })
}

/// Writes numbers so that SQLite reads the very same: it does not round every text to the nearest.
struct Reals<'a>(Statement<'a>);

impl<'a> Reals<'a> {
    fn new(database: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Reals(database.prepare("SELECT CAST(?1 AS REAL)")?))
    }

    fn print(&mut self, number: f64) -> rusqlite::Result<String> {
        if number.is_infinite() {
            return Ok(if number > 0.0 { "9e999" } else { "-9e999" }.to_owned());
        }
        for text in [format!("{number:e}"), format!("{number:.17e}")] {
            let read: f64 = self.0.query_row([&text], |row| row.get(0))?;
            if read.to_bits() == number.to_bits() {
                return Ok(text);
            }
        }
        Ok(exactly(number))
    }
}

/// A whole number times powers of two, each of which is exact.
fn exactly(number: f64) -> String {
    const STEP: i32 = 32;
    let bits = number.abs().to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    let (mut whole, mut power) = match exponent {
        0 => (fraction, -1074),
        _ => (fraction | 1 << 52, exponent - 1075),
    };
    while power < 0 && whole & 1 == 0 && whole != 0 {
        (whole, power) = (whole >> 1, power + 1);
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let sign_of_power = if power < 0 { "/" } else { "*" };
    let mut text = format!("({sign}{whole}.0");
    let mut left = power.abs();
    while left > 0 {
        let now = left.min(STEP);
        text.push_str(&format!(" {sign_of_power} {}.0", 1_u64 << now));
        left -= now;
    }
    text + ")"
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

    proptest::proptest! {
        #[test]
        fn every_number_is_the_same_to_the_last_bit(bits: u64) {
            let number = f64::from_bits(bits);
            proptest::prop_assume!(!number.is_nan());
            let database = Connection::open_in_memory().unwrap();
            let printed = Reals::new(&database).unwrap().print(number).unwrap();
            for text in [printed, exactly(number)] {
                let sql = format!("SELECT {text}");
                let read: f64 = database.query_row(&sql, [], |row| row.get(0)).unwrap();
                if number.is_finite() {
                    proptest::prop_assert_eq!(read.to_bits(), bits, "{}", text);
                }
            }
        }
    }

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
        let mut reals = Reals::new(&database).unwrap();
        for value in values {
            let sql = format!("SELECT {}", literal(value, &mut reals).unwrap());
            database
                .query_row(&sql, [], |row| {
                    assert_eq!(row.get_ref(0)?, value, "{sql}");
                    Ok(())
                })
                .unwrap();
        }
    }
}
