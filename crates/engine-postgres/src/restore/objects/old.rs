//! What stands at the names of what is restored, and what is bound to it.

use std::collections::BTreeSet;

use crate::facts::QualifiedName;
use crate::restore::destination::Destination;
use crate::restore::fault::RestoreError;
use crate::restore::wanted::Wanted;
use crate::session::Session;

const DOING: &str = "looking what stands in the place of what is restored";

/// The names that are wanted: of relations, and of schemas with all that is in them.
#[derive(Debug, Clone, Default)]
pub(in crate::restore) struct Names {
    /// Relations.
    pub(in crate::restore) relations: Vec<QualifiedName>,
    /// Whole schemas.
    pub(in crate::restore) schemas: Vec<String>,
}

/// A relation that gives its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct OldRelation {
    pub(in crate::restore) oid: u32,
    pub(in crate::restore) name: QualifiedName,
    /// As `pg_class.relkind` has it.
    pub(in crate::restore) kind: String,
    pub(in crate::restore) owner: String,
    /// Whether we may act as its owner, or need not: all of its schema gives its place.
    pub(in crate::restore) ours: bool,
    /// Whether it is a sequence of a table.
    pub(in crate::restore) goes_with_another: bool,
    /// Why it cannot be moved aside.
    pub(in crate::restore) hindrance: Option<String>,
}

impl OldRelation {
    /// Whether it is a table, partitioned or not.
    pub(in crate::restore) fn is_table(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p")
    }
}

/// Something that is bound to what gives its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct Bound {
    /// As PostgreSQL describes it.
    pub(in crate::restore) what: String,
    /// Whether it is a materialized view.
    pub(in crate::restore) is_materialized: bool,
    /// What is run before the swap.
    pub(in crate::restore) first: Option<String>,
    /// What binds it to what is there after the swap; `None`: nothing can.
    pub(in crate::restore) then_again: Option<String>,
    /// What checks it once everybody may work again.
    pub(in crate::restore) validate: Option<String>,
    /// Whether we may act as its owner, and who that is.
    pub(in crate::restore) ours: bool,
    pub(in crate::restore) owner: Option<String>,
    /// The table of a foreign key.
    pub(in crate::restore) of_table: Option<String>,
}

/// A foreign key of what is kept, which is dropped there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct OwnKey {
    pub(in crate::restore) drop: String,
    /// `ADD CONSTRAINT … FOREIGN KEY …`.
    pub(in crate::restore) add: String,
    pub(in crate::restore) table: QualifiedName,
}

/// Membership in a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct Published {
    pub(in crate::restore) publication: String,
    pub(in crate::restore) drop: String,
    pub(in crate::restore) add: String,
    pub(in crate::restore) ours: bool,
    pub(in crate::restore) owner: String,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(in crate::restore) struct Old {
    pub(in crate::restore) relations: Vec<OldRelation>,
    pub(in crate::restore) bound: Vec<Bound>,
    pub(in crate::restore) own_keys: Vec<OwnKey>,
    pub(in crate::restore) published: Vec<Published>,
}

impl Old {
    /// The OIDs.
    pub(in crate::restore) fn oids(&self) -> Vec<u32> {
        self.relations.iter().map(|old| old.oid).collect()
    }
}

/// What stands at these names, with their partitions.
pub(in crate::restore) async fn relations(
    session: &Session,
    names: &Names,
) -> Result<Vec<OldRelation>, RestoreError> {
    let schemas: Vec<&str> = names.relations.iter().map(|n| &*n.schema).collect();
    let own: Vec<&str> = names.relations.iter().map(|n| &*n.name).collect();
    let sql = include_str!("../../../sql/old_relations_14.sql");
    let rows = session
        .rows(sql, &[&schemas, &own, &names.schemas], DOING)
        .await?;
    Ok(rows
        .iter()
        .map(|row| OldRelation {
            oid: row.get(0),
            name: QualifiedName {
                schema: row.get(1),
                name: row.get(2),
            },
            kind: row.get(3),
            owner: row.get(4),
            ours: row.get::<_, bool>(5) || names.schemas.iter().any(|s| s == row.get::<_, &str>(1)),
            goes_with_another: row.get(6),
            hindrance: row.get(7),
        })
        .collect())
}

/// What stands at these names, and all that is bound to it.
pub(in crate::restore) async fn look(
    session: &Session,
    names: &Names,
) -> Result<Old, RestoreError> {
    let relations = relations(session, names).await?;
    let mut old = Old {
        relations,
        ..Old::default()
    };
    if old.relations.is_empty() && names.schemas.is_empty() {
        return Ok(old);
    }
    let oids = old.oids();
    let sql = include_str!("../../../sql/dependents_of_old_14.sql");
    let rows = session.rows(sql, &[&oids, &names.schemas], DOING).await?;
    let bound = rows.iter().map(|row| Bound {
        what: row.get(0),
        is_materialized: row.get::<_, Option<&str>>(1) == Some("m"),
        first: row.get(2),
        then_again: row.get(3),
        validate: row.get(4),
        ours: row.get(5),
        owner: row.get(6),
        of_table: row.get(7),
    });
    old.bound = bound.collect();
    let sql = include_str!("../../../sql/keys_of_old_14.sql");
    let rows = session.rows(sql, &[&oids], DOING).await?;
    let keys = rows.iter().map(|row| OwnKey {
        drop: row.get(0),
        add: row.get(1),
        table: QualifiedName {
            schema: row.get(3),
            name: row.get(2),
        },
    });
    old.own_keys = keys.collect();
    let sql = match session.major() {
        14 => include_str!("../../../sql/publications_of_14.sql"),
        _ => include_str!("../../../sql/publications_of_15.sql"),
    };
    let rows = session.rows(sql, &[&oids], DOING).await?;
    let published = rows.iter().map(|row| Published {
        publication: row.get(0),
        drop: row.get(1),
        add: row.get(2),
        ours: row.get(3),
        owner: row.get(4),
    });
    old.published = published.collect();
    Ok(old)
}

/// The names in the schemas of what is restored that stay taken: renamed indexes and sequences must
/// not be called so.
pub(in crate::restore) async fn taken_names(
    destination: &Destination,
    wanted: &Wanted,
) -> Result<BTreeSet<QualifiedName>, RestoreError> {
    let session = destination.inside().await?;
    let old = relations(&session, &wanted.names()).await?;
    let oids: Vec<u32> = old.iter().map(|old| old.oid).collect();
    let schemas = wanted.working_schemas().iter();
    let schemas: Vec<&str> = schemas.map(|schema| &*schema.schema).collect();
    let sql = include_str!("../../../sql/taken_names_14.sql");
    let rows = session.rows(sql, &[&schemas, &oids], DOING).await?;
    let taken = rows.iter().map(|row| QualifiedName {
        schema: row.get(0),
        name: row.get(1),
    });
    let taken = taken.collect();
    session.close().await;
    Ok(taken)
}
