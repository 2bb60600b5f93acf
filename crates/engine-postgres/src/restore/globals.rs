//! The cluster's roles, memberships and tablespaces, as pg_dumpall wrote them into the saveset.
//!
//! A restore makes none of them: who may log in, and where disks are, is for the target's
//! administrator to say. It tells the statements of exactly what is missing.

use model::{DictionaryReader, Outcome};

use super::dictionary::whole_part;
use super::statements::split;
use crate::facts::part;

/// The statements of `globals.sql`.
pub(super) struct Globals {
    statements: Vec<String>,
}

/// What a statement is about.
#[derive(Debug, PartialEq, Eq)]
enum About {
    /// Makes, changes or describes a role, or gives it rights on parameters.
    Role(String),
    /// Makes `member` a member of `role`.
    Membership {
        role: String,
        member: String,
        grantor: Option<String>,
    },
    /// Makes, changes or describes a tablespace, or gives rights there.
    Tablespace(String),
    /// Something else: a setting of the session.
    Other,
}

impl Globals {
    /// Reads them; none where the role that backed up might not.
    pub(super) async fn fetch(reader: &dyn DictionaryReader) -> Outcome<Globals> {
        let bytes = whole_part(reader, part::GLOBALS).await?.unwrap_or_default();
        Ok(Globals::parse(&String::from_utf8_lossy(&bytes)))
    }

    fn parse(sql: &str) -> Globals {
        Globals {
            statements: split(sql),
        }
    }

    /// The statements that make roles which the target lacks, in an order that can be run:
    /// CREATE ROLE, options, settings, comments; then memberships of which the target has, or
    /// now gets, both sides. A role that the saveset does not describe gets a plain CREATE ROLE.
    pub(super) fn roles(&self, absent: &[String], there: impl Fn(&str) -> bool) -> Vec<String> {
        let is_absent = |role: &str| absent.iter().any(|name| name == role);
        let known = |role: &str| is_absent(role) || there(role);
        let mut statements = Vec::new();
        for role in absent {
            let of_role = About::Role(role.clone());
            let before = statements.len();
            let all = self.statements.iter();
            statements.extend(all.filter(|s| about(s) == of_role).cloned());
            if statements.len() == before {
                statements.push(format!("CREATE ROLE {}", super::quote::ident(role)));
            }
        }
        for statement in &self.statements {
            let About::Membership {
                role,
                member,
                grantor,
            } = about(statement)
            else {
                continue;
            };
            if !(known(&role) && known(&member) && (is_absent(&role) || is_absent(&member))) {
                continue;
            }
            let stranger = grantor.is_some_and(|grantor| !known(&grantor));
            // Whoever runs it then is the grantor.
            let without = statement.rfind(" GRANTED BY ").filter(|_| stranger);
            let statement = without.map_or(statement.as_str(), |end| &statement[..end]);
            statements.push(statement.to_owned());
        }
        statements
    }

    /// The statements that make tablespaces.
    pub(super) fn tablespaces(&self, names: &[String]) -> Vec<String> {
        let wanted = |statement: &&String| match about(statement) {
            About::Tablespace(name) => names.contains(&name),
            _ => false,
        };
        self.statements.iter().filter(wanted).cloned().collect()
    }
}

fn about(statement: &str) -> About {
    let words = words(statement);
    let text: Vec<&str> = words
        .iter()
        .map(|word| if word.quoted { "\"" } else { &word.text })
        .collect();
    let name = |place: usize| words.get(place).map(|word| word.text.clone());
    let place_of = |word: &str| text.iter().rposition(|w| *w == word);
    let found = match text.as_slice() {
        ["CREATE" | "ALTER", "ROLE", ..] => name(2).map(About::Role),
        ["COMMENT", "ON", "ROLE", ..] => name(3).map(About::Role),
        ["CREATE" | "ALTER", "TABLESPACE", ..] => name(2).map(About::Tablespace),
        ["COMMENT", "ON", "TABLESPACE", ..] => name(3).map(About::Tablespace),
        ["SECURITY", "LABEL", "FOR", _, "ON", kind, ..] => match *kind {
            "ROLE" => name(6).map(About::Role),
            "TABLESPACE" => name(6).map(About::Tablespace),
            _ => None,
        },
        ["GRANT", _, "TO", ..] => name(1)
            .zip(name(3))
            .map(|(role, member)| About::Membership {
                role,
                member,
                grantor: place_of("GRANTED").and_then(|place| name(place + 2)),
            }),
        ["GRANT" | "REVOKE", ..] => {
            let target = place_of("ON").map(|place| (text.get(place + 1).copied(), place));
            match target {
                Some((Some("TABLESPACE"), place)) => name(place + 2).map(About::Tablespace),
                Some((Some("PARAMETER"), _)) => place_of("TO")
                    .and_then(|place| name(place + 1))
                    .map(About::Role),
                _ => None,
            }
        }
        _ => None,
    };
    found.unwrap_or(About::Other)
}

struct Word {
    text: String,
    /// An identifier in quotes: never a keyword.
    quoted: bool,
}

