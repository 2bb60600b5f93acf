//! What stops a restore, beyond what stops any talk with PostgreSQL.

use model::{Blame, Fault, Retry};

use crate::error::PostgresError;

/// Why a restore to PostgreSQL stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The server or a program failed.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database does not take the credentials of the request.
    #[error("the database refused the credentials that the restore was asked for with")]
    Credentials {
        /// Its answer.
        #[source]
        source: PostgresError,
    },
    /// A part of the dictionary is not there.
    #[error("the saveset has no part {part:?} in its dictionary")]
    PartMissing {
        /// Its name.
        part: &'static str,
    },
    /// A part of the dictionary, or a table's facts, cannot be understood.
    #[error("{part} of the saveset cannot be read")]
    Facts {
        /// Which.
        part: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The saveset was written by a newer build.
    #[error("{part} of the saveset has version {found}, this program knows up to {known}")]
    TooNew {
        /// Which part.
        part: String,
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Something stood in the way before anything was touched.
    #[error("the restore cannot begin: {obstacles}")]
    Obstacles {
        /// All of them, as sentences.
        obstacles: String,
    },
    /// pg_restore reported errors where none may be.
    #[error("pg_restore failed while {doing}: {errors}")]
    Dictionary {
        /// What it was doing.
        doing: &'static str,
        /// The errors, the first ones.
        errors: String,
    },
    /// The name of the working database is taken.
    #[error("the working database {name:?} is there already, and this restore did not make it")]
    WorkingNameTaken {
        /// Its name.
        name: String,
    },
    /// Rows of large objects are not what COPY BINARY gives.
    #[error("the rows of large objects cannot be read: {what}")]
    Pages {
        /// What is wrong.
        what: &'static str,
    },
    /// A database of the target's name came up while the restore ran.
    #[error(
        "a database {name:?} that holds objects came up while the restore ran; it was left as it is"
    )]
    TargetAppeared {
        /// Its name.
        name: String,
    },
    /// Sessions hold the old database.
    #[error("the database {name:?} cannot be put aside: it is in use by {sessions}")]
    InUse {
        /// Its name.
        name: String,
        /// Who is connected.
        sessions: String,
    },
    /// Putting the result in its place failed, and so did taking it away.
    #[error(
        "{reason}; the working database {working:?} could not be dropped and is still there: {dropping}"
    )]
    LeftBehind {
        /// What failed first.
        reason: String,
        /// The working name.
        working: String,
        /// Why it could not be dropped.
        dropping: String,
    },
    /// Nobody can say whether the renames were committed.
    #[error(
        "the connection was lost while databases were renamed: the restored one is {working:?} or already {target:?}, the one before is {target:?} or already {kept:?}; none is lost"
    )]
    SwapUnknown {
        /// The working name.
        working: String,
        /// The wanted name.
        target: String,
        /// The name for what stood there.
        kept: String,
    },
}

impl Fault for RestoreError {
    fn code(&self) -> &'static str {
        match self {
            RestoreError::Postgres(error) => error.code(),
            RestoreError::Credentials { .. } => "database-credentials",
            RestoreError::PartMissing { .. }
            | RestoreError::Facts { .. }
            | RestoreError::Pages { .. } => "saveset-unreadable",
            RestoreError::TooNew { .. } => "saveset-too-new",
            RestoreError::Obstacles { .. } => "restore-obstacle",
            RestoreError::Dictionary { .. } => "dictionary-failed",
            RestoreError::WorkingNameTaken { .. } => "working-database-exists",
            RestoreError::TargetAppeared { .. } => "target-not-empty",
            RestoreError::InUse { .. } => "target-in-use",
            RestoreError::LeftBehind { .. } => "restore-left-behind",
            RestoreError::SwapUnknown { .. } => "swap-unknown",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            RestoreError::Postgres(error) => error.blame(),
            RestoreError::Credentials { .. } => Blame::Access,
            RestoreError::PartMissing { .. }
            | RestoreError::Facts { .. }
            | RestoreError::Pages { .. } => Blame::Damaged,
            RestoreError::TooNew { .. } => Blame::Request,
            RestoreError::Obstacles { .. }
            | RestoreError::WorkingNameTaken { .. }
            | RestoreError::TargetAppeared { .. }
            | RestoreError::InUse { .. } => Blame::Conflict,
            RestoreError::Dictionary { .. }
            | RestoreError::LeftBehind { .. }
            | RestoreError::SwapUnknown { .. } => Blame::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            RestoreError::Postgres(error) => error.retry(),
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            RestoreError::Postgres(error) => return error.hint(),
            RestoreError::Credentials { .. } => {
                "give a user and password of that database; it needs LOGIN, CREATEDB and to be a member of the owners"
            }
            RestoreError::TooNew { .. } => "restore it with the version of Backstay that made it",
            RestoreError::WorkingNameTaken { .. } => "drop it if no other restore is at work there",
            RestoreError::InUse { .. } => {
                "end those sessions, or let the restore run as a role that may (pg_signal_backend)"
            }
            RestoreError::LeftBehind { .. } => {
                "drop it with DROP DATABASE once the server answers; what stood at the target's name is untouched"
            }
            RestoreError::TargetAppeared { .. } => {
                "restore under another name, or ask for it with replace_existing"
            }
            RestoreError::SwapUnknown { .. } => {
                "look which names are there, and rename with ALTER DATABASE … RENAME TO …"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}
