//! Objects that go into a database that is there: what stands in their place, what is bound to it,
//! what they need.

use std::collections::BTreeSet;

use model::{Obstacle, RestoreRequest};

use super::Look;
use super::needed::Needed;
use crate::restore::destination::Destination;
use crate::restore::dictionary::Dictionary;
use crate::restore::fault::RestoreError;
use crate::restore::objects::old::{self, Names, Old};
use crate::restore::quote::ident;
use crate::restore::wanted::Wanted;
use crate::session::Session;

/// Another way to have it, for whatever stands in the way.
const ANOTHER_NAME: &str = "or restore under another name (rename_to)";

pub(super) async fn look(
    look: &mut Look,
    destination: &Destination,
    dictionary: &Dictionary,
    request: &RestoreRequest,
    wanted: &Wanted,
    needed: &Needed<'_>,
) -> Result<(), RestoreError> {
    let session = destination.inside().await?;
    rights(look, &session, destination, wanted).await?;
    what_is_needed(look, &session, dictionary, needed).await?;
    let names = wanted.names();
    let old = old::look(&session, &names).await?;
    if request.as_copy {
        nothing_may_be_there(look, &session, &old, &names).await?;
    } else {
        look.findings.obstacles.extend(hindrances(&old));
        what_is_lost(look, &session, dictionary, wanted, &old).await?;
        what_moves(look, &old);
    }
    session.close().await;
    Ok(())
}

async fn rights(
    look: &mut Look,
    session: &Session,
    destination: &Destination,
    wanted: &Wanted,
) -> Result<(), RestoreError> {
    let schemas = wanted.working_schemas().iter();
    let schemas: Vec<&str> = schemas.map(|schema| &*schema.schema).collect();
    let sql = include_str!("../../../sql/rights_on_objects_14.sql");
    let doing = "reading what may be made in the target database";
    let row = session.row(sql, &[&schemas], doing).await?;
    let role = ident(&look.role);
    if !row.get::<_, bool>(0) {
        let database = ident(&destination.target);
        look.obstacle(
            "missing-right",
            format!("the role {role} may not make schemas in the database {database}"),
            format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        );
    }
    let there: Vec<String> = row.get(1);
    let (closed, not_ours): (Vec<String>, Vec<String>) = (row.get(2), row.get(3));
    for schema in wanted.working_schemas() {
        let name = ident(&schema.schema);
        if schema.whole && not_ours.contains(&schema.schema) {
            look.obstacle(
                "missing-right",
                format!("the schema {name} is there, and {role} may not rename it"),
                format!("make {role} a member of its owner, {ANOTHER_NAME}"),
            );
        } else if !schema.whole && closed.contains(&schema.schema) {
            look.obstacle(
                "missing-right",
                format!("the role {role} may not make objects in the schema {name}"),
                format!("GRANT CREATE ON SCHEMA {name} TO {role}"),
            );
        }
        if !there.contains(&schema.schema) {
            look.steps.push(format!("make the schema {name}"));
        }
    }
    let extensions: Vec<String> = row.get(5);
    for schema in wanted
        .working_schemas()
        .iter()
        .filter(|schema| schema.whole)
    {
        let within = format!("{} ", schema.schema);
        let mut within = extensions.iter().filter_map(|e| e.strip_prefix(&within));
        if let Some(extension) = within.next() {
            let name = ident(&schema.schema);
            look.obstacle(
                "in-the-way",
                format!("the extension {extension:?} lies in the schema {name}, and would be put aside with it"),
                format!("ALTER EXTENSION {} SET SCHEMA …, or choose the schema's tables one by one", ident(extension)),
            );
        }
    }
    let for_all: Vec<String> = row.get(4);
    if !for_all.is_empty() {
        look.warn(format!(
            "the publications {for_all:?} are for all tables: subscribers are sent the rows while they are loaded, and tables that they do not have stop them"
        ));
    }
    Ok(())
}

/// Types, functions, extensions and tables that the target must have.
async fn what_is_needed(
    look: &mut Look,
    session: &Session,
    dictionary: &Dictionary,
    needed: &Needed<'_>,
) -> Result<(), RestoreError> {
    let sql = include_str!("../../../sql/there_for_dictionary_14.sql");
    let doing = "looking for what the restored objects need";
    let rows = session.rows(sql, &[], doing).await?;
    let there: BTreeSet<(String, String)> = rows
        .iter()
        .map(|row| {
            (
                row.get(0),
                row.get::<_, String>(1).replace(['\n', '\r'], " "),
            )
        })
        .collect();
    let owners = &dictionary.facts.needs.owners;
    for entry in &needed.entries {
        let name = entry.listed(owners).to_owned();
        if there.contains(&(entry.kind.clone(), name.clone())) {
            continue;
        }
        let what = format!("the {} {name}", entry.kind.to_lowercase());
        look.obstacle(
            "missing-object",
            format!("what is restored needs {what}, which the target database does not have"),
            format!("make {what} there first, choose it too, or restore into a database that is not there yet"),
        );
    }
    Ok(())
}

