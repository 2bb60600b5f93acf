//! A server for one test.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use catalog::{Catalog, MasterKey};
use jobs::{Jobs, Registry, Settings};
use model::{SecretString, SiteType, SystemClock};
use serde_json::{Value, json};
use server::{Limits, ServerState};
use tempfile::TempDir;
use testkit::memory_engine::{MemoryDatabase, MemoryEngine};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

use crate::schema;

pub const BASE: &str = "/data-protection/v2";
pub const TOKEN: &str = "a-token-for-tests";
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// The document that every answer is held against.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&server::openapi()).unwrap());

/// A whole server without a socket.
pub struct App {
    pub dir: TempDir,
    /// Of the SQLITE sites.
    pub engine: MemoryEngine,
    /// Of the POSTGRESQL sites.
    pub postgres: MemoryEngine,
    pub state: ServerState,
    router: Router,
    _stop: DropGuard,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text))
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks the status.
    #[track_caller]
    pub fn must_be(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Checks status and code of an error; answers its `detail`.
    #[track_caller]
    pub fn must_fail(self, status: u16, code: &str) -> String {
        let problem = self.must_be(status).json();
        assert_eq!(problem["code"], code, "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl App {
    pub async fn start() -> App {
        App::with(Limits::default(), true).await
    }

    /// A server whose queue nobody works on: what is executed stays QUEUED.
    pub async fn that_runs_nothing() -> App {
        App::with(Limits::default(), false).await
    }

    pub async fn with(limits: Limits, runs: bool) -> App {
        let dir = tempfile::tempdir().unwrap();
        let key = MasterKey::from_text(&SecretString::from("ab".repeat(32))).unwrap();
        let clock = Arc::new(SystemClock);
        let catalog = Catalog::open(&dir.path().join("data"), key, clock.clone())
            .await
            .unwrap();
        let token = SecretString::from(TOKEN);
        catalog.first_token(Some(&token)).await.unwrap();
        let engine = MemoryEngine::new(SiteType::Sqlite);
        engine.put_database("shop", shop());
        let postgres = MemoryEngine::new(SiteType::Postgresql);
        postgres.put_database("shop", shop());
        let registry = Registry::new()
            .with(Arc::new(engine.clone()))
            .with(Arc::new(postgres.clone()));
        let jobs = Jobs::new(
            catalog.clone(),
            registry,
            clock.clone(),
            Settings::default(),
        );
        jobs.recover().await.unwrap();
        let stop = CancellationToken::new();
        if runs {
            let (jobs, stop) = (jobs.clone(), stop.clone());
            tokio::spawn(async move { jobs.run(stop).await });
        }
        let state = ServerState::new(catalog, jobs, clock, limits);
        let router = server::router(state.clone());
        App {
            dir,
            engine,
            postgres,
            state,
            router,
            _stop: stop.drop_guard(),
        }
    }

    /// Sends a request as it is, and checks what holds for every answer.
    pub async fn raw(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.unwrap();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        };
        holds(&method, &path, &answer);
        answer
    }

    /// Sends a request with the token and, if there is one, a JSON body.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send_with(method, path, &[], body).await
    }

    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let path = if path.starts_with("/site") {
            format!("{BASE}{path}")
        } else {
            path.to_owned()
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            None => Body::empty(),
            Some(value) => {
                request = request.header("content-type", "application/json");
                Body::from(value.to_string())
            }
        };
        self.raw(request.body(body).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    /// POST without a body.
    pub async fn call(&self, path: &str) -> Answer {
        self.send(Method::POST, path, None).await
    }

    pub fn site_body(&self, id: &str) -> Value {
        let vault = self.dir.path().join(format!("vault-{id}"));
        json!({
            "site_id": id, "site_type": "SQLITE", "description": "the shop",
            "connection": {"path": "/srv/data"},
            "vault": {"url": format!("file://{}", vault.display()), "options": {}}
        })
    }

    /// Makes a POSTGRESQL site whose password is inside the URL.
    pub async fn postgres_site(&self, id: &str, password: &str) -> Answer {
        let mut body = self.site_body(id);
        body["site_type"] = json!("POSTGRESQL");
        let url = format!("postgres://backup:{password}@db:5432/postgres");
        body["connection"] = json!({"url": url});
        self.post("/sites", body).await.must_be(201)
    }

    /// Makes a site.
    pub async fn site(&self, id: &str) {
        self.post("/sites", self.site_body(id)).await.must_be(201);
    }

    /// Makes a job; answers its id.
    pub async fn job(&self, site: &str) -> String {
        let made = self
            .post(&format!("/sites/{site}/jobs"), job_body())
            .await
            .must_be(201);
        made.header("x-resource-id").to_owned()
    }

    /// The verification of a saveset, once it has ended.
    pub async fn verified(&self, path: &str) -> Value {
        let deadline = tokio::time::Instant::now() + ENDS_WITHIN;
        loop {
            let verification = self.get(path).await.must_be(200).json()["verification"].clone();
            if !verification["end_time"].is_null() {
                return verification;
            }
            assert!(tokio::time::Instant::now() < deadline, "{verification}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs a job to its end; answers the execution's id.
    pub async fn backup(&self, site: &str, job: &str) -> String {
        let queued = self
            .call(&format!("/sites/{site}/jobs/{job}/execute"))
            .await
            .must_be(202);
        let id = queued.header("x-resource-id").to_owned();
        assert_eq!(self.end_of(site, &id).await["status"], "SUCCESSFUL");
        id
    }

    /// Waits until an execution has ended.
    pub async fn end_of(&self, site: &str, execution: &str) -> Value {
        let path = format!("/sites/{site}/executions/{execution}");
        let waited = async {
            loop {
                let answer = self.get(&path).await.must_be(200).json();
                if !matches!(
                    answer["status"].as_str(),
                    Some("QUEUED" | "RUNNING" | "ABORTING")
                ) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(ENDS_WITHIN, waited).await.unwrap()
    }

    /// Restores a backup under a new name; answers the restore execution's id.
    pub async fn restore(&self, site: &str, job: &str, backup: &str, name: &str) -> String {
        let path = format!("/sites/{site}/jobs/{job}/executions/{backup}/restores");
        let queued = self.post(&path, restore_body(name)).await.must_be(202);
        queued.header("x-resource-id").to_owned()
    }
}

fn shop() -> MemoryDatabase {
    let rows = (0..100u32).map(|n| n.to_le_bytes().to_vec());
    MemoryDatabase::new()
        .ddl("CREATE TABLE orders (id)")
        .sequence("ids", 100)
        .table("orders", rows, 10)
}

pub fn job_body() -> Value {
    json!({
        "name": "nightly", "job_type": "BACKUP", "description": "each night",
        "job_settings": {"objects": [{
            "object_name": "shop", "object_type": "DATABASE",
            "parent_name": "DBC", "parent_type": "DATABASE",
            "include_all": true, "exclude_objects": []
        }]}
    })
}

pub fn restore_body(name: &str) -> Value {
    json!({
        "name": "bring it back", "target_site": "shop",
        "job_settings": {
            "objects": [{"object_name": "shop", "object_type": "DATABASE", "include_all": true}],
            "restore_to_a_different_database_on_target_site": name
        }
    })
}

/// What holds for every answer: it is documented, carries an id and the security headers, and an
/// error is a problem document.
fn holds(method: &Method, path: &str, answer: &Answer) {
    let status = answer.status.as_u16();
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(!answer.header("content-security-policy").is_empty());
    if let Some(operation) = documented(method, path) {
        let described = operation["responses"].get(status.to_string());
        let described = described.unwrap_or_else(|| {
            panic!("{method} {path} answered {status}, which is not documented")
        });
        if method != Method::HEAD {
            says_what_is_documented(described, answer, &format!("{method} {path}"));
        }
    }
    if status >= 400 && method != Method::HEAD {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"], path);
        assert_eq!(problem["request_id"], answer.header("x-request-id"));
        for key in ["type", "title", "code", "detail"] {
            assert!(problem[key].is_string(), "{key}: {problem}");
        }
    }
}

/// The document's operation for a request, if it has one.
fn documented(method: &Method, path: &str) -> Option<&'static Value> {
    let asked: Vec<&str> = path.split('/').collect();
    let fits = |template: &&String| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == asked.len()
            && parts
                .iter()
                .zip(&asked)
                .all(|(part, text)| part.starts_with('{') || part == text)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // Of two that fit, the one with fewer variables is meant.
    let template = paths
        .keys()
        .filter(fits)
        .min_by_key(|t| t.matches('{').count())?;
    let method = if method == Method::HEAD {
        "get".to_owned()
    } else {
        method.as_str().to_lowercase()
    };
    paths[template].get(method)
}

/// The body is of the kind that the document names, and has the shape of its schema.
fn says_what_is_documented(described: &Value, answer: &Answer, request: &str) {
    let kind = answer.header("content-type").split(';').next().unwrap();
    let Some(contents) = described.get("content") else {
        assert_eq!(
            answer.text, "",
            "{request} has a body that is not documented"
        );
        return;
    };
    let content = contents
        .get(kind)
        .unwrap_or_else(|| panic!("{request} answered {kind:?}, which is not documented"));
    if kind.ends_with("json") {
        let checked = schema::check(&DOCUMENT, &content["schema"], &answer.json(), "");
        assert_eq!(checked, Ok(()), "{request}");
    }
}
