//! Executions.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::ETAG;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use catalog::{ExecutionFilter, Principal};
use contract::{Execution, ExecutionsQuery, OneExecution, refuse_query};

use crate::body::{NoBody, with_resource};
use crate::detached::to_its_end;
use crate::way::{Query, Way};
use crate::{Problem, ServerState, events, lists, present};

/// A filter with what the query asks for.
pub(super) fn narrowed(filter: ExecutionFilter, query: &ExecutionsQuery) -> ExecutionFilter {
    ExecutionFilter {
        status: query.status,
        job_type: query.job_type,
        since: query.since,
        until: query.until,
        ..filter
    }
}

/// The executions of a site.
#[utoipa::path(get, path = "/sites/{site_id}/executions", tag = "executions",
    responses((status = 200, description = "The executions, newest first.", body = [Execution])))]
pub(crate) async fn list_site_executions(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = ExecutionsQuery::parse(&query)?;
    let filter = narrowed(ExecutionFilter::of_site(&way.site()?), &query);
    lists::executions(&state, filter, query.page, &uri).await
}

/// The executions of a job.
#[utoipa::path(get, path = "/sites/{site_id}/jobs/{job_id}/executions", tag = "executions",
    responses((status = 200, description = "The executions, newest first.", body = [Execution])))]
pub(crate) async fn list_job_executions(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = ExecutionsQuery::parse(&query)?;
    let job = state.catalog().job(&way.site()?, way.job()?).await?;
    let filter = narrowed(ExecutionFilter::of_job(&job.site_id, job.job_id), &query);
    lists::executions(&state, filter, query.page, &uri).await
}

/// One execution, under the site of its job or the site that it restores to.
#[utoipa::path(get, path = "/sites/{site_id}/executions/{execution_id}", tag = "executions",
    responses((status = 200, description = "The execution, with its phases.", body = OneExecution)))]
pub(crate) async fn get_execution(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let record = state
        .catalog()
        .execution(&way.site()?, way.execution()?)
        .await?;
    one(&state, &record).await
}

/// One execution with everything known about it, as an answer.
pub(super) async fn one(
    state: &ServerState,
    record: &catalog::Execution,
) -> Result<Response, Problem> {
    let notes = state.catalog().notes(record.execution_id).await?;
    let now = record.end_time.unwrap_or_else(|| state.clock().now());
    let answer = present::one_execution(record, notes, now);
    // An execution has no version: its tag is a hash of what is answered.
    let text =
        serde_json::to_string(&answer).map_err(|fault| Problem::internal(fault.to_string()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let mut response = Json(answer).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish())) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

/// Stops an execution.
///
/// A queued one is ABORTED at once; a running one is ABORTING until its streams are released.
#[utoipa::path(post, path = "/sites/{site_id}/executions/{execution_id}/abort", tag = "executions",
    responses((status = 202, description = "It is being stopped.")))]
pub(crate) async fn abort_execution(
    State(state): State<ServerState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query,
    way: Way,
    _: NoBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (site, execution) = (way.site()?, way.execution()?);
    let jobs = state.jobs().clone();
    let why = format!("Aborted on request of {}", principal.name);
    to_its_end(async move { Ok(jobs.abort(&site, execution, &why).await?) }).await?;
    Ok(with_resource(
        &execution.to_string(),
        None,
        StatusCode::ACCEPTED,
    ))
}

/// One execution as it goes on: server-sent events.
///
/// Each event `execution` holds what GET answers. The stream ends with the execution.
#[utoipa::path(get, path = "/sites/{site_id}/executions/{execution_id}/events", tag = "executions",
    responses((status = 200, description = "Events.", content_type = "text/event-stream", body = String)))]
pub(crate) async fn execution_events(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (site, execution) = (way.site()?, way.execution()?);
    state.catalog().execution(&site, execution).await?;
    events::stream(state, site, execution)
}
