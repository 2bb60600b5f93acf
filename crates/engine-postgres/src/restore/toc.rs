//! The table of contents of a dump, as `pg_restore --list` prints it, and lists for `--use-list`.
//!
//! Nothing here reads DDL. A line is `id; class oid TYPE schema tag owner`, in which type, schema,
//! tag and owner may all hold spaces: the type is found among those that pg_dump knows, the owner
//! by comparing the end of the line with the roles that the saveset names.

use std::collections::HashMap;

/// The types of more than one word; a type of one word is the first word.
const TYPES: [&str; 33] = [
    "ACCESS METHOD",
    "BLOB COMMENTS",
    "BLOB METADATA",
    "CHECK CONSTRAINT",
    "DATABASE PROPERTIES",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "INDEX ATTACH",
    "MATERIALIZED VIEW DATA",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PUBLICATION TABLES IN SCHEMA",
    "PUBLICATION TABLE",
    "ROW SECURITY",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SHELL TYPE",
    "STATISTICS DATA",
    "SUBSCRIPTION TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
    "LARGE OBJECT",
];

/// What a line begins with that names the entries that the one above it needs.
const NEEDS: &str = ";\tdepends on: ";

/// Which part of pg_restore's work an entry belongs to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Before the rows, with `--section=pre-data`, or after them, with `--section=post-data`: the
    /// section itself is known to pg_restore only.
    Objects,
    /// Grants and default privileges: after everything, so that no right that an owner has taken
    /// from itself stands in the way of loading its rows. Security labels too: their provider may
    /// not be on the target.
    Rights,
    /// Event triggers, which would fire on our own DDL: the very last.
    EventTriggers,
    /// Never here: what belongs to the database itself comes from its facts, rows from segments,
    /// statistics have a step of their own, and subscriptions are made on request only.
    Never,
}

/// One line of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number in the dump; also how pg_restore's errors name it.
    pub(crate) id: u32,
    /// `TABLE`, `FK CONSTRAINT`, …
    pub(crate) kind: String,
    /// Schema, tag and owner, as printed.
    pub(crate) rest: String,
    /// The numbers of the entries that it needs.
    pub(crate) needs: Vec<u32>,
    /// The whole line, for a list.
    line: String,
}

impl Entry {
    /// When it is restored.
    pub(crate) fn step(&self) -> Step {
        let of_database = ["ACL", "COMMENT", "SECURITY LABEL"].contains(&self.kind.as_str())
            && self.rest.starts_with("- DATABASE ");
        match self.kind.as_str() {
            _ if of_database => Step::Never,
            "ACL" | "DEFAULT ACL" => Step::Rights,
            "EVENT TRIGGER" => Step::EventTriggers,
            "COMMENT" | "SECURITY LABEL" if self.rest.starts_with("- EVENT TRIGGER ") => {
                Step::EventTriggers
            }
            "COMMENT" | "SECURITY LABEL" if self.rest.starts_with("- SUBSCRIPTION ") => Step::Never,
            "SECURITY LABEL" => Step::Rights,
            "DATABASE"
            | "DATABASE PROPERTIES"
            | "SUBSCRIPTION"
            | "SUBSCRIPTION TABLE"
            | "TABLE DATA"
            | "SEQUENCE SET"
            | "MATERIALIZED VIEW DATA"
            | "STATISTICS DATA" => Step::Never,
            _ => Step::Objects,
        }
    }

    /// The longest of `owners` that the line ends with: a role's name may hold spaces too.
    pub(crate) fn owner<'a>(&self, owners: &'a [String]) -> Option<&'a str> {
        owners
            .iter()
            .filter(|owner| {
                self.rest
                    .strip_suffix(&one_line(owner))
                    .is_some_and(|before| before.ends_with(' '))
            })
            .max_by_key(|owner| owner.len())
            .map(String::as_str)
    }

    /// The name of an object that is in no schema.
    pub(super) fn name(&self, owners: &[String]) -> String {
        let name = self.rest.trim_start_matches("- ");
        let owner = self.owner(owners).map(one_line);
        let name = owner
            .and_then(|owner| name.strip_suffix(&owner))
            .unwrap_or(name);
        name.trim_end().to_owned()
    }

    /// Schema and name (`-` where it lies in no schema), as printed, without the owner.
    pub(crate) fn listed<'a>(&'a self, owners: &[String]) -> &'a str {
        let owner = self.owner(owners).map_or(0, |owner| owner.len() + 1);
        let end = self.rest.len().saturating_sub(owner);
        self.rest.get(..end).unwrap_or(&self.rest).trim_end()
    }

    /// Whether it makes the schema `public` (or says whose it is), which is there already.
    pub(crate) fn is_schema_public(&self) -> bool {
        self.kind == "SCHEMA" && self.rest.starts_with("- public ")
    }

    /// Whether it is about the schema `public`, or makes it.
    pub(crate) fn comments_on_schema_public(&self) -> bool {
        self.kind == "COMMENT" && self.rest.starts_with("- SCHEMA public ")
    }

    /// As a person reads it: `INDEX public t_x_idx app`.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.kind, self.rest)
    }
}

/// All entries, in the order in which they must be restored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Toc {
    pub(crate) entries: Vec<Entry>,
}

impl Toc {
    /// Reads what `pg_restore --list` printed.
    pub(crate) fn parse(listing: &str) -> Toc {
        let mut entries: Vec<Entry> = Vec::new();
        for line in listing.lines() {
            match (line.strip_prefix(NEEDS), entries.last_mut()) {
                (Some(ids), Some(last)) => {
                    last.needs = ids.split(' ').filter_map(|id| id.parse().ok()).collect();
                }
                (Some(_), None) => {}
                (None, _) => entries.extend(entry(line)),
            }
        }
        Toc { entries }
    }

