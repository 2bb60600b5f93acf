//! The words of Backstay, and the seams between its rooms.
//!
//! Everything that two or more crates must agree on stands here: ids ([`SiteId`], [`JobId`],
//! [`ExecutionId`], [`SavesetId`]), names in SQL quoting ([`ObjectName`]), what a job selects
//! ([`Selection`], sorted into one [`DatabaseSelection`] a database), statuses and their legal transitions ([`next`]), segments and their block
//! index ([`SegmentTask`], [`BlockIndex`]), and the traits that an engine fills in:
//!
//! ```text
//! Engine ── open_source ──► Source ── reader ──► SegmentReader      backup
//!        └─ open_target ──► Target ── loader ──► SegmentLoader      restore
//! ```
//!
//! What this crate is not: it does no IO, knows no runtime, no SQL, no HTTP and no bodies of the
//! API. A type that only one crate uses belongs into that crate, not here.
//!
//! Rules that hold for every seam: *dropping is cancelling* (the future of any call may be
//! dropped; the object is then dead and its connection closed), and every error is a [`Fault`]
//! which says who is to blame, whether trying again helps, and what to do.

mod base;
mod block_hash;
mod block_index;
mod block_writer;
mod clock;
mod engine;
mod export;
mod fault;
mod ids;
mod job;
mod names;
mod overlay;
mod progress;
mod secret;
mod segment;
mod selection;
mod site;
mod source;
mod status;
mod target;
mod vault_store;

pub use base::{Base, Basis, Beat, ChangedBlocks, ChangedBlocksSource, Extent};
pub use block_hash::{BlockHasher, HASHED_TOGETHER};
pub use block_index::{BlockHash, BlockIndex, BlockIndexError, BlockSpan};
pub use block_writer::BlockWriter;
pub use clock::{Clock, Moment, SystemClock};
pub use engine::{
    BrowsedObject, CheckFinding, CheckReport, Connection, Credentials, Engine, FindingLevel,
    MissingRight, Parent, SiteType,
};
pub use export::{ExportFormat, ExportPlace, safe_file_name};
pub use fault::{Blame, BoxFault, Fault, Outcome, Retry};
pub use ids::{ExecutionId, IdError, JobId, SavesetId, ServerExecutionId, SiteId};
pub use job::{BackupMechanism, JobDefinition, RestoreSettings};
pub use names::{NameError, ObjectName, ObjectType};
pub use overlay::{Layer, LayerId, Piece, overlay};
pub use progress::{NoProgress, Phase, PhaseStatus, Progress, SkippedObject};
pub use secret::{ExposeSecret, SecretString};
pub use segment::{
    BlockRange, BlockSet, FRAME_BYTES, Patching, RowFormat, SEGMENT_BYTES, SegmentTask,
};
pub use selection::{
    ChosenObject, DatabaseSelection, ExcludedObject, FaultPlace, PlacedFault, Scope,
    SelectedObject, Selection, SelectionFault, Unmatched,
};
pub use site::{SiteConnection, SiteDefinition, SiteSecrets, VaultLocation};
pub use source::{
    CancelOnDrop, ClosingFacts, DictionaryPart, PieceSink, SavesetObject, SegmentRead,
    SegmentReader, Source, SourcePlan, SourceRequest, TablePlan,
};
pub use status::{
    ExecutionStatus, IllegalTransition, JobType, PreparationStatus, RunEvent, RunType, next,
};
pub use target::{
    DictionaryReader, Findings, LoadTask, Obstacle, Published, RestoreRequest, RestoreTable,
    RowStream, SegmentLoader, StepReport, Target,
};
pub use vault_store::{StoreKind, StoreOption};
