//! Sites.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use catalog::{SecretChange, SecretsChange};
use contract::{
    AdoptRequest, AdoptedSite, BASE_PATH, CreatedSite, PageQuery, PasswordChange,
    RecoveryKeyAnswer, Site, SiteCheck, SiteRequest, parse_adoption, parse_site, refuse_query,
};
use model::{ExposeSecret, SiteSecrets};

use crate::body::{JsonBody, NoBody, if_match, with_etag, with_resource};
use crate::detached::to_its_end;
use crate::lists::{list, rows_of};
use crate::way::{Query, Way};
use crate::{Problem, ServerState, present};

/// Every site.
#[utoipa::path(get, path = "/sites", tag = "sites",
    responses((status = 200, description = "The sites, by their ids.", body = [Site])))]
pub(crate) async fn list_sites(
    State(state): State<ServerState>,
    Query(query): Query,
    uri: Uri,
) -> Result<Response, Problem> {
    let page = PageQuery::parse(&query)?.page;
    let found = state.catalog().sites(rows_of(page)).await?;
    let rows: Vec<Site> = found.rows.iter().map(present::site).collect();
    Ok(list(&rows, found.total, page, &uri))
}

/// Makes a site and its vault.
///
/// The answer holds the recovery key, which opens the vault without this server.
#[utoipa::path(post, path = "/sites", tag = "sites", request_body = SiteRequest,
    responses((status = 201, description = "The site, with its recovery key.", body = CreatedSite)))]
pub(crate) async fn create_site(
    State(state): State<ServerState>,
    Query(query): Query,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let draft = parse_site(&body)?;
    let options = draft.vault_secrets.into_iter();
    let secrets = SiteSecrets {
        password: draft.password.given(),
        vault_options: options
            .filter_map(|(name, change)| Some((name, change.given()?)))
            .collect(),
    };
    let jobs = state.jobs().clone();
    let made =
        to_its_end(async move { Ok(jobs.make_site(draft.definition, secrets).await?) }).await?;
    let answer = CreatedSite {
        site: present::site(&made.site),
        recovery_key: made.recovery_key.expose_secret().to_owned(),
    };
    let id = made.site.definition.site_id.as_str();
    let location = format!("{BASE_PATH}/sites/{id}");
    let answer = with_resource(id, Some(&location), (StatusCode::CREATED, Json(answer)));
    Ok(with_etag(made.site.version, answer))
}

/// Brings a site back from its vault and its recovery key alone.
///
/// Site, jobs and savesets are then here as if they had been made here. A vault that another server
/// owns is taken from it only with `take_over`.
#[utoipa::path(post, path = "/site-adoptions", tag = "sites", request_body = AdoptRequest,
    responses((status = 201, description = "The site, with what came with it.", body = AdoptedSite)))]
pub(crate) async fn adopt_site(
    State(state): State<ServerState>,
    Query(query): Query,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let draft = parse_adoption(&body)?;
    let request = jobs::AdoptRequest {
        vault: draft.vault,
        vault_secrets: draft.vault_secrets,
        recovery_key: draft.recovery_key,
        take_over: draft.take_over,
        site_id: draft.site_id,
        connection: draft.connection,
        password: draft.password,
    };
    let jobs = state.jobs().clone();
    let adopted = to_its_end(async move { Ok(jobs.adopt_site(request).await?) }).await?;
    let answer = AdoptedSite {
        site: present::site(&adopted.site),
        jobs: adopted.jobs,
        savesets: adopted.savesets,
        notes: adopted.notes,
    };
    let id = adopted.site.definition.site_id.as_str();
    let location = format!("{BASE_PATH}/sites/{id}");
    let answer = with_resource(id, Some(&location), (StatusCode::CREATED, Json(answer)));
    Ok(with_etag(adopted.site.version, answer))
}

/// One site.
#[utoipa::path(get, path = "/sites/{site_id}", tag = "sites",
    responses((status = 200, description = "The site, without its secrets.", body = Site)))]
pub(crate) async fn get_site(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let record = state.catalog().site(&way.site()?).await?;
    Ok(with_etag(record.version, Json(present::site(&record))))
}

/// Changes a site.
///
/// Takes what GET gives: read-only fields are ignored, an absent secret is kept.
#[utoipa::path(put, path = "/sites/{site_id}", tag = "sites", request_body = SiteRequest,
    responses((status = 200, description = "The site as it is now.", body = Site)))]
pub(crate) async fn replace_site(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let current = state.catalog().site(&way.site()?).await?;
    let draft = contract::replace_site(&body, &current.definition)?;
    let expected = if_match(&headers, current.version)?;
    let secrets = SecretsChange {
        password: change(draft.password),
        vault_options: draft
            .vault_secrets
            .into_iter()
            .map(|(name, asked)| (name, change(asked)))
            .collect(),
    };
    let jobs = state.jobs().clone();
    let changed = to_its_end(async move {
        Ok(jobs
            .update_site(&draft.definition, &secrets, expected)
            .await?)
    })
    .await?;
    Ok(with_etag(changed.version, Json(present::site(&changed))))
}

fn change(asked: PasswordChange) -> SecretChange {
    match asked {
        PasswordChange::Keep => SecretChange::Keep,
        PasswordChange::Clear => SecretChange::Remove,
        PasswordChange::Set(secret) => SecretChange::Set(secret),
    }
}

/// Forgets a site. Its vault is not touched.
#[utoipa::path(delete, path = "/sites/{site_id}", tag = "sites",
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete_site(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let site = way.site()?;
    let current = state.catalog().site(&site).await?;
    if_match(&headers, current.version)?;
    let catalog = state.catalog().clone();
    to_its_end(async move { Ok(catalog.delete_site(&site).await?) }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Looks at the connection, the rights and the vault.
#[utoipa::path(post, path = "/sites/{site_id}/check", tag = "sites",
    responses((status = 200, description = "What was found, with what mends it.", body = SiteCheck)))]
pub(crate) async fn check_site(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    _: NoBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let report = state.jobs().check_site(&way.site()?).await?;
    Ok(Json(SiteCheck::of(&report)).into_response())
}

/// The site's recovery key again.
#[utoipa::path(post, path = "/sites/{site_id}/recovery-key", tag = "sites",
    responses((status = 200, description = "The key.", body = RecoveryKeyAnswer)))]
pub(crate) async fn site_recovery_key(
    State(state): State<ServerState>,
    Query(query): Query,
    way: Way,
    _: NoBody,
) -> Result<Response, Problem> {
    refuse_query(&query)?;
    let key = state.jobs().recovery_key(&way.site()?).await?;
    let recovery_key = key.expose_secret().to_owned();
    Ok(Json(RecoveryKeyAnswer { recovery_key }).into_response())
}
