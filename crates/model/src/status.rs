//! What an execution is and becomes.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

/// BACKUP or RESTORE.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter, Serialize, Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobType {
    /// Makes savesets.
    Backup,
    /// Brings one back.
    Restore,
}

/// FULL or DELTA: what was asked (a job's `backup_type`), or what a run became (`run_type`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter, Serialize, Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunType {
    /// Everything is read.
    Full,
    /// Only what changed since the base is read.
    Delta,
}

/// How far the preparation of a saveset's objects is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter, Serialize, Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PreparationStatus {
    /// Waits for others.
    Queued,
    /// At work.
    Running,
    /// The list can be read.
    Successful,
    /// It cannot, and the details say why.
    Failed,
}

/// The status of an execution (contract section 2).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter, Serialize, Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionStatus {
    /// Waits for a stream.
    Queued,
    /// At work.
    Running,
    /// Somebody asked it to stop; streams are being released.
    Aborting,
    /// Stopped on request; left nothing.
    Aborted,
    /// Done.
    Successful,
    /// Done; some objects were skipped or something should be looked at.
    CompletedWithWarnings,
    /// RESTORE only: the rows are there, named keys or indexes are not.
    CompletedWithErrors,
    /// Ended without a result; `status_detail` says why.
    Failed,
    /// Did not run, by the rules of priority.
    Skipped,
}

impl ExecutionStatus {
    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Aborting)
    }

    /// Whether a backup that ended so left a saveset.
    pub fn left_a_saveset(self) -> bool {
        matches!(self, Self::Successful | Self::CompletedWithWarnings)
    }
}

/// What can happen to an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum RunEvent {
    /// A runner took it.
    Start,
    /// Somebody, or the auto abort, asked it to stop.
    AskAbort,
    /// Its streams are released after an abort was asked for.
    Released,
    /// It reached its end.
    Succeed,
    /// It reached its end, with something to look at.
    SucceedWithWarnings,
    /// A restore reached its end, without some keys or indexes.
    SucceedWithErrors,
    /// It ended without a result.
    Fail,
    /// The rules of priority said no.
    Skip,
}

/// A change of status that the rules do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an execution that is {from} cannot {event}")]
pub struct IllegalTransition {
    /// What it is.
    pub from: ExecutionStatus,
    /// What should have happened to it.
    pub event: RunEvent,
}

/// Every legal transition of an execution; there are no others.
///
/// An abort of a queued execution ends it at once: it holds no streams. An abort that comes after
/// the commit loses against it: the saveset is in the vault, so the execution succeeded.
pub fn next(from: ExecutionStatus, event: RunEvent) -> Result<ExecutionStatus, IllegalTransition> {
    use ExecutionStatus as S;
    use RunEvent as E;
    match (from, event) {
        (S::Queued, E::Start) => Ok(S::Running),
        (S::Queued, E::Skip) => Ok(S::Skipped),
        (S::Queued, E::AskAbort) => Ok(S::Aborted),
        (S::Queued | S::Running | S::Aborting, E::Fail) => Ok(S::Failed),
        (S::Running, E::AskAbort) => Ok(S::Aborting),
        (S::Aborting, E::Released) => Ok(S::Aborted),
        (S::Running | S::Aborting, E::Succeed) => Ok(S::Successful),
        (S::Running | S::Aborting, E::SucceedWithWarnings) => Ok(S::CompletedWithWarnings),
        (S::Running | S::Aborting, E::SucceedWithErrors) => Ok(S::CompletedWithErrors),
        (from, event) => Err(IllegalTransition { from, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn nothing_leaves_a_final_status() {
        for from in ExecutionStatus::iter().filter(|s| s.is_final()) {
            for event in RunEvent::iter() {
                assert!(next(from, event).is_err(), "{from} {event}");
            }
        }
    }

    #[test]
    fn every_status_but_queued_is_reached_from_queued() {
        let mut reached = vec![ExecutionStatus::Queued];
        let mut seen = 0;
        while seen < reached.len() {
            for event in RunEvent::iter() {
                if let Ok(to) = next(reached[seen], event)
                    && !reached.contains(&to)
                {
                    reached.push(to);
                }
            }
            seen += 1;
        }
        assert_eq!(reached.len(), ExecutionStatus::iter().count());
    }

    #[test]
    fn statuses_are_written_as_the_contract_has_them() {
        assert_eq!(
            ExecutionStatus::CompletedWithWarnings.to_string(),
            "COMPLETED_WITH_WARNINGS"
        );
        assert_eq!("full".parse(), Ok(RunType::Full));
        assert_eq!("Restore".parse(), Ok(JobType::Restore));
    }
}
