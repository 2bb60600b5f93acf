//! Everything that can go wrong with a vault.

use std::time::Duration;

use model::{Blame, ExecutionId, Fault, Retry, SavesetId};

/// An error of the vault. Every variant names the object by its path in the vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The URL or an option of the store is wrong.
    #[error("the vault's location {url:?} cannot be used: {why}")]
    Location {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store answered with an error that trying again did not mend.
    #[error("cannot {doing} {path} in the vault")]
    Store {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The object.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// The store did not answer in time.
    #[error("cannot {doing} {path} in the vault: no answer within {} seconds", after.as_secs_f32())]
    TimedOut {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The object.
        path: String,
        /// The time limit.
        after: Duration,
    },
    /// The store does not allow it.
    #[error("not permitted to {doing} {path} in the vault")]
    Denied {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The object.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// An object that must be there is not.
    #[error("{path} is missing from the vault")]
    Missing {
        /// The object.
        path: String,
    },
    /// There is no vault at this place.
    #[error("there is no vault at {place}: it has no vault.json")]
    NoVault {
        /// The store.
        place: String,
    },
    /// A vault is there already, or the remains of one.
    #[error("cannot make a vault at {place}: {found} is there already")]
    AlreadyThere {
        /// The store.
        place: String,
        /// The object that was found.
        found: String,
    },
    /// Another server owns the vault.
    #[error("the vault belongs to another server, {owner:?} (owners/{number})")]
    OwnedByAnother {
        /// That server's identity.
        owner: String,
        /// Its number below `owners/`.
        number: u64,
    },
    /// Something is to be written through a vault whose ownership was not checked.
    #[error("cannot write to vault {vault}: its owner was not checked")]
    NotOwned {
        /// The vault.
        vault: String,
    },
    /// Written by a newer release.
    #[error(
        "{path} has format version {found}, this release reads up to {known}: use a newer release of Backstay"
    )]
    NewerFormat {
        /// The object.
        path: String,
        /// Its version.
        found: u64,
        /// The newest one known here.
        known: u64,
    },
    /// A key that does not open this vault.
    #[error("the {by} given is not the one of this vault: it does not open {path}")]
    WrongKey {
        /// `site key` or `recovery key`.
        by: &'static str,
        /// The key's object.
        path: String,
    },
    /// An object is not what was written.
    #[error("{path} in the vault is damaged: {what}")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A frame of a pack is not what was written.
    #[error("{path} in the vault is damaged: frame {frame}: {what}")]
    FrameDamaged {
        /// The pack.
        path: String,
        /// The frame's number in it.
        frame: u32,
        /// What is wrong with it.
        what: String,
    },
    /// A pin is not what was written: what its run is about to commit is not known.
    #[error("{path} in the vault is damaged: {what}")]
    PinDamaged {
        /// The pin.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Neither a manifest nor a tombstone stands there.
    #[error("there is no saveset {saveset} in the vault")]
    NoSaveset {
        /// The saveset.
        saveset: SavesetId,
    },
    /// A tombstone stands in the manifest's place.
    #[error("saveset {saveset} is not there any more: {reason}")]
    SavesetDead {
        /// The saveset.
        saveset: SavesetId,
        /// As its tombstone has it.
        reason: String,
    },
    /// Another manifest stands in the place of ours.
    #[error("cannot commit saveset {saveset}: another run has committed one under that id")]
    SavesetTaken {
        /// The saveset.
        saveset: SavesetId,
    },
    /// An earlier attempt of the same execution had succeeded.
    #[error("execution {execution} has succeeded already: saveset {saveset} is committed")]
    AlreadyCommitted {
        /// The execution.
        execution: ExecutionId,
        /// Its saveset.
        saveset: SavesetId,
    },
    /// A run that is under way builds on the saveset.
    #[error("saveset {saveset} cannot be dropped: execution {execution} is building on it")]
    StillNeeded {
        /// The saveset.
        saveset: SavesetId,
        /// The execution.
        execution: ExecutionId,
    },
    /// What a run builds on was dropped all the same: which packs it needs is not known.
    #[error(
        "nothing is swept: execution {execution} builds on saveset {saveset}, which is not there any more"
    )]
    BaseGone {
        /// The base.
        saveset: SavesetId,
        /// The execution.
        execution: ExecutionId,
    },
    /// Whether the manifest was put is not known.
    #[error("whether saveset {saveset} was committed is not known: the store did not answer")]
    CommitUnknown {
        /// The saveset.
        saveset: SavesetId,
        /// The last answer.
        #[source]
        last: Box<VaultError>,
    },
    /// Too many runs took saveset ids at the same moment.
    #[error("no free saveset id was found: too many runs start in this vault at once")]
    NoFreeId,
    /// The store lets two writers put the same object.
    #[error(
        "the store at {place} cannot hold a vault: it does not refuse a second put of {path} (put-if-absent)"
    )]
    NoConditionalPut {
        /// The store.
        place: String,
        /// The probe.
        path: String,
    },
    /// The store does not do what was asked.
    #[error("the store at {place} cannot hold a vault: {what}")]
    ProbeFailed {
        /// The store.
        place: String,
        /// What it did instead.
        what: String,
    },
    /// Larger than the format allows.
    #[error("{path} is too large: {bytes} bytes, where at most {limit} are allowed")]
    TooLarge {
        /// The object.
        path: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A name that the saveset does not have.
    #[error("saveset {saveset} has no {what}")]
    NoSuchPart {
        /// The saveset.
        saveset: SavesetId,
        /// What was asked for.
        what: String,
    },
    /// A mistake of ours: the manifest would refer to something that is not in the vault.
    #[error("saveset {saveset} cannot be committed: {what}")]
    Incomplete {
        /// The saveset.
        saveset: SavesetId,
        /// What is missing.
        what: String,
    },
    /// A mistake of ours, or of the libraries below.
    #[error("the vault cannot {doing}: {why}")]
    Internal {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        why: String,
    },
}

