//! Tablespaces: what lies in one that the target does not have goes into the database's own.

use std::collections::{BTreeMap, BTreeSet};

use super::Look;
use crate::restore::dictionary::Dictionary;
use crate::restore::fault::RestoreError;
use crate::restore::globals::Globals;
use crate::restore::quote::ident;
use crate::restore::toc::Entry;
use crate::session::Session;

pub(super) async fn look(
    look: &mut Look,
    session: &Session,
    dictionary: &Dictionary,
    globals: &Globals,
) -> Result<(), RestoreError> {
    let facts = &dictionary.facts;
    let sql = include_str!("../../../sql/usable_tablespaces_14.sql");
    let doing = "reading the target's tablespaces";
    let rows = session.rows(sql, &[], doing).await?;
    let there: BTreeMap<String, bool> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    let usable = |name: &String| there.get(name) == Some(&true);

    let needed = facts.needs.tablespaces.iter();
    let mut missing: Vec<String> = needed.filter(|name| !usable(name)).cloned().collect();
    if !missing.is_empty() {
        look.decisions.misplaced = misplaced(dictionary, &missing).await?;
    }
    if facts.tablespace != "pg_default" {
        match usable(&facts.tablespace) {
            true => look.decisions.tablespace = Some(facts.tablespace.clone()),
            false => missing.push(facts.tablespace.clone()),
        }
    }
    missing.sort();
    missing.dedup();
    for name in &missing {
        let remedy = match there.contains_key(name) {
            true => format!(
                "GRANT CREATE ON TABLESPACE {} TO {}",
                ident(name),
                ident(&look.role)
            ),
            false => globals.tablespaces(std::slice::from_ref(name)).join("; "),
        };
        let is = match there.contains_key(name) {
            true => "may not be used by the role that restores",
            false => "is not on the target",
        };
        let instead = match *name == facts.tablespace {
            true => "the restored database lies in the server's default one",
            false => "what lies there goes into the database's own",
        };
        let before = match remedy.is_empty() {
            true => String::new(),
            false => format!("; run before the restore, to have it: {remedy}"),
        };
        look.warn(format!("the tablespace {name:?} {is}: {instead}{before}"));
    }
    Ok(())
}

/// The entries that lie in one of these tablespaces: the table of contents does not tell it, the
/// comments of a script do.
async fn misplaced(
    dictionary: &Dictionary,
    missing: &[String],
) -> Result<BTreeSet<u32>, RestoreError> {
    let all = dictionary.before_rows.entries.iter();
    let all = all.chain(&dictionary.after_rows.entries);
    let placed: Vec<&Entry> = all.filter(|entry| can_be_placed(entry)).collect();
    if placed.is_empty() {
        return Ok(BTreeSet::new());
    }
    let list = dictionary.list_of("placed", placed)?;
    let script = dictionary.scratch("placed.sql");
    let program = &dictionary.program;
    let sql = program.script(&dictionary.dump(), &list, &script).await?;
    Ok(entries_in(&sql, missing))
}

fn can_be_placed(entry: &Entry) -> bool {
    ["TABLE", "MATERIALIZED VIEW", "INDEX", "CONSTRAINT"].contains(&entry.kind.as_str())
}

/// The numbers of the entries that lie in one of these tablespaces, in what `pg_restore --verbose`
/// writes.
fn entries_in(sql: &str, tablespaces: &[String]) -> BTreeSet<u32> {
    let endings: Vec<String> = tablespaces
        .iter()
        .map(|name| format!("; Tablespace: {}", name.replace(['\n', '\r'], " ")))
        .collect();
    let mut found = BTreeSet::new();
    let mut current: Option<u32> = None;
    for line in sql.lines() {
        if let Some(entry) = line.strip_prefix("-- TOC entry ") {
            current = entry.split(' ').next().and_then(|n| n.parse().ok());
        } else if line.starts_with("-- Name: ") && endings.iter().any(|e| line.ends_with(e)) {
            found.extend(current);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_from_others_by_their_tablespace() {
        let sql = "--\n-- TOC entry 12 (class 1259 OID 7)\n-- Name: a; Type: TABLE; Schema: s; Owner: o; Tablespace: quick\n--\n
-- TOC entry 13 (class 1259 OID 8)\n-- Name: b; Type: TABLE; Schema: s; Owner: o\n--\n
-- TOC entry 14 (class 1259 OID 9)\n-- Name: c; Type: INDEX; Schema: s; Owner: o; Tablespace: a \"b\"\n--\n";
        assert_eq!(
            entries_in(sql, &["a \"b\"".to_owned()]),
            BTreeSet::from([14])
        );
        let both = ["quick".to_owned(), "a \"b\"".to_owned()];
        assert_eq!(entries_in(sql, &both), BTreeSet::from([12, 14]));
    }
}
