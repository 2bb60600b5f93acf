//! How a run tells what it does.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

use crate::ObjectName;

/// The phases of an execution (contract section 4).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumString,
    EnumIter,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// DDL and other facts about the objects.
    Dictionary,
    /// Rows.
    Data,
    /// Restore: indexes and constraints.
    Build,
    /// Restore: sequences, materialized views, settings, statistics.
    Postscript,
}

/// How far a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, Serialize, Deserialize)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PhaseStatus {
    /// At work.
    Running,
    /// Done.
    Successful,
    /// Ended with an error.
    Failed,
    /// Stopped on request.
    Aborted,
}

/// An object that a run left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedObject {
    /// Its name in SQL quoting.
    pub object: String,
    /// Why, as a sentence.
    pub reason: String,
}

/// Told by source, flow and target; kept by the runner; asserted on by tests. Calls are cheap and
/// never block: a reader calls `bytes` once a frame.
pub trait Progress: Send + Sync {
    /// What follows is about that database, of a run over one or several. Told again where a run
    /// goes back to one.
    fn at_work_on(&self, _database: &ObjectName) {}
    /// A phase begins; a total that is not known yet is 0 and may be told again with `phase_total`.
    fn phase_started(&self, phase: Phase, objects_total: u64);
    /// The number of objects of a phase is known now.
    fn phase_total(&self, phase: Phase, objects_total: u64);
    /// That many objects more are done.
    fn objects_done(&self, phase: Phase, objects: u64);
    /// That many bytes more were moved.
    fn bytes(&self, phase: Phase, bytes: u64);
    /// The phase ended well. A phase that never ends takes the status of its execution.
    fn phase_done(&self, phase: Phase);
    /// Something a person should look at; the run goes on and ends COMPLETED_WITH_WARNINGS.
    fn warning(&self, text: String);
    /// A fact worth knowing that makes nothing worse; it does not change the final status.
    fn note(&self, text: String);
    /// An object is left out; the run ends COMPLETED_WITH_WARNINGS.
    fn skipped(&self, skipped: SkippedObject);
}

/// For callers that do not look.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn phase_started(&self, _: Phase, _: u64) {}
    fn phase_total(&self, _: Phase, _: u64) {}
    fn objects_done(&self, _: Phase, _: u64) {}
    fn bytes(&self, _: Phase, _: u64) {}
    fn phase_done(&self, _: Phase) {}
    fn warning(&self, _: String) {}
    fn note(&self, _: String) {}
    fn skipped(&self, _: SkippedObject) {}
}
