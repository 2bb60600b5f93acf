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
    /// What was asked for is not in the saveset, or could not be made of it.
    #[error("{object} is not in the saveset{}", also(.failed))]
    NotInSaveset {
        /// What, as a person reads it.
        object: String,
        /// What could not be made on the target: it may be the reason.
        failed: String,
    },
    /// The saveset has its definition and not its rows.
    #[error("the saveset does not hold the rows of {object}")]
    RowsNotInSaveset {
        /// What, as a person reads it.
        object: String,
    },
    /// What was asked for cannot be without something that is not restored.
    #[error("{object} cannot be restored without what it is made from")]
    NeedsAnother {
        /// What, as a person reads it.
        object: String,
    },
    /// A kind of object that cannot be restored by itself yet.
    #[error("{what} is not built yet")]
    NotBuiltYet {
        /// What.
        what: String,
    },
    /// An object of a wanted name came up while a copy was made.
    #[error("{name} came up while the restore ran; it was left as it is")]
    NameTaken {
        /// Its name.
        name: String,
    },
    /// Nobody can say whether objects were moved to their places.
    #[error(
        "the connection was lost while objects of the database {database:?} were moved to their places: either nothing was moved, or all of it; nothing is lost"
    )]
    ObjectsUnknown {
        /// The database.
        database: String,
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

fn also(failed: &str) -> String {
    match failed {
        "" => String::new(),
        failed => format!(", or could not be made on the target: {failed}"),
    }
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
            RestoreError::SwapUnknown { .. } | RestoreError::ObjectsUnknown { .. } => {
                "swap-unknown"
            }
            RestoreError::NotInSaveset { .. } | RestoreError::RowsNotInSaveset { .. } => {
                "no-such-object"
            }
            RestoreError::NeedsAnother { .. } => "needs-another-object",
            RestoreError::NotBuiltYet { .. } => "not-built-yet",
            RestoreError::NameTaken { .. } => "target-exists",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            RestoreError::Postgres(error) => error.blame(),
            RestoreError::Credentials { .. } => Blame::Access,
            RestoreError::PartMissing { .. }
            | RestoreError::Facts { .. }
            | RestoreError::Pages { .. } => Blame::Damaged,
            RestoreError::TooNew { .. }
            | RestoreError::NotInSaveset { .. }
            | RestoreError::RowsNotInSaveset { .. }
            | RestoreError::NeedsAnother { .. }
            | RestoreError::NotBuiltYet { .. } => Blame::Request,
            RestoreError::Obstacles { .. }
            | RestoreError::NameTaken { .. }
            | RestoreError::WorkingNameTaken { .. }
            | RestoreError::TargetAppeared { .. }
            | RestoreError::InUse { .. } => Blame::Conflict,
            RestoreError::Dictionary { .. }
            | RestoreError::LeftBehind { .. }
            | RestoreError::ObjectsUnknown { .. }
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
            RestoreError::NotInSaveset { .. } | RestoreError::RowsNotInSaveset { .. } => {
                "look with the saveset's objects which names there are; a name without a schema is one of public"
            }
            RestoreError::NeedsAnother { .. } => "choose what it is made from, too",
            RestoreError::NameTaken { .. } => {
                "restore under another name (rename_to), or with run_as_a_copy_job set to false"
            }
            RestoreError::ObjectsUnknown { .. } => {
                "look into the schemas of the database: what stood there is in one whose name has _kept_, or in its place"
            }
            RestoreError::SwapUnknown { .. } => {
                "look which names are there, and rename with ALTER DATABASE … RENAME TO …"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}
