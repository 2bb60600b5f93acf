//! Savesets: the retained copies.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use contract::{
    BASE_PATH, PageQuery, Saveset, SavesetPatch, VerifyRequest, parse_saveset_patch, parse_verify,
    refuse_query,
};
use model::{JobId, SiteId};

use crate::body::{JsonBody, MaybeJson, NoBody, if_match, with_etag, with_resource};
use crate::detached::to_its_end;
use crate::lists::{list, rows_of};
use crate::way::{Query, Way};
use crate::{Problem, ServerState, present};

/// The retained copies of a site; those of deleted jobs too.
#[utoipa::path(get, path = "/sites/{site_id}/savesets", tag = "savesets",
    responses((status = 200, description = "The savesets, newest first.", body = [Saveset])))]
pub(crate) async fn list_site_savesets(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = PageQuery::parse(&query)?;
    savesets(&state, &way.site()?, None, query, &uri).await
}

/// The retained copies of a job.
#[utoipa::path(get, path = "/sites/{site_id}/jobs/{job_id}/savesets", tag = "savesets",
    responses((status = 200, description = "The savesets, newest first.", body = [Saveset])))]
pub(crate) async fn list_job_savesets(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = PageQuery::parse(&query)?;
    let job = state.catalog().job(&way.site()?, way.job()?).await?;
    savesets(&state, &job.site_id, Some(job.job_id), query, &uri).await
}

async fn savesets(
    state: &ServerState,
    site: &SiteId,
    job: Option<JobId>,
    query: PageQuery,
    uri: &Uri,
) -> Result<Response, Problem> {
    let found = state
        .catalog()
        .savesets(site, job, rows_of(query.page))
        .await?;
    let rows: Vec<Saveset> = found.rows.iter().map(present::saveset).collect();
    Ok(list(&rows, found.total, query.page, uri))
}

/// One retained copy.
#[utoipa::path(get, path = "/sites/{site_id}/savesets/{saveset_id}", tag = "savesets",
    responses((status = 200, description = "The saveset.", body = Saveset)))]
pub(crate) async fn get_saveset(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let record = state
        .catalog()
        .saveset(&way.site()?, way.saveset()?)
        .await?;
    Ok(with_etag(record.version, Json(present::saveset(&record))))
}

/// Protects a retained copy from retention, or no longer.
#[utoipa::path(patch, path = "/sites/{site_id}/savesets/{saveset_id}", tag = "savesets",
    request_body = SavesetPatch,
    responses((status = 200, description = "The saveset as it is now.", body = Saveset)))]
pub(crate) async fn patch_saveset(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let retained = parse_saveset_patch(&body)?.is_saveset_retained;
    let record = state
        .catalog()
        .saveset(&way.site()?, way.saveset()?)
        .await?;
    let expected = if_match(&headers, record.version)?;
    let catalog = state.catalog().clone();
    let changed = to_its_end(async move {
        let (site, id) = (&record.site_id, record.saveset_id);
        Ok(catalog.set_retained(site, id, retained, expected).await?)
    })
    .await?;
    Ok(with_etag(changed.version, Json(present::saveset(&changed))))
}

/// Deletes a retained copy.
///
/// What it alone refers to in the vault is removed a day later.
#[utoipa::path(delete, path = "/sites/{site_id}/savesets/{saveset_id}", tag = "savesets",
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete_saveset(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let record = state
        .catalog()
        .saveset(&way.site()?, way.saveset()?)
        .await?;
    if_match(&headers, record.version)?;
    let jobs = state.jobs().clone();
    to_its_end(async move {
        let (site, id) = (&record.site_id, record.saveset_id);
        Ok(jobs.delete_saveset(site, id).await?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Reads every byte of a retained copy and checks it.
///
/// That takes a while: how far it is, and what it found, is the saveset's `verification`.
#[utoipa::path(post, path = "/sites/{site_id}/savesets/{saveset_id}/verify", tag = "savesets",
    request_body = VerifyRequest,
    responses((status = 202, description = "It is verified in the background.")))]
pub(crate) async fn verify_saveset(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    MaybeJson(body): MaybeJson,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (site, saveset) = (way.site()?, way.saveset()?);
    let thorough = parse_verify(body.as_ref())?;
    let (jobs, id) = (state.jobs().clone(), site.clone());
    to_its_end(async move { Ok(jobs.verify_saveset(&id, saveset, thorough).await?) }).await?;
    let location = format!("{BASE_PATH}/sites/{site}/savesets/{saveset}");
    let id = saveset.to_string();
    Ok(with_resource(&id, Some(&location), StatusCode::ACCEPTED))
}
