//! The seam that a restore writes through.

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    BlockRange, ClosingFacts, DatabaseSelection, ObjectName, Outcome, Progress, SavesetObject,
    ServerExecutionId, SiteType, TablePlan,
};

/// Gives the parts of a saveset's dictionary.
#[async_trait]
pub trait DictionaryReader: Send + Sync {
    /// The names of all parts.
    fn parts(&self) -> Vec<String>;
    /// Writes one part, checked, into `sink`; `false` if the saveset has no such part.
    async fn write_to(&self, part: &str, sink: &mut (dyn Write + Send)) -> Outcome<bool>;
}

/// A table of the saveset, with what its sheet says.
#[derive(Debug, Clone)]
pub struct RestoreTable {
    /// As the source planned it.
    pub plan: TablePlan,
    /// Its rows.
    pub rows: u64,
    /// The bytes of its rows, unpacked.
    pub bytes: u64,
}

/// What a target is asked for: one database or a part of it, back in place or under another name.
/// A restore of several databases has one target each.
#[derive(Clone)]
pub struct RestoreRequest {
    /// What the saveset was made from.
    pub source_type: SiteType,
    /// The database in the saveset, and what of it is wanted. Objects that are chosen by themselves
    /// are put into the target database if it is there, beside what it holds; else it is made.
    pub selection: DatabaseSelection,
    /// What of that database the saveset holds.
    pub saved: DatabaseSelection,
    /// Its name on the target; the same as the saveset's for *back in its place*.
    pub target_database: ObjectName,
    /// Only new objects: anything in the way is an obstacle; unknown owners and grantees are left
    /// out with a warning. Otherwise unknown roles are an obstacle.
    pub as_copy: bool,
    /// Whether a filled target database may be put aside and replaced.
    pub replace_existing: bool,
    /// Leave out statistics.
    pub skip_statistics: bool,
    /// Leave out secondary indexes that are no constraint.
    pub skip_indexes: bool,
    /// How many loaders will be asked for, 1 or more.
    pub streams: usize,
    /// Goes into the connections' `application_name` and into working names.
    pub server_execution_id: ServerExecutionId,
    /// Earlier runs of the same restore that have ended without a result. What a crash left of
    /// them under their working names is taken away by `prepare`, if nobody uses it.
    pub earlier: Vec<ServerExecutionId>,
    /// The tables of the database, in the manifest's order, those too that are not wanted: a
    /// [`LoadTask`] names one by its place.
    pub tables: Vec<RestoreTable>,
    /// All objects of the database in the saveset.
    pub objects: Vec<SavesetObject>,
    /// What the source said at its end.
    pub facts: ClosingFacts,
    /// The dictionary.
    pub dictionary: Arc<dyn DictionaryReader>,
    /// Told of warnings and of objects done in BUILD and POSTSCRIPT.
    pub progress: Arc<dyn Progress>,
}

/// Something that stops a restore before anything was touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The contract's code: `target-not-empty`, `target-exists`, `unknown-role`, …
    pub code: String,
    /// What is in the way, as a sentence.
    pub detail: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// What a target found before changing anything; also the answer of a dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// What stops it.
    pub obstacles: Vec<Obstacle>,
    /// What a person should know first.
    pub warnings: Vec<String>,
    /// What will be done, step by step.
    pub steps: Vec<String>,
    /// Bytes of rows that will be written, about; indexes come on top.
    pub bytes_needed: u64,
}

/// What a step left undone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepReport {
    /// Keys or indexes that could not be made, with the reason: COMPLETED_WITH_ERRORS.
    pub errors: Vec<String>,
}

/// Where the restored objects are now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The database's name.
    pub database: ObjectName,
    /// Where the one that stood there before is kept, if one did.
    pub kept: Option<ObjectName>,
}

/// One range of one table to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadTask {
    /// The table's place in [`RestoreRequest::tables`].
    pub table: usize,
    /// Which blocks the rows come from; rows arrive in block order.
    pub blocks: BlockRange,
    /// The bytes of the rows.
    pub bytes: u64,
    /// The rows.
    pub rows: u64,
}

/// Rows in pieces of about a frame; rows may span pieces.
#[async_trait]
pub trait RowStream: Send {
    /// The next piece, or `None` at the end.
    async fn next(&mut self) -> Outcome<Option<Bytes>>;
}

/// The place that a saveset is restored to. The order of calls is: findings, prepare, loaders,
/// *drop of all loaders*, build, postscript, then publish or discard.
#[async_trait]
pub trait Target: Send {
    /// Looks, and changes nothing.
    async fn findings(&mut self) -> Outcome<Findings>;

    /// Whether the rows of the table in that place of [`RestoreRequest::tables`] are wanted. Asked
    /// after `findings`; where the answer is no, neither its sheet nor its rows are read.
    fn wants(&self, _table: usize) -> bool {
        true
    }

    /// DICTIONARY: makes the working place and everything that rows need.
    async fn prepare(&mut self) -> Outcome<()>;

    /// DATA: a loader for one stream.
    async fn loader(&mut self) -> Outcome<Box<dyn SegmentLoader>>;

    /// BUILD: indexes and constraints. Told to progress as objects.
    async fn build(&mut self, parallel: usize) -> Outcome<StepReport>;

    /// POSTSCRIPT: sequences, materialized views, settings, statistics.
    async fn postscript(&mut self) -> Outcome<StepReport>;

    /// Puts the result in its place; whatever stood there is kept under another name.
    async fn publish(self: Box<Self>) -> Outcome<Published>;

    /// Takes away everything this restore made.
    async fn discard(self: Box<Self>) -> Outcome<()>;
}

/// Loads segments for one stream.
#[async_trait]
pub trait SegmentLoader: Send {
    /// Loads one range; answers the rows that the database counted.
    async fn load(&mut self, task: &LoadTask, rows: &mut dyn RowStream) -> Outcome<u64>;
}
