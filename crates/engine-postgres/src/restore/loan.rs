//! Rights that owners need while their objects are made, lent and taken back.
//!
//! PostgreSQL gives an object to a role only if that role may make objects in the schema (or, for
//! schemas and publications, in the database). The grants that allow it in the source come last,
//! because a grant may also take rights away. A superuser is not asked; the recommended role is.

use super::destination::Destination;
use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::Decisions;
use super::quote::ident;
use crate::session::Session;

/// Lends to all owners what the database itself must allow. The grants on the database are set
/// anew at the end.
pub(super) async fn lend_database(
    session: &Session,
    destination: &Destination,
    dictionary: &Dictionary,
    decisions: &Decisions,
) -> Result<(), RestoreError> {
    let Some(owners) = owners_in_sql(dictionary, decisions) else {
        return Ok(());
    };
    let database = ident(&destination.working);
    let sql = format!("GRANT CREATE ON DATABASE {database} TO {owners}");
    session.run(&sql, "lending rights to owners").await?;
    Ok(())
}

/// Takes it back.
pub(super) async fn return_database(
    session: &Session,
    destination: &Destination,
    dictionary: &Dictionary,
    decisions: &Decisions,
) -> Result<(), RestoreError> {
    let Some(owners) = owners_in_sql(dictionary, decisions) else {
        return Ok(());
    };
    let database = ident(&destination.working);
    let sql = format!("REVOKE CREATE ON DATABASE {database} FROM {owners}");
    session.run(&sql, "taking lent rights back").await?;
    Ok(())
}

/// Lends to all owners the rights in these schemas; none named: in every schema that is there.
pub(super) async fn lend_schemas(
    session: &Session,
    dictionary: &Dictionary,
    decisions: &Decisions,
    only: &[String],
) -> Result<(), RestoreError> {
    let lend =
        |schema: &str, roles: &str| format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {roles}");
    on_schemas(session, dictionary, decisions, only, lend).await
}

/// Takes them back, before the grants of the source are given.
pub(super) async fn return_schemas(
    session: &Session,
    dictionary: &Dictionary,
    decisions: &Decisions,
    only: &[String],
) -> Result<(), RestoreError> {
    let take =
        |schema: &str, roles: &str| format!("REVOKE USAGE, CREATE ON SCHEMA {schema} FROM {roles}");
    on_schemas(session, dictionary, decisions, only, take).await
}

async fn on_schemas(
    session: &Session,
    dictionary: &Dictionary,
    decisions: &Decisions,
    only: &[String],
    statement: impl Fn(&str, &str) -> String,
) -> Result<(), RestoreError> {
    let owners = borrowers(dictionary, decisions);
    let sql = include_str!("../../sql/schemas_and_owners_14.sql");
    let doing = "reading whose schemas are";
    for row in session.rows(sql, &[], doing).await? {
        let (schema, schema_owner): (String, String) = (row.get(0), row.get(1));
        if !only.is_empty() && !only.contains(&schema) {
            continue;
        }
        // The owner's own rights stay as they are.
        let roles: Vec<String> = owners
            .iter()
            .filter(|owner| **owner != schema_owner)
            .map(|owner| ident(owner))
            .collect();
        if !roles.is_empty() {
            let sql = statement(&ident(&schema), &roles.join(", "));
            session.run(&sql, "lending rights to owners").await?;
        }
    }
    Ok(())
}

/// The borrowers as GRANT and REVOKE list them; `None`: nobody borrows.
fn owners_in_sql(dictionary: &Dictionary, decisions: &Decisions) -> Option<String> {
    let owners = borrowers(dictionary, decisions);
    let names: Vec<String> = owners.into_iter().map(ident).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The owners that keep their objects, where they are asked for rights at all.
fn borrowers<'a>(dictionary: &'a Dictionary, decisions: &Decisions) -> Vec<&'a str> {
    if decisions.superuser {
        return Vec::new();
    }
    let owners = dictionary.facts.needs.owners.iter();
    owners
        .filter(|owner| *owner != "pg_database_owner" && !decisions.owners_left_out.contains(owner))
        .map(String::as_str)
        .collect()
}
