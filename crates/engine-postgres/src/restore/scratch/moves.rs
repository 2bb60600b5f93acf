//! Renames, and moves into working schemas, in the scratch database.

use std::collections::{BTreeMap, BTreeSet};

use model::{ObjectType, Progress};
use tokio_postgres::error::SqlState;

use super::{Found, relations};
use crate::facts::QualifiedName;
use crate::restore::destination::NAME_BYTES;
use crate::restore::fault::RestoreError;
use crate::restore::quote::{cut, ident};
use crate::restore::wanted::{Chosen, Wanted, Way};
use crate::session::Session;

const RENAMING: &str = "giving an object another name";
const MOVING: &str = "moving objects into a working schema";

/// A foreign key from a table that is restored to one that stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct ForeignKey {
    /// The table, while it is worked on.
    pub(in crate::restore) table: QualifiedName,
    /// Its name.
    pub(in crate::restore) name: String,
    /// `FOREIGN KEY (…) REFERENCES …`.
    pub(in crate::restore) definition: String,
    /// The other table, as SQL writes it.
    pub(in crate::restore) refers_to: String,
    /// Whether the table is a partitioned one.
    pub(in crate::restore) partitioned: bool,
}

/// A table that is restored and inherits from one that stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct Heir {
    /// The table, while it is worked on: it does not inherit yet, or its rows would be seen.
    pub(in crate::restore) table: QualifiedName,
    /// What it inherits from, as SQL writes it.
    pub(in crate::restore) parent: String,
}

/// What leads from what is restored to what stays.
#[derive(Debug, Clone, Default)]
pub(in crate::restore) struct Bonds {
    /// Foreign keys.
    pub(in crate::restore) keys: Vec<ForeignKey>,
    /// Inheritance.
    pub(in crate::restore) heirs: Vec<Heir>,
}

impl ForeignKey {
    /// How pg_restore lists it, without the owner.
    pub(in crate::restore) fn in_listing(&self) -> String {
        let listed = format!("{} {} {} ", self.table.schema, self.table.name, self.name);
        listed.replace(['\n', '\r'], " ")
    }
}

/// Gives what was asked for its new names. `taken`: names of relations of the target that stay.
pub(super) async fn rename(
    session: &Session,
    wanted: &Wanted,
    taken: &BTreeSet<QualifiedName>,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    for chosen in wanted.chosen().iter().filter(|chosen| chosen.is_renamed()) {
        let (from, to) = (&chosen.from, &chosen.to);
        if chosen.kind == ObjectType::Schema {
            if wanted.way == Way::NewDatabase {
                let sql = format!(
                    "ALTER SCHEMA {} RENAME TO {}",
                    ident(&from.name),
                    ident(&to.name)
                );
                session.run(&sql, RENAMING).await?;
            }
            continue;
        }
        if from.name != to.name {
            rename_relation(session, chosen, taken, progress).await?;
        }
        if from.schema != to.schema && wanted.way == Way::NewDatabase {
            let (schema, name) = (ident(&to.schema), ident(&to.name));
            let sql = format!(
                "CREATE SCHEMA IF NOT EXISTS {schema}; ALTER TABLE {}.{name} SET SCHEMA {schema}",
                ident(&from.schema)
            );
            session.run(&sql, RENAMING).await?;
        }
    }
    Ok(())
}

