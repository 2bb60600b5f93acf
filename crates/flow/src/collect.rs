//! What the streams have sealed so far, by table.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{BlockIndex, ObjectName, Phase, Progress, RowFormat, SegmentTask, SourcePlan};
use vault::SegmentEntry;

use crate::FlowError;
use crate::delta::{Gathered, Ready, Task};
use crate::error::Place;

/// Gathers the entries of all tables' sheets, and tells how far the phase is.
pub(crate) struct Collected {
    names: Vec<ObjectName>,
    formats: Vec<RowFormat>,
    tables: Mutex<Vec<Gathering>>,
    progress: Arc<dyn Progress>,
    bytes_read: AtomicU64,
}

#[derive(Default)]
struct Gathering {
    /// Tasks that are not done yet.
    left: usize,
    read: Gathered,
}

impl Collected {
    /// Begins the phase DATA. A table without a task is done at once.
    pub(crate) fn begin(
        plan: &SourcePlan,
        tasks: &[Task],
        progress: Arc<dyn Progress>,
    ) -> Result<Self, FlowError> {
        let mut tables: Vec<Gathering> = Vec::new();
        tables.resize_with(plan.tables.len(), Gathering::default);
        for task in tasks {
            let table = tables.get_mut(task.table).ok_or_else(|| FlowError::Law {
                place: Place::within(Phase::Data, "planning"),
                law: format!(
                    "a task names table {}, which it has not planned",
                    task.table
                ),
            })?;
            table.left += 1;
        }
        let empty = tables.iter().filter(|table| table.left == 0).count();
        progress.phase_started(Phase::Data, tables.len() as u64);
        progress.objects_done(Phase::Data, empty as u64);
        Ok(Collected {
            names: plan.tables.iter().map(|table| table.name.clone()).collect(),
            formats: plan.tables.iter().map(|table| table.format).collect(),
            tables: Mutex::new(tables),
            progress,
            bytes_read: AtomicU64::new(0),
        })
    }

    pub(crate) fn place(&self, doing: &'static str, task: &SegmentTask) -> Place {
        Place::rows(doing, &self.names[task.table], task.blocks)
    }

    pub(crate) fn format(&self, task: &SegmentTask) -> RowFormat {
        self.formats[task.table]
    }

    pub(crate) fn moved(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.progress.bytes(Phase::Data, bytes);
    }

    /// A task is done. No entry: it was a patch's, and nothing had changed.
    pub(crate) fn done(&self, ready: &Ready, index: &BlockIndex, entry: Option<SegmentEntry>) {
        self.moved(ready.bytes_left_out(index));
        let mut tables = self.tables();
        let table = &mut tables[ready.task.table];
        table.read.add(ready, index, entry);
        table.left -= 1;
        if table.left == 0 {
            self.progress.objects_done(Phase::Data, 1);
        }
    }

    /// Bytes that were read, those too that need not be stored.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// What was read of each table, in the plan's order.
    pub(crate) fn gathered(&self) -> Result<Vec<Gathered>, FlowError> {
        let mut tables = self.tables();
        if let Some(place) = tables.iter().position(|table| table.left > 0) {
            return Err(FlowError::Law {
                place: Place::named(Phase::Data, "reading", &self.names[place].to_string()),
                law: format!("{} segments were never read", tables[place].left),
            });
        }
        let gathered = tables.iter_mut().map(|table| {
            let mut read = std::mem::take(&mut table.read);
            read.segments.sort_by_key(|segment| segment.blocks.start);
            read.patches.sort_by_key(|patch| patch.blocks.start);
            read
        });
        Ok(gathered.collect())
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Gathering>> {
        // A panic while it was held fails the run anyway.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
