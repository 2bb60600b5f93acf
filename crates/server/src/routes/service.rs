//! The service itself: is it there, what are its numbers, how is it used.

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use contract::Code;
use scalar_api_reference::get_asset;
use serde_json::{Value, json};

use crate::{Problem, ServerState, metrics as numbers, openapi};

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "service",
    responses((status = 200, description = "It lives.", body = Object)))]
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Whether the server can do its work.
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses((status = 200, description = "It can.", body = Object)))]
pub(crate) async fn readyz(State(state): State<ServerState>) -> Result<Json<Value>, Problem> {
    if state.stopping().is_cancelled() {
        return Err(Problem::new(
            Code::ShuttingDown,
            "The server is about to stop.",
        ));
    }
    let first = catalog::Page::Numbered { number: 1, size: 1 };
    if let Err(fault) = state.catalog().sites(first).await {
        tracing::error!("the catalog cannot be read: {fault}");
        return Err(Problem::new(Code::Busy, "The catalog cannot be read."));
    }
    Ok(Json(json!({"status": "ok"})))
}

/// Numbers for Prometheus, in the OpenMetrics format.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, description = "Numbers.",
        content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(State(state): State<ServerState>) -> Result<Response, Problem> {
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = numbers::text(&state).await?;
    Ok(([(CONTENT_TYPE, KIND)], text).into_response())
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service",
    responses((status = 200, description = "The OpenAPI document.", body = Object)))]
pub(crate) async fn openapi_json() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(openapi);
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The reference page. It works without the internet.
#[utoipa::path(get, path = "/docs", tag = "service",
    responses((status = 200, description = "A page.", content_type = "text/html", body = String)))]
pub(crate) async fn docs() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
    ];
    (headers, PAGE).into_response()
}

/// Nothing is loaded from, or sent to, anywhere else. The page's script makes its styles itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
  <head>
    <title>Backstay: the API</title>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
  </head>
  <body>
    <noscript>This page needs JavaScript. The document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
    <div id="app"></div>
    <script src="/docs/scalar.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
"#;

/// The script's own fonts, telemetry and proxy would be fetched from elsewhere; its toolbar and its
/// agent lead to a service elsewhere.
const START: &str = r#"Scalar.createApiReference('#app', {
  url: '/openapi.json',
  withDefaultFonts: false,
  telemetry: false,
  proxyUrl: '',
  showDeveloperTools: 'never',
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
});
"#;

/// Files of the reference page; they are no operations.
pub(crate) fn pages() -> Router<ServerState> {
    Router::new()
        .route("/docs/scalar.js", get(scalar))
        .route("/docs/start.js", get(|| async { script(START.into()) }))
}

async fn scalar() -> Result<Response, Problem> {
    // Five megabytes, once in memory however many read them.
    static SCRIPT: LazyLock<Option<Bytes>> =
        LazyLock::new(|| get_asset("scalar.js").map(Bytes::from));
    match &*SCRIPT {
        Some(text) => Ok(script(text.clone())),
        None => Err(Problem::internal(
            "the reference page's script is not in the binary",
        )),
    }
}

fn script(text: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, text).into_response()
}
