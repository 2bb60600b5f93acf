//! The scratch database: the saveset's objects without their rows, where PostgreSQL itself leaves
//! out, renames and moves what a dump cannot.
//!
//! A view, a key, a default or a policy knows what it is about by OID, so that `ALTER … RENAME`,
//! `SET SCHEMA` and `DROP … CASCADE` change all that hangs on an object. What pg_dump then writes
//! is the dictionary that the rest of the restore works with. No SQL is read here.

mod leave_out;
mod moves;

use std::collections::{BTreeMap, BTreeSet};

use model::{NoProgress, ObjectType, Progress};

use super::destination::Destination;
use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::Decisions;
use super::messages::ToolError;
use super::prepare::{self, AtAnError};
use super::rights::{self, Rights};
use super::wanted::{Relation, Wanted, Way};
use super::{build, loan, postscript};
use crate::facts::QualifiedName;
use crate::session::Session;

pub(super) use moves::{Bonds, ForeignKey};

/// How many errors of pg_restore an error of ours repeats.
const ERRORS_TOLD: usize = 3;

/// What the scratch database gave.
pub(super) struct Reshaped {
    /// The dictionary of what is restored.
    pub(super) dictionary: Dictionary,
    /// What became of the saveset's relations.
    pub(super) relations: Vec<Relation>,
    /// The names of all relations that the saveset's dump has.
    pub(super) known: BTreeSet<QualifiedName>,
    /// What leads from them to what stays where it is on the target.
    pub(super) bonds: Bonds,
    /// Tables that the restoring role has a right on only because pg_dump needed it.
    lent: Vec<QualifiedName>,
    /// Whose the saveset's schemas are, where their owners are kept.
    owners: BTreeMap<String, String>,
}

impl Reshaped {
    /// Who owned a schema in the source.
    pub(super) fn owner_of(&self, schema: &str) -> Option<&str> {
        self.owners.get(schema).map(String::as_str)
    }

    /// Takes back, where the restore has worked, what was lent for the dump.
    pub(super) async fn take_back(&self, place: &Destination) -> Result<(), RestoreError> {
        if self.lent.is_empty() {
            return Ok(());
        }
        let session = place.inside().await?;
        for name in &self.lent {
            let sql = format!("REVOKE SELECT ON {} FROM CURRENT_USER", name.sql());
            session.run(&sql, "taking a lent right back").await?;
        }
        session.close().await;
        Ok(())
    }
}

/// Makes the scratch database, changes in it what the wish says, and dumps it. `made` is true from
/// before the moment that it can be there; the caller drops it, whatever happens.
///
/// `dictionary` is the saveset's; it is aimed at the scratch database and back at `destination`.
pub(super) async fn reshape(
    destination: &Destination,
    dictionary: &mut Dictionary,
    decisions: &Decisions,
    wanted: &mut Wanted,
    taken: &BTreeSet<QualifiedName>,
    progress: &dyn Progress,
    made: &mut bool,
) -> Result<Reshaped, RestoreError> {
    let scratch = destination.scratch();
    let alone = Decisions {
        // The database itself is nowhere for long.
        tablespace: None,
        ..decisions.clone()
    };
    prepare::make_database(&scratch, &dictionary.facts, &alone, &NoProgress, made).await?;
    dictionary.aim_at(&scratch);
    let reshaped = fill_and_change(
        &scratch,
        destination,
        dictionary,
        decisions,
        wanted,
        taken,
        progress,
    )
    .await;
    dictionary.aim_at(destination);
    reshaped
}

async fn fill_and_change(
    scratch: &Destination,
    destination: &Destination,
    dictionary: &Dictionary,
    decisions: &Decisions,
    wanted: &mut Wanted,
    taken: &BTreeSet<QualifiedName>,
    progress: &dyn Progress,
) -> Result<Reshaped, RestoreError> {
    let failed = fill(scratch, dictionary, decisions, wanted, progress).await?;
    let session = scratch.inside().await?;
    let owners = owners_of_schemas(&session).await?;
    let before = relations(&session).await?;
    wanted.all_are_there(&before, &sentences(&failed))?;
    if wanted.leaves_out() {
        for casualty in leave_out::leave_out(&session, wanted).await? {
            progress.warning(casualty);
        }
    } else {
        leave_out::detach(&session, &before, wanted).await?;
    }
    moves::rename(&session, wanted, taken, progress).await?;
    let bonds = match wanted.way {
        Way::IntoTarget => moves::into_working_schemas(&session, wanted).await?,
        _ => Bonds::default(),
    };
    for text in moves::old_names_in_texts(&session, wanted).await? {
        progress.warning(text);
    }
    let after = relations(&session).await?;
    let lent = lend_to_pg_dump(&session).await?;
    session.close().await;
    let schemas: Vec<String> = wanted
        .working_schemas()
        .iter()
        .map(|schema| schema.working.clone())
        .collect();
    let mut reshaped = dictionary
        .dumped_from(scratch, &schemas, destination)
        .await?;
    // These are made by hand, NOT VALID at first.
    reshaped.after_rows.entries.retain(|entry| {
        let mut keys = bonds.keys.iter();
        entry.kind != "FK CONSTRAINT" || !keys.any(|key| entry.rest.starts_with(&key.in_listing()))
    });
    let known = before.iter().map(|found| found.name.clone()).collect();
    let relations = wanted.relations(before, after);
    wanted.all_survived(&relations)?;
    Ok(Reshaped {
        dictionary: reshaped,
        known,
        owners,
        relations,
        bonds,
        lent,
    })
}

