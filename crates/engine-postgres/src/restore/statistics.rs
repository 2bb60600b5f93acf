//! The planner's statistics: those that the dump holds (PostgreSQL 18 and newer), else ANALYZE.

use std::sync::{Mutex, PoisonError};

use futures::future::{join_all, try_join_all};
use model::{Progress, RestoreRequest};

use super::destination::Destination;
use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::Decisions;
use super::toc::Entry;
use crate::error::PostgresError;
use crate::session::Session;

/// The first server that takes the statistics of a dump.
const TAKEN_SINCE: u32 = 18;

/// How many tables one ANALYZE is about at most.
const BATCH: usize = 200;

const DOING: &str = "gathering the planner's statistics";

/// Brings them back, or gathers them over as many sessions as there are streams.
pub(super) async fn bring_back(
    destination: &Destination,
    session: &Session,
    dictionary: &Dictionary,
    decisions: &Decisions,
    request: &RestoreRequest,
) -> Result<(), RestoreError> {
    let progress = &*request.progress;
    let entries: Vec<&Entry> = dictionary.statistics().collect();
    let held = !entries.is_empty() && decisions.server_major >= TAKEN_SINCE;
    if held && restore(dictionary, entries, progress).await? {
        let missing = include_str!("../../sql/tables_without_statistics_18.sql");
        let tables = names(session, missing).await?;
        return analyze(destination, session, &tables, request).await;
    }
    let all = include_str!("../../sql/tables_to_analyze_14.sql");
    let tables = names(session, all).await?;
    analyze(destination, session, &tables, request).await?;
    let far = include_str!("../../sql/tables_partly_foreign_14.sql");
    let far = names(session, far).await?;
    if !far.is_empty() {
        progress.note(format!(
            "parts of {} are on other servers, which a restore does not ask: run ANALYZE there for the statistics of the whole",
            far.join(", ")
        ));
    }
    Ok(())
}

/// Whether all of them were taken.
async fn restore(
    dictionary: &Dictionary,
    entries: Vec<&Entry>,
    progress: &dyn Progress,
) -> Result<bool, RestoreError> {
    let list = dictionary.list_of("statistics", entries)?;
    let program = &dictionary.program;
    let ran = program
        .restore(&dictionary.dump(), &list, &[], &mut |_| ())
        .await?;
    let errors = ran.errors();
    if let Some(error) = errors.first() {
        progress.note(format!(
            "the statistics of the saveset were not taken, new ones are gathered: {}",
            error.message
        ));
    }
    Ok(errors.is_empty())
}

/// Gathers them: `session` and others take tables until none is left. The tables that take longest come
/// first.
async fn analyze(
    destination: &Destination,
    session: &Session,
    tables: &[String],
    request: &RestoreRequest,
) -> Result<(), RestoreError> {
    let progress = &*request.progress;
    let streams = request.streams.clamp(1, tables.len().max(1));
    // One that cannot be opened, for the server is full, makes it slower and not worse.
    let others = join_all((1..streams).map(|_| destination.inside())).await;
    let others: Vec<Session> = others.into_iter().filter_map(Result::ok).collect();
    // So many times as many batches as streams keep all of them busy to the end.
    let batch = (tables.len() / (4 * streams)).clamp(1, BATCH);
    let waiting = Mutex::new(tables.chunks(batch));
    let all = std::iter::once(session).chain(&others);
    try_join_all(all.map(|session| {
        let waiting = &waiting;
        let next = move || {
            waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next()
        };
        async move {
            while let Some(some) = next() {
                analyze_all(session, some, progress).await?;
            }
            Ok::<(), RestoreError>(())
        }
    }))
    .await?;
    for session in others {
        session.close().await;
    }
    Ok(())
}

/// Gathers those of these tables, as SQL writes their names, many at a time. A table whose own
/// expressions fail, in an index or in extended statistics, costs nothing but its statistics.
pub(super) async fn analyze_all(
    session: &Session,
    tables: &[String],
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    for some in tables.chunks(BATCH) {
        match session.run(&analyze_of(some), DOING).await {
            Ok(()) => continue,
            Err(PostgresError::Query { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        for table in some.chunks(1) {
            match session.run(&analyze_of(table), DOING).await {
                Ok(()) => {}
                Err(error @ PostgresError::Query { .. }) => {
                    let fault: &dyn model::Fault = &error;
                    progress.warning(format!(
                        "{} has no statistics yet: {}",
                        table.concat(),
                        fault.sentence()
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn analyze_of(tables: &[String]) -> String {
    format!("ANALYZE {}", tables.join(", "))
}

async fn names(session: &Session, sql: &str) -> Result<Vec<String>, RestoreError> {
    let rows = session.rows(sql, &[], DOING).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