    /// Takes what its entries need from a listing of the same dump that says it.
    pub(crate) fn with_needs(mut self, all: &Toc) -> Toc {
        let all: HashMap<u32, &[u32]> = all.entries.iter().map(|e| (e.id, &*e.needs)).collect();
        for entry in &mut self.entries {
            entry.needs = all
                .get(&entry.id)
                .map(|needs| needs.to_vec())
                .unwrap_or_default();
        }
        self
    }

    /// The entries of one step, in order.
    pub(crate) fn of_step(&self, step: Step) -> Vec<&Entry> {
        self.entries.iter().filter(|e| e.step() == step).collect()
    }

    /// The entry with that number.
    pub(crate) fn get(&self, id: u32) -> Option<&Entry> {
        self.entries.iter().find(|e| e.id == id)
    }
}

/// A file's text for `--use-list`.
pub(crate) fn list<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    entries
        .into_iter()
        .map(|entry| format!("{}\n", entry.line))
        .collect()
}

fn entry(line: &str) -> Option<Entry> {
    let (id, after) = line.split_once("; ")?;
    // Comments begin with a semicolon, so that nothing stands before it.
    let id = id.parse().ok()?;
    let (_class, after) = after.split_once(' ')?;
    let (_oid, text) = after.split_once(' ')?;
    let long = TYPES.iter().find(|kind| {
        text.strip_prefix(**kind)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let kind = match long {
        Some(kind) => *kind,
        None => text.split(' ').next()?,
    };
    Some(Entry {
        id,
        kind: kind.to_owned(),
        rest: text[kind.len()..].trim_start().to_owned(),
        needs: Vec::new(),
        line: line.to_owned(),
    })
}

/// pg_restore prints a line feed in a name as a space.
fn one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
;
; Archive created at 2026-11-24 13:10:53 UTC
;     dbname: shop; drop it
;
5; 2615 2200 SCHEMA - public postgres
3272; 0 0 ACL - SCHEMA public postgres
210; 1259 16390 TABLE s t app
;	depends on: 5 213
213; 1259 16406 MATERIALIZED VIEW s mv the app
211; 1259 16397 TABLE s we ird name app
3118; 2606 16396 FK CONSTRAINT s t t_fkey app
3264; 6100 16412 SUBSCRIPTION - sub postgres
3265; 0 0 COMMENT - SUBSCRIPTION sub postgres
3266; 0 0 COMMENT - DATABASE shop postgres
3267; 826 16412 DEFAULT ACL s DEFAULT PRIVILEGES FOR TABLES app
3268; 3466 16412 EVENT TRIGGER - guard postgres
";

    #[test]
    fn every_line_that_is_no_comment_is_an_entry() {
        let toc = Toc::parse(LISTING);
        assert_eq!(toc.entries.len(), 11);
        assert_eq!(toc.get(213).unwrap().kind, "MATERIALIZED VIEW");
        assert_eq!(
            toc.get(3118).unwrap().title(),
            "FK CONSTRAINT s t t_fkey app"
        );
        assert!(toc.get(5).unwrap().is_schema_public());
        assert_eq!(toc.get(210).unwrap().needs, [5, 213]);
        assert!(toc.get(211).unwrap().needs.is_empty());
        let owners = ["the app".to_owned(), "app".to_owned()];
        assert_eq!(toc.get(213).unwrap().listed(&owners), "s mv");
        assert_eq!(
            toc.get(3272).unwrap().listed(&owners),
            "- SCHEMA public postgres"
        );
    }

    #[test]
    fn an_owner_is_the_longest_role_that_ends_the_line() {
        let toc = Toc::parse(LISTING);
        let roles = ["app".to_owned(), "the app".to_owned(), "pp".to_owned()];
        assert_eq!(toc.get(213).unwrap().owner(&roles), Some("the app"));
        assert_eq!(toc.get(211).unwrap().owner(&roles), Some("app"));
        assert_eq!(toc.get(5).unwrap().owner(&roles), None);
        let superuser = ["postgres".to_owned()];
        assert_eq!(toc.get(3264).unwrap().name(&superuser), "sub");
        assert_eq!(toc.get(3268).unwrap().name(&superuser), "guard");
    }

    #[test]
    fn rights_and_event_triggers_wait_and_subscriptions_are_left_out() {
        let toc = Toc::parse(LISTING);
        let ids = |step| -> Vec<u32> { toc.of_step(step).iter().map(|e| e.id).collect() };
        assert_eq!(ids(Step::Objects), [5, 210, 213, 211, 3118]);
        assert_eq!(ids(Step::Rights), [3272, 3267]);
        assert_eq!(ids(Step::EventTriggers), [3268]);
        assert_eq!(ids(Step::Never), [3264, 3265, 3266]);
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_an_entry_or_none_and_stays_what_it_was(line in ".{0,80}", id: u32) {
            let _ = Toc::parse(&line);
            let line = format!("{id}; 1 2 {}", line.replace(['\n', '\r'], " "));
            let toc = Toc::parse(&line);
            for entry in &toc.entries {
                proptest::prop_assert_eq!(entry.id, id);
                proptest::prop_assert_eq!(list([entry]), format!("{line}\n"));
            }
        }
    }

    #[test]
    fn a_list_holds_the_lines_as_they_were() {
        let toc = Toc::parse(LISTING);
        let text = list(toc.entries.iter().filter(|e| e.kind == "TABLE"));
        assert_eq!(
            text,
            "210; 1259 16390 TABLE s t app\n211; 1259 16397 TABLE s we ird name app\n"
        );
    }
}
