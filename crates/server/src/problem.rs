//! Errors as `application/problem+json`; the only file that turns faults into status codes.

use axum::Json;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use catalog::CatalogError;
use contract::{Code, ProblemDocument, Refusal};
use jobs::JobsError;
use model::{Blame, ExecutionId, Fault};

/// What a client is told when something went wrong.
#[derive(Debug, Clone)]
pub struct Problem(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    field: Option<String>,
    hint: Option<String>,
    execution: Option<ExecutionId>,
    allow: Option<String>,
    /// What only the server's log may say.
    log: Option<String>,
}

/// How long a client should wait before it tries again, in seconds.
const COME_AGAIN: &str = "5";
const CHALLENGE: &str = "Bearer realm=\"backstay\", Basic realm=\"backstay\", charset=\"UTF-8\"";
const OUR_MISTAKE: &str =
    "Something went wrong inside the server. Its log has the cause under this request_id.";

impl Problem {
    /// A problem of that code.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem(Box::new(Facts {
            code: code.as_str(),
            status: StatusCode::from_u16(code.status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            title: code.title(),
            detail: detail.into(),
            field: None,
            hint: None,
            execution: None,
            allow: None,
            log: None,
        }))
    }

    /// The same, with what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// 401. Nothing tells a wrong token from none.
    pub(crate) fn unauthenticated() -> Self {
        let code = Code::Unauthenticated;
        Problem::new(code, "The request has no valid token.").hint(code.remedy())
    }

    /// 405 with the methods that the path has.
    pub(crate) fn method_not_allowed(method: &str, allow: String) -> Self {
        let code = Code::MethodNotAllowed;
        let mut problem = Problem::new(code, format!("This path has no {method}; it has {allow}."));
        problem.0.allow = Some(allow);
        problem
    }

    /// 500 after a panic.
    pub(crate) fn panicked(text: String) -> Self {
        let mut problem = Problem::new(Code::Internal, OUR_MISTAKE);
        problem.0.log = Some(format!("a panic: {text}"));
        problem
    }

    /// 500 for what cannot happen.
    pub(crate) fn internal(text: impl Into<String>) -> Self {
        let mut problem = Problem::new(Code::Internal, OUR_MISTAKE);
        problem.0.log = Some(text.into());
        problem
    }

    fn of_fault(fault: &dyn Fault) -> Self {
        let general = general_code(fault.blame());
        let known = Code::of(fault.code());
        let mut problem = Problem::new(known.unwrap_or(general), fault.sentence());
        problem.0.code = fault.code();
        problem.0.hint = fault.hint();
        if problem.0.status.is_server_error() {
            problem.0.log = Some(problem.0.detail.clone());
        }
        if fault.blame() == Blame::Bug {
            problem.0.detail = OUR_MISTAKE.to_owned();
        }
        problem
    }

    /// The stable word.
    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// What only the server's log may say.
    pub(crate) fn for_the_log(&self) -> Option<&str> {
        self.0.log.as_deref()
    }

    /// The whole answer, now that the request is known.
    pub(crate) fn answer(&self, instance: &str, request_id: &str) -> Response {
        let document = ProblemDocument {
            problem_type: format!("urn:backstay:problem:{}", self.0.code),
            title: self.0.title.to_owned(),
            status: self.0.status.as_u16(),
            code: self.0.code.to_owned(),
            detail: self.0.detail.clone(),
            instance: instance.to_owned(),
            request_id: request_id.to_owned(),
            field: self.0.field.clone(),
            hint: self.0.hint.clone(),
            execution_id: self.0.execution.map(|id| id.to_string()),
        };
        let mut response = (self.0.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.0.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
            }
            _ => {}
        }
        if let Some(allow) = self
            .0
            .allow
            .as_ref()
            .and_then(|a| HeaderValue::from_str(a).ok())
        {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

/// The code of a fault whose own word is not the API's, by who has to act.
fn general_code(blame: Blame) -> Code {
    match blame {
        Blame::Request => Code::BadRequest,
        Blame::Access => Code::AccessDenied,
        Blame::Missing => Code::NotFound,
        Blame::Conflict => Code::Conflict,
        Blame::Source => Code::SourceUnavailable,
        Blame::Vault => Code::VaultUnavailable,
        Blame::Damaged => Code::Damaged,
        Blame::Busy => Code::Busy,
        Blame::Bug => Code::Internal,
    }
}

/// The execution that is in the way.
fn execution_in_the_way(error: &CatalogError) -> Option<ExecutionId> {
    match error {
        CatalogError::JobRunning { execution, .. }
        | CatalogError::SiteBusy { execution, .. }
        | CatalogError::SavesetInUse { execution, .. }
        | CatalogError::ExecutionEnded { execution, .. }
        | CatalogError::KeyReused { execution, .. } => Some(*execution),
        _ => None,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let mut problem = Problem::new(refusal.problem(), refusal.to_string());
        problem.0.field = refusal.field().map(str::to_owned);
        problem
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        let mut problem = Problem::of_fault(&error);
        problem.0.execution = execution_in_the_way(&error);
        problem
    }
}

impl From<JobsError> for Problem {
    fn from(error: JobsError) -> Self {
        let mut problem = Problem::of_fault(&error);
        problem.0.execution = match &error {
            JobsError::Catalog(inner) => execution_in_the_way(inner),
            JobsError::Ended { execution, .. } => Some(*execution),
            _ => None,
        };
        problem
    }
}

impl IntoResponse for Problem {
    /// Only a note of it: `observe` writes the answer, as it knows path and request id.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
