//! Objects: of a saveset, and of a live site.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use contract::{
    BASE_PATH, BrowseQuery, ListedObject, ObjectsQuery, Preparation, PreparationQuery, refuse_query,
};
use model::Parent;

use crate::body::{NoBody, with_resource};
use crate::lists::{list, rows_of};
use crate::way::{Query, Way};
use crate::{Problem, ServerState, present};

/// The objects of the saveset that an execution left.
#[utoipa::path(get, path = "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/objects",
    tag = "objects",
    responses((status = 200, description = "The objects.", body = [ListedObject])))]
pub(crate) async fn list_saveset_objects(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = ObjectsQuery::parse(&query)?;
    let (site, job, execution) = (way.site()?, way.job()?, way.execution()?);
    let search = query.search.as_deref();
    let found = state
        .jobs()
        .objects(&site, job, execution, search, rows_of(query.page))
        .await?;
    let rows: Vec<ListedObject> = found.objects.iter().map(present::saved_object).collect();
    Ok(list(&rows, found.total, query.page, &uri))
}

/// Prepares the objects of a saveset: finds out whether its list can be read.
///
/// The list works without it.
#[utoipa::path(post,
    path = "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/prepare-objects",
    tag = "objects",
    responses((status = 202, description = "It is queued; x-resource-id is the preparation's id.")))]
pub(crate) async fn prepare_objects(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    _: NoBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let (site, job, execution) = (way.site()?, way.job()?, way.execution()?);
    let id = state.jobs().prepare_objects(&site, job, execution).await?;
    let location = format!("{BASE_PATH}/sites/{site}/objects-preparation-status?id={id}");
    let id = id.to_string();
    Ok(with_resource(&id, Some(&location), StatusCode::ACCEPTED))
}

/// How far a preparation is.
#[utoipa::path(get, path = "/sites/{site_id}/objects-preparation-status", tag = "objects",
    responses((status = 200, description = "How far it is.", body = Preparation)))]
pub(crate) async fn preparation_status(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
) -> Result<Response, Problem> {
    let id = PreparationQuery::parse(&query)?.id;
    let found = state.jobs().preparation(&way.site()?, id).await?;
    let answer = Preparation {
        status: found.status,
        details: found.details,
    };
    Ok(Json(answer).into_response())
}

/// The databases of a site, live.
#[utoipa::path(get, path = "/sites/{site_id}/databases", tag = "objects",
    responses((status = 200, description = "The databases.", body = [ListedObject])))]
pub(crate) async fn list_databases(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let found = state.jobs().browse(&way.site()?, &Parent::Root).await?;
    let rows: Vec<ListedObject> = found.iter().map(present::live_object).collect();
    Ok(list(&rows, rows.len() as u64, None, &uri))
}

/// The objects of a live database.
#[utoipa::path(get, path = "/sites/{site_id}/objects", tag = "objects",
    responses((status = 200, description = "The objects.", body = [ListedObject])))]
pub(crate) async fn browse_objects(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = BrowseQuery::parse(&query)?;
    let found = state.jobs().browse(&way.site()?, &query.parent).await?;
    let wanted = query.search.map(|text| text.to_lowercase());
    let rows: Vec<ListedObject> = found
        .iter()
        .map(present::live_object)
        .filter(|object| {
            let name = object.object_name.to_lowercase();
            wanted.as_ref().is_none_or(|text| name.contains(text))
        })
        .collect();
    Ok(list(&rows, rows.len() as u64, None, &uri))
}
