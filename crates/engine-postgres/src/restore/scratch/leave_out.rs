//! Drops what is not wanted, in the scratch database, and names what went with it.

use std::collections::{BTreeMap, BTreeSet};

use model::ObjectType;

use super::{Found, relations};
use crate::restore::fault::RestoreError;
use crate::restore::wanted::Wanted;
use crate::session::Session;

/// How many objects one statement drops: each is locked meanwhile.
const BATCH: usize = 200;

const DOING: &str = "leaving objects out";

/// Something that may go with another object: its catalog, and its OID there.
type Key = (u32, u32);

/// What something belongs to (0: nothing), and what it is called.
type Named = (u32, String);

/// Drops what is not wanted; answers what was wanted and went with it, a sentence each.
pub(super) async fn leave_out(
    session: &Session,
    wanted: &Wanted,
) -> Result<Vec<String>, RestoreError> {
    let all = relations(session).await?;
    let taken = wanted.taken(&all);
    let out: Vec<&Found> = all
        .iter()
        .filter(|found| !taken.contains(&found.oid))
        .collect();
    let mut there: Vec<(String, String, ObjectType)> = others(session)
        .await?
        .into_iter()
        .map(|other| (other.schema, other.name, other.kind))
        .collect();
    there.extend(all.iter().map(|found| {
        let name = found.name.clone();
        (name.schema, name.name, found.kind())
    }));
    let mut told = wanted.left_out_for_nothing(&there);
    let before = everything(session).await?;
    stand_alone(session, &out).await?;
    drop_relations(session, &out, wanted).await?;
    let dropped = drop_others(session, wanted).await?;
    let after = everything(session).await?;
    let meant: BTreeSet<u32> = out.iter().map(|found| found.oid).collect();
    let there: BTreeSet<u32> = after.keys().map(|(_, oid)| *oid).collect();
    for (key, (parent, title)) in &before {
        let is_meant = meant.contains(&key.1) || dropped.contains(title);
        let of_gone = *parent != 0 && !there.contains(parent);
        if !after.contains_key(key) && !is_meant && !of_gone {
            told.push(format!(
                "{title} is left out with what it is made from, which is not restored"
            ));
        }
    }
    Ok(told)
}

/// A table that inherits from one that goes stays, with all its columns; so does a partition that
/// was asked for by name.
async fn stand_alone(session: &Session, out: &[&Found]) -> Result<(), RestoreError> {
    let oids: Vec<u32> = out.iter().map(|found| found.oid).collect();
    for row in heirs(session, &oids).await? {
        session.run(row.get(1), DOING).await?;
    }
    Ok(())
}

/// Takes partitions that are restored without their tables out of these.
pub(super) async fn detach(
    session: &Session,
    all: &[Found],
    wanted: &Wanted,
) -> Result<(), RestoreError> {
    let taken = wanted.taken(all);
    let out = all.iter().filter(|found| !taken.contains(&found.oid));
    let out: Vec<u32> = out.map(|found| found.oid).collect();
    for row in heirs(session, &out).await? {
        if row.get(0) {
            session.run(row.get(1), DOING).await?;
        }
    }
    Ok(())
}

/// Tables that inherit from one of `out` and are not among them: whether as a partition, and how
/// that ends.
async fn heirs(session: &Session, out: &[u32]) -> Result<Vec<tokio_postgres::Row>, RestoreError> {
    let sql = "SELECT c.relispartition, pg_catalog.format(
                      CASE WHEN c.relispartition THEN 'ALTER TABLE %2$s DETACH PARTITION %1$s'
                           ELSE 'ALTER TABLE %1$s NO INHERIT %2$s' END,
                      i.inhrelid::pg_catalog.regclass, i.inhparent::pg_catalog.regclass)
                 FROM pg_catalog.pg_inherits i
                 JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f')
                WHERE i.inhparent = ANY ($1) AND i.inhrelid <> ALL ($1)";
    Ok(session.rows(sql, &[&out], DOING).await?)
}

async fn drop_relations(
    session: &Session,
    out: &[&Found],
    wanted: &Wanted,
) -> Result<(), RestoreError> {
    let (sequences, others): (Vec<&Found>, Vec<&Found>) = out
        .iter()
        .copied()
        .partition(|found| found.kind == "SEQUENCE" && found.owned_by.is_none());
    let statement = |found: &&Found, end: &str| {
        let kind = found.kind.replace('_', " ");
        format!("DROP {kind} IF EXISTS {} {end}", found.name.sql())
    };
    // Sequences of tables go with them.
    let others = others.into_iter().filter(|found| found.kind != "SEQUENCE");
    let statements: Vec<String> = others.map(|found| statement(&found, "CASCADE")).collect();
    for some in statements.chunks(BATCH) {
        session.run(&some.join("; "), DOING).await?;
    }
    for sequence in sequences {
        if wanted.is_of_the_whole() {
            session.run(&statement(&sequence, "CASCADE"), DOING).await?;
            continue;
        }
        // Nobody asked for it, but a table that somebody asked for may take its numbers from it.
        let dropped = session.run(&statement(&sequence, "RESTRICT"), DOING).await;
        let needed = tokio_postgres::error::SqlState::DEPENDENT_OBJECTS_STILL_EXIST;
        match dropped {
            Err(error) if error.sql_state() == Some(needed) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Functions, types and schemas; answers how they are called in [`everything`].
async fn drop_others(session: &Session, wanted: &Wanted) -> Result<BTreeSet<String>, RestoreError> {
    let mut dropped = BTreeSet::new();
    for other in others(session).await? {
        let (kind, identity) = (other.kind, &other.identity);
        if !wanted.takes_other(&other.schema, &other.name, kind) {
            let sql = format!("DROP {kind} IF EXISTS {identity} CASCADE");
            session.run(&sql, DOING).await?;
            let kind = kind.to_string().to_lowercase();
            // A domain is a type there.
            let kind = if kind == "domain" { "type" } else { &kind };
            dropped.insert(format!("{kind} {identity}"));
        }
    }
    Ok(dropped)
}

/// A function, a type or a schema.
struct Other {
    kind: ObjectType,
    schema: String,
    name: String,
    /// How DROP takes it.
    identity: String,
}

async fn others(session: &Session) -> Result<Vec<Other>, RestoreError> {
    let sql = include_str!("../../../sql/other_objects_14.sql");
    let rows = session.rows(sql, &[], DOING).await?;
    Ok(rows
        .iter()
        .map(|row| Other {
            kind: row.get::<_, &str>(0).parse().unwrap_or(ObjectType::Other),
            schema: row.get(1),
            name: row.get(2),
            identity: row.get(3),
        })
        .collect())
}

async fn everything(session: &Session) -> Result<BTreeMap<Key, Named>, RestoreError> {
    let sql = include_str!("../../../sql/everything_named_14.sql");
    let rows = session.rows(sql, &[], DOING).await?;
    let all = rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3))));
    Ok(all.collect())
}
