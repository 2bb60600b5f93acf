//! What belongs to the database itself: comment, settings, labels, owner, grants, limits.

use super::destination::Destination;
use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::Decisions;
use super::loan;
use super::quote::{ident, literal};
use super::rights::{Rights, grants};
use crate::facts::{DatabaseFacts, DatabaseSetting, Grant};

/// Parameters that are lists: their text is a list already, and quoting it would make it one name.
const LISTS: [&str; 8] = [
    "local_preload_libraries",
    "restrict_nonsystem_relation_kind",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
    "synchronized_standby_slots",
];

/// Sets it all on the working database, the owner last but for his grants.
pub(super) async fn apply(
    destination: &Destination,
    dictionary: &Dictionary,
    decisions: &Decisions,
    rights: &mut Rights<'_>,
) -> Result<(), RestoreError> {
    let facts = &dictionary.facts;
    let name = ident(&destination.working);
    rights.tell_as(&destination.working, &destination.target);
    let session = destination.beside().await?;
    loan::return_database(&session, destination, dictionary, decisions).await?;
    let statements = statements(&name, facts, decisions);
    rights.run_all(&session, &statements).await?;
    session.close().await;
    Ok(())
}

/// All of it as statements; `name` as SQL writes it.
pub(super) fn statements(name: &str, facts: &DatabaseFacts, decisions: &Decisions) -> Vec<String> {
    let mut statements = Vec::new();
    if let Some(comment) = &facts.comment {
        let comment = literal(comment);
        statements.push(format!("COMMENT ON DATABASE {name} IS {comment}"));
    }
    for (provider, label) in &facts.security_labels {
        let (provider, label) = (ident(provider), literal(label));
        statements.push(format!(
            "SECURITY LABEL FOR {provider} ON DATABASE {name} IS {label}"
        ));
    }
    let settings = facts.settings.iter();
    statements.extend(settings.map(|setting| setting_statement(name, setting)));
    if facts.connection_limit >= 0 {
        let limit = facts.connection_limit;
        statements.push(format!("ALTER DATABASE {name} CONNECTION LIMIT {limit}"));
    }
    if facts.is_template {
        statements.push(format!("ALTER DATABASE {name} IS_TEMPLATE true"));
    }
    if !decisions.owners_left_out.contains(&facts.owner) {
        let owner = ident(&facts.owner);
        statements.push(format!("ALTER DATABASE {name} OWNER TO {owner}"));
    }
    statements.extend(database_grants(name, facts, decisions));
    statements
}

fn setting_statement(database: &str, setting: &DatabaseSetting) -> String {
    let (parameter, value) = (parameter(&setting.parameter), &setting.value);
    let value = match LISTS.contains(&setting.parameter.as_str()) {
        true => list(value),
        false => literal(value),
    };
    match &setting.role {
        Some(role) => {
            let role = ident(role);
            format!("ALTER ROLE {role} IN DATABASE {database} SET {parameter} TO {value}")
        }
        None => format!("ALTER DATABASE {database} SET {parameter} TO {value}"),
    }
}

/// `myapp.tenant` is a name of two parts.
fn parameter(name: &str) -> String {
    name.split('.').map(ident).collect::<Vec<_>>().join(".")
}

/// `"$user", public` as a list of texts: `'$user', 'public'`. An empty list is one empty text.
fn list(value: &str) -> String {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut quoted = false;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                item.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            c if c.is_whitespace() && !quoted => {}
            c => item.push(c),
        }
    }
    items.push(item);
    let items: Vec<String> = items.iter().map(|item| literal(item)).collect();
    items.join(", ")
}

/// The working database was closed to all but its owner; now it gets the rights of the source.
fn database_grants(name: &str, facts: &DatabaseFacts, decisions: &Decisions) -> Vec<String> {
    let what = format!("DATABASE {name}");
    let Some(list) = &facts.grants else {
        return vec![format!("GRANT CONNECT, TEMPORARY ON {what} TO PUBLIC")];
    };
    let mut statements = Vec::new();
    let owner_is_kept = !decisions.owners_left_out.contains(&facts.owner);
    let all = ["CREATE", "CONNECT", "TEMPORARY"];
    let of_owner: Vec<&Grant> = list
        .iter()
        .filter(|grant| grant.grantee.as_ref() == Some(&facts.owner))
        .collect();
    if owner_is_kept && of_owner.len() < all.len() {
        let owner = ident(&facts.owner);
        statements.push(format!("REVOKE ALL ON {what} FROM {owner}"));
        let of_owner: Vec<Grant> = of_owner.into_iter().cloned().collect();
        statements.extend(grants(&what, &facts.owner, &of_owner));
    }
    let others: Vec<Grant> = list
        .iter()
        .filter(|grant| grant.grantee.as_ref() != Some(&facts.owner))
        .cloned()
        .collect();
    statements.extend(grants(&what, &facts.owner, &others));
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_set_as_a_list_and_a_text_as_a_text() {
        let setting = |parameter: &str, value: &str, role: Option<&str>| DatabaseSetting {
            role: role.map(str::to_owned),
            parameter: parameter.into(),
            value: value.into(),
        };
        assert_eq!(
            setting_statement("\"w\"", &setting("search_path", "\"$user\", public", None)),
            "ALTER DATABASE \"w\" SET \"search_path\" TO '$user', 'public'"
        );
        assert_eq!(
            setting_statement("\"w\"", &setting("my.x", "a, b", Some("ann"))),
            "ALTER ROLE \"ann\" IN DATABASE \"w\" SET \"my\".\"x\" TO 'a, b'"
        );
        assert_eq!(list("\"a\"\"b, c\""), "'a\"b, c'");
        assert_eq!(list(""), "''");
    }
}
