//! Grants and labels, statement by statement: what fails is told and left out, the rest is kept.

use std::collections::BTreeSet;

use model::Progress;
use tokio_postgres::error::SqlState;

use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::Decisions;
use super::quote::ident;
use super::statements::split;
use super::toc::{Entry, Step};
use crate::error::PostgresError;
use crate::facts::Grant;
use crate::session::Session;

/// How many statements are sent together.
const BATCH: usize = 200;

/// What every database of PostgreSQL 14 has, in the words of a newer pg_dump.
const AS_IN_14: [&str; 2] = [
    "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    "GRANT ALL ON SCHEMA public TO PUBLIC",
];

/// Runs statements that may fail for want of a role or a right, and collects what did.
pub(super) struct Rights<'a> {
    progress: &'a dyn Progress,
    absent_roles: &'a [String],
    /// A grantor that cannot be taken on: what follows would be given by somebody else.
    skipping: bool,
    told: BTreeSet<String>,
    /// The name of the working database in SQL, and the one that it gets.
    renamed: Option<(String, String)>,
}

impl<'a> Rights<'a> {
    pub(super) fn new(progress: &'a dyn Progress, decisions: &'a Decisions) -> Self {
        Rights {
            progress,
            absent_roles: &decisions.absent_roles,
            skipping: false,
            told: BTreeSet::new(),
            renamed: None,
        }
    }

    /// What is told of one name is told of the other: a person runs the statement afterwards.
    pub(super) fn tell_as(&mut self, working: &str, target: &str) {
        self.renamed = Some((ident(working), ident(target)));
    }

    /// Runs them together, which is fast; where that fails, one by one.
    pub(super) async fn run_all(
        &mut self,
        session: &Session,
        statements: &[String],
    ) -> Result<(), RestoreError> {
        if statements.is_empty() {
            return Ok(());
        }
        let together = statements.join(";\n");
        match session.run(&together, "setting owners and rights").await {
            Ok(()) => return Ok(()),
            Err(error) if !may_be_left_out(&error) => return Err(error.into()),
            Err(_) => {}
        }
        for statement in statements {
            self.run(session, statement).await?;
        }
        self.skipping = false;
        session
            .run("RESET ROLE", "becoming the restoring role")
            .await?;
        Ok(())
    }

