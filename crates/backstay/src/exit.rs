//! The exit codes that scripts rely on (contract, end of section 3).

use model::ExecutionStatus;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// The command line, the configuration or the request was wrong.
    Usage = 2,
    /// Done, but something should be looked at.
    Warnings = 3,
    /// The execution was aborted or skipped.
    Stopped = 4,
    /// The server could not be reached.
    Unreachable = 5,
    /// The token is missing, unknown or not enough.
    NotPermitted = 6,
}

impl Exit {
    /// What an execution that ended so means for a script. A restore whose rows are there but not
    /// all of its keys is a failure: nothing should go on as if it were whole.
    pub fn of(status: ExecutionStatus) -> Exit {
        match status {
            ExecutionStatus::Successful => Exit::Done,
            ExecutionStatus::CompletedWithWarnings => Exit::Warnings,
            ExecutionStatus::Failed | ExecutionStatus::CompletedWithErrors => Exit::Failed,
            ExecutionStatus::Aborted | ExecutionStatus::Skipped => Exit::Stopped,
            // Not ended: whoever does not wait has done what was asked.
            ExecutionStatus::Queued | ExecutionStatus::Running | ExecutionStatus::Aborting => {
                Exit::Done
            }
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}
