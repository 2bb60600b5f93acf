//! The operations, by what they are about.

mod executions;
mod jobs;
mod later;
mod objects;
mod restores;
mod savesets;
mod service;
mod sites;

use contract::BASE_PATH;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ServerState;

pub(crate) use service::pages;

/// Every operation of the contract and of the service itself.
pub(crate) fn all() -> OpenApiRouter<ServerState> {
    let api = OpenApiRouter::new()
        .merge(site_routes())
        .merge(job_routes())
        .merge(execution_routes())
        .merge(later::routes());
    OpenApiRouter::new()
        .nest(BASE_PATH, api)
        .merge(service_routes())
}

fn site_routes() -> OpenApiRouter<ServerState> {
    OpenApiRouter::new()
        .routes(routes!(sites::list_sites, sites::create_site))
        .routes(routes!(sites::adopt_site))
        .routes(routes!(
            sites::get_site,
            sites::replace_site,
            sites::delete_site
        ))
        .routes(routes!(sites::check_site))
        .routes(routes!(sites::site_recovery_key))
        .routes(routes!(objects::list_databases))
        .routes(routes!(objects::browse_objects))
        .routes(routes!(savesets::list_site_savesets))
        .routes(routes!(
            savesets::get_saveset,
            savesets::patch_saveset,
            savesets::delete_saveset
        ))
        .routes(routes!(savesets::verify_saveset))
}

fn job_routes() -> OpenApiRouter<ServerState> {
    OpenApiRouter::new()
        .routes(routes!(jobs::list_jobs, jobs::create_job))
        .routes(routes!(
            jobs::get_job,
            jobs::replace_job,
            jobs::patch_job,
            jobs::delete_job
        ))
        .routes(routes!(jobs::execute_job))
        .routes(routes!(savesets::list_job_savesets))
}

fn execution_routes() -> OpenApiRouter<ServerState> {
    OpenApiRouter::new()
        .routes(routes!(executions::list_site_executions))
        .routes(routes!(executions::list_job_executions))
        .routes(routes!(executions::get_execution))
        .routes(routes!(executions::abort_execution))
        .routes(routes!(executions::execution_events))
        .routes(routes!(objects::prepare_objects))
        .routes(routes!(objects::preparation_status))
        .routes(routes!(objects::list_saveset_objects))
        .routes(routes!(restores::list_site_restores))
        .routes(routes!(restores::restore_permissions))
        .routes(routes!(
            restores::list_execution_restores,
            restores::start_restore
        ))
        .routes(routes!(restores::get_restore))
}

fn service_routes() -> OpenApiRouter<ServerState> {
    OpenApiRouter::new()
        .routes(routes!(service::healthz))
        .routes(routes!(service::readyz))
        .routes(routes!(service::metrics))
        .routes(routes!(service::openapi_json))
        .routes(routes!(service::docs))
}
