//! The planner's statistics: those that the dump holds (PostgreSQL 18 and newer), else ANALYZE.

use model::Progress;

use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::Decisions;
use super::toc::Entry;
use crate::session::Session;

/// The first server that takes the statistics of a dump.
const TAKEN_SINCE: u32 = 18;

/// How many tables one ANALYZE is about.
const BATCH: usize = 200;

const DOING: &str = "gathering the planner's statistics";

/// Brings them back, or gathers them.
pub(super) async fn bring_back(
    session: &Session,
    dictionary: &Dictionary,
    decisions: &Decisions,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let entries: Vec<&Entry> = dictionary.statistics().collect();
    let held = !entries.is_empty() && decisions.server_major >= TAKEN_SINCE;
    if held && restore(dictionary, entries, progress).await? {
        let missing = include_str!("../../sql/tables_without_statistics_18.sql");
        return analyze(session, missing).await;
    }
    let all = include_str!("../../sql/tables_to_analyze_14.sql");
    analyze(session, all).await
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

async fn analyze(session: &Session, tables: &str) -> Result<(), RestoreError> {
    let rows = session.rows(tables, &[], DOING).await?;
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    for some in tables.chunks(BATCH) {
        let sql = format!("ANALYZE {}", some.join(", "));
        session.run(&sql, DOING).await?;
    }
    Ok(())
}
