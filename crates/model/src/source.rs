//! The seam that a backup reads through.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Base, Basis, Beat, BlockIndex, ChangedBlocks, DatabaseSelection, ObjectName, ObjectType,
    Outcome, Progress, RowFormat, SegmentTask, ServerExecutionId,
};

/// What a source is asked for.
#[derive(Clone)]
pub struct SourceRequest {
    /// What to read: one database, or a part of it.
    pub selection: DatabaseSelection,
    /// Whether others may write meanwhile. `false`: tables are locked against writes before the
    /// snapshot is taken, until the last row is read.
    pub online: bool,
    /// How many readers will be asked for, 1 or more.
    pub streams: usize,
    /// Goes into the connections' `application_name`.
    pub server_execution_id: ServerExecutionId,
    /// How long locks that others wait for are kept; `None`: for ever.
    pub yield_to_ddl: Option<Duration>,
    /// How old the snapshot may become; `None`: as old as it must.
    pub max_snapshot: Option<Duration>,
    /// Whether an object that may not be read is skipped, not an error.
    pub skip_without_rights: bool,
    /// What a DELTA builds on; `None`: everything is read.
    pub base: Option<Arc<Base>>,
    /// The site's beats of about the last day, oldest first ([`Engine::beat`](crate::Engine::beat)).
    pub beats: Vec<Beat>,
    /// Told of warnings, skipped objects and the phase DICTIONARY.
    pub progress: Arc<dyn Progress>,
}

/// One part of the dictionary, read to its end by flow and sealed frame by frame.
pub struct DictionaryPart {
    /// Its name, unique in its database: `schema.dump`, `globals.sql`, `database.json`.
    pub name: String,
    /// Its bytes. Read on a blocking thread.
    pub body: Box<dyn Read + Send>,
}

/// An object of the saveset, as row 8 of the contract lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavesetObject {
    /// Its name.
    pub name: ObjectName,
    /// Its type.
    pub object_type: ObjectType,
    /// What it is in.
    pub parent_name: ObjectName,
    /// The type of what it is in.
    pub parent_type: ObjectType,
    /// The place in the plan of the table that holds its rows; `None`: it has none of its own.
    pub table: Option<usize>,
}

/// A table, or whatever else has rows in blocks (large objects, the pages of a SQLite file).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TablePlan {
    /// Its name: schema and table; for SQLite the file.
    pub name: ObjectName,
    /// How its rows are written.
    pub format: RowFormat,
    /// What changes the rows' form without touching a block. Rows of another shape are never
    /// mixed in one sheet.
    pub shape: String,
    /// What the engine needs to load it again: columns, kind, … Opaque to all but the engine.
    pub facts: Value,
}

/// What will be read.
#[derive(Debug, Clone, Default)]
pub struct SourcePlan {
    /// The tables.
    pub tables: Vec<TablePlan>,
    /// All objects, with and without rows.
    pub objects: Vec<SavesetObject>,
    /// The ranges that are read whole, largest first. A table without one has no rows, or others that
    /// its basis tells.
    pub tasks: Vec<SegmentTask>,
    /// Of a DELTA: for each table what of the base holds. Empty without a base.
    pub basis: Vec<Basis>,
    /// Of a DELTA: how changed blocks are found.
    pub changed_blocks: Option<ChangedBlocks>,
}

/// Closing facts of a source for the manifest: versioned by the engine, opaque to all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosingFacts(pub Value);

/// One consistent snapshot. The order of calls is: dictionary, plan, readers, *drop of all
/// readers*, late_dictionary, finish.
#[async_trait]
pub trait Source: Send {
    /// DDL and other facts about the objects.
    async fn dictionary(&mut self) -> Outcome<Vec<DictionaryPart>>;

    /// Tables, objects and tasks.
    async fn plan(&mut self) -> Outcome<SourcePlan>;

    /// A reader of the same snapshot, for one stream.
    async fn reader(&mut self) -> Outcome<Box<dyn SegmentReader>>;

    /// Parts of the dictionary that may be read only after the rows: sequences' values.
    async fn late_dictionary(&mut self) -> Outcome<Vec<DictionaryPart>>;

    /// Checks that nothing changed under the rows, and closes the snapshot. A fault with
    /// [`Retry::NewAttempt`](crate::Retry::NewAttempt) means: what was read is mixed, begin anew.
    async fn finish(self: Box<Self>) -> Outcome<ClosingFacts>;
}

/// Takes filled buffers and gives empty ones: nothing is copied between reader and sealer.
pub trait PieceSink: Send {
    /// An empty buffer with room for [`FRAME_BYTES`](crate::FRAME_BYTES). Waits until one is free.
    fn buffer(&mut self) -> Outcome<Vec<u8>>;
    /// Hands over a buffer of 1 to [`FRAME_BYTES`](crate::FRAME_BYTES) bytes.
    fn full(&mut self, buffer: Vec<u8>) -> Outcome<()>;
}

/// What a segment or patch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRead {
    /// Block → rows, covering every byte that went to the sink, with a hash for each block. A patch's
    /// lists what [`Patching`](crate::Patching) says; no block at all: nothing changed.
    pub index: BlockIndex,
}

/// Reads segments on a blocking thread.
///
/// The law: rows may span pieces; the index covers every byte; blocks ascend; nothing is
/// allocated per row, and no row is held whole. [`BlockWriter`](crate::BlockWriter) keeps it.
pub trait SegmentReader: Send {
    /// Reads one segment into the sink.
    fn read(&mut self, task: &SegmentTask, sink: &mut dyn PieceSink) -> Outcome<SegmentRead>;

    /// What stops a `read` that is under way from another thread: dropping it sends the cancel
    /// and closes the connection; the `read` then ends with an error.
    fn canceller(&self) -> CancelOnDrop;
}

/// Runs its action when dropped, unless it was disarmed.
pub struct CancelOnDrop(Option<Box<dyn FnOnce() + Send>>);

impl CancelOnDrop {
    /// A canceller that does that.
    pub fn new(action: impl FnOnce() + Send + 'static) -> Self {
        CancelOnDrop(Some(Box::new(action)))
    }

    /// The work is over: dropping does nothing from now on.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(action) = self.0.take() {
            action();
        }
    }
}
