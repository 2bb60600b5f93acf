//! BUILD: indexes, keys, triggers, policies, in parallel. What fails here is named and left out:
//! the rows are there.

use std::collections::BTreeSet;

use model::{Phase, RestoreRequest, SkippedObject, StepReport};

use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::Decisions;
use super::messages::{self, ToolError};
use super::prepare::{Manner, arguments, runs};
use super::program::Ran;
use super::toc::{Entry, Step};

/// Makes everything that comes after the rows.
pub(super) async fn build(
    dictionary: &Dictionary,
    decisions: &Decisions,
    request: &RestoreRequest,
    parallel: usize,
) -> Result<StepReport, RestoreError> {
    let mut entries = dictionary.after_rows.of_step(Step::Objects);
    if request.skip_indexes {
        let left_out = secondary_indexes(dictionary, &entries).await?;
        entries.retain(|entry| !left_out.contains(&entry.id));
    }
    let total = entries.len() as u64;
    request.progress.phase_total(Phase::Build, total);
    let mut report = StepReport::default();
    for (manner, run) in runs(entries, dictionary, decisions) {
        let failed = restore(dictionary, request, manner, &run, parallel).await?;
        // Which objects are missing then is not known: the run has failed, and may be continued.
        if let Some(error) = failed.iter().find(|e| e.is_of_the_connection()) {
            return Err(RestoreError::Dictionary {
                doing: "making indexes and constraints",
                errors: error.message.clone(),
            });
        }
        for error in failed {
            tell(&error, dictionary, request, decisions, &mut report);
        }
    }
    Ok(report)
}

/// A failed object becomes an error of the report; a policy for a role that a copy leaves out is
/// left out with it.
fn tell(
    error: &ToolError,
    dictionary: &Dictionary,
    request: &RestoreRequest,
    decisions: &Decisions,
    report: &mut StepReport,
) {
    let entry = error.entry.and_then(|id| dictionary.after_rows.get(id));
    let message = error.message.as_str();
    let message = message
        .strip_prefix("could not execute query: ")
        .unwrap_or(message);
    let Some(entry) = entry else {
        report.errors.push(message.to_owned());
        return;
    };
    let of_absent = entry.kind == "POLICY"
        && request.as_copy
        && decisions.absent_roles.iter().any(|role| {
            let quoted = format!("role \"{role}\" does not exist");
            message.contains(&quoted)
        });
    if of_absent {
        request.progress.skipped(SkippedObject {
            object: entry.title(),
            reason: format!("a role that it is for is not on the target: {message}"),
        });
    } else {
        report.errors.push(format!("{}: {message}", entry.title()));
    }
}

/// Restores one stretch of entries; what fails beside others is tried once more alone: workers
/// may have stood in each other's way, and their messages may be mixed.
async fn restore(
    dictionary: &Dictionary,
    request: &RestoreRequest,
    manner: Manner,
    entries: &[&Entry],
    parallel: usize,
) -> Result<Vec<ToolError>, RestoreError> {
    let jobs = parallel.clamp(1, entries.len().max(1));
    let mut counted = Counted::of(request, entries.len(), jobs);
    let ran = run(dictionary, manner, entries, jobs, &mut |line| {
        counted.line(line);
    })
    .await?;
    counted.end();
    let errors = ran.errors();
    if jobs == 1 || errors.is_empty() {
        return Ok(errors);
    }
    let named: BTreeSet<u32> = messages::named_entries(&ran.said).into_iter().collect();
    let again: Vec<&Entry> = entries
        .iter()
        .filter(|entry| named.contains(&entry.id))
        .copied()
        .collect();
    if again.is_empty() {
        return Ok(errors);
    }
    let ran = run(dictionary, manner, &again, 1, &mut |_| ()).await?;
    Ok(the_telling_ones(errors, ran.errors()))
}

/// What a second try says counts, but for objects of which a part was made by the first.
fn the_telling_ones(first: Vec<ToolError>, second: Vec<ToolError>) -> Vec<ToolError> {
    let half_made = |error: &ToolError| error.message.contains("already exists");
    let (half, whole): (Vec<ToolError>, Vec<ToolError>) = second.into_iter().partition(half_made);
    let of_half = |error: &ToolError| half.iter().any(|other| other.entry == error.entry);
    // What belongs to no entry was no matter of one: a worker that could not connect.
    let told = first
        .into_iter()
        .filter(|e| e.entry.is_none() || of_half(e));
    let mut errors: Vec<ToolError> = told.collect();
    let untold = half
        .into_iter()
        .filter(|e| errors.iter().all(|told| told.entry != e.entry));
    let untold: Vec<ToolError> = untold.collect();
    errors.extend(untold);
    errors.extend(whole);
    errors
}

