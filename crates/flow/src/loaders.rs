//! The phase DATA of a restore: a loader takes the segments of one table in their order until none is
//! left, so that loaders keep out of each other's tables while they can; then it helps where most is
//! left to do.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::{LoadTask, ObjectName, Phase, Progress, SegmentLoader, Target};
use tokio::task::{JoinError, JoinSet};
use vault::{Patches, Saveset, SegmentEntry, TableSheet};

use crate::FlowError;
use crate::error::Place;
use crate::load::{At, Load, Loaded, load_segment};
use crate::supervise::{STOP_LIMIT, caught, panicked};

/// The tasks of the loaders. They outlive the steps, so that a run that is stopped can wait until
/// none of them touches the target any more.
pub(crate) type Loaders = JoinSet<Result<(), FlowError>>;

/// What the loaders share.
pub(crate) struct Loading {
    saveset: Saveset,
    tables: Vec<ObjectName>,
    progress: Arc<dyn Progress>,
    rest: Mutex<Rest>,
    /// Bytes of the vault that were read.
    bytes_read: Arc<AtomicU64>,
    rows: Arc<AtomicU64>,
    /// The rows of each table by the manifest.
    expected: Vec<u64>,
    /// The tables whose rows are wanted.
    wanted: u64,
}

/// What is left of each table.
#[derive(Default)]
struct Rest(Vec<RestOfTable>);

#[derive(Default)]
struct RestOfTable {
    /// Segments that no loader has taken, the last one first.
    waiting: Vec<Load>,
    /// Bytes of them.
    bytes: u64,
    /// Loaders that took one last.
    loaders: u64,
    /// Segments that are not loaded yet.
    left: usize,
    /// Rows that are loaded.
    counted: u64,
}

impl Rest {
    fn of(tables: impl Iterator<Item = Vec<Load>>) -> Self {
        let rest = tables.map(|mut loads| {
            // Rows come to lie as they lay in the source.
            loads.reverse();
            RestOfTable {
                bytes: loads.iter().map(|load| load.task.bytes).sum(),
                left: loads.len(),
                waiting: loads,
                ..RestOfTable::default()
            }
        });
        Rest(rest.collect())
    }

    /// The next segment for a loader whose last one was of that table.
    fn take(&mut self, last: Option<usize>) -> Option<Load> {
        let at_hand = last.filter(|table| !self.0[*table].waiting.is_empty());
        let table = at_hand.or_else(|| {
            if let Some(last) = last {
                self.0[last].loaders -= 1;
            }
            let next = self.where_most_is_left()?;
            self.0[next].loaders += 1;
            Some(next)
        })?;
        let rest = &mut self.0[table];
        let load = rest.waiting.pop()?;
        rest.bytes -= load.task.bytes;
        Some(load)
    }

    /// The table where one more loader would have most to do, the first of equal ones.
    fn where_most_is_left(&self) -> Option<usize> {
        let tables = self.0.iter().enumerate();
        let waiting = tables.filter(|(_, rest)| !rest.waiting.is_empty());
        let most = waiting.max_by_key(|(table, rest)| {
            let share = rest.bytes / (rest.loaders + 1);
            (share, Reverse(*table))
        });
        most.map(|(table, _)| table)
    }
}

/// A table's sheet, and its patches.
pub(crate) type Sheet = (TableSheet, Arc<Patches>);

impl Loading {
    /// `sheets` are those of the tables of the database in that place, in their order; an empty one
    /// for a table that is not wanted.
    pub(crate) fn new(
        saveset: Saveset,
        database: usize,
        sheets: Vec<Sheet>,
        wanted: u64,
        progress: Arc<dyn Progress>,
        bytes_read: Arc<AtomicU64>,
        rows: Arc<AtomicU64>,
    ) -> Self {
        let sheets = sheets.into_iter().enumerate();
        let rest = Rest::of(sheets.map(|(table, (sheet, patches))| {
            let load = |entry| load_of(table, entry, patches.clone());
            sheet.segments.into_iter().map(load).collect()
        }));
        let tables = saveset.databases()[database].tables.iter();
        let expected = tables.clone().map(|table| table.rows).collect();
        Loading {
            tables: tables.map(|table| table.plan.name.clone()).collect(),
            saveset,
            progress,
            rest: Mutex::new(rest),
            expected,
            bytes_read,
            rows,
            wanted,
        }
    }

    /// Loads everything in up to `streams` loaders. All of them are dropped when it answers.
    pub(crate) async fn load_all(
        self: &Arc<Self>,
        target: &mut dyn Target,
        loaders: &mut Loaders,
        streams: usize,
    ) -> Result<(), FlowError> {
        self.progress.phase_started(Phase::Data, self.wanted);
        let (loads, empty) = self.rest(|rest| {
            let filled = rest.0.iter().filter(|table| table.left > 0).count();
            let loads = rest.0.iter().map(|table| table.left).sum();
            (loads, self.wanted.saturating_sub(filled as u64))
        });
        self.progress.objects_done(Phase::Data, empty);
        for _ in 0..streams.min(loads) {
            let loader = open(target, loaders).await?;
            let this = self.clone();
            loaders.spawn(async move { this.take_and_load(loader).await });
        }
        while let Some(ended) = loaders.join_next().await {
            checked(ended)?;
        }
        self.progress.phase_done(Phase::Data);
        Ok(())
    }

