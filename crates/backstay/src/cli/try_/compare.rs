//! Is what was restored what was backed up?

use std::collections::{BTreeMap, BTreeSet};

use engine_postgres::{Holding, PostgresError};
use serde_json::{Value, json};

use super::subject::Subject;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output;

/// Everything that a database holds, in figures.
pub(super) type Holdings = BTreeMap<String, Holding>;

/// What `database` on the subject's server holds.
pub(super) async fn holdings(subject: &Subject, database: &str) -> Result<Holdings, CommandError> {
    let held = engine_postgres::holdings(&subject.connection(), database).await;
    held.map_err(failed(format!("cannot compare {database}")))
}

/// Says what was tried when an engine's error came.
pub(super) fn failed(doing: String) -> impl FnOnce(PostgresError) -> CommandError {
    move |fault| CommandError::Database {
        doing,
        fault: fault.into(),
    }
}

/// What the comparison says of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Restored as it was backed up.
    Equal,
    /// Restored as it is not in the source, which nobody changed.
    Different,
    /// Somebody wrote to it between the backup and the comparison: equality cannot be shown here.
    Busy,
}

/// The whole comparison.
#[derive(Debug)]
pub(super) struct Comparison {
    rows: Vec<Row>,
    /// What backup and restore warned of.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug)]
struct Row {
    object: String,
    source: Option<u64>,
    restored: Option<u64>,
    verdict: Verdict,
}

impl Comparison {
    /// The source before the backup and after the restore, and what was restored. An object that
    /// nobody wrote to is the same before and after, and must be the same restored. One that
    /// somebody wrote to has a right value that only the backup's snapshot knew.
    pub(super) fn of(before: &Holdings, restored: &Holdings, after: &Holdings) -> Comparison {
        let objects: BTreeSet<&String> = before
            .keys()
            .chain(restored.keys())
            .chain(after.keys())
            .collect();
        let rows = objects
            .into_iter()
            .map(|object| {
                let (was, is) = (before.get(object), after.get(object));
                let back = restored.get(object);
                let verdict = match () {
                    () if back == was || back == is => Verdict::Equal,
                    () if was != is => Verdict::Busy,
                    () => Verdict::Different,
                };
                Row {
                    object: object.clone(),
                    source: is.or(was).and_then(|h| h.count),
                    restored: back.and_then(|h| h.count),
                    verdict,
                }
            })
            .collect();
        Comparison {
            rows,
            warnings: Vec::new(),
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count()
    }

    /// 0 only if every object was shown to be equal.
    pub(super) fn exit(&self) -> Exit {
        match (self.count(Verdict::Different), self.count(Verdict::Busy)) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Warnings,
            _ => Exit::Failed,
        }
    }

    /// For scripts.
    pub(super) fn answer(&self, database: &str) -> Value {
        let objects: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "object": row.object,
                    "source_count": row.source,
                    "restored_count": row.restored,
                    "verdict": word(row.verdict),
                })
            })
            .collect();
        json!({
            "database": database,
            "equal": self.exit() == Exit::Done,
            "objects": objects,
            "warnings": self.warnings,
        })
    }

    /// For people.
    pub(super) fn for_people(&self) -> String {
        let answer = self.answer("");
        let mut shown = output::table(
            &answer["objects"],
            "The database holds no table.",
            &[
                ("OBJECT", &|r| output::text(r, "object")),
                ("SOURCE", &|r| output::text(r, "source_count")),
                ("RESTORED", &|r| output::text(r, "restored_count")),
                ("", &|r| output::text(r, "verdict")),
            ],
        );
        for warning in &self.warnings {
            shown += &format!("\nWarning: {warning}\n");
        }
        shown += &match (self.count(Verdict::Different), self.count(Verdict::Busy)) {
            (0, 0) => format!(
                "\nEqual: all {} objects came back as they were, by count and by hash of every row.\n",
                self.rows.len()
            ),
            (0, busy) => format!(
                "\n{} of {} objects are equal by count and hash. {busy} were written to meanwhile, so that\n\
                 this comparison cannot judge them: run it again when the database is quiet.\n",
                self.count(Verdict::Equal),
                self.rows.len()
            ),
            (different, _) => format!(
                "\nNOT EQUAL: {different} of {} objects differ from the source, which was not written to.\n",
                self.rows.len()
            ),
        };
        shown
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Equal => "equal",
        Verdict::Different => "DIFFERENT",
        Verdict::Busy => "written to meanwhile",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tables: &[(&str, u64, &str)]) -> Holdings {
        let holding = |count: u64, figures: &str| Holding {
            count: Some(count),
            figures: figures.to_owned(),
        };
        tables
            .iter()
            .map(|(name, count, figures)| ((*name).to_owned(), holding(*count, figures)))
            .collect()
    }

    #[test]
    fn a_quiet_table_must_come_back_as_it_was() {
        let source = held(&[("a", 1, "x"), ("b", 2, "y")]);
        let equal = Comparison::of(&source, &source, &source);
        assert_eq!(equal.exit(), Exit::Done);
        let lost = Comparison::of(&source, &held(&[("a", 1, "x")]), &source);
        assert_eq!(lost.exit(), Exit::Failed);
        let same_count = held(&[("a", 1, "x"), ("b", 2, "z")]);
        assert_eq!(
            Comparison::of(&source, &same_count, &source).exit(),
            Exit::Failed
        );
        let invented = held(&[("a", 1, "x"), ("b", 2, "y"), ("c", 0, "")]);
        assert_eq!(
            Comparison::of(&source, &invented, &source).exit(),
            Exit::Failed
        );
    }

    #[test]
    fn a_table_that_was_written_to_is_neither_equal_nor_different() {
        let (before, after) = (held(&[("a", 1, "x")]), held(&[("a", 3, "z")]));
        let between = Comparison::of(&before, &held(&[("a", 2, "y")]), &after);
        assert_eq!(between.exit(), Exit::Warnings);
        assert!(between.for_people().contains("cannot judge"));
        assert_eq!(Comparison::of(&before, &before, &after).exit(), Exit::Done);
    }
}
