//! The objects of a server and of a database: live, and as a saveset lists them.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::str::FromStr;

use model::{BrowsedObject, ObjectName, ObjectType, SavesetObject, TablePlan};
use tokio_postgres::types::{FromSql, Type};

use crate::chosen::{Choice, Taken};
use crate::connect::Endpoint;
use crate::error::PostgresError;
use crate::inventory::Oid;
use crate::session::Session;

/// The OID of `pg_largeobject`, which never changes.
pub(crate) const LARGE_OBJECTS: Oid = 2613;

/// How long a size may wait for a lock before it is estimated.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '1s'";

/// One object of a database.
pub(crate) struct Found {
    oid: Oid,
    schema: String,
    /// Its own name, without the schema.
    own: String,
    /// A function's, without the types of its arguments.
    bare: Option<String>,
    name: ObjectName,
    object_type: ObjectType,
    parent_name: ObjectName,
    parent_type: ObjectType,
    /// The table of an index or a trigger.
    goes_with: Option<Oid>,
}

impl Found {
    /// What a selection may name it by: schema (empty for what is in none), name, type.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str, ObjectType)> {
        let own = [Some(self.own.as_str()), self.bare.as_deref()];
        let own = own.into_iter().flatten();
        own.map(|name| (self.schema.as_str(), name, self.object_type))
    }

    /// Whether a saveset of that choice lists it.
    pub(crate) fn is_taken(&self, choice: &Choice, taken: &Taken) -> bool {
        use ObjectType as O;
        let names: Vec<&str> = self.names().map(|(_, name, _)| name).collect();
        match self.object_type {
            O::Table | O::View | O::MaterializedView | O::ForeignTable | O::Sequence | O::Index => {
                taken.has(self.oid)
            }
            O::Trigger => {
                self.goes_with.is_some_and(|table| taken.has(table))
                    && !choice.leaves_out(&self.schema, &names, self.object_type)
            }
            kind => choice.takes(&self.schema, &names, kind),
        }
    }
}

/// All objects of a database, in the session's transaction if it is in one.
pub(crate) async fn find(session: &Session, database: &str) -> Result<Vec<Found>, PostgresError> {
    let sql = include_str!("../sql/objects_14.sql");
    let rows = session.rows(sql, &[], "listing the objects").await?;
    let database = ObjectName::one(database);
    let found = rows.iter().map(|row| {
        let schema: Option<String> = row.get("schema");
        let name: String = row.get("name");
        let kind: String = row.get("kind");
        let parent: Option<String> = row.get("parent");
        let (parent_name, parent_type) = match (&schema, parent) {
            (Some(schema), Some(parent)) => (ObjectName::two(schema, parent), ObjectType::Table),
            _ => (database.clone(), ObjectType::Database),
        };
        let object_type = ObjectType::from_str(&kind).unwrap_or(ObjectType::Other);
        let full = match &schema {
            // A trigger has no schema of its own: it is known by its table.
            Some(_) if object_type == ObjectType::Trigger => ObjectName::one(&name),
            Some(schema) => ObjectName::two(schema, &name),
            None => ObjectName::one(&name),
        };
        Found {
            oid: row.get("oid"),
            schema: schema.unwrap_or_default(),
            own: name,
            bare: row.get("bare"),
            goes_with: row.get("goes_with"),
            name: full,
            object_type,
            parent_name,
            parent_type,
        }
    });
    Ok(found.collect())
}

