//! What can be wrong with a request to the catalog, or with the catalog itself.

use std::path::PathBuf;

use model::{
    Blame, ExecutionId, ExecutionStatus, Fault, IllegalTransition, JobId, Retry, SavesetId, SiteId,
};

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// Nobody made a site of that id.
    #[error("there is no site {0}")]
    NoSite(SiteId),
    /// The site has no such job, or it was deleted.
    #[error("site {site} has no job {job}")]
    NoJob {
        /// The site that was asked.
        site: SiteId,
        /// What it does not have.
        job: JobId,
    },
    /// The site has no such execution.
    #[error("site {site} has no execution {execution}")]
    NoExecution {
        /// The site that was asked.
        site: SiteId,
        /// What it does not have.
        execution: ExecutionId,
    },
    /// No site has it.
    #[error("there is no execution {0}")]
    UnknownExecution(ExecutionId),
    /// The site's vault holds no such saveset as far as the catalog knows.
    #[error("site {site} has no saveset {saveset}")]
    NoSaveset {
        /// The site that was asked.
        site: SiteId,
        /// What it does not have.
        saveset: SavesetId,
    },
    /// Ids of sites are used once.
    #[error("there is a site {0} already")]
    SiteExists(SiteId),
    /// Its jobs go first.
    #[error("site {site} still has {jobs} jobs")]
    SiteHasJobs {
        /// The site that should go.
        site: SiteId,
        /// How many of them.
        jobs: u64,
    },
    /// A restore into it has not ended.
    #[error("execution {execution} restores into site {site} and has not ended")]
    SiteBusy {
        /// The site that should go.
        site: SiteId,
        /// The restore.
        execution: ExecutionId,
    },
    /// One execution of a job at a time.
    #[error("job {job} has execution {execution}, which has not ended")]
    JobRunning {
        /// The job.
        job: JobId,
        /// Its execution that is QUEUED, RUNNING or ABORTING.
        execution: ExecutionId,
    },
    /// A field that a user cannot change.
    #[error("the {field} cannot change: it is {was}, not {wanted}")]
    Fixed {
        /// The field's name on the wire.
        field: &'static str,
        /// What it is.
        was: String,
        /// What it should have become.
        wanted: String,
    },
    /// Somebody else changed it since it was read.
    #[error("{what} has changed: it is at version {found}, not {expected}")]
    StaleVersion {
        /// Which thing.
        what: String,
        /// The caller's version.
        expected: i64,
        /// Its version now.
        found: i64,
    },
    /// The rules of statuses know no such step.
    #[error("execution {execution}: {step}")]
    Illegal {
        /// Whose status.
        execution: ExecutionId,
        /// The step.
        step: IllegalTransition,
    },
    /// Nothing to abort any more.
    #[error("execution {execution} has already ended: it is {status}")]
    ExecutionEnded {
        /// Which one.
        execution: ExecutionId,
        /// How it ended.
        status: ExecutionStatus,
    },
    /// The same Idempotency-Key came with another request.
    #[error(
        "the Idempotency-Key {key:?} was used for execution {execution} with another request less than 24 hours ago"
    )]
    KeyReused {
        /// The key.
        key: String,
        /// What the first request made.
        execution: ExecutionId,
    },
    /// A protected saveset is never deleted.
    #[error("saveset {saveset} of site {site} is retained")]
    SavesetRetained {
        /// Its site.
        site: SiteId,
        /// Which one.
        saveset: SavesetId,
    },
    /// A restore reads it, or a backup builds on it.
    #[error(
        "saveset {saveset} of site {site} is in use: execution {execution} restores it or builds on it"
    )]
    SavesetInUse {
        /// Its site.
        site: SiteId,
        /// Which one.
        saveset: SavesetId,
        /// The restore or the backup.
        execution: ExecutionId,
    },
    /// One verification of a saveset at a time.
    #[error("saveset {saveset} of site {site} is being verified already")]
    VerificationRunning {
        /// Its site.
        site: SiteId,
        /// Which one.
        saveset: SavesetId,
    },
    /// A restore was asked for with a job that says nothing about what to restore.
    #[error("job {0:?} is no restore: it does not say which saveset it restores, and where to")]
    NoRestoreSettings(String),
    /// A token that no HTTP header could carry.
    #[error("the token given is empty or holds characters that no HTTP header can carry")]
    UnusableToken,
    /// A newer program has written this catalog.
    #[error(
        "the catalog in {} was written by backstay {theirs} (schema {found}); this is backstay {ours}, which knows schema {known} and older",
        path.display()
    )]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The version of the program that wrote it.
        theirs: String,
        /// Its schema.
        found: i64,
        /// The version of this program.
        ours: &'static str,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// One server a data directory.
    #[error("the data directory {} is in use by another server ({holder})", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// What the other server wrote into the lock file.
        holder: String,
    },
    /// The catalog was sealed under another key.
    #[error("the master key is not the one that the catalog in {} was sealed with", path.display())]
    MasterKeyWrong {
        /// The data directory.
        path: PathBuf,
    },
    /// A text that is no key. It is not shown.
    #[error(
        "the master key{} must be 32 bytes, written as 64 hex digits or in base64",
        place(from)
    )]
    MasterKeyText {
        /// The file it was read from.
        from: Option<PathBuf>,
    },
    /// Others can read the key.
    #[error("the master key file {} has mode {mode:04o}: others than its owner can read it", path.display())]
    MasterKeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others can read the data directory, and it holds more than our files.
    #[error("the data directory {} has mode {mode:04o}: others than its owner can use it", path.display())]
    DirectoryMode {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// A verb.
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The catalog holds something that this program never writes.
    #[error("the catalog is damaged: {0}")]
    Damaged(String),
    /// A sealed value does not open although the master key is right: it was moved or changed.
    #[error(
        "the sealed {name} of {owner} does not open: it was changed, or moved from another place"
    )]
    SealBroken {
        /// Whose it is.
        owner: String,
        /// Which value.
        name: String,
    },
    /// The cryptographic library refused.
    #[error("the cryptographic library cannot {0}")]
    Crypto(&'static str),
    /// The catalog did not answer in time.
    #[error("the catalog was busy for too long while it should {0}")]
    Busy(&'static str),
    /// Nothing can be written any more.
    #[error("the disk that holds the catalog is full")]
    DiskFull,
    /// The database below failed.
    #[error("the catalog's database failed: {0}")]
    Database(#[source] sqlx::Error),
    /// A migration failed; the copy made before it is untouched.
    #[error("the catalog's schema could not be brought up to date: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
}

fn place(from: &Option<PathBuf>) -> String {
    match from {
        Some(path) => format!(" in {}", path.display()),
        None => String::new(),
    }
}

impl Fault for CatalogError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSite(_) => "no-site",
            Self::NoJob { .. } => "no-job",
            Self::NoExecution { .. } | Self::UnknownExecution(_) => "no-execution",
            Self::NoSaveset { .. } => "no-saveset",
            Self::SiteExists(_) => "site-exists",
            Self::SiteHasJobs { .. } => "site-has-jobs",
            Self::SiteBusy { .. } => "site-busy",
            Self::JobRunning { .. } => "job-running",
            Self::Fixed { .. } => "fixed-field",
            Self::StaleVersion { .. } => "stale-version",
            Self::Illegal { .. } => "illegal-transition",
            Self::ExecutionEnded { .. } => "execution-ended",
            Self::KeyReused { .. } => "idempotency-key-reused",
            Self::SavesetRetained { .. } => "saveset-retained",
            Self::SavesetInUse { .. } => "saveset-in-use",
            Self::VerificationRunning { .. } => "verification-running",
            Self::NoRestoreSettings(_) => "no-restore-settings",
            Self::UnusableToken => "unusable-token",
            Self::Newer { .. } => "catalog-newer",
            Self::Locked { .. } => "catalog-locked",
            Self::MasterKeyWrong { .. } => "master-key-wrong",
            Self::MasterKeyText { .. } => "master-key-unreadable",
            Self::MasterKeyMode { .. } => "master-key-exposed",
            Self::DirectoryMode { .. } => "data-directory-exposed",
            Self::File { .. } => "catalog-file",
            Self::Damaged(_) => "catalog-damaged",
            Self::SealBroken { .. } => "seal-broken",
            Self::Crypto(_) => "crypto-failed",
            Self::Busy(_) => "catalog-busy",
            Self::DiskFull => "catalog-disk-full",
            Self::Database(_) => "catalog-failed",
            Self::Migration(_) => "catalog-migration-failed",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NoSite(_)
            | Self::NoJob { .. }
            | Self::NoExecution { .. }
            | Self::UnknownExecution(_)
            | Self::NoSaveset { .. } => Blame::Missing,
            Self::Fixed { .. }
            | Self::NoRestoreSettings(_)
            | Self::UnusableToken
            | Self::MasterKeyText { .. }
            | Self::MasterKeyMode { .. }
            | Self::DirectoryMode { .. }
            | Self::MasterKeyWrong { .. } => Blame::Request,
            Self::SiteExists(_)
            | Self::SiteHasJobs { .. }
            | Self::SiteBusy { .. }
            | Self::JobRunning { .. }
            | Self::StaleVersion { .. }
            | Self::ExecutionEnded { .. }
            | Self::KeyReused { .. }
            | Self::SavesetRetained { .. }
            | Self::SavesetInUse { .. }
            | Self::VerificationRunning { .. }
            | Self::Newer { .. } => Blame::Conflict,
            Self::Locked { .. } | Self::Busy(_) | Self::DiskFull => Blame::Busy,
            Self::Damaged(_) | Self::SealBroken { .. } => Blame::Damaged,
            Self::Illegal { .. }
            | Self::File { .. }
            | Self::Crypto(_)
            | Self::Database(_)
            | Self::Migration(_) => Blame::Bug,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Busy(_) | Self::Locked { .. } | Self::DiskFull => Retry::Later,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::SiteHasJobs { .. } => "Delete the site's jobs first.".to_owned(),
            Self::SiteBusy { execution, .. } | Self::JobRunning { execution, .. } => {
                format!("Wait until execution {execution} has ended, or abort it.")
            }
            Self::SavesetInUse { execution, .. } => {
                format!("Wait until execution {execution} has ended, or abort it.")
            }
            Self::VerificationRunning { .. } => {
                "GET the saveset to see how far it is; it cannot be verified twice at once.".to_owned()
            }
            Self::StaleVersion { .. } => {
                "Read it again, and send the change with its new ETag.".to_owned()
            }
            Self::KeyReused { .. } => "Send a new Idempotency-Key for a new request.".to_owned(),
            Self::SavesetRetained { .. } => {
                "Set is_saveset_retained to false first if it may go.".to_owned()
            }
            Self::UnusableToken => {
                "Use visible ASCII characters without spaces; 32 random bytes in hex are best."
                    .to_owned()
            }
            Self::Newer { theirs, .. } => format!(
                "Start backstay {theirs} or newer, or go back to a copy catalog.db.before-N of the data directory."
            ),
            Self::Locked { .. } => {
                "Stop the other server, or give this one a data directory of its own.".to_owned()
            }
            Self::MasterKeyWrong { .. } => {
                "Give the key that belongs to this data directory: the file or the environment variable it was first started with.".to_owned()
            }
            Self::MasterKeyText { .. } => {
                "`openssl rand -hex 32` makes one; for an existing catalog it must be the first one.".to_owned()
            }
            Self::MasterKeyMode { path, .. } => format!("Run: chmod 600 {}", path.display()),
            Self::DirectoryMode { path, .. } => format!(
                "Run: chmod 700 {}, or give a directory that holds nothing else.",
                path.display()
            ),
            Self::Damaged(_) | Self::SealBroken { .. } => {
                "Stop the server and put back a copy of the data directory; the vaults are not touched by this.".to_owned()
            }
            Self::DiskFull => "Make room; nothing that was acknowledged is lost.".to_owned(),
            Self::Migration(_) => {
                "The catalog as it was before is beside it as catalog.db.before-N.".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}