    async fn take_and_load(&self, mut loader: Box<dyn SegmentLoader>) -> Result<(), FlowError> {
        let mut last = None;
        while let Some(load) = self.rest(|rest| rest.take(last)) {
            last = Some(load.task.table);
            let at = At {
                table: &self.tables[load.task.table],
                blocks: load.task.blocks,
                progress: &*self.progress,
            };
            let loading = load_segment(&mut *loader, &self.saveset, &load, &at);
            let loaded = caught(at.place("loading"), loading).await?;
            self.loaded(load.task.table, &loaded)?;
        }
        Ok(())
    }

    /// Counts a segment. With the last one of a table its rows must be those that the saveset has.
    fn loaded(&self, table: usize, loaded: &Loaded) -> Result<(), FlowError> {
        self.bytes_read.fetch_add(loaded.stored, Ordering::Relaxed);
        self.rows.fetch_add(loaded.rows, Ordering::Relaxed);
        let whole = self.rest(|rest| {
            let rest = &mut rest.0[table];
            rest.left -= 1;
            rest.counted += loaded.rows;
            (rest.left == 0).then_some(rest.counted)
        });
        let (Some(counted), expected) = (whole, self.expected[table]) else {
            return Ok(());
        };
        if counted != expected {
            let name = self.tables[table].to_string();
            return Err(FlowError::RowsDiffer {
                place: Place::named(Phase::Data, "loading", &name),
                expected,
                counted,
            });
        }
        self.progress.objects_done(Phase::Data, 1);
        Ok(())
    }

    fn rest<T>(&self, look: impl FnOnce(&mut Rest) -> T) -> T {
        look(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One more loader, unless an earlier one fails meanwhile.
async fn open(
    target: &mut dyn Target,
    loaders: &mut Loaders,
) -> Result<Box<dyn SegmentLoader>, FlowError> {
    let mut opening = target.loader();
    loop {
        tokio::select! {
            biased;
            Some(ended) = loaders.join_next() => checked(ended)?,
            opened = &mut opening => {
                let place = Place::within(Phase::Data, "opening a stream to the target");
                return opened.map_err(|fault| place.fault(fault));
            }
        }
    }
}

fn checked(ended: Result<Result<(), FlowError>, JoinError>) -> Result<(), FlowError> {
    let place = Place::within(Phase::Data, "loading");
    ended.map_err(|error| panicked(place, error))?
}

fn load_of(table: usize, entry: SegmentEntry, patches: Arc<Patches>) -> Load {
    Load {
        task: LoadTask {
            table,
            blocks: entry.blocks,
            bytes: entry.plain_bytes,
            rows: entry.row_count,
        },
        entry,
        patches,
    }
}

/// Ends all loaders, and waits, not for ever, until they are gone.
pub(crate) async fn stop(loaders: &mut Loaders) {
    loaders.abort_all();
    let gone = async { while loaders.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_LIMIT, gone).await.is_err() {
        tracing::warn!("a loader does not stop; the target is taken away under it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{BlockRange, SavesetId};
    use vault::ContentHash;

    /// Segments of `bytes` each.
    fn loads(table: usize, bytes: &[u64]) -> Vec<Load> {
        let entry = |(block, bytes): (u32, &u64)| SegmentEntry {
            saveset: SavesetId::new(1).unwrap(),
            blocks: BlockRange {
                start: block,
                end: Some(block + 1),
            },
            narrowed: false,
            rows: Vec::new(),
            plain_bytes: *bytes,
            stored_bytes: 0,
            row_count: 0,
            index: Vec::new(),
            hash: ContentHash::of(&[]),
        };
        let entries = (0..).zip(bytes).map(entry);
        let load = |entry| load_of(table, entry, Arc::default());
        entries.map(load).collect()
    }

    fn names(load: &Option<Load>) -> Option<(usize, u32)> {
        let task = &load.as_ref()?.task;
        Some((task.table, task.blocks.start))
    }

    #[test]
    fn loaders_keep_to_a_table_each_and_help_where_most_is_left() {
        let tables = [
            loads(0, &[5]),
            loads(1, &[8, 9, 8]),
            loads(2, &[9, 9, 9, 9]),
        ];
        let mut rest = Rest::of(tables.into_iter());
        let (mut one, mut other) = (None, None);
        let mut next = |last: &mut Option<usize>| {
            let taken = names(&rest.take(*last));
            *last = taken.map(|(table, _)| table).or(*last);
            taken
        };
        assert_eq!(next(&mut one), Some((2, 0)));
        assert_eq!(next(&mut other), Some((1, 0)));
        assert_eq!(next(&mut one), Some((2, 1)));
        assert_eq!(next(&mut other), Some((1, 1)));
        assert_eq!(next(&mut other), Some((1, 2)));
        // A half of 18 is more than all of 5.
        assert_eq!(next(&mut other), Some((2, 2)));
        assert_eq!(next(&mut one), Some((2, 3)));
        assert_eq!(next(&mut one), Some((0, 0)));
        assert_eq!(next(&mut other), None);
    }

    #[test]
    fn one_table_that_has_nearly_everything_is_loaded_by_all() {
        let tables = [loads(0, &[3]), loads(1, &[10, 10, 10])];
        let mut rest = Rest::of(tables.into_iter());
        assert_eq!(names(&rest.take(None)), Some((1, 0)));
        assert_eq!(names(&rest.take(None)), Some((1, 1)));
    }
}
