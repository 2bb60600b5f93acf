//! What can go wrong on the data path, each with its place.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use model::{
    Blame, BlockRange, BoxFault, Fault, ObjectName, Obstacle, Phase, Published, Retry, SavesetId,
};
use vault::VaultError;

/// Where a run was: the phase, what it did there, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    phase: Option<Phase>,
    doing: &'static str,
    object: Option<String>,
    blocks: Option<BlockRange>,
}

impl Place {
    /// Outside of every phase: `opening the source`.
    pub(crate) fn outside(doing: &'static str) -> Self {
        Place {
            phase: None,
            doing,
            object: None,
            blocks: None,
        }
    }

    /// In a phase.
    pub(crate) fn within(phase: Phase, doing: &'static str) -> Self {
        Place {
            phase: Some(phase),
            ..Place::outside(doing)
        }
    }

    /// At a part of the dictionary, or whatever else has a name.
    pub(crate) fn named(phase: Phase, doing: &'static str, name: &str) -> Self {
        Place {
            object: Some(name.to_owned()),
            ..Place::within(phase, doing)
        }
    }

    /// At blocks of a table.
    pub(crate) fn rows(doing: &'static str, table: &ObjectName, blocks: BlockRange) -> Self {
        Place {
            blocks: Some(blocks),
            ..Place::named(Phase::Data, doing, &table.to_string())
        }
    }

    /// Adds it to what the vault said of a DELTA's base.
    pub(crate) fn of_base(self, base: SavesetId, error: VaultError) -> FlowError {
        let cannot_be_used = matches!(error.blame(), Blame::Damaged | Blame::Missing)
            || matches!(error, VaultError::NewerFormat { .. });
        match cannot_be_used {
            true => FlowError::BaseDamaged {
                place: self,
                base,
                fault: error.into(),
            },
            false => self.fault(error),
        }
    }

    /// Adds it to a fault that came across a seam.
    pub(crate) fn fault(self, fault: impl Into<BoxFault>) -> FlowError {
        FlowError::Failed {
            place: self,
            fault: fault.into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.doing)?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        if let Some(blocks) = &self.blocks {
            write!(f, ", {blocks}")?;
        }
        match self.phase {
            Some(phase) => write!(f, " (phase {phase})"),
            None => Ok(()),
        }
    }
}

/// Why a backup or a restore ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// Somebody asked it to stop.
    #[error("the run was stopped on request")]
    Cancelled,
    /// The engine or the vault failed. Who is to blame, the code and the hint are theirs.
    #[error("{place}: {}", .fault.sentence())]
    Failed {
        /// Where.
        place: Place,
        /// What.
        fault: BoxFault,
    },
    /// A part of the dictionary could not be read from the source, or written down on this machine.
    #[error("{place}: {error}")]
    Io {
        /// Where.
        place: Place,
        /// What the system, or the engine's end of the pipe, said.
        error: std::io::Error,
    },
    /// A worker panicked. The run failed; nothing hangs.
    #[error("{place}: a mistake in the program: {message}")]
    Panicked {
        /// Where.
        place: Place,
        /// What the panic said.
        message: String,
    },
    /// An engine did not keep a law of the seams; what it gave is not used.
    #[error("{place}: the engine broke a law of its seam: {law}")]
    Law {
        /// Where.
        place: Place,
        /// Which law, and how.
        law: String,
    },
    /// Something stops the restore; nothing was touched.
    #[error("the restore cannot begin: {}", details(.0))]
    InTheWay(Vec<Obstacle>),
    /// The database took another number of rows than were backed up.
    #[error("{place}: {expected} rows were sent, and the database counted {counted}")]
    RowsDiffer {
        /// Where.
        place: Place,
        /// As the sheet has it.
        expected: u64,
        /// As the database has it.
        counted: u64,
    },
    /// Nothing was asked for.
    #[error("no database was asked for")]
    NoDatabase,
    /// The saveset does not hold a database that was asked for.
    #[error("saveset {saveset} does not hold the database {database}")]
    NotInSaveset {
        /// The saveset.
        saveset: SavesetId,
        /// The database.
        database: ObjectName,
    },
    /// The saveset does not hold an object that was asked for by itself.
    #[error(
        "saveset {saveset} does not hold {object} of the database {}{}",
        database.last(),
        meant(.near.as_deref())
    )]
    ObjectNotInSaveset {
        /// The saveset.
        saveset: SavesetId,
        /// The database, which it holds, or a part of it.
        database: ObjectName,
        /// Type and name of the object.
        object: String,
        /// Type and name of the one that was meant perhaps.
        near: Option<String>,
    },
    /// Some databases of a restore are in their places, and another one could not be put there.
    #[error("{first}; {} restored all the same", restored(.published))]
    PartlyPublished {
        /// Why the next one failed.
        first: Box<FlowError>,
        /// Those that are in their places.
        published: Vec<Published>,
    },
    /// A DELTA without a base, or a FULL backup with one: the caller's mistake.
    #[error("a DELTA needs a saveset of the same vault to build on, and no other backup takes one")]
    NoBase,
    /// What a DELTA needs of its base cannot be read; nothing was committed.
    #[error(
        "{place}: saveset {base} cannot be built on: {}",
        .fault.sentence()
    )]
    BaseDamaged {
        /// Where.
        place: Place,
        /// The base.
        base: SavesetId,
        /// What is wrong with it.
        fault: BoxFault,
    },
    /// The site's streams were closed while the run waited for one.
    #[error("the server is shutting down: no stream is given out any more")]
    ShuttingDown,
    /// The run failed, and its saveset's place could not be marked as dead.
    #[error(
        "{first}; and saveset {saveset} could not be marked as dead: {}",
        .fault.sentence()
    )]
    Unmarked {
        /// Why the run failed.
        first: Box<FlowError>,
        /// Whose place.
        saveset: SavesetId,
        /// Why it could not be marked.
        fault: BoxFault,
        /// Whether the commit was under way, so that the saveset may be there all the same.
        may_be_committed: bool,
    },
    /// The run failed, and what it had made could not be taken away.
    #[error("{first}; and what the restore had made could not be taken away: {why}")]
    LeftBehind {
        /// Why the run failed.
        first: Box<FlowError>,
        /// Why it is still there.
        why: String,
    },
    /// The directory of an export holds something.
    #[error("{} is not empty (it holds {found:?}), and an export writes into an empty directory only", path.display())]
    ExportNotEmpty {
        /// The directory.
        path: PathBuf,
        /// The first thing in it.
        found: String,
    },
    /// Another worker failed first; never the answer of a run.
    #[error("stopped, because another part of the run failed")]
    Stopped,
}