async fn run(
    dictionary: &Dictionary,
    manner: Manner,
    entries: &[&Entry],
    jobs: usize,
    on_line: &mut (dyn FnMut(&str) + Send),
) -> Result<Ran, RestoreError> {
    let list = dictionary.list_of("after-rows", entries.iter().copied())?;
    let mut arguments = arguments(manner);
    arguments.push(format!("--jobs={jobs}"));
    let ran = dictionary
        .program
        .restore(&dictionary.dump(), &list, &arguments, on_line)
        .await?;
    Ok(ran)
}

/// Makes all of it one by one, whatever fails; answers what did.
pub(super) async fn make_all(
    dictionary: &Dictionary,
    decisions: &Decisions,
) -> Result<Vec<ToolError>, RestoreError> {
    let mut failed = Vec::new();
    let entries = dictionary.after_rows.of_step(Step::Objects);
    for (manner, entries) in runs(entries, dictionary, decisions) {
        let ran = run(dictionary, manner, &entries, 1, &mut |_| ()).await?;
        failed.extend(ran.errors());
    }
    Ok(failed)
}

/// Tells the progress of objects from what `pg_restore --verbose` says.
struct Counted<'a> {
    request: &'a RestoreRequest,
    start: &'static str,
    left: u64,
}

impl Counted<'_> {
    fn of<'a>(request: &'a RestoreRequest, entries: usize, jobs: usize) -> Counted<'a> {
        let start = match jobs {
            1 => "pg_restore: creating ",
            _ => "pg_restore: finished item ",
        };
        Counted {
            request,
            start,
            left: entries as u64,
        }
    }

    fn line(&mut self, line: &str) {
        if line.starts_with(self.start) && self.left > 0 {
            self.left -= 1;
            self.request.progress.objects_done(Phase::Build, 1);
        }
    }

    /// Not every entry has a line of its own.
    fn end(self) {
        self.request.progress.objects_done(Phase::Build, self.left);
    }
}

/// The entries of indexes that are neither unique nor a constraint, with what belongs to them.
///
/// A unique index says what rows may be, and foreign keys may refer to it: it stays.
async fn secondary_indexes(
    dictionary: &Dictionary,
    entries: &[&Entry],
) -> Result<BTreeSet<u32>, RestoreError> {
    let of_kind = |kind: &'static str| entries.iter().filter(move |entry| entry.kind == kind);
    let list = dictionary.list_of("indexes", of_kind("INDEX").copied())?;
    let script = dictionary.scratch("indexes.sql");
    let program = &dictionary.program;
    let sql = program.script(&dictionary.dump(), &list, &script).await?;
    let unique = unique_indexes(&sql);
    let schemas = &dictionary.facts.needs.schemas;
    let mut left_out = BTreeSet::new();
    for index in of_kind("INDEX").filter(|entry| !unique.contains(&entry.id)) {
        left_out.insert(index.id);
        let attached = |entry: &&&Entry| {
            let name = entry.rest.trim_end();
            index.rest == name || index.rest.starts_with(&format!("{name} "))
        };
        left_out.extend(of_kind("INDEX ATTACH").filter(attached).map(|e| e.id));
        let comments: Vec<String> = schemas
            .iter()
            .filter_map(|schema| Some((schema, index.rest.strip_prefix(&format!("{schema} "))?)))
            .map(|(schema, rest)| format!("{schema} INDEX {rest}"))
            .collect();
        let commented = |entry: &&&Entry| comments.contains(&entry.rest);
        left_out.extend(of_kind("COMMENT").filter(commented).map(|e| e.id));
    }
    Ok(left_out)
}

/// The numbers of the entries that make a unique index, in what `pg_restore --verbose` writes.
fn unique_indexes(sql: &str) -> BTreeSet<u32> {
    let mut unique = BTreeSet::new();
    let mut current: Option<u32> = None;
    for line in sql.lines() {
        if let Some(entry) = line.strip_prefix("-- TOC entry ") {
            current = entry.split(' ').next().and_then(|n| n.parse().ok());
        } else if line.starts_with("CREATE UNIQUE INDEX ") {
            unique.extend(current);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_indexes_are_told_from_others_by_what_pg_restore_writes() {
        let sql = "--\n-- TOC entry 12 (class 1259 OID 7)\n-- Name: a; Type: INDEX\n\nCREATE INDEX a ON s.t USING btree (x);\n\n\n-- TOC entry 13 (class 1259 OID 8)\n\nCREATE UNIQUE INDEX b ON s.t USING btree (x);\n";
        assert_eq!(unique_indexes(sql), BTreeSet::from([13]));
    }
}
