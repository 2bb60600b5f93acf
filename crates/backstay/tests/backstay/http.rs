//! The API as its clients have it: HTTP against a server process, and nothing looked at from inside.

use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::postgres::{Roles, Server as Postgres};

use crate::process::{Server, TOKEN};

/// How long anything that is waited for may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A server process and a client of it.
pub struct Api {
    pub process: Server,
    http: reqwest::Client,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// `x-resource-id`.
    #[track_caller]
    pub fn id(&self) -> String {
        let id = self.headers.get("x-resource-id");
        let id = id.unwrap_or_else(|| panic!("no x-resource-id: {self:?}"));
        id.to_str().unwrap().to_owned()
    }
}

impl Api {
    /// A server that finds the programs of that PostgreSQL.
    pub fn start(postgres: &Postgres) -> Api {
        Api::start_in(tempfile::tempdir().unwrap(), postgres, &|_| {})
    }

    /// In a folder that may have been used before.
    pub fn start_in(folder: TempDir, postgres: &Postgres, adjust: &dyn Fn(&mut Command)) -> Api {
        let process = Server::start_in(folder, &|command| {
            command
                .env("BACKSTAY_ADMIN_TOKEN", TOKEN)
                .env("BACKSTAY_PG_BIN", postgres.tools_dir());
            adjust(command);
        });
        Api::of(process)
    }

    /// A client of that server.
    pub fn of(process: Server) -> Api {
        let http = reqwest::Client::builder().timeout(LIMIT).build().unwrap();
        Api { process, http }
    }

    /// Ends the process by that signal and starts another on the same data directory.
    pub fn restarted_after(self, signal: &str, postgres: &Postgres) -> Api {
        let (_, folder) = self.process.ended_by(signal);
        Api::start_in(folder, postgres, &|_| {})
    }

    /// One call below the base path.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        credentials: Option<(&str, &str)>,
    ) -> Answer {
        let url = format!("{}/data-protection/v2{path}", self.process.url);
        let mut request = self.http.request(method, url).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        if let Some((user, password)) = credentials {
            let pair = format!("{user}:{password}");
            let coded = base64::engine::general_purpose::STANDARD.encode(pair);
            request = request.header("x-auth-credentials", format!("Basic {coded}"));
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// GET for its JSON, which must be there.
    pub async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None, None)
            .await
            .is(200)
            .json()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body), None).await
    }

    /// A site on that server, backed up by the role without special rights; its vault is the
    /// folder `vault-<id>`.
    pub async fn postgres_site(&self, id: &str, postgres: &Postgres) {
        let roles = postgres.least_rights_role();
        let url = postgres.url("postgres", roles.backup);
        self.site_at(id, &url, roles.password).await.is(201);
    }

    pub async fn site_at(&self, id: &str, url: &str, password: &str) -> Answer {
        let vault = self.process.folder().join(format!("vault-{id}"));
        let body = json!({
            "site_id": id,
            "site_type": "POSTGRESQL",
            "connection": {"url": url, "password": password},
            "vault": {"url": format!("file://{}", vault.display())},
        });
        self.post("/sites", &body).await
    }

    /// A backup job of a whole database; `more` goes into its settings.
    pub async fn job(&self, site: &str, database: &str, more: Value) -> String {
        let mut settings = json!({"objects": [{
            "object_name": quoted(database),
            "object_type": "DATABASE",
            "parent_name": "DBC",
            "parent_type": "DATABASE",
            "include_all": true,
        }]});
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let body = json!({"name": "nightly", "job_type": "BACKUP", "job_settings": settings});
        let answer = self.post(&format!("/sites/{site}/jobs"), &body).await;
        answer.is(201).id()
    }

    /// Starts a job; the execution's id.
    pub async fn execute(&self, site: &str, job: &str) -> String {
        let path = format!("/sites/{site}/jobs/{job}/execute");
        self.post(&path, &json!({})).await.is(202).id()
    }

    pub async fn execution(&self, site: &str, execution: &str) -> Value {
        self.get(&format!("/sites/{site}/executions/{execution}"))
            .await
    }

    /// The execution, once it has ended.
    pub async fn ended(&self, site: &str, execution: &str) -> Value {
        let started = Instant::now();
        loop {
            let found = self.execution(site, execution).await;
            let status = found["status"].as_str().unwrap();
            if !["QUEUED", "RUNNING", "ABORTING"].contains(&status) {
                return found;
            }
            assert!(started.elapsed() < LIMIT, "it does not end: {found:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs a job to its end; its id, once it is SUCCESSFUL.
    pub async fn back_up(&self, site: &str, job: &str) -> String {
        let execution = self.execute(site, job).await;
        let ended = self.ended(site, &execution).await;
        assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
        execution
    }

    /// Asks for a restore of that backup under a new name on the same site.
    pub async fn ask_restore(
        &self,
        (site, job, execution): (&str, &str, &str),
        (database, copy): (&str, &str),
        credentials: Option<(&str, &str)>,
    ) -> Answer {
        let path = format!("/sites/{site}/jobs/{job}/executions/{execution}/restores");
        let body = json!({
            "name": "bring it back",
            "target_site": site,
            "job_settings": {
                "objects": [{
                    "object_name": quoted(database),
                    "object_type": "DATABASE",
                    "parent_name": "DBC",
                    "parent_type": "DATABASE",
                    "include_all": true,
                }],
                "restore_to_a_different_database_on_target_site": quoted(copy),
            },
        });
        self.call(Method::POST, &path, Some(&body), credentials)
            .await
    }

    /// Restores to the end; the execution, once it is SUCCESSFUL.
    pub async fn restore(
        &self,
        backup: (&str, &str, &str),
        names: (&str, &str),
        roles: &Roles,
    ) -> Value {
        let credentials = Some((roles.restore, roles.password));
        let answer = self.ask_restore(backup, names, credentials).await;
        let ended = self.ended(backup.0, &answer.is(202).id()).await;
        assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
        ended
    }
}

/// A name as clients may always write it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A superuser's question, asked until the answer is not empty.
pub async fn until_answered(postgres: &Postgres, database: &str, sql: &str) -> String {
    let client = postgres.connect(database).await;
    let started = Instant::now();
    loop {
        let rows = client.query(sql, &[]).await.unwrap();
        if let Some(row) = rows.first() {
            return row.get(0);
        }
        assert!(started.elapsed() < LIMIT, "no answer to {sql}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The process of a server's session that reads or writes rows of that table for Backstay.
pub async fn process_of_a_stream(postgres: &Postgres, table: &str) -> String {
    let sql = format!(
        "SELECT pid::text FROM pg_stat_activity WHERE application_name LIKE 'backstay %'
           AND state = 'active' AND query LIKE 'COPY%{table}%'"
    );
    until_answered(postgres, "postgres", &sql).await
}