/// Renames a relation, and of its indexes, constraints and sequences those that carry its name, or
/// whose name is taken.
async fn rename_relation(
    session: &Session,
    chosen: &Chosen,
    taken: &BTreeSet<QualifiedName>,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let (from, to) = (&chosen.from, &chosen.to);
    let sql = format!("ALTER TABLE {} RENAME TO {}", from.sql(), ident(&to.name));
    session.run(&sql, RENAMING).await?;
    let now = QualifiedName {
        schema: from.schema.clone(),
        name: to.name.clone(),
    };
    let sql = include_str!("../../../sql/parts_of_relation_14.sql");
    for row in session
        .rows(sql, &[&now.schema, &now.name], RENAMING)
        .await?
    {
        let (statement, name): (&str, &str) = (row.get(0), row.get(1));
        let Some(new) = new_name(name, chosen, taken) else {
            continue;
        };
        let sql = format!("{statement} {}", ident(&new));
        match session.run(&sql, RENAMING).await {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.sql_state(),
                    Some(SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_OBJECT)
                ) =>
            {
                progress.warning(format!(
                    "{} keeps its name, which carries that of {}: {new:?} is there already",
                    ident(name),
                    from.sql()
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `orders_pkey` of `orders`, which becomes `old`, becomes `old_pkey`; a name that is taken becomes
/// `old_` and that name.
fn new_name(name: &str, chosen: &Chosen, taken: &BTreeSet<QualifiedName>) -> Option<String> {
    let (old, new) = (&chosen.from.name, &chosen.to.name);
    let end = name
        .strip_prefix(old.as_str())
        .filter(|end| end.starts_with('_'));
    let renamed = end.map_or_else(|| name.to_owned(), |end| format!("{new}{end}"));
    let renamed = cut(&renamed, NAME_BYTES).to_owned();
    let there = QualifiedName {
        schema: chosen.to.schema.clone(),
        name: renamed.clone(),
    };
    let renamed = match taken.contains(&there) {
        true => cut(&format!("{new}_{name}"), NAME_BYTES).to_owned(),
        false => renamed,
    };
    Some(renamed).filter(|renamed| renamed != name)
}

/// Functions that come along and whose text names what has another name now, a sentence each.
pub(super) async fn old_names_in_texts(
    session: &Session,
    wanted: &Wanted,
) -> Result<Vec<String>, RestoreError> {
    let renamed: Vec<&str> = wanted
        .chosen()
        .iter()
        .filter(|chosen| chosen.is_renamed())
        .map(|chosen| chosen.from.name.as_str())
        .collect();
    if renamed.is_empty() {
        return Ok(Vec::new());
    }
    let schemas: Vec<&str> = wanted
        .working_schemas()
        .iter()
        .map(|schema| schema.working.as_str())
        .collect();
    let sql = include_str!("../../../sql/functions_naming_14.sql");
    let rows = session.rows(sql, &[&renamed, &schemas], RENAMING).await?;
    let said = rows.iter().map(|row| {
        let (function, name): (&str, &str) = (row.get(0), row.get(1));
        format!("the text of the function {function} holds the old name {name:?}: look whether it means what was renamed")
    });
    Ok(said.collect())
}

/// Moves what is wanted into the working schemas; answers what leads out of them.
pub(super) async fn into_working_schemas(
    session: &Session,
    wanted: &mut Wanted,
) -> Result<Bonds, RestoreError> {
    let all = relations(session).await?;
    let taken = wanted.taken_after_renames(&all);
    let by_oid: BTreeMap<u32, &Found> = all.iter().map(|found| (found.oid, found)).collect();
    let mut whole = BTreeSet::new();
    for chosen in wanted
        .chosen()
        .iter()
        .filter(|c| c.kind == ObjectType::Schema)
    {
        whole.insert(chosen.from.name.clone());
    }
    let mut moves = Vec::new();
    for found in &all {
        let moves_by_itself = found.owned_by.is_none() && !whole.contains(&found.name.schema);
        if taken.contains(&found.oid) && moves_by_itself {
            let goes_to = wanted.schema_for(found, &by_oid);
            moves.push((found, wanted.working_schema_for(&goes_to)));
        }
    }
    for schema in wanted.working_schemas() {
        let working = ident(&schema.working);
        let from = wanted.whole_schema_from(&schema.schema);
        let sql = match from {
            Some(from) => format!("ALTER SCHEMA {} RENAME TO {working}", ident(from)),
            None => format!("CREATE SCHEMA {working}"),
        };
        session.run(&sql, MOVING).await?;
    }
    for (found, working) in moves {
        let name = found.name.sql();
        let sql = format!("ALTER TABLE {name} SET SCHEMA {}", ident(&working));
        session.run(&sql, MOVING).await?;
    }
    let schemas: Vec<&str> = wanted
        .working_schemas()
        .iter()
        .map(|schema| schema.working.as_str())
        .collect();
    // Extended statistics have a schema of their own.
    let sql = include_str!("../../../sql/statistics_elsewhere_14.sql");
    for row in session.rows(sql, &[&schemas], MOVING).await? {
        session.run(row.get(0), MOVING).await?;
    }
    Ok(Bonds {
        keys: keys_out(session, &schemas).await?,
        heirs: heirs(session, &schemas).await?,
    })
}

async fn keys_out(session: &Session, schemas: &[&str]) -> Result<Vec<ForeignKey>, RestoreError> {
    let sql = include_str!("../../../sql/keys_out_14.sql");
    let rows = session.rows(sql, &[&schemas], MOVING).await?;
    Ok(rows
        .iter()
        .map(|row| ForeignKey {
            table: QualifiedName {
                schema: row.get(0),
                name: row.get(1),
            },
            name: row.get(2),
            definition: row.get(3),
            refers_to: row.get(4),
            partitioned: row.get(5),
        })
        .collect())
}

async fn heirs(session: &Session, schemas: &[&str]) -> Result<Vec<Heir>, RestoreError> {
    let sql = "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
                      i.inhparent::pg_catalog.regclass::pg_catalog.text
                 FROM pg_catalog.pg_inherits i
                 JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND NOT c.relispartition
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
                 JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace
                WHERE n.nspname = ANY ($1) AND m.nspname <> ALL ($1) ORDER BY i.inhrelid, i.inhseqno";
    let mut heirs = Vec::new();
    for row in session.rows(sql, &[&schemas], MOVING).await? {
        let heir = Heir {
            table: QualifiedName {
                schema: row.get(0),
                name: row.get(1),
            },
            parent: row.get(2),
        };
        let sql = format!(
            "ALTER TABLE {} NO INHERIT {}",
            heir.table.sql(),
            heir.parent
        );
        session.run(&sql, MOVING).await?;
        heirs.push(heir);
    }
    Ok(heirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders_as(name: &str) -> Chosen {
        let named = |name: &str| QualifiedName {
            schema: "s".into(),
            name: name.into(),
        };
        Chosen {
            kind: ObjectType::Table,
            from: named("orders"),
            to: named(name),
        }
    }

    #[test]
    fn what_carries_the_old_name_gets_the_new_one_and_other_names_stay() {
        let taken = BTreeSet::new();
        let new = |name: &str| new_name(name, &orders_as("saved"), &taken);
        assert_eq!(new("orders_pkey").as_deref(), Some("saved_pkey"));
        assert_eq!(new("ordersquare_idx"), None);
        assert_eq!(new("by_day"), None);
        let long = "x".repeat(70);
        let new = new_name("orders_id_seq", &orders_as(&long), &taken);
        assert_eq!(new.map(|name| name.len()), Some(NAME_BYTES));
    }

    #[test]
    fn a_name_that_is_taken_on_the_target_is_given_another() {
        let named = |name: &str| QualifiedName {
            schema: "s".into(),
            name: name.into(),
        };
        let taken = BTreeSet::from([named("by_day"), named("orders_pkey")]);
        let new = |name: &str| new_name(name, &orders_as("saved"), &taken);
        assert_eq!(new("by_day").as_deref(), Some("saved_by_day"));
        assert_eq!(new("orders_pkey").as_deref(), Some("saved_pkey"));
    }
}