/// A file operation of an export in its own directory.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub(crate) struct ExportFault {
    pub(crate) path: PathBuf,
    pub(crate) source: std::io::Error,
}

impl Fault for ExportFault {
    fn code(&self) -> &'static str {
        "export-directory"
    }

    fn blame(&self) -> Blame {
        Blame::Source
    }

    fn retry(&self) -> Retry {
        Retry::Never
    }

    fn hint(&self) -> Option<String> {
        let text = match self.source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "the disk is full: make room there, or export into a directory on another disk"
            }
            std::io::ErrorKind::PermissionDenied => "export into a directory that you may write to",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn details(obstacles: &[Obstacle]) -> String {
    let details: Vec<&str> = obstacles.iter().map(|o| o.detail.as_str()).collect();
    details.join("; ")
}

fn meant(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; it holds {near}"))
}

fn restored(published: &[Published]) -> String {
    let name = |one: &Published| match &one.kept {
        None => one.database.to_string(),
        Some(kept) => format!("{} (the one before is kept as {kept})", one.database),
    };
    let names: Vec<String> = published.iter().map(name).collect();
    match names.len() {
        1 => format!("the database {} is", names.concat()),
        _ => format!("the databases {} are", names.join(", ")),
    }
}

impl FlowError {
    /// Whether the run ended because it was asked to.
    pub fn is_cancelled(&self) -> bool {
        match self {
            FlowError::Cancelled => true,
            FlowError::Unmarked { first, .. }
            | FlowError::LeftBehind { first, .. }
            | FlowError::PartlyPublished { first, .. } => first.is_cancelled(),
            _ => false,
        }
    }

    /// Whether the saveset may be there in spite of the error. The vault decides: ask it again
    /// with `Vault::declare_dead` before the execution gets its final status.
    pub fn may_be_committed(&self) -> bool {
        matches!(
            self,
            FlowError::Unmarked {
                may_be_committed: true,
                ..
            }
        )
    }
}

