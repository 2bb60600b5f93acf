//! What a role lacks to restore whatever a server holds, asked before there is a restore.

use std::collections::BTreeMap;

use model::{Connection, Credentials, MissingRight, ObjectName, ObjectType};

use super::destination::Destination;
use super::fault::RestoreError;
use super::findings::{DATABASE_OWNER, members_and_others};
use super::quote::ident;
use crate::browse;
use crate::session::Session;

/// The database that everybody connects to first. It usually holds nothing.
const MAINTENANCE: &str = "postgres";

/// Looks, and changes nothing.
pub(crate) async fn missing(
    connection: &Connection,
    credentials: Option<&Credentials>,
) -> Result<Vec<MissingRight>, RestoreError> {
    let destination = Destination::looking(connection, credentials)?;
    let session = destination.beside().await?;
    let mut look = Look::default();
    let databases = look.server(&session).await;
    session.close().await;
    for database in databases? {
        if look.superuser {
            break;
        }
        look.database(&destination, database).await?;
    }
    Ok(look.missing)
}

#[derive(Default)]
struct Look {
    role: String,
    superuser: bool,
    /// All roles, and whether we may become them.
    roles: BTreeMap<String, bool>,
    missing: Vec<MissingRight>,
}

impl Look {
    /// The role's own rights; gives the databases.
    async fn server(&mut self, session: &Session) -> Result<Vec<ObjectName>, RestoreError> {
        let sql = include_str!("../../sql/restoring_role_14.sql");
        let doing = "reading the restoring role's rights";
        let row = session.row(sql, &[], doing).await?;
        self.role = row.get(0);
        self.superuser = row.get(1);
        if !row.get::<_, bool>(2) {
            let sql = format!("ALTER ROLE {} CREATEDB", ident(&self.role));
            self.lacks(ObjectName::one("DBC"), "CREATEDB".into(), sql);
        }
        self.roles = members_and_others(session).await?;
        let databases = browse::databases(session).await?;
        Ok(databases.into_iter().map(|found| found.name).collect())
    }

    /// Whoever owns a database, or something in it, must be a role that we may become.
    async fn database(
        &mut self,
        destination: &Destination,
        name: ObjectName,
    ) -> Result<(), RestoreError> {
        let owners = match destination.open(name.last()).await {
            Ok(session) => {
                let owners = owners_in(&session).await;
                session.close().await;
                owners?
            }
            // Restoring beside it needs no way in: then its owner is all that can be asked for.
            Err(error) if super::destination::is_of_the_database(&error) => {
                self.owner_of(destination, &name).await?
            }
            Err(error) => return Err(error),
        };
        let only_its_own = owners.len() == 1;
        for owner in owners {
            if owner == DATABASE_OWNER || self.roles.get(&owner).is_some_and(|member| *member) {
                continue;
            }
            // It belongs to the first superuser on every server, which no restoring role should be.
            if only_its_own && name.last() == MAINTENANCE {
                continue;
            }
            let sql = format!("GRANT {} TO {}", ident(&owner), ident(&self.role));
            self.lacks(
                name.clone(),
                format!("membership in {}", ident(&owner)),
                sql,
            );
        }
        Ok(())
    }

    async fn owner_of(
        &self,
        destination: &Destination,
        name: &ObjectName,
    ) -> Result<Vec<String>, RestoreError> {
        let session = destination.beside().await?;
        let sql = "SELECT pg_catalog.pg_get_userbyid(datdba)::pg_catalog.text
                     FROM pg_catalog.pg_database WHERE datname = $1";
        let rows = session
            .rows(sql, &[&name.last()], "reading the owner of a database")
            .await;
        session.close().await;
        Ok(rows?.iter().map(|row| row.get(0)).collect())
    }

    fn lacks(&mut self, object_name: ObjectName, right: String, sql: String) {
        self.missing.push(MissingRight {
            object_name,
            object_type: ObjectType::Database,
            right,
            sql,
        });
    }
}

async fn owners_in(session: &Session) -> Result<Vec<String>, RestoreError> {
    let sql = include_str!("../../sql/needed_owners_14.sql");
    let rows = session.rows(sql, &[], "reading who owns what").await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
