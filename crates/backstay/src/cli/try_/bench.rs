//! The server that a trial is made with, and what the trial asks of it.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use model::{ExecutionStatus, ExposeSecret, ObjectName, SelectedObject};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::subject::Subject;
use crate::cli::{chosen, site, without_nulls};
use crate::client::{Client, ClientError};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{remark, text};
use crate::wait;
use crate::wiring::{self, RunningServer, ServeOptions};

/// How long runs may take to end when a trial is over.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running server, or one of our own in a temporary directory.
pub(super) struct Bench {
    client: Client,
    own: Option<(RunningServer, TempDir)>,
    vault: String,
    site: String,
    /// Whether this trial made it: another's executions and databases are not touched.
    site_is_ours: Cell<bool>,
}

impl Bench {
    /// A server that runs already.
    pub(super) fn at(client: Client, vault: String) -> Bench {
        Bench::new(client, None, vault)
    }

    /// A server of our own. Without a vault it has one that goes with it.
    ///
    /// # Errors
    /// When it cannot start.
    pub(super) async fn own(
        vault: Option<String>,
        pg_bin: Vec<PathBuf>,
    ) -> Result<Bench, CommandError> {
        let made = tempfile::Builder::new().prefix("backstay-try-").tempdir();
        let folder = made.map_err(|source| CommandError::File {
            doing: "cannot make a directory in",
            path: std::env::temp_dir(),
            source,
        })?;
        let vault = match vault {
            Some(vault) => vault,
            None => site::vault_url(&folder.path().join("vault").to_string_lossy())?,
        };
        let server = wiring::start(ServeOptions {
            data_dir: folder.path().join("data"),
            listen: "127.0.0.1:0".to_owned(),
            insecure_http: false,
            admin_token: None,
            master_key: None,
            pg_bin,
            parallel_executions: None,
            own_temporary_files: false,
        })
        .await?;
        let token = server.made_token().cloned().ok_or_else(|| {
            CommandError::Failed("a new server made no administrator's token".to_owned())
        })?;
        let client = Client::new(&server.address(), token)?;
        Ok(Bench::new(client, Some((server, folder)), vault))
    }

    fn new(client: Client, own: Option<(RunningServer, TempDir)>, vault: String) -> Bench {
        Bench {
            client,
            own,
            vault,
            site: format!("try-{}", std::process::id()),
            site_is_ours: Cell::new(false),
        }
    }

    /// Where it is.
    pub(super) fn server(&self) -> String {
        self.client.server()
    }

    /// Makes the site; answers its recovery key.
    ///
    /// # Errors
    /// When the server refuses.
    pub(super) async fn make_site(
        &self,
        subject: &Subject,
        streams: u32,
    ) -> Result<String, CommandError> {
        let body = json!({
            "site_id": self.site,
            "site_type": "POSTGRESQL",
            "description": "made by backstay try",
            "connection": without_nulls(json!({
                "url": subject.url,
                "password": subject.password.as_ref().map(ExposeSecret::expose_secret),
            })),
            "vault": { "url": self.vault, "options": {} },
            "soft_limit": streams,
            "hard_limit": streams,
        });
        let made = self.client.post(&["sites"]).json(&body).send().await?;
        self.site_is_ours.set(true);
        Ok(text(&made.body, "recovery_key"))
    }

    /// What would stop a backup is known before it begins, with the SQL that mends it.
    ///
    /// # Errors
    /// When something would.
    pub(super) async fn look_first(&self) -> Result<(), CommandError> {
        let checked = self
            .client
            .post(&["sites", &self.site, "check"])
            .send()
            .await?;
        if site::verdict(&checked.body) == Exit::Failed {
            remark(&site::report(&checked.body));
            return Err(CommandError::Failed(
                "a backup of this database would fail; the list above says why".to_owned(),
            ));
        }
        Ok(())
    }

