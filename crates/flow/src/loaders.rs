//! The phase DATA of a restore: loaders take the largest segment left, whatever its table.

use std::collections::VecDeque;
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

struct Rest {
    /// Largest first.
    loads: VecDeque<Load>,
    /// Segments of each table that are not loaded yet.
    left: Vec<usize>,
    /// Rows of each table that are loaded.
    counted: Vec<u64>,
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
        let left: Vec<usize> = sheets
            .iter()
            .map(|(sheet, _)| sheet.segments.len())
            .collect();
        let tasks = sheets
            .into_iter()
            .enumerate()
            .flat_map(|(table, (sheet, patches))| {
                let load = move |entry| load_of(table, entry, patches.clone());
                sheet.segments.into_iter().map(load)
            });
        let mut loads: Vec<Load> = tasks.collect();
        loads.sort_by_key(|load| std::cmp::Reverse(load.task.bytes));
        let tables = saveset.databases()[database].tables.iter();
        let expected = tables.clone().map(|table| table.rows).collect();
        Loading {
            tables: tables.map(|table| table.plan.name.clone()).collect(),
            saveset,
            progress,
            rest: Mutex::new(Rest {
                loads: loads.into(),
                counted: vec![0; left.len()],
                left,
            }),
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
            let filled = rest.left.iter().filter(|left| **left > 0).count();
            (rest.loads.len(), self.wanted.saturating_sub(filled as u64))
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
        while let Some(load) = self.rest(|rest| rest.loads.pop_front()) {
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
            rest.left[table] -= 1;
            rest.counted[table] += loaded.rows;
            (rest.left[table] == 0).then_some(rest.counted[table])
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
