//! What a backup becomes, and why (contract section 4).

use model::RunType;

/// What is known of the run that decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// What the request or the job asked for.
    pub run_type: RunType,
    /// Whether the job has a saveset that could be a base.
    pub has_base: bool,
}

/// What the run becomes, and the reason as a sentence.
///
/// Until changed blocks are read every run is FULL; the API refuses to be asked for DELTA, so a
/// DELTA gets here only out of a catalog of a later version.
pub fn decide(asked: Asked) -> (RunType, &'static str) {
    match asked {
        Asked {
            run_type: RunType::Full,
            ..
        } => (RunType::Full, "FULL, as asked"),
        Asked {
            has_base: false, ..
        } => (
            RunType::Full,
            "FULL, because the job has no saveset to build on",
        ),
        Asked {
            run_type: RunType::Delta,
            ..
        } => (
            RunType::Full,
            "FULL, because this version does not read changed blocks",
        ),
    }
}