/// The objects of a database for a saveset. `tables` are the OIDs of the planned tables, in the
/// plan's order.
pub(crate) fn saveset_objects(
    database: &str,
    found: impl Iterator<Item = Found>,
    tables: &[Oid],
    plans: &[TablePlan],
    left_out: &HashSet<ObjectName>,
) -> Vec<SavesetObject> {
    let mut places: HashMap<Oid, usize> = tables.iter().copied().zip(0..).collect();
    let parent = ObjectName::one(database);
    let mut objects = vec![SavesetObject {
        name: parent.clone(),
        object_type: ObjectType::Database,
        parent_name: ObjectName::one("DBC"),
        parent_type: ObjectType::Database,
        table: None,
    }];
    for found in found {
        // An index goes with its table.
        if left_out.contains(&found.name) || left_out.contains(&found.parent_name) {
            continue;
        }
        let is_table = found.object_type == ObjectType::Table;
        objects.push(SavesetObject {
            table: is_table.then(|| places.remove(&found.oid)).flatten(),
            name: found.name,
            object_type: found.object_type,
            parent_name: found.parent_name,
            parent_type: found.parent_type,
        });
    }
    // What no list shows but has rows: configuration of extensions, and large objects.
    let mut left: Vec<(Oid, usize)> = places.into_iter().collect();
    left.sort_by_key(|(_, place)| *place);
    for (oid, place) in left {
        objects.push(SavesetObject {
            name: plans[place].name.clone(),
            object_type: match oid {
                LARGE_OBJECTS => ObjectType::LargeObject,
                _ => ObjectType::Table,
            },
            parent_name: parent.clone(),
            parent_type: ObjectType::Database,
            table: Some(place),
        });
    }
    objects
}

/// A name of what all databases share. It has the bytes of the database in which it was given,
/// whose encoding nobody can tell any more: what is no UTF-8 is shown as well as it can be.
struct Lossy(String);

impl<'a> FromSql<'a> for Lossy {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Lossy(String::from_utf8_lossy(raw).into_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT
    }
}

/// The databases of a server.
pub(crate) async fn databases(session: &Session) -> Result<Vec<BrowsedObject>, PostgresError> {
    let sql = include_str!("../sql/databases_14.sql");
    let rows = session.rows(sql, &[], "listing the databases").await?;
    let databases = rows.iter().map(|row| BrowsedObject {
        name: ObjectName::one(row.get::<_, Lossy>(0).0),
        object_type: ObjectType::Database,
        parent_name: ObjectName::one("DBC"),
        parent_type: ObjectType::Database,
        byte_count: bytes(row.get(1)),
    });
    Ok(databases.collect())
}

/// The objects of one database, with sizes of what has one.
pub(crate) async fn objects(
    endpoint: &Endpoint,
    application_name: &str,
) -> Result<Vec<BrowsedObject>, PostgresError> {
    let session = Session::open(endpoint, application_name).await?;
    let found = find(&session, endpoint.database()).await?;
    let sizes = sizes(&session, &found).await?;
    session.close().await;
    let objects = found.into_iter().map(|found| BrowsedObject {
        byte_count: match has_size(found.object_type) {
            true => sizes.get(&found.oid).copied(),
            false => None,
        },
        name: found.name,
        object_type: found.object_type,
        parent_name: found.parent_name,
        parent_type: found.parent_type,
    });
    Ok(objects.collect())
}

fn has_size(object_type: ObjectType) -> bool {
    use ObjectType::{Index, MaterializedView, Sequence, Table};
    matches!(object_type, Table | MaterializedView | Index | Sequence)
}

async fn sizes(session: &Session, found: &[Found]) -> Result<HashMap<Oid, u64>, PostgresError> {
    let doing = "reading sizes";
    let sized = found.iter().filter(|found| has_size(found.object_type));
    let oids: Vec<Oid> = sized.map(|found| found.oid).collect();
    session.run(LOCK_TIMEOUT, doing).await?;
    let exact = include_str!("../sql/object_sizes_14.sql");
    let rows = match session.rows(exact, &[&oids], doing).await {
        Err(error) if error.is_lock_timeout() => {
            let estimates = include_str!("../sql/object_estimates_14.sql");
            session.rows(estimates, &[&oids], doing).await?
        }
        rows => rows?,
    };
    Ok(rows
        .iter()
        .filter_map(|row| Some((row.get(0), bytes(row.get(1))?)))
        .collect())
}

fn bytes(count: Option<i64>) -> Option<u64> {
    count.and_then(|count| u64::try_from(count).ok())
}
