//! The one way in which two databases are called equal: row count and an order-free hash of each
//! table, the sequences' values, the large objects' hashes.
//!
//! The order of rows does not count, nor that of columns: a restored inheritance child has its
//! columns in another order. Names and types do: a row is hashed as PostgreSQL prints it.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use tokio_postgres::{Error, GenericClient};

/// What a database holds: `table public.item` → `1000 rows, hash 8341`.
pub type Digest = BTreeMap<String, String>;

/// What makes PostgreSQL print one value in one way, and never hide a row silently.
const SESSION: &str = "SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET timezone = 'UTC';
    SET bytea_output = 'hex'; SET extra_float_digits = 3; SET lc_monetary = 'C';
    SET search_path = ''; SET row_security = off; SET statement_timeout = 0;";

/// Tables that have rows of their own (each leaf of a partitioned one) and filled materialized
/// views, each with the expression of its row: the columns by name.
const TABLES: &str = "
    SELECT format('%I.%I', n.nspname, c.relname),
           coalesce(string_agg('t.' || quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE \"C\"), '')
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
    GROUP BY n.nspname, c.relname";

const SEQUENCES: &str = "
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND c.relpersistence <> 't'";

/// `lo_get` fills the holes of a sparse object, as every reader of it does.
const LARGE_OBJECTS: &str = "
    SELECT oid::text, sha256(lo_get(oid))::text FROM pg_catalog.pg_largeobject_metadata";

/// The digest of the client's database, as the client sees it: inside a transaction that has set an
/// exported snapshot, that snapshot. Changes settings of the session; needs a superuser's rights.
pub async fn digest(client: &impl GenericClient) -> Result<Digest, Error> {
    client.batch_execute(SESSION).await?;
    let mut digest = Digest::new();
    for table in client.query(TABLES, &[]).await? {
        let (name, columns): (String, String) = (table.get(0), table.get(1));
        // The sum is over NUMERIC, so that it neither overflows nor swallows equal rows in pairs.
        let query = format!(
            "SELECT format('%s rows, hash %s', count(*),
                           coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0))
             FROM ONLY {name} AS t"
        );
        let value = client.query_one(&query, &[]).await?.get(0);
        digest.insert(format!("table {name}"), value);
    }
    for sequence in client.query(SEQUENCES, &[]).await? {
        let name: String = sequence.get(0);
        let query = format!("SELECT format('%s, called %s', last_value, is_called) FROM {name}");
        let value = client.query_one(&query, &[]).await?.get(0);
        digest.insert(format!("sequence {name}"), value);
    }
    for object in client.query(LARGE_OBJECTS, &[]).await? {
        let oid: String = object.get(0);
        digest.insert(format!("large object {oid}"), object.get(1));
    }
    Ok(digest)
}

/// The digest of a SQLite file, opened read-only: its tables, by the same rules.
pub fn sqlite_digest(file: &Path) -> rusqlite::Result<Digest> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let mut database = rusqlite::Connection::open_with_flags(file, flags)?;
    // One read transaction: all tables as of the same moment.
    let database = database.transaction()?;
    let mut tables = database.prepare(
        "SELECT name FROM pragma_table_list
         WHERE schema = 'main' AND type = 'table' AND name NOT IN ('sqlite_schema', 'sqlite_stat1')",
    )?;
    let names: Vec<String> = tables
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut digest = Digest::new();
    for name in names {
        digest.insert(format!("table {name}"), sqlite_table(&database, &name)?);
    }
    Ok(digest)
}

fn sqlite_table(database: &rusqlite::Connection, name: &str) -> rusqlite::Result<String> {
    let mut columns = database.prepare("SELECT name FROM pragma_table_xinfo(?1) ORDER BY name")?;
    let columns: Vec<String> = columns
        .query_map([name], |row| Ok(quoted(&row.get::<_, String>(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let query = format!("SELECT {} FROM {}", columns.join(", "), quoted(name));
    let mut statement = database.prepare(&query)?;
    let mut rows = statement.query([])?;
    let (mut count, mut sum) = (0_u64, 0_u128);
    while let Some(row) = rows.next()? {
        let mut hasher = blake3::Hasher::new();
        for column in 0..columns.len() {
            hash_value(&mut hasher, row.get_ref(column)?);
        }
        let hash = hasher.finalize();
        let (low, _) = hash.as_bytes().split_at(8);
        count += 1;
        sum += u128::from(u64::from_le_bytes(low.try_into().expect("8 bytes")));
    }
    Ok(format!("{count} rows, hash {sum}"))
}

/// Kind, length and bytes: no two rows of different values give the same bytes.
fn hash_value(hasher: &mut blake3::Hasher, value: ValueRef<'_>) {
    let integer;
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(n) => {
            integer = n.to_le_bytes();
            (1, &integer)
        }
        ValueRef::Real(n) => {
            integer = n.to_bits().cast_signed().to_le_bytes();
            (2, &integer)
        }
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(blob) => (4, blob),
    };
    hasher.update(&[kind]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What differs, one line each; nothing where they are equal.
pub fn differences(expected: &Digest, found: &Digest) -> Vec<String> {
    let absent = "absent".to_owned();
    let mut names: Vec<&String> = expected.keys().chain(found.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let value = |digest: &Digest| digest.get(name).unwrap_or(&absent).clone();
            (name, value(expected), value(found))
        })
        .filter(|(_, expected, found)| expected != found)
        .map(|(name, expected, found)| format!("{name}: expected {expected}, found {found}"))
        .collect()
}

/// Fails the test with the differences, if there are any. Two empty digests prove nothing, and
/// fail too.
#[track_caller]
pub fn assert_equal(expected: &Digest, found: &Digest) {
    assert!(!expected.is_empty(), "nothing to compare with");
    let differences = differences(expected, found);
    assert!(
        differences.is_empty(),
        "the databases differ:\n{}",
        differences.join("\n")
    );
}

#[cfg(test)]
mod tests;