    /// Runs one of them.
    async fn run(&mut self, session: &Session, statement: &str) -> Result<(), RestoreError> {
        let changes_role = statement.starts_with("SET ROLE ") || statement == "RESET ROLE";
        if self.skipping && !changes_role {
            return Ok(());
        }
        let ran = session.run(statement, "setting owners and rights").await;
        if changes_role {
            self.skipping = ran.is_err();
        }
        match ran {
            Ok(()) => Ok(()),
            Err(error) if may_be_left_out(&error) => {
                self.tell(statement, &error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A role that is known to be absent was told of once, by name.
    fn tell(&mut self, statement: &str, error: &PostgresError) {
        let gone = error.sql_state() == Some(SqlState::UNDEFINED_OBJECT);
        let names_absent = |role: &String| {
            statement.contains(&ident(role))
                || statement.contains(&format!(" {role} "))
                || statement.ends_with(&format!(" {role}"))
        };
        if gone && self.absent_roles.iter().any(names_absent) {
            return;
        }
        let fault: &dyn model::Fault = error;
        let statement = match &self.renamed {
            Some((working, target)) => statement.replace(working, target),
            None => statement.to_owned(),
        };
        let text = format!("left out: {statement} ({})", fault.sentence());
        if self.told.insert(text.clone()) {
            self.progress.warning(text);
        }
    }
}

fn may_be_left_out(error: &PostgresError) -> bool {
    matches!(
        error.sql_state(),
        Some(
            SqlState::UNDEFINED_OBJECT
                | SqlState::INSUFFICIENT_PRIVILEGE
                | SqlState::INVALID_GRANT_OPERATION
                | SqlState::INVALID_GRANTOR
                | SqlState::CANT_CHANGE_RUNTIME_PARAM
                | SqlState::INVALID_PARAMETER_VALUE
        )
    )
}

/// All grants, default privileges and security labels of the dictionary.
pub(super) async fn apply(
    session: &Session,
    dictionary: &Dictionary,
    decisions: &Decisions,
    rights: &mut Rights<'_>,
) -> Result<(), RestoreError> {
    let public_is_ours = decisions.superuser || decisions.server_major >= 15;
    let before = dictionary.before_rows.of_step(Step::Rights);
    let entries: Vec<&Entry> = before
        .into_iter()
        .chain(dictionary.after_rows.of_step(Step::Rights))
        .collect();
    let (kept, of_public): (Vec<&Entry>, Vec<&Entry>) = entries.into_iter().partition(|entry| {
        public_is_ours || !(entry.kind == "ACL" && entry.rest.starts_with("- SCHEMA public "))
    });
    if !of_public.is_empty() {
        let missing: Vec<String> = statements(dictionary, of_public)
            .await?
            .into_iter()
            .filter(|statement| !AS_IN_14.contains(&statement.as_str()))
            .collect();
        if !missing.is_empty() {
            rights.progress.warning(format!(
                "on PostgreSQL 14 only a superuser may change the schema public: run {} in the restored database",
                missing.join("; ")
            ));
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    for batch in batches(statements(dictionary, kept).await?) {
        rights.run_all(session, &batch).await?;
    }
    Ok(())
}

/// The statements of these entries, as a member of the owners can run them.
async fn statements(
    dictionary: &Dictionary,
    entries: Vec<&Entry>,
) -> Result<Vec<String>, RestoreError> {
    let list = dictionary.list_of("rights", entries)?;
    let script = dictionary.scratch("rights.sql");
    let program = &dictionary.program;
    let sql = program.script(&dictionary.dump(), &list, &script).await?;
    Ok(split(&sql).iter().filter_map(|s| our_form(s)).collect())
}

/// Cuts statements into batches, never between taking a grantor on and giving it back.
fn batches(statements: Vec<String>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut is_grantor = false;
    for statement in statements {
        let begins = !is_grantor;
        is_grantor = match statement.as_str() {
            "RESET ROLE" => false,
            other => is_grantor || other.starts_with("SET ROLE "),
        };
        match batches.last_mut() {
            Some(batch) if !begins || batch.len() < BATCH => batch.push(statement),
            _ => batches.push(vec![statement]),
        }
    }
    batches
}

/// Drops the settings that a script begins with; takes a grantor on as a member may.
fn our_form(statement: &str) -> Option<String> {
    if let Some(role) = statement.strip_prefix("SET SESSION AUTHORIZATION ") {
        // The name stands as an identifier or as a text; SET ROLE takes both.
        return Some(format!("SET ROLE {role}"));
    }
    match statement {
        "RESET SESSION AUTHORIZATION" => Some("RESET ROLE".to_owned()),
        _ if statement.starts_with("GRANT ")
            || statement.starts_with("REVOKE ")
            || statement.starts_with("ALTER DEFAULT PRIVILEGES ")
            || statement.starts_with("SECURITY LABEL ") =>
        {
            Some(statement.to_owned())
        }
        _ => None,
    }
}

/// The statements that make an access list; `owner`'s own grants are given by it.
pub(super) fn grants(what: &str, owner: &str, list: &[Grant]) -> Vec<String> {
    let mut statements = Vec::new();
    for grant in list {
        let to = match &grant.grantee {
            Some(role) => ident(role),
            None => "PUBLIC".to_owned(),
        };
        let option = match grant.grantable {
            true => " WITH GRANT OPTION",
            false => "",
        };
        let given = format!("GRANT {} ON {what} TO {to}{option}", grant.privilege);
        if grant.grantor == owner {
            statements.push(given);
        } else {
            statements.push(format!("SET ROLE {}", ident(&grant.grantor)));
            statements.push(given);
            statements.push("RESET ROLE".to_owned());
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grantor_is_taken_on_as_a_member_may() {
        assert_eq!(
            our_form("SET SESSION AUTHORIZATION \"the app\"").as_deref(),
            Some("SET ROLE \"the app\"")
        );
        assert_eq!(
            our_form("RESET SESSION AUTHORIZATION").as_deref(),
            Some("RESET ROLE")
        );
        assert_eq!(our_form("SET statement_timeout = 0"), None);
    }

    #[test]
    fn a_batch_never_ends_between_a_grantor_and_its_end() {
        let mut statements = vec!["GRANT a".to_owned(); BATCH - 1];
        statements.extend(["SET ROLE x", "GRANT b", "RESET ROLE", "GRANT c"].map(str::to_owned));
        let lengths: Vec<usize> = batches(statements).iter().map(Vec::len).collect();
        assert_eq!(lengths, [BATCH + 2, 1]);
    }

    #[test]
    fn an_access_list_becomes_grants_by_their_grantors() {
        let grant = |grantor: &str, grantee: Option<&str>, grantable| Grant {
            grantor: grantor.into(),
            grantee: grantee.map(str::to_owned),
            privilege: "SELECT".into(),
            grantable,
        };
        let list = [grant("ann", None, false), grant("bob", Some("c d"), true)];
        assert_eq!(
            grants("LARGE OBJECT 7", "ann", &list),
            [
                "GRANT SELECT ON LARGE OBJECT 7 TO PUBLIC",
                "SET ROLE \"bob\"",
                "GRANT SELECT ON LARGE OBJECT 7 TO \"c d\" WITH GRANT OPTION",
                "RESET ROLE",
            ]
        );
    }
}