/// The words, identifiers without their quotes; texts in single quotes are left out.
fn words(statement: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = statement.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' || first == '\'' {
            quoted_length(rest, first)
        } else {
            rest.find(|c: char| c.is_whitespace() || c == '"' || c == '\'')
                .unwrap_or(rest.len())
        };
        let (word, after) = rest.split_at(length);
        match first {
            '\'' => {}
            '"' => words.push(Word {
                text: inside(word).replace("\"\"", "\""),
                quoted: true,
            }),
            _ => words.push(Word {
                text: word.trim_end_matches(',').to_owned(),
                quoted: false,
            }),
        }
        rest = after.trim_start();
    }
    words
}

/// What stands between the quotes; the closing one may be missing.
fn inside(word: &str) -> &str {
    let word = word.strip_prefix('"').unwrap_or(word);
    word.strip_suffix('"').unwrap_or(word)
}

/// How long the literal is that the text begins with, quotes included.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((place, c)) = characters.next() {
        if c != quote {
            continue;
        }
        match characters.peek() {
            Some((_, next)) if *next == quote => {
                characters.next();
            }
            _ => return place + 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOBALS: &str = r#"
--
-- Roles
--

CREATE ROLE "chief ""of"" all";
ALTER ROLE "chief ""of"" all" WITH SUPERUSER LOGIN VALID UNTIL '2035-01-01 00:00:00+00';
CREATE ROLE staff;
ALTER ROLE staff WITH NOSUPERUSER NOINHERIT;
COMMENT ON ROLE staff IS 'it''s; "all" of them TO';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
ALTER ROLE staff SET search_path TO 'x y', '$user';
GRANT staff TO "chief ""of"" all" WITH ADMIN OPTION, INHERIT TRUE GRANTED BY "somebody else";
GRANT pg_read_all_data TO staff WITH INHERIT TRUE GRANTED BY postgres;
GRANT postgres TO unknown GRANTED BY postgres;
GRANT SET ON PARAMETER work_mem TO staff WITH GRANT OPTION;
CREATE TABLESPACE "fa""st" OWNER staff LOCATION '/a b';
ALTER TABLESPACE "fa""st" SET (random_page_cost=9);
GRANT ALL ON TABLESPACE "fa""st" TO staff;
COMMENT ON TABLESPACE other IS 'x';
"#;

    fn roles(absent: &[&str]) -> Vec<String> {
        let absent: Vec<String> = absent.iter().map(|&role| role.to_owned()).collect();
        let there = |role: &str| ["postgres", "pg_read_all_data"].contains(&role);
        Globals::parse(GLOBALS).roles(&absent, there)
    }

    #[test]
    fn a_role_is_made_with_all_that_is_said_of_it_and_with_memberships_on_both_sides_known() {
        assert_eq!(
            roles(&["staff"]),
            [
                "CREATE ROLE staff",
                "ALTER ROLE staff WITH NOSUPERUSER NOINHERIT",
                "COMMENT ON ROLE staff IS 'it''s; \"all\" of them TO'",
                "ALTER ROLE staff SET search_path TO 'x y', '$user'",
                "GRANT SET ON PARAMETER work_mem TO staff WITH GRANT OPTION",
                "GRANT pg_read_all_data TO staff WITH INHERIT TRUE GRANTED BY postgres",
            ]
        );
    }

    #[test]
    fn a_membership_comes_after_both_roles_and_without_a_grantor_that_is_not_there() {
        let all = roles(&["chief \"of\" all", "staff"]);
        let member =
            "GRANT staff TO \"chief \"\"of\"\" all\" WITH ADMIN OPTION, INHERIT TRUE".to_owned();
        let place = all.iter().position(|s| *s == member).unwrap();
        assert!(place > all.iter().position(|s| s == "CREATE ROLE staff").unwrap());
        assert_eq!(all[0], "CREATE ROLE \"chief \"\"of\"\" all\"");
    }

    #[test]
    fn a_role_that_nothing_is_known_of_is_made_plainly() {
        assert_eq!(roles(&["a b"]), ["CREATE ROLE \"a b\""]);
    }

    #[test]
    fn a_tablespace_is_made_with_its_options_and_rights() {
        let globals = Globals::parse(GLOBALS);
        assert_eq!(
            globals.tablespaces(&["fa\"st".to_owned()]),
            [
                "CREATE TABLESPACE \"fa\"\"st\" OWNER staff LOCATION '/a b'",
                "ALTER TABLESPACE \"fa\"\"st\" SET (random_page_cost=9)",
                "GRANT ALL ON TABLESPACE \"fa\"\"st\" TO staff",
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_about_something_or_nothing(sql in ".{0,60}") {
            let _ = Globals::parse(&sql).roles(&["a".to_owned()], |_| true);
        }

        #[test]
        fn any_name_is_found_again(name in "[^\\x00]{1,20}") {
            let ident = super::super::quote::ident(&name);
            let statement = format!("CREATE ROLE {ident} ");
            proptest::prop_assert_eq!(about(&statement), About::Role(name));
        }
    }
}
