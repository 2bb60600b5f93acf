//! DICTIONARY, BUILD and POSTSCRIPT of objects that go into a database that is there.

use model::{Outcome, Phase, Progress, RestoreRequest, StepReport};

use super::{keys, working};
use crate::restore::destination::Destination;
use crate::restore::fault::RestoreError;
use crate::restore::findings::Decisions;
use crate::restore::prepare::{self, AtAnError, none_may_fail};
use crate::restore::rights::{self, Rights};
use crate::restore::scratch::Reshaped;
use crate::restore::toc::{Entry, Step};
use crate::restore::wanted::{Places, Wanted};
use crate::restore::{build, loan, postscript, statistics};
use crate::session::Session;

/// The working schemas, and in them everything that rows need.
pub(in crate::restore) async fn prepare(
    destination: &Destination,
    reshaped: &Reshaped,
    decisions: &Decisions,
    wanted: &Wanted,
) -> Result<(), RestoreError> {
    let dictionary = &reshaped.dictionary;
    let session = destination.inside().await?;
    working::make(&session, wanted.working_schemas()).await?;
    let doing = "making what rows need";
    let entries = dictionary.before_rows.of_step(Step::Objects);
    let (schemas, others): (Vec<&Entry>, Vec<&Entry>) = entries
        .into_iter()
        .partition(|entry| entry.kind == "SCHEMA");
    let of_whole = |entry: &&Entry| {
        let mut whole = wanted.working_schemas().iter().filter(|s| s.whole);
        whole.any(|schema| entry.rest.starts_with(&format!("- {} ", schema.working)))
    };
    let schemas: Vec<&Entry> = schemas.into_iter().filter(of_whole).collect();
    let failed = prepare::make(&schemas, dictionary, decisions, AtAnError::End).await?;
    none_may_fail(doing, &failed)?;
    loan::lend_schemas(&session, dictionary, decisions, &names(wanted)).await?;
    session.close().await;
    let failed = prepare::make(&others, dictionary, decisions, AtAnError::End).await?;
    none_may_fail(doing, &failed)
}

/// Indexes, keys, triggers, policies; keys to what stays are checked last.
pub(in crate::restore) async fn build(
    destination: &Destination,
    reshaped: &Reshaped,
    decisions: &Decisions,
    request: &RestoreRequest,
    parallel: usize,
) -> Result<StepReport, RestoreError> {
    let session = destination.inside().await?;
    let (made, mut errors) = keys::make(&session, &reshaped.bonds.keys).await?;
    let built = build::build(&reshaped.dictionary, decisions, request, parallel).await?;
    errors.extend(built.errors);
    errors.extend(keys::validate(&session, &made).await?);
    session.close().await;
    Ok(StepReport { errors })
}

/// Sequences, rights, materialized views, statistics.
pub(in crate::restore) async fn postscript(
    destination: &Destination,
    reshaped: &Reshaped,
    decisions: &Decisions,
    wanted: &Wanted,
    places: &Places,
    request: &RestoreRequest,
) -> Outcome<StepReport> {
    let mut report = StepReport::default();
    let progress = &*request.progress;
    let schemas = names(wanted);
    let dictionary = &reshaped.dictionary;
    let session = destination.inside().await?;
    let sequences = postscript::sequence_facts(request, places).await?;
    let views = postscript::views_to_fill(&session, dictionary, places).await?;
    let views: Vec<_> = views
        .into_iter()
        .filter(|view| schemas.contains(&view.schema))
        .collect();
    progress.phase_total(Phase::Postscript, (sequences.len() + views.len()) as u64);
    postscript::set_sequences(&session, &sequences).await?;
    progress.objects_done(Phase::Postscript, sequences.len() as u64);
    loan::return_schemas(&session, dictionary, decisions, &schemas).await?;
    let mut rights = Rights::new(progress, decisions);
    rights::apply(&session, dictionary, decisions, &mut rights).await?;
    report
        .errors
        .extend(postscript::fill_all(&session, &views, progress).await?);
    if !request.skip_statistics {
        analyze(&session, &schemas, progress).await?;
    }
    session.close().await;
    Ok(report)
}

async fn analyze(
    session: &Session,
    schemas: &[String],
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let sql = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
                 FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = ANY ($1::pg_catalog.text[]) AND c.relkind IN ('r', 'p', 'm')
                  AND NOT (c.relkind = 'r' AND c.relispartition)";
    let doing = "looking for tables without statistics";
    let rows = session.rows(sql, &[&schemas], doing).await?;
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    statistics::analyze_all(session, &tables, progress).await
}

/// The names of the working schemas.
fn names(wanted: &Wanted) -> Vec<String> {
    let schemas = wanted.working_schemas().iter();
    schemas.map(|schema| schema.working.clone()).collect()
}
