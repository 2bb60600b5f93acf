//! What a backup becomes, and why (contract section 4).
//!
//! A run that failed or was aborted has left no saveset, so that it is never a base; one that was
//! COMPLETED_WITH_WARNINGS has. The base is the newest saveset of the job that exists and is not about
//! to be deleted: every saveset is whole, and so is every one that builds on it.

use std::fmt;

use model::{DatabaseSelection, ExecutionId, RunType, SavesetId, Scope, Selection};
use serde::{Deserialize, Serialize};

/// What is known of the run that decides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What the request or the job asked for.
    pub run_type: RunType,
    /// The newest saveset of the job; `None`: it has none.
    pub base: Option<Base>,
}

/// The saveset that a DELTA would build on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Which.
    pub saveset: SavesetId,
    /// The execution that made it.
    pub execution: ExecutionId,
    /// What is wrong with it; `None`: nothing that is known yet.
    pub flaw: Option<Flaw>,
}

/// Why a saveset cannot be built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// It is not in the vault any more.
    Gone,
    /// A verification, or the run that wanted to build on it, found it damaged.
    FailedItsCheck {
        /// What was found, as a sentence; `None`: the verification tells.
        what: Option<String>,
    },
    /// The vault is another one.
    OtherVault,
    /// The job is about other objects.
    OtherObjects,
    /// A setting that changes what is stored is another one.
    OtherSetting {
        /// Which, as a sentence's end: `the site's directory`.
        which: &'static str,
    },
    /// The database system was made anew.
    MadeAnew {
        /// How that shows, as a sentence's end.
        why: String,
    },
}

/// What a run becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// FULL or DELTA.
    pub run_type: RunType,
    /// DELTA: the saveset that it builds on.
    pub base: Option<SavesetId>,
    /// Why, as the beginning of a sentence.
    pub reason: String,
}

/// What the run becomes, and the reason.
pub fn decide(asked: &Asked) -> Decision {
    let full = |reason: String| Decision {
        run_type: RunType::Full,
        base: None,
        reason,
    };
    match (asked.run_type, &asked.base) {
        (RunType::Full, _) => full("FULL, as asked".to_owned()),
        (RunType::Delta, None) => {
            full("FULL, because the job has no saveset to build on".to_owned())
        }
        (RunType::Delta, Some(base)) => match &base.flaw {
            Some(flaw) => full(format!("FULL, because {}", Because { base, flaw })),
            None => Decision {
                run_type: RunType::Delta,
                base: Some(base.saveset),
                reason: format!(
                    "DELTA on saveset {} of execution {}",
                    base.saveset, base.execution
                ),
            },
        },
    }
}

/// A flaw as a sentence's end.
struct Because<'a> {
    base: &'a Base,
    flaw: &'a Flaw,
}

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saveset = self.base.saveset;
        match self.flaw {
            Flaw::Gone => write!(f, "saveset {saveset}, which it would build on, is gone"),
            Flaw::FailedItsCheck { what: None } => {
                write!(
                    f,
                    "saveset {saveset}, which it would build on, failed its verification"
                )
            }
            Flaw::FailedItsCheck { what: Some(what) } => {
                let what = what.trim_end_matches('.');
                write!(
                    f,
                    "saveset {saveset}, which it would build on, cannot be read ({what})"
                )
            }
            Flaw::OtherVault => write!(f, "the vault is not the one of saveset {saveset}"),
            Flaw::OtherObjects => {
                write!(f, "the list of objects has changed since saveset {saveset}")
            }
            Flaw::OtherSetting { which } => {
                write!(f, "{which} has changed since saveset {saveset}")
            }
            Flaw::MadeAnew { why } => {
                write!(
                    f,
                    "the database system was made anew since saveset {saveset}: {why}"
                )
            }
        }
    }
}

/// What decides what a run stores: noted when it begins, compared when another builds on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeWith {
    /// The vault's id.
    pub vault: String,
    /// Where the databases are, where that is part of what they are: the directory of a SQLite site. A
    /// server says itself who it is, wherever it is found.
    pub place: Option<String>,
    /// The job's list.
    pub selection: Selection,
}

impl MadeWith {
    /// What forbids a run that is made with this to build on one that was made with `before`.
    pub fn flaw(&self, before: &MadeWith) -> Option<Flaw> {
        if self.vault != before.vault {
            return Some(Flaw::OtherVault);
        }
        if !same_list(&self.selection, &before.selection) {
            return Some(Flaw::OtherObjects);
        }
        (self.place != before.place).then_some(Flaw::OtherSetting {
            which: "the site's directory",
        })
    }
}

/// Whether two lists name the same objects, in whatever order.
fn same_list(one: &Selection, other: &Selection) -> bool {
    let subset = |a: &Selection, b: &Selection| a.objects.iter().all(|o| b.objects.contains(o));
    one.objects.len() == other.objects.len() && subset(one, other) && subset(other, one)
}

/// Whether what is read now is what the base holds, database by database. With `listed_live` the list
/// of databases is the site's own: one more, or one less, changes nothing as long as one is the same.
pub fn same_objects(
    now: &[DatabaseSelection],
    base: &[DatabaseSelection],
    listed_live: bool,
) -> bool {
    let of = |selections: &'_ [DatabaseSelection], wanted: &DatabaseSelection| {
        let found = selections
            .iter()
            .find(|one| one.database == wanted.database);
        found.map(|one| same_scope(&one.scope, &wanted.scope))
    };
    let all = |from: &[DatabaseSelection], to: &[DatabaseSelection]| {
        from.iter().all(|one| of(to, one).unwrap_or(listed_live))
    };
    let in_common = now.iter().any(|one| of(base, one) == Some(true));
    in_common && all(now, base) && all(base, now)
}

fn same_scope(one: &Scope, other: &Scope) -> bool {
    fn same<T: PartialEq>(one: &[T], other: &[T]) -> bool {
        let subset = |a: &[T], b: &[T]| a.iter().all(|o| b.contains(o));
        one.len() == other.len() && subset(one, other) && subset(other, one)
    }
    match (one, other) {
        (Scope::Whole { exclude: one }, Scope::Whole { exclude: other }) => same(one, other),
        (Scope::Only(one), Scope::Only(other)) => same(one, other),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