/// pg_dump locks what it reads, which an owner may not that has taken all rights from itself.
async fn lend_to_pg_dump(session: &Session) -> Result<Vec<QualifiedName>, RestoreError> {
    let sql = "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
                 FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p', 'f') AND c.oid >= 16384 AND c.relpersistence <> 't'
                  AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')
                  AND pg_catalog.pg_has_role(c.relowner, 'USAGE')";
    let doing = "lending pg_dump a right";
    let mut lent = Vec::new();
    for row in session.rows(sql, &[], doing).await? {
        let name = QualifiedName {
            schema: row.get(0),
            name: row.get(1),
        };
        let sql = format!("GRANT SELECT ON {} TO CURRENT_USER", name.sql());
        session.run(&sql, doing).await?;
        lent.push(name);
    }
    Ok(lent)
}

async fn owners_of_schemas(session: &Session) -> Result<BTreeMap<String, String>, RestoreError> {
    let sql = include_str!("../../sql/schemas_and_owners_14.sql");
    let doing = "reading whose schemas are";
    let rows = session.rows(sql, &[], doing).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// All objects of the saveset, without rows; answers what could not be made.
async fn fill(
    scratch: &Destination,
    dictionary: &Dictionary,
    decisions: &Decisions,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<Vec<ToolError>, RestoreError> {
    let quiet = &NoProgress;
    let on = AtAnError::GoOn;
    let mut failed = prepare::make_all(scratch, dictionary, decisions, quiet, on).await?;
    failed.extend(build::make_all(dictionary, decisions).await?);
    let session = scratch.inside().await?;
    loan::return_schemas(&session, dictionary, decisions, &[]).await?;
    // What is left out here is in no later dump, so that it is told once.
    let mut rights = match wanted.is_of_the_whole() {
        true => Rights::new(progress, decisions),
        false => Rights::new(quiet, decisions),
    };
    rights::apply(&session, dictionary, decisions, &mut rights).await?;
    session.close().await;
    if wanted.is_of_the_whole() {
        postscript::event_triggers(dictionary, decisions).await?;
        for error in &failed {
            progress.warning(format!("left out: {}", error.message));
        }
    }
    Ok(failed)
}

/// What could not be made, for an error about an object that is not there.
fn sentences(failed: &[ToolError]) -> String {
    let told = failed.iter().take(ERRORS_TOLD);
    let told: Vec<&str> = told.map(|error| error.message.as_str()).collect();
    told.join("; ")
}

/// All relations that are no system's: OID, kind, name, and the partitioned table above.
pub(super) async fn relations(session: &Session) -> Result<Vec<Found>, RestoreError> {
    let sql = include_str!("../../sql/relations_14.sql");
    let doing = "looking what is in the scratch database";
    let rows = session.rows(sql, &[], doing).await?;
    Ok(rows
        .iter()
        .map(|row| Found {
            oid: row.get(0),
            name: QualifiedName {
                schema: row.get(1),
                name: row.get(2),
            },
            kind: row.get(3),
            partition_of: row.get(4),
            owned_by: row.get(5),
            has_rows: row.get(6),
        })
        .collect())
}

impl Found {
    /// Its kind, as a selection has it.
    pub(super) fn kind(&self) -> ObjectType {
        self.kind.parse().unwrap_or(ObjectType::Other)
    }
}

/// A relation as it stands in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its OID.
    pub(super) oid: u32,
    /// Where it is now.
    pub(super) name: QualifiedName,
    /// `TABLE`, `VIEW`, … as the contract says it.
    pub(super) kind: String,
    /// The partitioned table that it is a part of.
    pub(super) partition_of: Option<u32>,
    /// The table that a sequence belongs to.
    pub(super) owned_by: Option<u32>,
    /// Whether it is a table with rows of its own.
    pub(super) has_rows: bool,
}
