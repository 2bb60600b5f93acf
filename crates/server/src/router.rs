//! The router: every operation, and what surrounds it.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::from_fn_with_state;
use contract::Code;

use crate::access::allowed_methods;
use crate::guard::guard;
use crate::observe::observe;
use crate::{Problem, ServerState, routes};

/// Everything that the server answers.
pub fn router(state: ServerState) -> Router {
    let (operations, _) = routes::all().split_for_parts();
    operations
        .merge(routes::pages())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(state.clone(), guard))
        .layer(from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

async fn no_such_path(request: Request) -> Problem {
    let code = Code::NoSuchPath;
    let detail = format!("There is nothing at {}.", request.uri().path());
    Problem::new(code, detail).hint(code.remedy())
}

async fn no_such_method(matched: MatchedPath, request: Request) -> Problem {
    Problem::method_not_allowed(request.method().as_str(), allowed_methods(matched.as_str()))
}
