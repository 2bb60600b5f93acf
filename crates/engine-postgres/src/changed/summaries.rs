//! WAL summaries: which are there, whether they join, and what they say.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use futures::TryStreamExt;
use model::BlockSet;
use tokio_postgres::Row;
use tokio_postgres::types::{PgLsn, ToSql};

use crate::error::PostgresError;
use crate::inventory::Oid;
use crate::session::Session;

use super::heap::Heap;
use super::rules::Rule;
use super::wal::{Boundary, Lsn};

/// A stretch of WAL that a summary is about; its end is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub start: Lsn,
    pub end: Lsn,
}

/// What was written to a heap.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Written {
    /// Blocks, no more of them than were written.
    pub blocks: BlockSet,
    /// The lowest block at which it was cut off; `None`: it was not.
    pub limit: Option<u32>,
}

/// What was written to a database.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// By heap.
    pub heaps: HashMap<Heap, Written>,
    /// The tablespaces in which the database was made anew.
    pub remade: HashSet<Oid>,
}

/// The summaries of a timeline, by their beginnings.
pub(super) async fn list(session: &Session, timeline: u32) -> Result<Vec<Stretch>, PostgresError> {
    let sql = include_str!("../../sql/summaries_17.sql");
    let doing = "listing the WAL summaries";
    let rows = session.rows(sql, &[&i64::from(timeline)], doing).await?;
    let stretches = rows.iter().map(|row| Stretch {
        start: row.get::<_, PgLsn>(0).into(),
        end: row.get::<_, PgLsn>(1).into(),
    });
    Ok(stretches.collect())
}

/// Those that cover the WAL from `from` up to `to`; or where the first gap is.
pub(super) fn join(listed: &[Stretch], from: Lsn, to: Lsn) -> Result<Vec<Stretch>, Lsn> {
    let mut covered = from;
    let mut joined = Vec::new();
    for stretch in listed.iter().filter(|s| s.end > from && s.start < to) {
        if stretch.start > covered && Rule::NoGaps.holds() {
            return Err(covered);
        }
        covered = covered.max(stretch.end);
        joined.push(*stretch);
    }
    match covered < to && Rule::NoGaps.holds() {
        true => Err(covered),
        false => Ok(joined),
    }
}

/// The summary that holds the last record before that place.
pub(super) fn covering(listed: &[Stretch], place: Lsn) -> Option<Stretch> {
    let covers = |s: &&Stretch| s.start < place && place <= s.end;
    listed.iter().find(covers).copied()
}

/// What a summary says, as a hash.
pub(super) async fn boundary(
    session: &Session,
    timeline: u32,
    stretch: Stretch,
) -> Result<Boundary, PostgresError> {
    let sql = include_str!("../../sql/summary_17.sql");
    let (start, end) = (stretch.start.parameter(), stretch.end.parameter());
    let mut hasher = blake3::Hasher::new();
    read(session, sql, &[&i64::from(timeline), &start, &end], |row| {
        for oid in 0..3 {
            hasher.update(&row.get::<_, Oid>(oid).to_le_bytes());
        }
        hasher.update(&row.get::<_, i16>(3).to_le_bytes());
        hasher.update(&row.get::<_, i64>(4).to_le_bytes());
        hasher.update(&[u8::from(row.get::<_, bool>(5))]);
    })
    .await?;
    Ok(Boundary {
        start: stretch.start,
        end: stretch.end,
        content: hasher.finalize().to_hex().to_string(),
    })
}

