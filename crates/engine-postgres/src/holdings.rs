//! What a database holds, in figures: a row count and an order-free hash of each table. Two
//! databases with the same figures hold the same rows. The proof of `backstay try`.

use std::collections::BTreeMap;

use model::Connection;

use crate::connect;
use crate::error::PostgresError;
use crate::session::Session;

const APPLICATION: &str = "backstay try";
const TABLES: &str = include_str!("../sql/held_tables_14.sql");
const SEQUENCES: &str = include_str!("../sql/held_sequences_14.sql");
const LARGE_OBJECTS: &str = include_str!("../sql/held_large_objects_14.sql");

/// What one object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Rows of a table, large objects of a database; `None` for a sequence.
    pub count: Option<u64>,
    /// The sum of the rows' hashes, or a sequence's value.
    pub figures: String,
}

/// Everything that a database holds, as one snapshot shows it: `table public.orders` → figures.
///
/// Every row is read on the server; nothing but figures comes back. Tables of extensions are left
/// out, and large objects where the user may not read them.
///
/// # Errors
/// When the database cannot be reached, or a table may not be read: a figure that leaves rows out
/// would prove nothing.
pub async fn holdings(
    connection: &Connection,
    database: &str,
) -> Result<BTreeMap<String, Holding>, PostgresError> {
    let session = connect::open(connection, None, Some(database), APPLICATION).await?;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    session.run(begin, "opening a snapshot").await?;
    let mut held = BTreeMap::new();
    for table in session
        .rows(TABLES, &[], "listing the tables to compare")
        .await?
    {
        let (name, columns): (String, String) = (table.get(0), table.get(1));
        let holding = table_holding(&session, &name, &columns).await?;
        held.insert(format!("table {name}"), holding);
    }
    for sequence in session
        .rows(SEQUENCES, &[], "listing the sequences to compare")
        .await?
    {
        let name: String = sequence.get(0);
        let figures = sequence_figures(&session, &name).await?;
        held.insert(
            format!("sequence {name}"),
            Holding {
                count: None,
                figures,
            },
        );
    }
    if let Some(holding) = large_objects(&session).await? {
        held.insert("large objects".to_owned(), holding);
    }
    session.close().await;
    Ok(held)
}

async fn table_holding(
    session: &Session,
    name: &str,
    columns: &str,
) -> Result<Holding, PostgresError> {
    // Summed as NUMERIC, which neither overflows nor swallows equal rows in pairs.
    let query = format!(
        "SELECT pg_catalog.count(*),
                coalesce(pg_catalog.sum(pg_catalog.hashtextextended(
                    ROW({columns})::pg_catalog.text, 0)::pg_catalog.numeric), 0)::pg_catalog.text
         FROM ONLY {name} AS t"
    );
    let row = session
        .row(&query, &[], &format!("reading {name} to compare it"))
        .await?;
    Ok(Holding {
        count: Some(row.get::<_, i64>(0).unsigned_abs()),
        figures: row.get(1),
    })
}

async fn sequence_figures(session: &Session, name: &str) -> Result<String, PostgresError> {
    let query = format!(
        "SELECT last_value::pg_catalog.text || CASE WHEN is_called THEN ', used' ELSE ', not used' END
         FROM {name}"
    );
    let doing = format!("reading the sequence {name} to compare it");
    Ok(session.row(&query, &[], &doing).await?.get(0))
}

async fn large_objects(session: &Session) -> Result<Option<Holding>, PostgresError> {
    let may = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')";
    let doing = "reading the large objects to compare them";
    if !session.row(may, &[], doing).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = session.row(LARGE_OBJECTS, &[], doing).await?;
    let count = row.get::<_, i64>(0).unsigned_abs();
    Ok(Some(Holding {
        count: Some(count),
        figures: row.get(1),
    }))
}

/// Which of `names` no database of the server has yet: the first.
///
/// # Errors
/// When the server cannot be asked.
pub async fn first_free_name(
    connection: &Connection,
    names: impl IntoIterator<Item = String> + Send,
) -> Result<Option<String>, PostgresError> {
    let session = connect::open(connection, None, None, APPLICATION).await?;
    let query = "SELECT datname::pg_catalog.text FROM pg_catalog.pg_database";
    let rows = session.rows(query, &[], "listing the databases").await?;
    session.close().await;
    let taken: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(names.into_iter().find(|name| !taken.contains(name)))
}

/// Drops a database that is no longer needed. It is for databases of our own making only: there
/// is no way back.
///
/// # Errors
/// When somebody is connected to it, or it is not ours to drop.
pub async fn drop_database(connection: &Connection, name: &str) -> Result<(), PostgresError> {
    let session = connect::open(connection, None, None, APPLICATION).await?;
    let doing = format!("dropping the database {name:?}");
    // The server quotes the name: it knows its own rules.
    let quoting = "SELECT pg_catalog.format('DROP DATABASE %I', $1::pg_catalog.text)";
    let statement: String = session.row(quoting, &[&name], &doing).await?.get(0);
    session.run(&statement, &doing).await?;
    session.close().await;
    Ok(())
}
