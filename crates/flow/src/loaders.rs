//! The phase DATA of a restore: loaders take the largest segment left, whatever its table.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::{LoadTask, ObjectName, Phase, Progress, SegmentLoader, Target};
use tokio::task::{JoinError, JoinSet};
use vault::{Saveset, SegmentEntry, TableSheet};

use crate::FlowError;
use crate::error::Place;
use crate::load::{At, Load, load_segment};
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
    /// The tables whose rows are wanted.
    wanted: u64,
}

struct Rest {
    /// Largest first.
    loads: VecDeque<Load>,
    /// Segments of each table that are not loaded yet.
    left: Vec<usize>,
}

impl Loading {
    /// `sheets` are those of the tables of the database in that place, in their order; an empty one
    /// for a table that is not wanted.
    pub(crate) fn new(
        saveset: Saveset,
        database: usize,
        sheets: Vec<TableSheet>,
        wanted: u64,
        progress: Arc<dyn Progress>,
        bytes_read: Arc<AtomicU64>,
        rows: Arc<AtomicU64>,
    ) -> Self {
        let left = sheets.iter().map(|sheet| sheet.segments.len()).collect();
        let tasks = sheets.into_iter().enumerate().flat_map(|(table, sheet)| {
            let load = move |entry| load_of(table, entry);
            sheet.segments.into_iter().map(load)
        });
        let mut loads: Vec<Load> = tasks.collect();
        loads.sort_by_key(|load| std::cmp::Reverse(load.task.bytes));
        let tables = saveset.databases()[database].tables.iter();
        Loading {
            tables: tables.map(|table| table.plan.name.clone()).collect(),
            saveset,
            progress,
            rest: Mutex::new(Rest {
                loads: loads.into(),
                left,
            }),
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
            let stored = caught(at.place("loading"), loading).await?;
            self.loaded(&load, stored);
        }
        Ok(())
    }

    fn loaded(&self, load: &Load, stored: u64) {
        self.bytes_read.fetch_add(stored, Ordering::Relaxed);
        self.rows.fetch_add(load.task.rows, Ordering::Relaxed);
        let table_done = self.rest(|rest| {
            let left = &mut rest.left[load.task.table];
            *left -= 1;
            *left == 0
        });
        if table_done {
            self.progress.objects_done(Phase::Data, 1);
        }
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

fn load_of(table: usize, entry: SegmentEntry) -> Load {
    Load {
        task: LoadTask {
            table,
            blocks: entry.blocks,
            bytes: entry.plain_bytes,
            rows: entry.row_count,
        },
        entry,
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