/// What summaries say about these files of a database.
pub(super) async fn changes(
    session: &Session,
    timeline: u32,
    joined: &[Stretch],
    database: Oid,
    files: &[Oid],
) -> Result<Changes, PostgresError> {
    let sql = include_str!("../../sql/written_17.sql");
    let starts: Vec<PgLsn> = joined.iter().map(|s| s.start.parameter()).collect();
    let ends: Vec<PgLsn> = joined.iter().map(|s| s.end.parameter()).collect();
    let mut changes = Changes::default();
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&i64::from(timeline), &starts, &ends, &database, &files];
    read(session, sql, &parameters, |row| {
        let heap = Heap {
            relfilenode: row.get(0),
            tablespace: row.get(1),
        };
        changes.add(heap, row.get(2), row.get(3));
    })
    .await?;
    Ok(changes)
}

impl Changes {
    fn add(&mut self, heap: Heap, block: i64, is_limit: bool) {
        if heap.relfilenode == 0 {
            self.remade.insert(heap.tablespace);
            return;
        }
        let written = self.heaps.entry(heap).or_default();
        let block = u32::try_from(block).unwrap_or(0);
        match is_limit {
            true => written.limit = Some(written.limit.map_or(block, |limit| limit.min(block))),
            false => {
                written.blocks.insert(block);
            }
        }
    }
}

async fn read(
    session: &Session,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    mut take: impl FnMut(Row),
) -> Result<(), PostgresError> {
    let doing = "reading WAL summaries";
    let parameters = parameters.iter().map(|p| *p as &(dyn ToSql + Sync));
    let rows = session.raw()?.query_raw(sql, parameters).await;
    let mut rows = pin!(rows.map_err(PostgresError::query(doing))?);
    while let Some(row) = rows.try_next().await.map_err(PostgresError::query(doing))? {
        take(row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(ends: &[u64]) -> Vec<Stretch> {
        let pairs = ends.windows(2);
        let one = |pair: &[u64]| Stretch {
            start: Lsn::at(pair[0]),
            end: Lsn::at(pair[1]),
        };
        pairs.map(one).collect()
    }

    #[test]
    fn summaries_cover_a_window_only_without_a_gap() {
        let mut listed = stretches(&[10, 20, 30, 40]);
        let joined = |listed: &[Stretch], from, to| {
            join(listed, Lsn::at(from), Lsn::at(to)).map(|joined| joined.len())
        };
        assert_eq!(joined(&listed, 15, 35), Ok(3));
        assert_eq!(joined(&listed, 20, 30), Ok(1));
        assert_eq!(joined(&listed, 10, 40), Ok(3));
        assert_eq!(joined(&listed, 25, 25), Ok(1));
        assert_eq!(joined(&listed, 9, 20), Err(Lsn::at(9)));
        assert_eq!(joined(&listed, 15, 41), Err(Lsn::at(40)));
        assert_eq!(joined(&[], 15, 16), Err(Lsn::at(15)));
        listed.remove(1);
        assert_eq!(joined(&listed, 15, 35), Err(Lsn::at(20)));
    }

    #[test]
    fn the_summary_that_covers_a_place_holds_the_record_before_it() {
        let listed = stretches(&[10, 20, 30]);
        let covering = |place| covering(&listed, Lsn::at(place)).map(|s| s.start);
        assert_eq!(covering(20), Some(Lsn::at(10)));
        assert_eq!(covering(21), Some(Lsn::at(20)));
        assert_eq!(covering(10), None);
        assert_eq!(covering(31), None);
    }

    #[test]
    fn the_lowest_limit_counts_and_a_database_made_anew_is_seen() {
        let mut changes = Changes::default();
        let heap = Heap {
            tablespace: 1663,
            relfilenode: 16384,
        };
        changes.add(heap, 7, false);
        changes.add(heap, 9, true);
        changes.add(heap, 3, true);
        changes.add(heap, 5, true);
        let nameless = Heap {
            relfilenode: 0,
            ..heap
        };
        changes.add(nameless, 0, true);
        assert_eq!(changes.heaps.len(), 1);
        assert_eq!(changes.heaps[&heap].limit, Some(3));
        assert!(changes.heaps[&heap].blocks.contains(7));
        assert!(changes.remade.contains(&1663));
    }
}
