//! Where a table's rows lie.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::PostgresError;
use crate::inventory::Oid;
use crate::session::Session;

/// A file of a database. Together with the database it is the key into WAL summaries: TRUNCATE,
/// VACUUM FULL, CLUSTER and rewrites take another file, SET TABLESPACE another tablespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Heap {
    /// Its tablespace, never 0.
    pub tablespace: Oid,
    /// Its number.
    pub relfilenode: Oid,
}

/// What is noted of a table for the backup that builds on this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeapFacts {
    /// The table.
    pub oid: Oid,
    /// Its file, read under its lock.
    #[serde(flatten)]
    pub heap: Heap,
    /// Its blocks, seen after the snapshot.
    pub blocks: u32,
}

/// The files of tables, which are locked.
pub(crate) async fn heaps(
    session: &Session,
    tables: &[Oid],
) -> Result<HashMap<Oid, Heap>, PostgresError> {
    let sql = include_str!("../../sql/heaps_14.sql");
    let rows = session
        .rows(sql, &[&tables], "reading where tables lie")
        .await?;
    let heaps = rows.iter().filter_map(|row| {
        let heap = Heap {
            relfilenode: row.get::<_, Option<Oid>>(1)?,
            tablespace: row.get(2),
        };
        Some((row.get(0), heap))
    });
    Ok(heaps.collect())
}
