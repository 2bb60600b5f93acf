//! The HTTP client of the command line.
//!
//! Answers stay JSON values: `--output json` shows what the server said, also what a newer server
//! says more, and tables pick the fields that they know. [`Answer`] has the headers that matter.

use std::time::Duration;

use base64::Engine as _;
use contract::ProblemDocument;
use model::{Credentials, ExposeSecret, SecretString};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::exit::Exit;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A restore looks at its target before it answers; nothing takes longer than that.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);
const PAGE_SIZE: usize = 1000;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL of the server is none.
    #[error("{given:?} is no server URL: {why}")]
    BadUrl {
        /// As given, without what may be secret.
        given: String,
        /// What is wrong.
        why: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach the server at {server}: {why}")]
    Unreachable {
        /// The server.
        server: String,
        /// What the network said.
        why: String,
    },
    /// The server refused.
    #[error("{} ({})", problem.detail, problem.code)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        problem: Box<ProblemDocument>,
    },
    /// It holds characters that no HTTP header can.
    #[error("{what} must be plain text of one line")]
    BadHeader {
        /// What would have been sent.
        what: &'static str,
    },
    /// Something else than a Backstay server answers there.
    #[error("the server at {server} gave an answer that is not Backstay's: {what}")]
    NotUnderstood {
        /// The server.
        server: String,
        /// What it was.
        what: String,
    },
}

impl ClientError {
    /// The exit code that it stands for.
    pub fn exit(&self) -> Exit {
        match self {
            ClientError::BadUrl { .. } | ClientError::BadHeader { .. } => Exit::Usage,
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::Refused {
                status: 401 | 403, ..
            } => Exit::NotPermitted,
            ClientError::Refused { status: 400, .. } => Exit::Usage,
            ClientError::Refused { .. } | ClientError::NotUnderstood { .. } => Exit::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ClientError::BadUrl { .. } | ClientError::BadHeader { .. } => None,
            ClientError::Unreachable { .. } => Some(
                "start one with `backstay serve`, or name another with --server or BACKSTAY_SERVER"
                    .to_owned(),
            ),
            ClientError::Refused {
                status: 401,
                problem,
            } => Some(problem.hint.clone().unwrap_or_else(|| {
                "give a valid token in BACKSTAY_TOKEN or by --token-file".to_owned()
            })),
            ClientError::Refused { problem, .. } if problem.code == "credentials-missing" => Some(
                "name the database user with --user; its password comes from --password-file, \
                 BACKSTAY_RESTORE_PASSWORD or a prompt"
                    .to_owned(),
            ),
            ClientError::Refused {
                status: 500..,
                problem,
            } => Some(format!(
                "{}the server's log has more under the request id {}",
                problem
                    .hint
                    .as_ref()
                    .map_or_else(String::new, |hint| format!("{hint} ")),
                problem.request_id
            )),
            ClientError::Refused { problem, .. } => problem.hint.clone(),
            ClientError::NotUnderstood { .. } => Some(
                "look at --server: it is the server's root, as http://127.0.0.1:8610".to_owned(),
            ),
        }
    }

    /// The flag that filled the field which the server refused.
    pub fn flag(&self) -> Option<&'static str> {
        match self {
            ClientError::Refused { problem, .. } => problem
                .field
                .as_deref()
                .and_then(crate::cli::flags::flag_of),
            _ => None,
        }
    }

    /// Whether the server may be there again in a moment.
    pub fn may_pass(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            _ => false,
        }
    }
}

/// A server and the token for it. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: SecretString,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// `x-resource-id`: the id of what was made.
    pub resource_id: Option<String>,
    /// `X-Total-Count`: rows in all pages.
    pub total: Option<usize>,
    /// The body; null where there is none.
    pub body: Value,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(server: &str, token: SecretString) -> Result<Client, ClientError> {
        let server = parse_server(server)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            // A token goes to the server that the user named and to no other.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("backstay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| ClientError::BadUrl {
                given: shown(&server),
                why: sentence(&e),
            })?;
        Ok(Client {
            http,
            server,
            token,
        })
    }

    /// The server, as it may be shown.
    pub fn server(&self) -> String {
        shown(&self.server)
    }

    /// GET below the base path.
    pub fn get(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::GET, path)
    }

    /// POST below the base path.
    pub fn post(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::POST, path)
    }

    /// PATCH below the base path.
    pub fn patch(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::PATCH, path)
    }

    /// DELETE below the base path.
    pub fn delete(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    /// All rows of a paged list.
    ///
    /// # Errors
    /// As [`Call::send`]; or when the answer is no list.
    pub async fn all(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<Value>, ClientError> {
        let mut rows = Vec::new();
        for page in 1.. {
            let (page, size) = (page.to_string(), PAGE_SIZE.to_string());
            let mut call = self
                .get(path)
                .query("page", &page)
                .query("page-size", &size);
            for (name, value) in query {
                call = call.query(name, value);
            }
            let answer = call.send().await?;
            let Value::Array(some) = answer.body else {
                return Err(self.not_understood("a list was expected"));
            };
            let last = some.len() < PAGE_SIZE;
            rows.extend(some);
            if last {
                break;
            }
        }
        Ok(rows)
    }

    fn call(&self, method: Method, path: &[&str]) -> Call<'_> {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // `push` encodes what a path cannot hold; one `..` would climb out of the base.
            segments
                .pop_if_empty()
                .extend(contract::BASE_PATH.split('/').skip(1))
                .extend(path.iter().map(|s| match *s {
                    "." => "%2E",
                    ".." => "%2E%2E",
                    other => other,
                }));
        }
        let mut request = reqwest::Request::new(method, url);
        *request.timeout_mut() = Some(ANSWER_LIMIT);
        Call {
            client: self,
            request,
        }
    }

    fn not_understood(&self, what: impl Into<String>) -> ClientError {
        ClientError::NotUnderstood {
            server: self.server(),
            what: what.into(),
        }
    }
}

