//! Restores.

use ::jobs::{ExecuteRequest, RestoreDraft, Restored};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use catalog::ExecutionFilter;
use contract::{
    BASE_PATH, Execution, ExecutionsQuery, OneExecution, Plan, RestorePermissions, RestoreRequest,
    parse_restore, refuse_query,
};
use model::JobType;

use super::executions::{narrowed, one};
use crate::body::{JsonBody, NoBody, credentials, idempotency_key, with_resource};
use crate::detached::to_its_end;
use crate::way::{Query, Way, no_execution};
use crate::{Problem, ServerState, lists};

/// The execution that a path names, if it is the path's job's.
async fn execution_of(state: &ServerState, way: &Way) -> Result<catalog::Execution, Problem> {
    let (site, job, id) = (way.site()?, way.job()?, way.execution()?);
    state.catalog().had_job(&site, job).await?;
    let execution = state.catalog().execution(&site, id).await?;
    if execution.job_id != job {
        return Err(no_execution(&site, id));
    }
    Ok(execution)
}

/// All restores from or to a site.
#[utoipa::path(get, path = "/sites/{site_id}/restores", tag = "restores",
    responses((status = 200, description = "The restores, newest first.", body = [Execution])))]
pub(crate) async fn list_site_restores(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = ExecutionsQuery::parse(&query)?;
    let filter = narrowed(ExecutionFilter::restores_of_site(&way.site()?), &query);
    lists::executions(&state, filter, query.page, &uri).await
}

/// Whether a database user may restore what the site holds, back into its place.
///
/// The user is that of x-auth-credentials (not needed on a SQLITE site). What is missing comes with
/// the statement that grants it.
#[utoipa::path(post, path = "/sites/{site_id}/restore-permissions", tag = "restores",
    responses((status = 200, description = "What is missing, if anything.",
        body = RestorePermissions)))]
pub(crate) async fn restore_permissions(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (site, credentials) = (way.site()?, credentials(&headers)?);
    let missing = state.jobs().restore_permissions(&site, credentials).await?;
    Ok(Json(RestorePermissions::of(&missing)).into_response())
}

/// The restores made from a backup execution.
#[utoipa::path(get, path = "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/restores",
    tag = "restores",
    responses((status = 200, description = "The restores, newest first.", body = [Execution])))]
pub(crate) async fn list_execution_restores(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = ExecutionsQuery::parse(&query)?;
    let backup = execution_of(&state, &way).await?;
    let filter = ExecutionFilter::restores_from(&backup.site_id, backup.execution_id);
    lists::executions(&state, narrowed(filter, &query), query.page, &uri).await
}

/// One restore made from a backup execution.
#[utoipa::path(get,
    path = "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/restores/{restore_id}",
    tag = "restores",
    responses((status = 200, description = "The restore, with its phases.", body = OneExecution)))]
pub(crate) async fn get_restore(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let backup = execution_of(&state, &way).await?;
    let (site, id) = (way.site()?, way.restore()?);
    let restore = state.catalog().execution(&site, id).await?;
    let made_from_it = restore.job_type == JobType::Restore
        && restore.parent_execution == Some(backup.execution_id);
    if !made_from_it {
        return Err(no_execution(&site, id));
    }
    one(&state, &restore).await
}

/// Restores what a backup execution has saved.
///
/// Makes a RESTORE job and runs it with the database user of x-auth-credentials (not needed on a
/// SQLITE site). With `dry_run` only the plan is answered.
#[utoipa::path(post, path = "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/restores",
    tag = "restores", request_body = RestoreRequest,
    responses(
        (status = 200, description = "dry_run: what would be done; nothing is touched.", body = Plan),
        (status = 202, description = "It is queued; x-resource-id is the restore execution's id.")))]
pub(crate) async fn start_restore(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let site = state.catalog().site(&way.site()?).await?.definition.site_id;
    let backup = execution_of(&state, &way).await?;
    let draft = parse_restore(&body, &site)?;
    let target = state.catalog().site(&draft.target_site).await?;
    draft.fits(target.definition.site_type)?;
    if let Some(saveset) = backup.saveset_id {
        draft.means(saveset)?;
    }
    let request = ExecuteRequest {
        run_type: None,
        credentials: credentials(&headers)?,
        idempotency_key: idempotency_key(&headers)?,
    };
    let (jobs, id) = (state.jobs().clone(), site.clone());
    let restored = to_its_end(async move {
        let draft = draft_of(draft);
        Ok(jobs
            .restore(&id, backup.job_id, backup.execution_id, draft, request)
            .await?)
    })
    .await?;
    match restored {
        Restored::Plan(findings) => Ok(Json(Plan::of(&findings)).into_response()),
        Restored::Queued { execution, .. } => {
            let location = format!("{BASE_PATH}/sites/{site}/executions/{execution}");
            let id = execution.to_string();
            Ok(with_resource(&id, Some(&location), StatusCode::ACCEPTED))
        }
    }
}

fn draft_of(draft: contract::RestoreDraft) -> RestoreDraft {
    RestoreDraft {
        job: draft.job,
        target_site: draft.target_site,
        new_name: draft.new_name,
        named_by_rename_to: draft.named_by_rename_to,
        run_as_copy: draft.run_as_copy,
        replace_existing: draft.replace_existing,
        skip_statistics: draft.skip_statistics,
        skip_indexes: draft.skip_indexes,
        retained_copy: draft.retained_copy,
        dry_run: draft.dry_run,
    }
}
