//! The body and the headers of a request.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use contract::{Code, Refusal, parse_credentials, parse_json};
use model::Credentials;
use serde_json::Value;

use crate::{Problem, ServerState};

const CREDENTIALS: HeaderName = HeaderName::from_static("x-auth-credentials");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LONGEST_KEY: usize = 255;

/// A JSON body that may be absent.
pub(crate) struct MaybeJson(pub Option<Value>);

/// A JSON body.
pub(crate) struct JsonBody(pub Value);

impl FromRequest<ServerState> for MaybeJson {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ServerState) -> Result<Self, Problem> {
        let limit = state.limits().body_bytes;
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body, limit).await?;
        if bytes.is_empty() {
            return Ok(MaybeJson(None));
        }
        if !is_json(&parts.headers) {
            let code = Code::UnsupportedMediaType;
            let detail = "The body must be declared as application/json.";
            return Err(Problem::new(code, detail).hint(code.remedy()));
        }
        Ok(MaybeJson(Some(parse_json(&bytes)?)))
    }
}

impl FromRequest<ServerState> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ServerState) -> Result<Self, Problem> {
        match MaybeJson::from_request(request, state).await? {
            MaybeJson(Some(value)) => Ok(JsonBody(value)),
            MaybeJson(None) => Err(Refusal::NoBody.into()),
        }
    }
}

/// For operations that take no body: one that comes all the same is refused.
pub(crate) struct NoBody;

impl FromRequest<ServerState> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ServerState) -> Result<Self, Problem> {
        match MaybeJson::from_request(request, state).await?.0 {
            None | Some(Value::Null) => Ok(NoBody),
            Some(Value::Object(fields)) if fields.is_empty() => Ok(NoBody),
            Some(_) => {
                Err(Refusal::invalid("body", "must be absent: this operation takes none").into())
            }
        }
    }
}

async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<bytes::Bytes, Problem> {
    let too_large = || {
        let detail = format!("The body is larger than {limit} bytes.");
        Problem::new(Code::BodyTooLarge, detail)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    if announced
        .and_then(|v| v.parse::<u64>().ok())
        .is_some_and(|n| n > limit as u64)
    {
        return Err(too_large());
    }
    to_bytes(body, limit).await.map_err(|fault| {
        let cut_off = std::error::Error::source(&fault)
            .is_none_or(|below| !below.to_string().contains("length limit exceeded"));
        if cut_off {
            Problem::new(Code::BadRequest, "The body ended before it was complete.")
        } else {
            too_large()
        }
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kind = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The database user that a restore runs with, if the request names one.
pub(crate) fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>, Problem> {
    let header = headers.get(CREDENTIALS);
    Ok(header
        .map(|value| parse_credentials(value.as_bytes()))
        .transpose()?)
}

/// The Idempotency-Key, if the request has one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.trim().is_empty() && key.len() <= LONGEST_KEY => Ok(Some(key.to_owned())),
        _ => {
            let why = format!("must have 1 to {LONGEST_KEY} visible ASCII characters");
            Err(Refusal::header("idempotency-key", why).into())
        }
    }
}

/// What `If-Match` says about an object that is at `version`: the version to insist on, if any.
pub(crate) fn if_match(headers: &HeaderMap, version: i64) -> Result<Option<i64>, Problem> {
    let mut asked = headers.get_all(IF_MATCH).iter().peekable();
    if asked.peek().is_none() {
        return Ok(None);
    }
    let wanted = tag(version);
    for value in asked {
        for one in value.to_str().unwrap_or_default().split(',') {
            match one.trim() {
                "*" => return Ok(None),
                one if one == wanted => return Ok(Some(version)),
                _ => {}
            }
        }
    }
    let code = Code::StaleVersion;
    let detail = format!("If-Match does not name {wanted}, which the object is at now.");
    Err(Problem::new(code, detail).hint(code.remedy()))
}

fn tag(version: i64) -> String {
    format!("\"{version}\"")
}

/// An answer with the ETag of that version.
pub(crate) fn with_etag(version: i64, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Ok(value) = HeaderValue::from_str(&tag(version)) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// An answer with the header `x-resource-id` and, where it is known, `Location`.
pub(crate) fn with_resource(
    id: &str,
    location: Option<&str>,
    answer: impl IntoResponse,
) -> Response {
    let mut response = answer.into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-resource-id"), value);
    }
    if let Some(value) = location.and_then(|l| HeaderValue::from_str(l).ok()) {
        headers.insert(axum::http::header::LOCATION, value);
    }
    response
}
