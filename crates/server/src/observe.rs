//! What surrounds every request: its id, its line in the log, its place in the metrics, headers
//! that every answer has; and a panic becomes an answer too.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use catalog::Principal;
use contract::Operation;
use futures::FutureExt;

use crate::access::operation_of;
use crate::{Problem, ServerState};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_ID: usize = 128;

/// Runs a request and sees to everything around it.
pub(crate) async fn observe(
    State(state): State<ServerState>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let operation = operation_of(&request);
    let method = request.method().clone();
    // The query is not logged: a client may have put there what is secret.
    let path = request.uri().path().to_owned();
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => Problem::panicked(panic_text(&*panic)).into_response(),
    };
    let principal = response.extensions_mut().remove::<Principal>();
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        response = problem.answer(&path, &id);
    }
    add_headers(response.headers_mut(), &id);
    let took = started.elapsed();
    let status = response.status().as_u16();
    state.metrics().request(operation, status, took);
    log(&Line {
        id: &id,
        method: method.as_str(),
        path: &path,
        who: principal.as_ref().map_or("", |p| &p.name),
        operation,
        status,
        took,
        problem: problem.as_ref(),
    });
    response
}

/// One line of the access log.
struct Line<'a> {
    id: &'a str,
    method: &'a str,
    path: &'a str,
    /// The name of the token.
    who: &'a str,
    operation: Option<Operation>,
    status: u16,
    took: Duration,
    problem: Option<&'a Problem>,
}

fn log(line: &Line<'_>) {
    let operation = line.operation.map(|o| o.to_string()).unwrap_or_default();
    let milliseconds = line.took.as_secs_f64() * 1000.0;
    let code = line.problem.map_or("", Problem::code);
    tracing::info!(
        target: "backstay::access",
        request_id = line.id,
        method = line.method,
        path = line.path,
        who = line.who,
        operation,
        status = line.status,
        milliseconds,
        code,
    );
    if let Some(text) = line.problem.and_then(Problem::for_the_log) {
        tracing::error!(request_id = line.id, path = line.path, "{text}");
    }
}

/// The client's id of the request if it is plain and short, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |id: &&str| {
        let of_id = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(of_id)
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given.filter(plain) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    }
}

fn add_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        // The reference page has its own.
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without words".to_owned())
}
