//! What can go wrong between a wish and its execution.

use model::{
    Blame, BoxFault, ExecutionId, Fault, JobId, Obstacle, Retry, SavesetId, SiteId, SiteType,
};

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The catalog said no, or could not be read.
    #[error(transparent)]
    Catalog(#[from] catalog::CatalogError),
    /// The vault said no, or could not be reached.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
    /// The data path failed.
    #[error(transparent)]
    Flow(#[from] flow::FlowError),
    /// An engine said no.
    #[error("{}", .0.sentence())]
    Engine(BoxFault),
    /// This server has no engine for that kind.
    #[error("this server has no engine for {0} sites")]
    NoEngine(SiteType),
    /// The keys in the catalog are not what was put there.
    #[error("the keys of site {0} in the catalog cannot be read")]
    KeysUnreadable(SiteId),
    /// The server's identity in the catalog is not what was put there.
    #[error("the server's identity in the catalog cannot be read")]
    NodeId,
    /// The vault did not answer in time.
    #[error("the vault did not answer in time")]
    VaultSilent,
    /// The site's vault holds savesets of an earlier life.
    #[error("the vault {url} already exists and belongs to another site")]
    VaultTaken {
        /// Its URL.
        url: String,
    },
    /// A site of this server has that vault.
    #[error("the vault {url} is the one of site {site} on this server")]
    VaultInUse {
        /// Its URL.
        url: String,
        /// That site.
        site: SiteId,
    },
    /// The vault that is to be adopted has an owner.
    #[error("the vault belongs to another server, {owner} (owners/{number})")]
    VaultHeld {
        /// That server's identity.
        owner: String,
        /// Its number below `owners/`.
        number: u64,
    },
    /// The recovery key that was given cannot be one.
    #[error(transparent)]
    RecoveryKey(#[from] vault::RecoveryKeyError),
    /// The vault to be adopted does not say something that a site must have.
    #[error(
        "the vault holds no copy of the site's rows that can be read, so that the {0} must be given"
    )]
    AdoptionNeeds(&'static str),
    /// A restore was asked for from something that left nothing to restore.
    #[error("execution {execution} left no saveset: {why}")]
    NothingToRestore {
        /// The execution.
        execution: ExecutionId,
        /// Why not.
        why: String,
    },
    /// The job's objects cannot be meant.
    #[error("the objects of the job: {0}")]
    Selection(#[from] model::SelectionFault),
    /// The saveset does not hold what is asked for.
    #[error("saveset {saveset} does not hold {asked}: it holds {holds}")]
    NotInSaveset {
        /// The saveset.
        saveset: SavesetId,
        /// What it holds.
        holds: String,
        /// What was asked for.
        asked: String,
    },
    /// Nobody has asked for that preparation, or it is forgotten.
    #[error("site {site} has no preparation{}", .id.map(|id| format!(" {id}")).unwrap_or_default())]
    NoPreparation {
        /// The site that was asked.
        site: SiteId,
        /// What it does not have; `None`: any.
        id: Option<u64>,
    },
    /// Source and target are of different kinds.
    #[error("a saveset of a {source_type} site cannot be restored to a {target_type} site")]
    OtherKind {
        /// Of the saveset.
        source_type: SiteType,
        /// Of the target.
        target_type: SiteType,
    },
    /// A restore needs the credentials that it runs with.
    #[error("the restore has no database credentials")]
    NoCredentials,
    /// Something is in the way of a restore.
    #[error("{}", .0.detail)]
    InTheWay(Obstacle),
    /// A backup job was given what only a restore takes, or the other way round.
    #[error("{0}")]
    NotForThisJob(&'static str),
    /// The execution has ended.
    #[error("execution {execution} has ended already: it is {status}")]
    Ended {
        /// Which.
        execution: ExecutionId,
        /// How it ended.
        status: model::ExecutionStatus,
    },
    /// Somebody else has decided what became of the execution.
    #[error("the lease of execution {0} was lost: another server has taken over")]
    LeaseLost(ExecutionId),
    /// A RESTORE job without its settings.
    #[error("the restore job {0} has lost its settings")]
    NoRestoreSettings(JobId),
    /// What a user asked for has no effect yet.
    #[error("{0} is not built yet")]
    NotBuiltYet(&'static str),
    /// Saving facts of a run failed.
    #[error("the site's catalog rows could not be written down: {0}")]
    Encode(#[from] serde_json::Error),
}

impl From<BoxFault> for JobsError {
    fn from(fault: BoxFault) -> Self {
        JobsError::Engine(fault)
    }
}

impl Fault for JobsError {
    fn code(&self) -> &'static str {
        match self {
            JobsError::Catalog(inner) => inner.code(),
            JobsError::Vault(inner) => inner.code(),
            JobsError::Flow(inner) => inner.code(),
            JobsError::Engine(inner) => inner.code(),
            JobsError::NoEngine(_) => "no-engine",
            JobsError::KeysUnreadable(_) | JobsError::NodeId => "catalog-damaged",
            JobsError::VaultSilent => "vault-silent",
            JobsError::VaultTaken { .. } | JobsError::VaultInUse { .. } => "vault-taken",
            JobsError::VaultHeld { .. } => "vault-owned",
            JobsError::RecoveryKey(_) => "recovery-key-unreadable",
            JobsError::AdoptionNeeds(_) => "adoption-incomplete",
            JobsError::NothingToRestore { .. } => "nothing-to-restore",
            JobsError::Selection(_) => "bad-selection",
            JobsError::NotInSaveset { .. } => "not-in-saveset",
            JobsError::NoPreparation { .. } => "no-preparation",
            JobsError::OtherKind { .. } => "other-site-type",
            JobsError::NoCredentials => "credentials-missing",
            JobsError::InTheWay(obstacle) => flow::obstacle_code(&obstacle.code),
            JobsError::NotForThisJob(_) => "not-for-this-job",
            JobsError::Ended { .. } => "execution-ended",
            JobsError::NoRestoreSettings(_) | JobsError::Encode(_) => "internal",
            JobsError::LeaseLost(_) => "lease-lost",
            JobsError::NotBuiltYet(_) => "not-built-yet",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            JobsError::Catalog(inner) => inner.blame(),
            JobsError::Vault(inner) => inner.blame(),
            JobsError::Flow(inner) => inner.blame(),
            JobsError::Engine(inner) => inner.blame(),
            JobsError::NoEngine(_)
            | JobsError::Selection(_)
            | JobsError::NotInSaveset { .. }
            | JobsError::OtherKind { .. }
            | JobsError::NoCredentials
            | JobsError::NotForThisJob(_)
            | JobsError::RecoveryKey(_)
            | JobsError::AdoptionNeeds(_)
            | JobsError::NotBuiltYet(_) => Blame::Request,
            JobsError::NoPreparation { .. } => Blame::Missing,
            JobsError::VaultTaken { .. }
            | JobsError::VaultInUse { .. }
            | JobsError::VaultHeld { .. }
            | JobsError::NothingToRestore { .. }
            | JobsError::InTheWay(_)
            | JobsError::LeaseLost(_)
            | JobsError::Ended { .. } => Blame::Conflict,
            JobsError::KeysUnreadable(_) | JobsError::NodeId => Blame::Damaged,
            JobsError::VaultSilent => Blame::Vault,
            JobsError::NoRestoreSettings(_) | JobsError::Encode(_) => Blame::Bug,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            JobsError::Catalog(inner) => inner.retry(),
            JobsError::Vault(inner) => inner.retry(),
            JobsError::Flow(inner) => inner.retry(),
            JobsError::Engine(inner) => inner.retry(),
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            JobsError::Catalog(inner) => inner.hint(),
            JobsError::Vault(inner) => inner.hint(),
            JobsError::Flow(inner) => inner.hint(),
            JobsError::Engine(inner) => inner.hint(),
            JobsError::VaultTaken { .. } => {
                Some("Give the site a directory of its own.".to_owned())
            }
            JobsError::VaultInUse { site, .. } => Some(format!(
                "It needs no adoption: use site {site}, or delete it here first; its vault is not \
                 touched by that."
            )),
            JobsError::VaultHeld { .. } => Some(
                "If that server is gone, or is to give the site up, say so: \"take_over\": true, or \
                 --take-over. It can then only read."
                    .to_owned(),
            ),
            JobsError::RecoveryKey(_) => Some(
                "Take the recovery key that was shown when the site was made: BSRK1- and 13 groups \
                 of five characters."
                    .to_owned(),
            ),
            JobsError::AdoptionNeeds(_) => {
                Some("Only the savesets tell of this site; add what is missing.".to_owned())
            }
            JobsError::NothingToRestore { .. } => {
                Some("GET /sites/{site_id}/savesets lists what can be restored.".to_owned())
            }
            JobsError::NoPreparation { .. } => Some(
                "Start one with POST …/executions/{execution_id}/prepare-objects; a restart of the \
                 server forgets them."
                    .to_owned(),
            ),
            JobsError::NoCredentials => Some(
                "Send the header x-auth-credentials: Basic base64(user:password) with the \
                 database user that the restore runs as."
                    .to_owned(),
            ),
            JobsError::InTheWay(obstacle) => obstacle.remedy.clone(),
            _ => None,
        }
    }
}
