//! What a role may not read: refused with the statements that mend it, or skipped and listed.

use std::collections::HashMap;

use model::{ObjectName, SkippedObject};

use crate::error::PostgresError;
use crate::inventory::{Oid, quoted};
use crate::locks::{LargeObjects, Lockable};
use crate::sequences::Sequence;
use crate::snapshot::Wanted;

/// How many objects, and how many statements, an error names.
const NAMED: usize = 10;

/// Why a table cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The role may not use the schema.
    Schema,
    /// The role may not read the table.
    Table,
    /// Policies would hide rows from the role.
    Policies,
    /// The role may not lock it against writers, for want of a right as this one.
    Lock(&'static str),
    /// It cannot be without another one, which is left out.
    Needs {
        /// As a warning names it.
        name: String,
        /// Its OID.
        oid: Oid,
    },
}

/// An object that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    object: String,
    /// A clause: `the role poor may not read it`.
    reason: String,
    /// What makes it readable; empty where that is said at another object.
    statements: Vec<String>,
}

impl Unreadable {
    /// The objects of a listing that may not be read, and whatever cannot be without them.
    pub(crate) fn among(tables: &[Lockable], large: LargeObjects, role: &str) -> Vec<Unreadable> {
        let unreadable = tables.iter().filter(|table| !table.readable());
        let by_oid: HashMap<Oid, &Lockable> =
            unreadable.clone().map(|table| (table.oid, table)).collect();
        let chosen = unreadable.filter(|table| table.taken);
        let mut all: Vec<Unreadable> = chosen
            .map(|table| {
                let mut one = Self::table(table, role);
                // Nothing else says what mends that.
                if let Some(other) = needed_beside(table, &by_oid) {
                    one.statements.extend(Self::table(other, role).statements);
                }
                one
            })
            .collect();
        if large == LargeObjects::Unreadable {
            all.push(Unreadable {
                object: "large objects".into(),
                reason: format!("the role {role} may not read them"),
                statements: vec![format!("GRANT pg_read_all_data TO {}", quoted(role))],
            });
        }
        all
    }

    /// A sequence whose value may not be read.
    pub(crate) fn sequence(sequence: &Sequence, role: &str) -> Unreadable {
        let (schema, name) = sequence.parts();
        Unreadable {
            object: sequence.qualified(),
            reason: format!("the role {role} may not read its value"),
            statements: vec![
                format!(
                    "GRANT USAGE ON SCHEMA {} TO {}",
                    plain(schema),
                    quoted(role)
                ),
                format!(
                    "GRANT SELECT ON SEQUENCE {} TO {}",
                    ObjectName::two(schema, name),
                    quoted(role)
                ),
            ],
        }
    }

    fn table(table: &Lockable, role: &str) -> Unreadable {
        let to = quoted(role);
        let mut reason = format!("the role {role} may not read it");
        let mut statements = Vec::new();
        for obstacle in &table.obstacles {
            match obstacle {
                Obstacle::Schema => statements.push(format!(
                    "GRANT USAGE ON SCHEMA {} TO {to}",
                    plain(&table.schema)
                )),
                Obstacle::Table => {
                    statements.push(format!("GRANT SELECT ON {} TO {to}", table.qualified()));
                }
                Obstacle::Policies => {
                    reason = format!("row level security hides rows from the role {role}");
                    statements.push(format!("ALTER ROLE {to} BYPASSRLS"));
                }
                Obstacle::Lock(right) => {
                    if statements.is_empty() {
                        reason = format!("the role {role} may not lock it against writers");
                    }
                    let on = table.qualified();
                    statements.push(format!("GRANT {right} ON {on} TO {to}"));
                }
                Obstacle::Needs { name, .. } => {
                    reason = format!("it cannot be without {name}, which is left out");
                }
            }
        }
        Unreadable {
            object: table.qualified(),
            reason,
            statements,
        }
    }
}

/// What keeps a chosen object out and is not chosen itself: the end of the chain of what it needs.
fn needed_beside<'a>(
    table: &'a Lockable,
    unreadable: &HashMap<Oid, &'a Lockable>,
) -> Option<&'a Lockable> {
    let mut last = table;
    // A chain has no circle; should the catalog lie, it still ends.
    for _ in 0..unreadable.len() {
        let next = last.obstacles.iter().find_map(|obstacle| match obstacle {
            Obstacle::Needs { oid, .. } => unreadable.get(oid),
            _ => None,
        });
        match next {
            Some(next) => last = next,
            None => break,
        }
    }
    (!last.taken).then_some(last)
}

fn plain(schema: &str) -> String {
    ObjectName::one(schema).to_string()
}

impl Wanted {
    /// Refuses what the role may not read, or nothing where it may be skipped.
    ///
    /// # Errors
    /// [`PostgresError::NoRights`], with the statements that mend it.
    pub(crate) fn refuse_or_go_on(&self, unreadable: &[Unreadable]) -> Result<(), PostgresError> {
        if self.skip_without_rights || unreadable.is_empty() {
            return Ok(());
        }
        let names = unreadable.iter().map(|one| one.object.as_str());
        let mut statements: Vec<&str> = Vec::new();
        for statement in unreadable.iter().flat_map(|one| &one.statements) {
            if !statements.contains(&statement.as_str()) {
                statements.push(statement);
            }
        }
        Err(PostgresError::NoRights {
            role: self.endpoint.user().to_owned(),
            objects: some(names.collect(), ", "),
            remedy: some(statements, "; "),
        })
    }

    /// Tells what is left out because the role may not read it.
    pub(crate) fn tell_skipped(&self, unreadable: &[Unreadable]) {
        for one in unreadable {
            let reason = match one.statements.is_empty() {
                true => one.reason.clone(),
                false => format!("{}; to have it: {}", one.reason, one.statements.join("; ")),
            };
            self.progress.skipped(SkippedObject {
                object: one.object.clone(),
                reason,
            });
        }
    }
}

fn some(all: Vec<&str>, between: &str) -> String {
    let named = all[..all.len().min(NAMED)].join(between);
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
