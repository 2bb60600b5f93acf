//! POSTSCRIPT: sequences, rights, materialized views, statistics, what belongs to the database.

use model::{Outcome, Phase, Progress, RestoreRequest, StepReport};
use tokio_postgres::types::ToSql;

use super::destination::Destination;
use super::dictionary::{Dictionary, json_line, whole_part};
use super::fault::RestoreError;
use super::findings::Decisions;
use super::prepare::{arguments, runs};
use super::quote::qualified;
use super::rights::{self, Rights};
use super::toc::{Entry, Step};
use super::wanted::Places;
use super::{large_objects, loan, settings, statistics};
use crate::error::PostgresError;
use crate::facts::{QualifiedName, SequenceFacts, part};
use crate::session::Session;

/// How many sequences one statement sets.
const BATCH: usize = 200;

/// Everything that waits for rows, keys and indexes.
pub(super) async fn run(
    destination: &Destination,
    dictionary: &Dictionary,
    decisions: &Decisions,
    places: &Places,
    request: &RestoreRequest,
) -> Outcome<StepReport> {
    let mut report = StepReport::default();
    let progress = &*request.progress;
    let session = destination.inside().await?;
    let sequences = sequence_facts(request, places).await?;
    let views = views_to_fill(&session, dictionary, places).await?;
    let total = sequences.len() + views.len();
    progress.phase_total(Phase::Postscript, total as u64);

    set_sequences(&session, &sequences).await?;
    progress.objects_done(Phase::Postscript, sequences.len() as u64);
    let mut rights = Rights::new(progress, decisions);
    large_objects::hand_over(&session, dictionary, decisions, &mut rights).await?;
    loan::return_schemas(&session, dictionary, decisions, &[]).await?;
    rights::apply(&session, dictionary, decisions, &mut rights).await?;
    report
        .errors
        .extend(fill_all(&session, &views, progress).await?);
    if !request.skip_statistics {
        statistics::bring_back(destination, &session, dictionary, decisions, request).await?;
    }
    session.close().await;
    let made = event_triggers(dictionary, decisions).await?;
    report.errors.extend(made);
    settings::apply(destination, dictionary, decisions, &mut rights).await?;
    Ok(report)
}

/// The sequences that are restored, where they are now.
pub(super) async fn sequence_facts(
    request: &RestoreRequest,
    places: &Places,
) -> Outcome<Vec<SequenceFacts>> {
    let part = part::SEQUENCES;
    let bytes = whole_part(&*request.dictionary, part).await?;
    let bytes = bytes.unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n');
    let mut sequences = Vec::new();
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        let mut sequence: SequenceFacts = json_line(part, line)?;
        let name = QualifiedName {
            schema: sequence.schema,
            name: sequence.name,
        };
        if let Some(place) = places.of_relation(&name) {
            (sequence.schema, sequence.name) = (place.schema, place.name);
            sequences.push(sequence);
        }
    }
    Ok(sequences)
}

/// Gives sequences their values.
pub(super) async fn set_sequences(
    session: &Session,
    all: &[SequenceFacts],
) -> Result<(), RestoreError> {
    let sql = "SELECT pg_catalog.setval(s::pg_catalog.regclass, v, c)
        FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.int8[]),
                        pg_catalog.unnest($3::pg_catalog.bool[])) AS x (s, v, c)";
    for some in all.chunks(BATCH) {
        let names: Vec<String> = some.iter().map(|s| qualified(&s.schema, &s.name)).collect();
        let values: Vec<i64> = some.iter().map(|s| s.last_value).collect();
        let called: Vec<bool> = some.iter().map(|s| s.is_called).collect();
        let parameters: [&(dyn ToSql + Sync); 3] = [&names, &values, &called];
        session
            .rows(sql, &parameters, "setting the values of sequences")
            .await?;
    }
    Ok(())
}

/// The materialized views that held rows, those first that others are made from.
pub(super) async fn views_to_fill(
    session: &Session,
    dictionary: &Dictionary,
    places: &Places,
) -> Result<Vec<QualifiedName>, RestoreError> {
    let sql = include_str!("../../sql/views_in_order_14.sql");
    let doing = "looking for materialized views to fill";
    let rows = session.rows(sql, &[], doing).await?;
    let unfilled = dictionary.facts.needs.unfilled_views.iter();
    let unfilled: Vec<QualifiedName> = unfilled
        .filter_map(|view| places.of_relation(view))
        .collect();
    let views = rows.iter().map(|row| QualifiedName {
        schema: row.get(0),
        name: row.get(1),
    });
    Ok(views.filter(|view| !unfilled.contains(view)).collect())
}

/// Fills views; answers what failed.
pub(super) async fn fill_all(
    session: &Session,
    views: &[QualifiedName],
    progress: &dyn Progress,
) -> Result<Vec<String>, RestoreError> {
    // A view is filled with its owner's rights; policies on its tables hide from him what they hid
    // in the source, which is no error here.
    let session_for_views = "SET row_security = on; RESET max_parallel_workers_per_gather";
    let doing = "setting up a session for materialized views";
    session.run(session_for_views, doing).await?;
    let mut errors = Vec::new();
    for view in views {
        errors.extend(fill(session, view).await?);
        progress.objects_done(Phase::Postscript, 1);
    }
    Ok(errors)
}

/// Fills a view; its own failure is told and does not end the restore.
async fn fill(session: &Session, view: &QualifiedName) -> Result<Option<String>, RestoreError> {
    let sql = format!("REFRESH MATERIALIZED VIEW {}", view.sql());
    let doing = format!("filling the materialized view {}", view.sql());
    match session.run(&sql, &doing).await {
        Ok(()) => Ok(None),
        Err(error @ PostgresError::Query { .. }) => {
            let fault: &dyn model::Fault = &error;
            Ok(Some(fault.sentence()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The last of the dictionary: they would have fired on everything before.
pub(super) async fn event_triggers(
    dictionary: &Dictionary,
    decisions: &Decisions,
) -> Result<Vec<String>, RestoreError> {
    let entries: Vec<&Entry> = dictionary.after_rows.of_step(Step::EventTriggers);
    let mut errors = Vec::new();
    // For others than superusers the findings have told that they are left out.
    if !decisions.superuser {
        return Ok(errors);
    }
    for (manner, run) in runs(entries, dictionary, decisions) {
        let list = dictionary.list_of("event-triggers", run)?;
        let arguments = arguments(manner);
        let program = &dictionary.program;
        let ran = program
            .restore(&dictionary.dump(), &list, &arguments, &mut |_| ())
            .await?;
        errors.extend(ran.errors().into_iter().map(|error| error.message));
    }
    Ok(errors)
}
