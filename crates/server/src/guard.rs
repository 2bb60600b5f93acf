//! What stands before every route: how many at once, how long, whose token, what it permits.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use catalog::Principal;
use contract::{Access, Code};

use crate::access::access_of;
use crate::{Problem, ServerState};

/// Lets a request through to its route, or answers it.
pub(crate) async fn guard(
    State(state): State<ServerState>,
    request: Request,
    next: Next,
) -> Response {
    if state.stopping().is_cancelled() && access_of(&request) != Access::Open {
        return Problem::new(Code::ShuttingDown, "The server is about to stop.").into_response();
    }
    let Ok(_slot) = state.slots().clone().try_acquire_owned() else {
        let detail = format!(
            "The server is at work on {} requests, which is as many as it takes at once.",
            state.limits().requests_at_once
        );
        return Problem::new(Code::TooManyRequests, detail).into_response();
    };
    let limit = state.limits().request;
    match tokio::time::timeout(limit, admit(&state, request, next)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => {
            let detail = format!("There was no answer within {} seconds.", limit.as_secs());
            Problem::new(Code::TimedOut, detail)
                .hint(Code::TimedOut.remedy())
                .into_response()
        }
    }
}

async fn admit(state: &ServerState, mut request: Request, next: Next) -> Result<Response, Problem> {
    let access = access_of(&request);
    if access != Access::Open {
        refuse_other_pages(&request)?;
        let token = token_of(request.headers()).ok_or_else(Problem::unauthenticated)?;
        let principal = state.catalog().verify_token(&token).await?;
        let principal = principal.ok_or_else(Problem::unauthenticated)?;
        if access == Access::Administrator && !principal.administrator {
            let code = Code::Forbidden;
            return Err(
                Problem::new(code, "This needs an administrator's token.").hint(code.remedy())
            );
        }
        request.extensions_mut().insert(principal.clone());
        let mut response = next.run(request).await;
        // For the access log.
        response.extensions_mut().insert::<Principal>(principal);
        return Ok(response);
    }
    Ok(next.run(request).await)
}

/// Browsers keep the credentials of Basic and send them along with whatever the page of another
/// site makes them send. Such a page cannot read answers, but it must not change anything either.
fn refuse_other_pages(request: &Request) -> Result<(), Problem> {
    let from = request.headers().get("sec-fetch-site");
    let elsewhere = from.is_some_and(|v| v != "same-origin" && v != "none");
    if elsewhere && !request.method().is_safe() {
        let detail = "A page of another site may not change anything here.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Ok(())
}

/// The token of `Authorization: Bearer TOKEN`, or of Basic with the token as the password.
fn token_of(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned()).filter(|token| !token.is_empty());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
    let (_, token) = plain.split_once(':')?;
    Some(token.to_owned()).filter(|token| !token.is_empty())
}