impl VaultError {
    pub(crate) fn damaged(path: impl ToString, what: impl ToString) -> Self {
        VaultError::Damaged {
            path: path.to_string(),
            what: what.to_string(),
        }
    }
}

impl Fault for VaultError {
    fn code(&self) -> &'static str {
        match self {
            VaultError::Location { .. } => "vault-location",
            VaultError::Store { .. }
            | VaultError::TimedOut { .. }
            | VaultError::CommitUnknown { .. } => "vault-unreachable",
            VaultError::Denied { .. } => "vault-access-denied",
            VaultError::NoVault { .. } => "vault-missing",
            VaultError::AlreadyThere { .. } => "vault-exists",
            VaultError::OwnedByAnother { .. } | VaultError::NotOwned { .. } => "vault-owned",
            VaultError::NewerFormat { .. } => "vault-newer",
            VaultError::WrongKey { .. } => "vault-wrong-key",
            VaultError::Missing { .. }
            | VaultError::Damaged { .. }
            | VaultError::FrameDamaged { .. }
            | VaultError::PinDamaged { .. } => "vault-damaged",
            VaultError::NoSaveset { .. } | VaultError::NoSuchPart { .. } => "saveset-missing",
            VaultError::SavesetDead { .. } => "saveset-gone",
            VaultError::SavesetTaken { .. } | VaultError::NoFreeId => "saveset-taken",
            VaultError::AlreadyCommitted { .. } => "saveset-committed",
            VaultError::StillNeeded { .. } | VaultError::BaseGone { .. } => "saveset-in-use",
            VaultError::NoConditionalPut { .. } | VaultError::ProbeFailed { .. } => {
                "vault-unsuitable"
            }
            VaultError::TooLarge { .. } => "vault-too-large",
            VaultError::Incomplete { .. } | VaultError::Internal { .. } => "vault-bug",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            VaultError::Location { .. } => Blame::Request,
            VaultError::Denied { .. } | VaultError::WrongKey { .. } => Blame::Access,
            VaultError::NoVault { .. }
            | VaultError::NoSaveset { .. }
            | VaultError::SavesetDead { .. }
            | VaultError::NoSuchPart { .. } => Blame::Missing,
            VaultError::AlreadyThere { .. }
            | VaultError::OwnedByAnother { .. }
            | VaultError::SavesetTaken { .. }
            | VaultError::AlreadyCommitted { .. }
            | VaultError::StillNeeded { .. }
            | VaultError::BaseGone { .. } => Blame::Conflict,
            VaultError::Store { .. }
            | VaultError::TimedOut { .. }
            | VaultError::CommitUnknown { .. }
            | VaultError::NewerFormat { .. }
            | VaultError::NoConditionalPut { .. }
            | VaultError::ProbeFailed { .. }
            | VaultError::TooLarge { .. } => Blame::Vault,
            VaultError::Missing { .. }
            | VaultError::Damaged { .. }
            | VaultError::FrameDamaged { .. }
            | VaultError::PinDamaged { .. } => Blame::Damaged,
            VaultError::NoFreeId => Blame::Busy,
            VaultError::NotOwned { .. }
            | VaultError::Incomplete { .. }
            | VaultError::Internal { .. } => Blame::Bug,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            VaultError::Store { .. }
            | VaultError::TimedOut { .. }
            | VaultError::CommitUnknown { .. }
            | VaultError::BaseGone { .. } => Retry::Later,
            VaultError::SavesetTaken { .. } | VaultError::NoFreeId => Retry::NewAttempt,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            VaultError::Location { .. } => {
                "a location looks like file:///srv/backups/shop or s3://bucket/shop"
            }
            VaultError::Store { .. } | VaultError::TimedOut { .. } => {
                "check that the vault's directory or bucket is there, reachable and not full"
            }
            VaultError::Denied { .. } => {
                "the server's user must be allowed to read, write, list and delete in the vault"
            }
            VaultError::NoVault { .. } => {
                "check the vault's location; if the vault was moved, move it back or change the site"
            }
            VaultError::AlreadyThere { .. } => {
                "choose another place, or adopt the vault that is there with its recovery key"
            }
            VaultError::OwnedByAnother { .. } => {
                "only its owner writes to a vault; give this site a vault of its own"
            }
            VaultError::Missing { .. }
            | VaultError::Damaged { .. }
            | VaultError::FrameDamaged { .. } => {
                "restore from another saveset, and bring the object back from a copy of the vault if there is one; the next backup must be a full one"
            }
            VaultError::PinDamaged { .. } => {
                "a pin protects only a backup that is running: if that execution is not, delete the object"
            }
            VaultError::BaseGone { .. } => "the next sweep after that execution's end will do",
            VaultError::WrongKey { .. } => {
                "each vault has its own keys: take the recovery key that was shown when this site was made"
            }
            VaultError::CommitUnknown { .. } => {
                "the vault is asked again when the run is declared dead or the server starts: the saveset is then either there as a whole or never"
            }
            VaultError::NoConditionalPut { .. } => {
                "use a store with conditional puts: without them two runs could overwrite each other"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
