//! Large objects without their bytes: made before the pages are loaded, given to their owners
//! afterwards.

use std::io::BufRead;

use super::dictionary::{Dictionary, failed, json_line};
use super::fault::RestoreError;
use super::findings::Decisions;
use super::quote::{ident, literal};
use super::rights::{Rights, grants};
use crate::facts::{LargeObjectFacts, part};
use crate::session::Session;

/// How many objects one statement, or one transaction, is about: each is locked meanwhile.
const BATCH: usize = 500;

/// Makes all of them, empty.
pub(super) async fn make(session: &Session, dictionary: &Dictionary) -> Result<(), RestoreError> {
    let sql = "SELECT pg_catalog.count(pg_catalog.lo_create(o)) FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS o";
    let mut batches = Batches::of(dictionary)?;
    while let Some(batch) = batches.next()? {
        let oids: Vec<u32> = batch.iter().map(|object| object.oid).collect();
        let doing = "making large objects";
        session.row(sql, &[&oids], doing).await?;
    }
    Ok(())
}

/// Owners, grants, comments and labels.
pub(super) async fn hand_over(
    session: &Session,
    dictionary: &Dictionary,
    decisions: &Decisions,
    rights: &mut Rights<'_>,
) -> Result<(), RestoreError> {
    let mut batches = Batches::of(dictionary)?;
    while let Some(batch) = batches.next()? {
        let statements: Vec<String> = batch
            .iter()
            .flat_map(|object| statements(object, decisions))
            .collect();
        rights.run_all(session, &statements).await?;
    }
    Ok(())
}

pub(super) fn statements(object: &LargeObjectFacts, decisions: &Decisions) -> Vec<String> {
    let what = format!("LARGE OBJECT {}", object.oid);
    let mut statements = Vec::new();
    if let Some(comment) = &object.comment {
        statements.push(format!("COMMENT ON {what} IS {}", literal(comment)));
    }
    // Only the owner may: before it is another one.
    for (provider, label) in &object.security_labels {
        let (provider, label) = (ident(provider), literal(label));
        statements.push(format!(
            "SECURITY LABEL FOR {provider} ON {what} IS {label}"
        ));
    }
    if !decisions.owners_left_out.contains(&object.owner) {
        statements.push(format!("ALTER {what} OWNER TO {}", ident(&object.owner)));
    }
    if let Some(list) = &object.grants {
        // Whoever owns it has all rights, unless they were taken away.
        if !decisions.owners_left_out.contains(&object.owner) {
            let owner = ident(&object.owner);
            statements.push(format!("REVOKE ALL ON {what} FROM {owner}"));
        }
        statements.extend(grants(&what, &object.owner, list));
    }
    statements
}

/// Reads the facts, some at a time.
struct Batches {
    lines: Option<std::io::BufReader<std::fs::File>>,
}

impl Batches {
    fn of(dictionary: &Dictionary) -> Result<Batches, RestoreError> {
        Ok(Batches {
            lines: dictionary.large_objects()?,
        })
    }

    fn next(&mut self) -> Result<Option<Vec<LargeObjectFacts>>, RestoreError> {
        let Some(lines) = &mut self.lines else {
            return Ok(None);
        };
        let mut batch = Vec::new();
        let mut line = Vec::new();
        while batch.len() < BATCH {
            line.clear();
            let read = lines.read_until(b'\n', &mut line);
            if read.map_err(failed("reading the large objects' facts"))? == 0 {
                break;
            }
            if !line.trim_ascii().is_empty() {
                batch.push(json_line(part::LARGE_OBJECTS, &line)?);
            }
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }
}
