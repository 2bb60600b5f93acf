//! Which operation a request means, and who may call it.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use contract::{Access, BASE_PATH, Operation};
use strum::IntoEnumIterator;

/// The operations by the path that the router matched.
static BY_PATH: LazyLock<HashMap<String, Vec<(Method, Operation)>>> = LazyLock::new(|| {
    let mut by_path: HashMap<String, Vec<(Method, Operation)>> = HashMap::new();
    for operation in Operation::iter() {
        let methods = by_path.entry(operation.full_path()).or_default();
        methods.push((method_of(operation), operation));
    }
    by_path
});

fn method_of(operation: Operation) -> Method {
    match operation.facts().method {
        contract::Method::Get => Method::GET,
        contract::Method::Post => Method::POST,
        contract::Method::Put => Method::PUT,
        contract::Method::Patch => Method::PATCH,
        contract::Method::Delete => Method::DELETE,
    }
}

/// What a request means.
pub(crate) fn operation_of(request: &Request) -> Option<Operation> {
    let matched = request.extensions().get::<MatchedPath>()?;
    let methods = BY_PATH.get(matched.as_str())?;
    let asked = match request.method() {
        &Method::HEAD => &Method::GET,
        other => other,
    };
    let found = methods.iter().find(|(method, _)| method == asked);
    found.map(|(_, operation)| *operation)
}

/// Who may send a request, also one that means nothing: paths below the API's base tell nobody
/// without a token whether they are there.
pub(crate) fn access_of(request: &Request) -> Access {
    match operation_of(request) {
        Some(operation) => operation.facts().access,
        None if request.uri().path().starts_with(BASE_PATH) => Access::Token,
        None => Access::Open,
    }
}

/// The value of `Allow` for a path that the router matched.
pub(crate) fn allowed_methods(matched: &str) -> String {
    let mut allowed = Vec::new();
    for (method, _) in BY_PATH.get(matched).into_iter().flatten() {
        allowed.push(method.as_str());
        if method == Method::GET {
            allowed.push("HEAD");
        }
    }
    if allowed.is_empty() {
        // Files of the reference page, which are no operations of their own.
        return "GET, HEAD".to_owned();
    }
    allowed.join(", ")
}