    /// Backs the subject up; answers the execution.
    ///
    /// # Errors
    /// When it does not end well.
    pub(super) async fn back_up(&self, subject: &Subject) -> Result<Value, CommandError> {
        let body = json!({
            "name": format!("try {}", subject.database),
            "job_type": "BACKUP",
            "job_settings": { "objects": chosen::as_json(&[SelectedObject::whole_database(ObjectName::one(&subject.database))]) },
        });
        let made = self
            .client
            .post(&["sites", &self.site, "jobs"])
            .json(&body)
            .send()
            .await?;
        let job = made.resource_id.unwrap_or_default();
        let path = ["sites", &self.site, "jobs", &job, "execute"];
        let execution = self
            .client
            .post(&path)
            .send()
            .await?
            .resource_id
            .unwrap_or_default();
        self.ended_well(&execution, "the backup").await
    }

    /// Restores it under its scratch name; answers the execution.
    ///
    /// # Errors
    /// When it does not end well.
    pub(super) async fn restore(
        &self,
        subject: &Subject,
        backup: &Value,
    ) -> Result<Value, CommandError> {
        let (job, execution) = (text(backup, "job_id"), text(backup, "execution_id"));
        let body = json!({
            "name": format!("try {}", subject.scratch),
            "target_site": self.site,
            "job_settings": {
                "objects": chosen::as_json(&[SelectedObject::whole_database(ObjectName::one(&subject.database))]),
                "restore_to_a_different_database_on_target_site": quoted(&subject.scratch),
            },
        });
        let path = [
            "sites",
            &self.site,
            "jobs",
            &job,
            "executions",
            &execution,
            "restores",
        ];
        let credentials = subject.credentials();
        let call = self
            .client
            .post(&path)
            .json(&body)
            .credentials(Some(&credentials));
        let restore = call.send().await?.resource_id.unwrap_or_default();
        self.ended_well(&restore, "the restore").await
    }

    async fn ended_well(&self, execution: &str, what: &str) -> Result<Value, CommandError> {
        let ended = wait::until_ended(&self.client, &self.site, execution).await?;
        match wait::exit_of(&ended)? {
            Exit::Done | Exit::Warnings => Ok(ended),
            _ => Err(CommandError::Failed(format!(
                "{what} ended {}: {}",
                text(&ended, "status"),
                text(&ended, "status_detail")
            ))),
        }
    }

    /// Sees to it that nothing of the trial runs any more; answers whether a restore of ours put
    /// its database in place. Only then is the database of that name ours.
    ///
    /// # Errors
    /// When that cannot be found out in time.
    pub(super) async fn settle(&self) -> Result<bool, CommandError> {
        if !self.site_is_ours.get() {
            return Ok(false);
        }
        let path = ["sites", &self.site, "executions"];
        let mut restored = false;
        for execution in self.client.all(&path, &[]).await? {
            let ended = match wait::status(&execution)?.is_final() {
                true => execution,
                false => self.stopped(&text(&execution, "execution_id")).await?,
            };
            restored |= ended["job_type"] == "RESTORE" && published(wait::status(&ended)?);
        }
        Ok(restored)
    }

    async fn stopped(&self, execution: &str) -> Result<Value, CommandError> {
        let path = ["sites", &self.site, "executions", execution, "abort"];
        match self.client.post(&path).send().await {
            // It had ended.
            Ok(_) | Err(ClientError::Refused { status: 409, .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = wait::quietly(&self.client, &self.site, execution);
        tokio::time::timeout(STOP_LIMIT, ended).await.map_err(|_| {
            CommandError::Failed(format!(
                "execution {execution} has not ended {STOP_LIMIT:?} after its abort"
            ))
        })?
    }

    /// Ends our own server and removes its directory; a running server keeps what was made on it.
    ///
    /// # Errors
    /// When the server does not end, or the directory cannot be removed.
    pub(super) async fn close(self) -> Result<(), CommandError> {
        let Some((server, folder)) = self.own else {
            remark(&format!(
                "Site {} and its jobs stay on that server; delete them when you have seen enough.",
                self.site
            ));
            return Ok(());
        };
        server.stop(STOP_LIMIT).await?;
        let path = folder.path().to_owned();
        let doing = "cannot remove";
        folder.close().map_err(|source| CommandError::File {
            doing,
            path,
            source,
        })
    }
}

/// Whether a restore that ended so put its database in place.
fn published(status: ExecutionStatus) -> bool {
    matches!(
        status,
        ExecutionStatus::Successful
            | ExecutionStatus::CompletedWithWarnings
            | ExecutionStatus::CompletedWithErrors
    )
}

/// A database's name as the contract takes any: in quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
