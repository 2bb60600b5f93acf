//! Owners and grantees: which of them the target has, and which we may become.

use std::collections::BTreeMap;

use super::Look;
use crate::facts::DatabaseFacts;
use crate::restore::fault::RestoreError;
use crate::restore::quote::ident;
use crate::session::Session;

/// Owns `public` in every database since 15: nobody is a member of it, the owner of the database
/// is.
pub(in crate::restore) const DATABASE_OWNER: &str = "pg_database_owner";

pub(super) async fn look(
    look: &mut Look,
    session: &Session,
    facts: &DatabaseFacts,
    as_copy: bool,
) -> Result<(), RestoreError> {
    let there = members_and_others(session).await?;
    let mut owners = facts.needs.owners.clone();
    owners.push(facts.owner.clone());
    owners.sort();
    owners.dedup();
    for owner in owners.iter().filter(|owner| *owner != DATABASE_OWNER) {
        match there.get(owner) {
            Some(true) => continue,
            Some(false) => strange(look, owner, as_copy),
            None => absent(look, owner, "owns objects of the saveset", as_copy),
        }
        if as_copy {
            look.decisions.owners_left_out.push(owner.clone());
        }
    }
    let grantees = facts.needs.grantees.iter();
    for grantee in grantees.filter(|grantee| !owners.contains(grantee)) {
        if !there.contains_key(grantee) {
            absent(look, grantee, "has rights in the saveset", as_copy);
        }
    }
    Ok(())
}

/// All roles, and whether we are a member.
pub(in crate::restore) async fn members_and_others(
    session: &Session,
) -> Result<BTreeMap<String, bool>, RestoreError> {
    let sql = match session.major() {
        14 | 15 => include_str!("../../../sql/roles_to_become_14.sql"),
        _ => include_str!("../../../sql/roles_to_become_16.sql"),
    };
    let rows = session.rows(sql, &[], "reading the target's roles").await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn absent(look: &mut Look, role: &str, does: &str, as_copy: bool) {
    let name = ident(role);
    look.decisions.absent_roles.push(role.to_owned());
    if as_copy {
        look.warn(format!(
            "the role {name}, which {does}, is not on the target: it is left out"
        ));
    } else {
        look.obstacle(
            "unknown-role",
            format!("the role {name}, which {does}, is not on the target"),
            format!("CREATE ROLE {name}, or restore with run_as_a_copy_job, which leaves it out"),
        );
    }
}

fn strange(look: &mut Look, owner: &str, as_copy: bool) {
    let (name, role) = (ident(owner), ident(&look.role));
    if as_copy {
        look.warn(format!(
            "{role} is no member of {name}: what {name} owns in the saveset will belong to {role}"
        ));
    } else {
        look.obstacle(
            "not-a-member",
            format!("{role} is no member of {name}, which owns objects of the saveset"),
            format!("GRANT {name} TO {role}, or restore as a role that may become {name}"),
        );
    }
}
