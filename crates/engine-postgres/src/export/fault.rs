//! What stops an export.

use std::io;
use std::path::{Path, PathBuf};

use model::{Blame, Fault, Retry};

use crate::error::PostgresError;
use crate::restore::RestoreError;

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// What a restore would have stopped at too.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A program of PostgreSQL failed.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A file of the export.
    #[error("{doing} {} failed", path.display())]
    File {
        /// What was done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Rows are not in the form that the saveset says.
    #[error("the rows of {table} cannot be read: {what}")]
    Rows {
        /// The table.
        table: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The saveset is of another kind.
    #[error("this saveset does not hold PostgreSQL databases")]
    OtherEngine,
    /// Steps in a wrong order.
    #[error("{step} of an export was asked for before prepare")]
    Order {
        /// The step.
        step: &'static str,
    },
    /// A worker ended without an answer.
    #[error("a worker of the export panicked")]
    Panicked,
}

impl ExportError {
    /// An error of one of its files.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ExportError {
        move |source| ExportError::File {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl Fault for ExportError {
    fn code(&self) -> &'static str {
        match self {
            ExportError::Restore(error) => error.code(),
            ExportError::Postgres(error) => error.code(),
            ExportError::File { source, .. } if is_full(source) => "export-disk-full",
            ExportError::File { .. } => "export-file",
            ExportError::Rows { .. } => "export-rows",
            ExportError::OtherEngine => "export-other-engine",
            ExportError::Order { .. } => "export-order",
            ExportError::Panicked => "export-panicked",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            ExportError::Restore(error) => error.blame(),
            ExportError::Postgres(error) => error.blame(),
            ExportError::File { .. } => Blame::Source,
            ExportError::Rows { .. } => Blame::Damaged,
            ExportError::OtherEngine | ExportError::Order { .. } | ExportError::Panicked => {
                Blame::Bug
            }
        }
    }

    fn retry(&self) -> Retry {
        match self {
            ExportError::Restore(error) => error.retry(),
            ExportError::Postgres(error) => error.retry(),
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ExportError::Restore(error) => error.hint(),
            ExportError::Postgres(error) => error.hint(),
            ExportError::File { source, .. } if is_full(source) => Some(
                "The disk is full: make room there, or export into a directory on another disk."
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Runs work that blocks off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(ExportError::Panicked),
    }
}