impl Fault for FlowError {
    fn code(&self) -> &'static str {
        match self {
            FlowError::Cancelled | FlowError::Stopped => "stopped",
            FlowError::Failed { fault, .. } => fault.code(),
            FlowError::Io { .. } => "dictionary-io",
            FlowError::Panicked { .. } | FlowError::Law { .. } => "internal",
            FlowError::InTheWay(obstacles) => obstacles
                .first()
                .map_or("in-the-way", |first| obstacle_code(&first.code)),
            FlowError::RowsDiffer { .. } => "rows-differ",
            FlowError::BaseDamaged { .. } => "base-damaged",
            FlowError::ExportNotEmpty { .. } => "export-not-empty",
            FlowError::ShuttingDown => "shutting-down",
            FlowError::NoDatabase | FlowError::NoBase => "internal",
            FlowError::NotInSaveset { .. } | FlowError::ObjectNotInSaveset { .. } => {
                "not-in-saveset"
            }
            FlowError::Unmarked { first, .. }
            | FlowError::LeftBehind { first, .. }
            | FlowError::PartlyPublished { first, .. } => first.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            FlowError::Cancelled | FlowError::Stopped | FlowError::InTheWay(_) => Blame::Conflict,
            FlowError::Failed { fault, .. } => fault.blame(),
            FlowError::Panicked { .. }
            | FlowError::Law { .. }
            | FlowError::NoDatabase
            | FlowError::NoBase => Blame::Bug,
            FlowError::BaseDamaged { .. } => Blame::Damaged,
            FlowError::Io { .. } | FlowError::RowsDiffer { .. } => Blame::Source,
            FlowError::ExportNotEmpty { .. }
            | FlowError::NotInSaveset { .. }
            | FlowError::ObjectNotInSaveset { .. } => Blame::Request,
            FlowError::ShuttingDown => Blame::Busy,
            FlowError::Unmarked { first, .. }
            | FlowError::LeftBehind { first, .. }
            | FlowError::PartlyPublished { first, .. } => first.blame(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            FlowError::Failed { fault, .. } => fault.retry(),
            FlowError::Io { .. } | FlowError::ShuttingDown => Retry::Later,
            // Without that base: as a FULL backup.
            FlowError::BaseDamaged { .. } => Retry::NewAttempt,
            // Another attempt must not begin before the vault has said what became of this one.
            FlowError::Unmarked { .. } => Retry::Later,
            FlowError::LeftBehind { first, .. } => first.retry(),
            // A second run would find what the first one has put there.
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FlowError::Failed { fault, .. } => fault.hint(),
            FlowError::Panicked { .. }
            | FlowError::Law { .. }
            | FlowError::NoDatabase
            | FlowError::NoBase => {
                Some("report it, with the server's log of this execution".to_owned())
            }
            FlowError::InTheWay(obstacles) => {
                let remedies: Vec<&str> = obstacles
                    .iter()
                    .filter_map(|obstacle| obstacle.remedy.as_deref())
                    .collect();
                (!remedies.is_empty()).then(|| remedies.join("; "))
            }
            FlowError::RowsDiffer { .. } => Some(
                "nothing was put in place; look for rules or triggers on the target that drop rows"
                    .to_owned(),
            ),
            FlowError::BaseDamaged { .. } => Some(
                "run a FULL backup, which reads everything again, and have the vault verified"
                    .to_owned(),
            ),
            FlowError::ExportNotEmpty { .. } => {
                Some("name a directory that is not there yet, or empty it".to_owned())
            }
            FlowError::Unmarked { .. } => Some(
                "the saveset is settled when the server starts again and reaches the vault"
                    .to_owned(),
            ),
            FlowError::LeftBehind { .. } => Some(
                "drop what has the execution's number in its name on the target; the database that stood there before was not touched"
                    .to_owned(),
            ),
            FlowError::PartlyPublished { first, .. } => first.hint(),
            FlowError::NotInSaveset { .. } | FlowError::ObjectNotInSaveset { .. } => {
                Some("GET …/executions/{execution_id}/objects lists what it holds".to_owned())
            }
            FlowError::Cancelled
            | FlowError::ShuttingDown
            | FlowError::Stopped
            | FlowError::Io { .. } => None,
        }
    }
}

/// An obstacle's code as a word that lives as long as the program: problems are told by static
/// codes. Engines write their codes as literals, so that only a few are ever kept.
pub fn obstacle_code(code: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match known.get(code) {
        Some(known) => known,
        None => {
            let kept: &'static str = Box::leak(code.to_owned().into_boxed_str());
            known.insert(kept);
            kept
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_obstacles_code_is_kept_and_all_details_are_told() {
        let obstacle = |code: &str| Obstacle {
            code: code.to_owned(),
            detail: format!("{code} is there"),
            remedy: Some(format!("drop {code}")),
        };
        let error = FlowError::InTheWay(vec![obstacle("target-exists"), obstacle("unknown-role")]);
        assert_eq!(error.code(), "target-exists");
        assert_eq!(error.blame(), Blame::Conflict);
        assert!(error.to_string().contains("unknown-role is there"));
        assert_eq!(
            error.hint().as_deref(),
            Some("drop target-exists; drop unknown-role")
        );
    }

    #[test]
    fn a_code_is_kept_once() {
        let first = obstacle_code("target-not-empty");
        assert!(std::ptr::eq(first, obstacle_code("target-not-empty")));
    }

    #[test]
    fn a_place_names_phase_table_and_blocks() {
        let blocks = BlockRange {
            start: 5,
            end: Some(9),
        };
        let place = Place::rows("reading", &ObjectName::two("public", "orders"), blocks);
        assert_eq!(
            place.to_string(),
            "reading public.orders, blocks 5 to 8 (phase DATA)"
        );
    }
}
