//! Owners and grantees: which of them the target has, and which we may become.

use std::collections::{BTreeMap, BTreeSet};

use super::Look;
use crate::facts::DatabaseFacts;
use crate::restore::fault::RestoreError;
use crate::restore::globals::Globals;
use crate::restore::quote::ident;
use crate::session::Session;

/// Owns `public` in every database since 15: nobody is a member of it, the owner of the database
/// is.
pub(in crate::restore) const DATABASE_OWNER: &str = "pg_database_owner";

/// `only`: the owners of what is restored, where that is not the whole database. The others own
/// things in the scratch database alone.
pub(super) async fn look(
    look: &mut Look,
    session: &Session,
    facts: &DatabaseFacts,
    globals: &Globals,
    as_copy: bool,
    only: Option<&BTreeSet<String>>,
) -> Result<(), RestoreError> {
    let there = members_and_others(session).await?;
    let mut absent = Absent::default();
    let mut owners = facts.needs.owners.clone();
    owners.push(facts.owner.clone());
    owners.sort();
    owners.dedup();
    if let Some(only) = only {
        let needed = |owner: &String| only.contains(owner) || owner == DATABASE_OWNER;
        let (needed, others): (Vec<String>, Vec<String>) = owners.into_iter().partition(needed);
        for other in others {
            match there.get(&other) {
                Some(true) => continue,
                Some(false) => {}
                None => look.decisions.absent_roles.push(other.clone()),
            }
            look.decisions.owners_left_out.push(other);
        }
        let absent = facts.needs.grantees.iter();
        let absent: Vec<String> = absent
            .filter(|grantee| !there.contains_key(*grantee))
            .cloned()
            .collect();
        if !absent.is_empty() {
            look.warn(format!(
                "the roles {absent:?} of the saveset are not on the target: what they have rights on comes without these"
            ));
        }
        look.decisions.absent_roles.extend(absent);
        owners = needed;
    }
    for owner in owners.iter().filter(|owner| *owner != DATABASE_OWNER) {
        match there.get(owner) {
            Some(true) => continue,
            Some(false) => strange(look, owner, as_copy),
            None => absent.add(owner, "owns objects of the saveset"),
        }
        if as_copy {
            look.decisions.owners_left_out.push(owner.clone());
        }
    }
    let grantees = facts.needs.grantees.iter();
    for grantee in grantees.filter(|grantee| !owners.contains(grantee)) {
        if only.is_none() && !there.contains_key(grantee) {
            absent.add(grantee, "has rights in the saveset");
        }
    }
    absent.tell(look, globals, &owners, &there, as_copy);
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

/// Roles of the saveset that the target does not have, and what each does.
#[derive(Default)]
struct Absent {
    roles: Vec<String>,
    does: Vec<String>,
}

impl Absent {
    fn add(&mut self, role: &str, does: &str) {
        self.roles.push(role.to_owned());
        self.does
            .push(format!("the role {}, which {does}", ident(role)));
    }

    /// A copy does without them. Else they are one obstacle, whose remedy is what makes them all,
    /// as the saveset has them.
    fn tell(
        self,
        look: &mut Look,
        globals: &Globals,
        owners: &[String],
        there: &BTreeMap<String, bool>,
        as_copy: bool,
    ) {
        look.decisions.absent_roles.extend_from_slice(&self.roles);
        if as_copy {
            for does in &self.does {
                look.warn(format!("{does}, is not on the target: it is left out"));
            }
            return;
        }
        if self.roles.is_empty() {
            return;
        }
        let mut statements = globals.roles(&self.roles, |role| there.contains_key(role));
        let can_log_in = statements.iter().any(|s| s.contains(" LOGIN"));
        let restoring = ident(&look.role);
        let owning = self.roles.iter().filter(|role| owners.contains(role));
        if !look.decisions.superuser {
            statements.extend(owning.map(|role| format!("GRANT {} TO {restoring}", ident(role))));
        }
        let passwords = match can_log_in {
            true => "; passwords are not in a saveset: set them afterwards",
            false => "",
        };
        let are = match self.roles.len() {
            1 => ", is not on the target",
            _ => ", are not on the target",
        };
        look.obstacle(
            "unknown-role",
            format!("{}{are}", self.does.join("; ")),
            // The whole can be given to psql.
            format!(
                "{}; /* or restore with run_as_a_copy_job, which leaves them out{passwords} */",
                statements.join("; ")
            ),
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
