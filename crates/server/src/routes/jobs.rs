//! Jobs.

use ::jobs::ExecuteRequest;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use catalog::{JobFilter, JobRecord, SiteRecord};
use contract::{
    BASE_PATH, ExecuteQuery, Job, JobRequest, JobsQuery, ListedJob, Refusal, parse_execute,
    parse_job, refuse_query,
};
use model::{JobDefinition, JobType};

use crate::body::{
    JsonBody, MaybeJson, NoBody, credentials, idempotency_key, if_match, with_etag, with_resource,
};
use crate::detached::to_its_end;
use crate::lists::{list, rows_of};
use crate::way::{Query, Way};
use crate::{Problem, ServerState, present};

/// The jobs of a site.
#[utoipa::path(get, path = "/sites/{site_id}/jobs", tag = "jobs",
    responses((status = 200, description = "The jobs, by their ids.", body = [ListedJob])))]
pub(crate) async fn list_jobs(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = JobsQuery::parse(&query)?;
    let site = state.catalog().site(&way.site()?).await?;
    let filter = JobFilter {
        is_active: query.is_active,
        job_type: query.job_type,
    };
    let page = Some(query.page);
    let id = &site.definition.site_id;
    let found = state.catalog().jobs(id, filter, rows_of(page)).await?;
    let rows: Vec<ListedJob> = found
        .rows
        .iter()
        .map(|job| present::listed_job(job, &site))
        .collect();
    Ok(list(&rows, found.total, page, &uri))
}

/// Makes a backup job.
#[utoipa::path(post, path = "/sites/{site_id}/jobs", tag = "jobs", request_body = JobRequest,
    responses((status = 201, description = "The job.", body = Job)))]
pub(crate) async fn create_job(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let site = state.catalog().site(&way.site()?).await?;
    let definition = parse_job(&body, site.definition.site_type)?;
    let (catalog, id) = (state.catalog().clone(), site.definition.site_id.clone());
    let made = to_its_end(async move { Ok(catalog.create_job(&id, &definition).await?) }).await?;
    let location = format!("{BASE_PATH}/sites/{}/jobs/{}", made.site_id, made.job_id);
    let answer = (StatusCode::CREATED, Json(present::job(&made, &site)));
    let answer = with_resource(&made.job_id.to_string(), Some(&location), answer);
    Ok(with_etag(made.version, answer))
}

/// The path's site and job.
async fn job_of(state: &ServerState, way: &Way) -> Result<(SiteRecord, JobRecord), Problem> {
    let site = state.catalog().site(&way.site()?).await?;
    let job = state
        .catalog()
        .job(&site.definition.site_id, way.job()?)
        .await?;
    Ok((site, job))
}

/// One job.
#[utoipa::path(get, path = "/sites/{site_id}/jobs/{job_id}", tag = "jobs",
    responses((status = 200, description = "The job.", body = Job)))]
pub(crate) async fn get_job(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (site, job) = job_of(&state, &way).await?;
    Ok(with_etag(job.version, Json(present::job(&job, &site))))
}

/// Changes a job.
///
/// Takes what GET gives: read-only fields are ignored.
#[utoipa::path(put, path = "/sites/{site_id}/jobs/{job_id}", tag = "jobs", request_body = JobRequest,
    responses((status = 200, description = "The job as it is now.", body = Job)))]
pub(crate) async fn replace_job(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (site, job) = job_of(&state, &way).await?;
    let shown = present::job(&job, &site);
    let site_type = site.definition.site_type;
    let wanted = contract::replace_job(&body, site_type, &job.definition, &shown.job_settings)?;
    let expected = if_match(&headers, job.version)?;
    change(&state, expected, site, job, wanted).await
}

/// Changes some fields of a job.
///
/// A merge patch (RFC 7396): a field that is null takes its default.
#[utoipa::path(patch, path = "/sites/{site_id}/jobs/{job_id}", tag = "jobs",
    request_body(content = JobRequest, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The job as it is now.", body = Job)))]
pub(crate) async fn patch_job(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (site, job) = job_of(&state, &way).await?;
    let shown = present::job(&job, &site);
    let wanted = contract::patch_job(&body, site.definition.site_type, &job.definition, &shown)?;
    // A patch is meant for the job as it was read just now, whatever the client has seen.
    let expected = if_match(&headers, job.version)?.or(Some(job.version));
    change(&state, expected, site, job, wanted).await
}

async fn change(
    state: &ServerState,
    expected: Option<i64>,
    site: SiteRecord,
    job: JobRecord,
    wanted: JobDefinition,
) -> Result<Response, Problem> {
    let catalog = state.catalog().clone();
    let changed = to_its_end(async move {
        Ok(catalog
            .update_job(&job.site_id, job.job_id, &wanted, expected)
            .await?)
    })
    .await?;
    Ok(with_etag(
        changed.version,
        Json(present::job(&changed, &site)),
    ))
}

/// Deletes a job. Its savesets stay under the site.
#[utoipa::path(delete, path = "/sites/{site_id}/jobs/{job_id}", tag = "jobs",
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete_job(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (_, job) = job_of(&state, &way).await?;
    if_match(&headers, job.version)?;
    let catalog = state.catalog().clone();
    to_its_end(async move { Ok(catalog.delete_job(&job.site_id, job.job_id).await?) }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Runs a job.
///
/// A RESTORE job needs the header x-auth-credentials again. A DELTA reads what changed since the newest
/// saveset of the job; it becomes FULL where there is none, or where that cannot be built on: `run_type`
/// and `status_detail` of the execution say what it became and why.
#[utoipa::path(post, path = "/sites/{site_id}/jobs/{job_id}/execute", tag = "jobs",
    request_body = contract::ExecuteRequest,
    responses((status = 202, description = "It is queued; x-resource-id is the execution's id.")))]
pub(crate) async fn execute_job(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    MaybeJson(body): MaybeJson,
) -> Result<Response, Problem> {
    let run_type = parse_execute(ExecuteQuery::parse(&query)?, body.as_ref())?;
    let (_, job) = job_of(&state, &way).await?;
    let request = match job.definition.job_type {
        JobType::Backup => ExecuteRequest {
            run_type,
            credentials: None,
            idempotency_key: idempotency_key(&headers)?,
        },
        JobType::Restore if run_type.is_some() => {
            let why = "must be absent: a RESTORE job has no type of run";
            return Err(Refusal::invalid("run_type", why).into());
        }
        JobType::Restore => ExecuteRequest {
            run_type: None,
            credentials: credentials(&headers)?,
            idempotency_key: idempotency_key(&headers)?,
        },
    };
    let (jobs, site) = (state.jobs().clone(), job.site_id.clone());
    let execution =
        to_its_end(async move { Ok(jobs.execute(&job.site_id, job.job_id, request).await?) })
            .await?;
    let location = format!("{BASE_PATH}/sites/{site}/executions/{execution}");
    Ok(with_resource(
        &execution.to_string(),
        Some(&location),
        StatusCode::ACCEPTED.into_response(),
    ))
}