async fn nothing_may_be_there(
    look: &mut Look,
    session: &Session,
    old: &Old,
    names: &Names,
) -> Result<(), RestoreError> {
    let sql =
        "SELECT nspname::pg_catalog.text FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)";
    let doing = "looking for schemas of the same name";
    let rows = session.rows(sql, &[&names.schemas], doing).await?;
    let schemas = rows
        .iter()
        .map(|row| format!("the schema {}", ident(row.get(0))));
    let single = old.relations.iter();
    let single = single.filter(|old| names.relations.contains(&old.name));
    let single = single.map(|old| old.name.sql());
    for name in schemas.chain(single) {
        look.obstacle(
            "target-exists",
            format!("{name} is there already"),
            "restore under another name (rename_to): a copy replaces nothing, or set run_as_a_copy_job to false".to_owned(),
        );
    }
    Ok(())
}

/// What cannot be moved aside, or cannot be bound to what takes its place.
pub(in crate::restore) fn hindrances(old: &Old) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let mut add = |detail: String, remedy: String| {
        found.push(Obstacle {
            code: "in-the-way".to_owned(),
            detail,
            remedy: Some(remedy),
        });
    };
    for relation in &old.relations {
        let name = relation.name.sql();
        if let Some(why) = &relation.hindrance {
            add(
                format!("{name} {why}, and cannot be put aside"),
                format!("restore under another name (rename_to), then move the rows over: {name}"),
            );
        } else if !relation.ours {
            let owner = ident(&relation.owner);
            add(
                format!("{name} belongs to {owner}, and the restoring role may not move it"),
                format!("GRANT {owner} TO that role, {ANOTHER_NAME}"),
            );
        }
    }
    for bound in &old.bound {
        if bound.then_again.is_none() {
            let do_this = match bound.is_materialized {
                true => "drop it, and make it again after the restore",
                false => "drop it or change it so that it does not use what is replaced",
            };
            add(
                format!(
                    "{} cannot be bound to what takes the old one's place",
                    bound.what
                ),
                format!("{do_this}, {ANOTHER_NAME}"),
            );
        } else if !bound.ours {
            let owner = bound.owner.as_deref().unwrap_or("its owner");
            add(
                format!(
                    "{} belongs to {owner}: the restoring role may not bind it to what takes the old one's place",
                    bound.what
                ),
                format!("GRANT {owner} TO that role, {ANOTHER_NAME}"),
            );
        }
    }
    for published in old.published.iter().filter(|published| !published.ours) {
        let (name, owner) = (ident(&published.publication), &published.owner);
        add(
            format!(
                "the publication {name} of {owner} names what is replaced, and the restoring role may not change it"
            ),
            format!("GRANT {owner} TO that role, {ANOTHER_NAME}"),
        );
    }
    found
}

/// What the old ones have and the saveset does not: it stays with the old ones.
async fn what_is_lost(
    look: &mut Look,
    session: &Session,
    dictionary: &Dictionary,
    wanted: &Wanted,
    old: &Old,
) -> Result<(), RestoreError> {
    let sql = include_str!("../../../sql/own_rules_of_tables_14.sql");
    let doing = "reading triggers and policies";
    let owners = &dictionary.facts.needs.owners;
    let saved: BTreeSet<(&str, &str)> = dictionary
        .after_rows
        .entries
        .iter()
        .map(|entry| (&*entry.kind, entry.listed(owners)))
        .collect();
    let renamed = wanted.chosen().iter().any(|chosen| chosen.is_renamed());
    for row in session.rows(sql, &[&old.oids()], doing).await? {
        let (kind, listed, title): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let listed = listed.replace(['\n', '\r'], " ");
        if !renamed && !saved.contains(&(kind, &*listed)) {
            look.warn(format!(
                "{title} is not in the saveset: it stays with the old table, and the restored one does not have it"
            ));
        }
    }
    for key in &old.own_keys {
        look.warn(format!(
            "the kept {} loses a foreign key, so that it does not hold up others: {}",
            key.table.sql(),
            key.add
        ));
    }
    Ok(())
}

fn what_moves(look: &mut Look, old: &Old) {
    for relation in old.relations.iter().filter(|old| !old.goes_with_another) {
        look.last_steps.push(format!(
            "in one transaction: move {} into a schema whose name says when and why",
            relation.name.sql()
        ));
    }
    for bound in old.bound.iter().filter(|bound| bound.then_again.is_some()) {
        look.last_steps
            .push(format!("bind {} to what takes its place", bound.what));
    }
    for published in &old.published {
        look.last_steps.push(format!(
            "put it into the publication {} in the old one's place",
            ident(&published.publication)
        ));
    }
}
