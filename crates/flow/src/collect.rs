//! What the streams have sealed so far, by table.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ObjectName, Phase, Progress, RowFormat, SegmentTask, SourcePlan};
use vault::{SegmentEntry, TableSheet};

use crate::FlowError;
use crate::error::Place;

/// Gathers the entries of all tables' sheets, and tells how far the phase is.
pub(crate) struct Collected {
    names: Vec<ObjectName>,
    formats: Vec<RowFormat>,
    tables: Mutex<Vec<Gathering>>,
    progress: Arc<dyn Progress>,
}

#[derive(Default)]
struct Gathering {
    /// Segments that are not sealed yet.
    left: usize,
    segments: Vec<SegmentEntry>,
}

impl Collected {
    /// Begins the phase DATA. A table without a segment is done at once.
    pub(crate) fn begin(plan: &SourcePlan, progress: Arc<dyn Progress>) -> Result<Self, FlowError> {
        let mut tables: Vec<Gathering> = Vec::new();
        tables.resize_with(plan.tables.len(), Gathering::default);
        for task in &plan.tasks {
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
        })
    }

    pub(crate) fn place(&self, doing: &'static str, task: &SegmentTask) -> Place {
        Place::rows(doing, &self.names[task.table], task.blocks)
    }

    pub(crate) fn format(&self, task: &SegmentTask) -> RowFormat {
        self.formats[task.table]
    }

    pub(crate) fn moved(&self, bytes: usize) {
        self.progress.bytes(Phase::Data, bytes as u64);
    }

    pub(crate) fn segment(&self, task: &SegmentTask, entry: SegmentEntry) {
        let mut tables = self.tables();
        let table = &mut tables[task.table];
        table.segments.push(entry);
        table.left -= 1;
        if table.left == 0 {
            self.progress.objects_done(Phase::Data, 1);
        }
    }

    /// One sheet a table, in the plan's order; `None` for a table that has no segment.
    pub(crate) fn sheets(&self) -> Result<Vec<Option<TableSheet>>, FlowError> {
        let mut tables = self.tables();
        if let Some(place) = tables.iter().position(|table| table.left > 0) {
            return Err(FlowError::Law {
                place: Place::named(Phase::Data, "reading", &self.names[place].to_string()),
                law: format!("{} segments were never read", tables[place].left),
            });
        }
        let sheets = tables.iter_mut().map(|table| {
            let mut segments = std::mem::take(&mut table.segments);
            segments.sort_by_key(|segment| segment.blocks.start);
            (!segments.is_empty()).then_some(TableSheet {
                segments,
                patches: Vec::new(),
            })
        });
        Ok(sheets.collect())
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Gathering>> {
        // A panic while it was held fails the run anyway.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
