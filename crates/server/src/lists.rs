//! Lists: one page with its headers, or every row in bounded memory.

use axum::Json;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, LINK};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use catalog::{ExecutionFilter, ExecutionSteps};
use contract::{BASE_PATH, PageLinks};
use serde::Serialize;

use crate::{Problem, ServerState, present};

const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
/// Rows read from the catalog at once when every row is streamed.
const STEP: u32 = 200;

/// The catalog's way to say which rows.
pub(crate) fn rows_of(page: Option<contract::Page>) -> catalog::Page {
    page.map_or(catalog::Page::All, |page| catalog::Page::Numbered {
        number: page.number,
        size: page.size,
    })
}

/// One page, or the whole of a list that stays small.
pub(crate) fn list<T: Serialize>(
    rows: &[T],
    total: u64,
    page: Option<contract::Page>,
    uri: &Uri,
) -> Response {
    let mut response = Json(rows).into_response();
    add_headers(&mut response, total, page, uri);
    response
}

fn add_headers(response: &mut Response, total: u64, page: Option<contract::Page>, uri: &Uri) {
    let headers = response.headers_mut();
    headers.insert(TOTAL, HeaderValue::from(total));
    let Some(page) = page else { return };
    let rest_of_query = without_page(uri.query().unwrap_or_default());
    // What is nested below the base path sees the rest of the path only.
    let path = format!("{BASE_PATH}{}", uri.path());
    let links = PageLinks {
        path: &path,
        rest_of_query: &rest_of_query,
        page,
        total,
    };
    if let Ok(value) = HeaderValue::from_str(&links.header()) {
        headers.insert(LINK, value);
    }
}

fn without_page(query: &str) -> String {
    let kept = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !name.is_empty() && name != "page" && name != "page-size"
    });
    kept.collect::<Vec<_>>().join("&")
}

/// A list of executions: a page, or without one every row, streamed.
pub(crate) async fn executions(
    state: &ServerState,
    filter: ExecutionFilter,
    page: Option<contract::Page>,
    uri: &Uri,
) -> Result<Response, Problem> {
    if page.is_some() {
        let found = state.catalog().executions(&filter, rows_of(page)).await?;
        let rows: Vec<contract::Execution> = found.rows.iter().map(present::execution).collect();
        return Ok(list(&rows, found.total, page, uri));
    }
    let total = state.catalog().count_executions(&filter).await?;
    let mut response =
        Body::from_stream(stream(state.catalog().execution_steps(filter))).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    add_headers(&mut response, total, None, uri);
    Ok(response)
}

/// Where a streamed array is.
enum Place {
    Start,
    Middle,
    End,
}

/// A JSON array of all rows, one step of the catalog a piece. An error in the middle cuts the
/// answer off, so that no client takes a part for the whole.
fn stream(steps: ExecutionSteps) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::try_unfold((steps, Place::Start), |(mut steps, place)| async move {
        if matches!(place, Place::End) {
            return Ok(None);
        }
        let rows = steps.step(STEP).await.map_err(|fault| {
            tracing::error!("a list of executions was cut off: {fault}");
            std::io::Error::other(fault)
        })?;
        let mut piece = Vec::new();
        let mut first = matches!(place, Place::Start);
        if first {
            piece.push(b'[');
        }
        for row in &rows {
            if !std::mem::take(&mut first) {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, &present::execution(row))?;
        }
        let place = if rows.is_empty() {
            piece.push(b']');
            Place::End
        } else {
            Place::Middle
        };
        Ok(Some((Bytes::from(piece), (steps, place))))
    })
}
