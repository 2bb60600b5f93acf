//! Operations that are not there yet: each says so, 501.

use contract::{Code, Operation};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{Problem, ServerState};

fn not_built_yet(operation: Operation) -> Problem {
    let code = Code::OperationNotBuiltYet;
    let facts = operation.facts();
    let detail = format!("{} {} is not built yet.", facts.method, facts.path);
    Problem::new(code, detail).hint(code.remedy())
}

macro_rules! later {
    ($($(#[$doc:meta])* $name:ident $operation:ident $method:ident $path:literal $tag:literal;)*) => {
        $(
            $(#[$doc])*
            ///
            /// Not built yet.
            #[utoipa::path($method, path = $path, tag = $tag,
                responses((status = 501, description = "Not built yet.")))]
            pub(crate) async fn $name() -> Problem {
                not_built_yet(Operation::$operation)
            }
        )*
    };
}

later! {
    /// When a job runs by itself.
    list_schedules ListSchedules get "/sites/{site_id}/jobs/{job_id}/schedules" "schedules";
    /// A new schedule.
    create_schedule CreateSchedule post "/sites/{site_id}/jobs/{job_id}/schedules" "schedules";
    /// What a schedule would do.
    preview_schedule PreviewSchedule post "/sites/{site_id}/jobs/{job_id}/schedules/preview" "schedules";
    /// One schedule.
    get_schedule GetSchedule get "/sites/{site_id}/jobs/{job_id}/schedules/{schedule_id}" "schedules";
    /// Changes a schedule.
    replace_schedule ReplaceSchedule put "/sites/{site_id}/jobs/{job_id}/schedules/{schedule_id}" "schedules";
    /// Changes some fields of a schedule.
    patch_schedule PatchSchedule patch "/sites/{site_id}/jobs/{job_id}/schedules/{schedule_id}" "schedules";
    /// Deletes a schedule.
    delete_schedule DeleteSchedule delete "/sites/{site_id}/jobs/{job_id}/schedules/{schedule_id}" "schedules";
    /// When a job runs next.
    next_runs NextRuns get "/sites/{site_id}/jobs/{job_id}/next-runs" "schedules";
    /// What a restore put aside.
    list_kept_objects ListKeptObjects get "/sites/{site_id}/kept-objects" "restores";
    /// Puts back what a restore put aside.
    undo_kept_object UndoKeptObject post "/sites/{site_id}/kept-objects/{kept_id}/undo" "restores";
    /// Lets go of what a restore put aside.
    delete_kept_object DeleteKeptObject delete "/sites/{site_id}/kept-objects/{kept_id}" "restores";
}

/// All of them but DELETE of a saveset, whose path has operations that are there.
pub(crate) fn routes() -> OpenApiRouter<ServerState> {
    OpenApiRouter::new()
        .routes(routes!(list_schedules, create_schedule))
        .routes(routes!(preview_schedule))
        .routes(routes!(
            get_schedule,
            replace_schedule,
            patch_schedule,
            delete_schedule
        ))
        .routes(routes!(next_runs))
        .routes(routes!(list_kept_objects))
        .routes(routes!(undo_kept_object))
        .routes(routes!(delete_kept_object))
}