/// One call in the making.
#[must_use = "nothing is sent before `send`"]
pub struct Call<'a> {
    client: &'a Client,
    request: reqwest::Request,
}

impl Call<'_> {
    /// Adds a query parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.request
            .url_mut()
            .query_pairs_mut()
            .append_pair(name, value);
        self
    }

    /// Adds a query parameter where there is a value.
    pub fn query_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Sets the body.
    pub fn json(mut self, body: &Value) -> Self {
        *self.request.body_mut() = Some(body.to_string().into());
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    /// `x-auth-credentials`: the database user that a restore runs as.
    pub fn credentials(self, credentials: Option<&Credentials>) -> Self {
        let Some(given) = credentials else {
            return self;
        };
        let pair = format!("{}:{}", given.user, given.password.expose_secret());
        let coded = base64::engine::general_purpose::STANDARD.encode(pair);
        let mut value = HeaderValue::try_from(format!("Basic {coded}"))
            .expect("base64 is made of printable ASCII characters");
        value.set_sensitive(true);
        self.header(HeaderName::from_static("x-auth-credentials"), value)
    }

    /// The same key within 24 hours gives the same answer.
    ///
    /// # Errors
    /// When no header can hold that key.
    pub fn idempotency_key(self, key: Option<&str>) -> Result<Self, ClientError> {
        let Some(key) = key else { return Ok(self) };
        let value = HeaderValue::from_str(key).map_err(|_| ClientError::BadHeader {
            what: "an idempotency key",
        })?;
        Ok(self.header(HeaderName::from_static("idempotency-key"), value))
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Sends it.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or is no Backstay server.
    pub async fn send(self) -> Result<Answer, ClientError> {
        let client = self.client;
        let unreachable = |e: reqwest::Error| ClientError::Unreachable {
            server: client.server(),
            why: sentence(&e.without_url()),
        };
        let mut token = HeaderValue::try_from(format!("Bearer {}", client.token.expose_secret()))
            .map_err(|_| ClientError::BadHeader { what: "a token" })?;
        token.set_sensitive(true);
        let request = self.header(AUTHORIZATION, token).request;
        let response = client.http.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let resource_id = header("x-resource-id");
        let total = header("x-total-count").and_then(|text| text.parse().ok());
        let bytes = response.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(client.refusal(status, &bytes));
        }
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes)
                .map_err(|_| client.not_understood(format!("HTTP {status} without JSON")))?,
        };
        Ok(Answer {
            resource_id,
            total,
            body,
        })
    }
}

impl Client {
    fn refusal(&self, status: StatusCode, bytes: &[u8]) -> ClientError {
        match serde_json::from_slice::<ProblemDocument>(bytes) {
            Ok(problem) => ClientError::Refused {
                status: status.as_u16(),
                problem: Box::new(problem),
            },
            Err(_) => self.not_understood(format!("HTTP {status} without a problem document")),
        }
    }
}

fn parse_server(given: &str) -> Result<Url, ClientError> {
    let wrong = |why: &str| ClientError::BadUrl {
        // Whatever stands before an @ may be a secret.
        given: given.rsplit('@').next().unwrap_or_default().to_owned(),
        why: why.to_owned(),
    };
    let url: Url = given
        .parse()
        .map_err(|e: url::ParseError| wrong(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong(
            "it must look like http://127.0.0.1:8610 or https://backup.example",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "it must hold no user and no password; the token comes from BACKSTAY_TOKEN or --token-file",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must end with its path"));
    }
    Ok(url)
}

fn shown(server: &Url) -> String {
    server.as_str().trim_end_matches('/').to_owned()
}

/// The innermost cause is what a person can act on: `Connection refused`.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(below) = deepest.source() {
        deepest = below;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(server: &str) -> Result<Client, ClientError> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Client::new(server, SecretString::from("t"))
    }

    #[test]
    fn a_server_url_is_a_root_without_secrets() {
        assert!(client("http://127.0.0.1:8610").is_ok());
        assert!(client("https://backup.example/behind/a/proxy/").is_ok());
        for bad in [
            "localhost:8610",
            "ftp://x",
            "http://me:hush@x/",
            "http://x/?a=b",
            "",
            "http://",
        ] {
            let error = client(bad).err().unwrap();
            assert_eq!(error.exit(), Exit::Usage);
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }

    #[test]
    fn names_in_a_path_stay_one_segment() {
        let client = client("http://h/root/").unwrap();
        for (name, coded) in [
            ("a/b", "a%2Fb"),
            ("ä ?#", "%C3%A4%20%3F%23"),
            ("..", "%252E%252E"),
        ] {
            let request = client.get(&["sites", name]).request;
            assert_eq!(
                request.url().path(),
                format!("/root/data-protection/v2/sites/{coded}")
            );
        }
    }

    #[test]
    fn a_problem_speaks_for_itself() {
        let client = client("http://h").unwrap();
        let body = br#"{"type":"t","code":"job-running","title":"t","status":409,
            "detail":"Job 3 runs","hint":"wait","instance":"/","request_id":"r-1"}"#;
        let error = client.refusal(StatusCode::CONFLICT, body);
        assert_eq!(error.to_string(), "Job 3 runs (job-running)");
        assert_eq!(error.hint().as_deref(), Some("wait"));
        let error = client.refusal(StatusCode::FORBIDDEN, body);
        assert_eq!(error.exit(), Exit::NotPermitted);
        let error = client.refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert!(matches!(error, ClientError::NotUnderstood { .. }));
    }
}
