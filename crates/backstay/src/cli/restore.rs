//! `backstay restore`.

use std::path::PathBuf;

use clap::Args;
use model::{Credentials, ExposeSecret, ObjectName, SelectedObject};
use serde_json::{Value, json};

use crate::cli::chosen::{self, PartArgs};
use crate::cli::{Context, execution, job_id, without_nulls};
use crate::client::Client;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, text};
use crate::secret_input::{self, SecretError};
use crate::wait;

/// How many objects the name of a RESTORE job has.
const NAMED: usize = 3;
/// How many characters it may have.
const NAME_LENGTH: usize = 255;

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The site that was backed up
    site: String,
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    part: PartArgs,
    /// Restore the one database under this name; without it, it goes back to its place
    #[arg(long, value_name = "NAME", conflicts_with_all = ["all_databases", "schema", "table"])]
    to: Option<String>,
    /// Restore to this site instead of the same
    #[arg(long, value_name = "SITE")]
    target_site: Option<String>,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Show what would be done and what is in the way; touch nothing
    #[arg(long)]
    dry_run: bool,
    /// Put a filled database of that name aside and take its place
    #[arg(long)]
    replace_existing: bool,
    /// Leave out the target's secondary indexes that are no constraint
    #[arg(long)]
    skip_indexes: bool,
    /// Leave out statistics
    #[arg(long)]
    skip_statistics: bool,
    /// Wait until it has ended, and show how it goes
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// The same key within 24 hours starts nothing twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct WhatArgs {
    /// What this backup execution left
    #[arg(long, value_name = "ID", conflicts_with_all = ["saveset", "job", "latest"])]
    execution: Option<String>,
    /// This saveset
    #[arg(long, value_name = "ID", conflicts_with_all = ["job", "latest"])]
    saveset: Option<String>,
    /// With --latest: the newest saveset of this job, its id or name
    #[arg(long, value_name = "JOB", requires = "latest")]
    job: Option<String>,
    /// The newest saveset of --job
    #[arg(long, requires = "job")]
    latest: bool,
}

/// The database user that a restore runs as.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// The database user that the restore runs as; PostgreSQL needs one
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// A file that holds that user's password; else BACKSTAY_RESTORE_PASSWORD or a prompt
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

impl CredentialArgs {
    /// User and password, if a user was named.
    ///
    /// # Errors
    /// When there is no password for it.
    pub(crate) fn given(&self) -> Result<Option<Credentials>, CommandError> {
        const WHAT: &str = "the password of --user";
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let password = match &self.password_file {
            Some(path) => secret_input::from_file(path, WHAT)?,
            None => match secret_input::from_env("BACKSTAY_RESTORE_PASSWORD") {
                Some(password) => password,
                None => secret_input::from_prompt(&format!("Password of {user}"), WHAT)?.ok_or(
                    SecretError::Missing {
                        what: WHAT,
                        ways: "put it into BACKSTAY_RESTORE_PASSWORD, or name its file with --password-file",
                    },
                )?,
            },
        };
        if user.contains(':') || password.expose_secret().contains('\0') {
            return Err(CommandError::Usage(
                "--user must hold no colon: the credentials travel as user:password".to_owned(),
            ));
        }
        Ok(Some(Credentials {
            user: user.clone(),
            password,
        }))
    }
}

/// The backup that is restored: its job and its execution.
struct Backup {
    job: String,
    execution: String,
}

impl RestoreArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let client = context.client()?;
        let credentials = self.credentials.given()?;
        let backup = self.what.backup(&client, &self.site).await?;
        let mut objects = self.part.objects()?;
        if objects.is_empty() {
            let database = database_in(&client, &self.site, &backup).await?;
            objects.push(SelectedObject::whole_database(ObjectName::one(database)));
        }
        if self.to.is_some() && objects.len() > 1 {
            return Err(CommandError::Usage(
                "--to goes with one --database: each of several keeps its name".to_owned(),
            ));
        }
        let answer = client
            .post(&[
                "sites",
                &self.site,
                "jobs",
                &backup.job,
                "executions",
                &backup.execution,
                "restores",
            ])
            .json(&self.body(&objects))
            .credentials(credentials.as_ref())
            .idempotency_key(self.idempotency_key.as_deref())?
            .send()
            .await?;
        if self.dry_run {
            context.output.show(&answer.body, plan)?;
            let blocked = answer.body["obstacles"]
                .as_array()
                .is_some_and(|o| !o.is_empty());
            return Ok(if blocked { Exit::Failed } else { Exit::Done });
        }
        let id = answer.resource_id.unwrap_or_default();
        if !self.wait {
            let started = json!({ "execution_id": id });
            context
                .output
                .show(&started, |_| execution::started(&self.site, &id))?;
            return Ok(Exit::Done);
        }
        let ended = wait::until_ended(&client, &self.site, &id).await?;
        context.output.show(&ended, execution::one)?;
        wait::exit_of(&ended)
    }

    /// The name of the RESTORE job.
    fn title(&self, objects: &[SelectedObject]) -> String {
        let (named, others) = objects.split_at(objects.len().min(NAMED));
        let named: Vec<String> = named.iter().map(|object| object.name.to_string()).collect();
        let mut title = format!("restore {}", named.join(", "));
        if !others.is_empty() {
            title += &format!(" and {} more", others.len());
        }
        if let Some(to) = &self.to {
            title += &format!(" as {to}");
        }
        // What is longer is refused.
        title.chars().take(NAME_LENGTH).collect()
    }

    fn body(&self, objects: &[SelectedObject]) -> Value {
        // What is not asked for is left out: the server's defaults hold.
        let asked = |flag: bool| flag.then_some(true);
        without_nulls(json!({
            "name": self.title(objects),
            "target_site": self.target_site.as_deref().unwrap_or(&self.site),
            "dry_run": asked(self.dry_run),
            "job_settings": without_nulls(json!({
                "objects": chosen::as_json(objects),
                "restore_to_a_different_database_on_target_site": self.to,
                "replace_existing": asked(self.replace_existing),
                "skip_statstics": asked(self.skip_statistics),
                "skip_join_or_hash_indexes": asked(self.skip_indexes),
            })),
        }))
    }
}

impl WhatArgs {
    async fn backup(&self, client: &Client, site: &str) -> Result<Backup, CommandError> {
        if let Some(execution) = &self.execution {
            let found = client
                .get(&["sites", site, "executions", execution])
                .send()
                .await?;
            return Ok(Backup {
                job: text(&found.body, "job_id"),
                execution: execution.clone(),
            });
        }
        let saveset = match (&self.saveset, &self.job) {
            (Some(saveset), _) => {
                client
                    .get(&["sites", site, "savesets", saveset])
                    .send()
                    .await?
                    .body
            }
            (None, Some(job)) => newest_saveset(client, site, job).await?,
            // clap's group has asked for one of the three.
            (None, None) => {
                return Err(CommandError::Usage(
                    "say what to restore: --execution, --saveset, or --job with --latest"
                        .to_owned(),
                ));
            }
        };
        Ok(Backup {
            job: text(&saveset, "job_id"),
            execution: text(&saveset, "execution_id"),
        })
    }
}

async fn newest_saveset(client: &Client, site: &str, job: &str) -> Result<Value, CommandError> {
    let id = job_id(client, site, job).await?;
    let path = ["sites", site, "jobs", &id, "savesets"];
    let answer = client
        .get(&path)
        .query("page", "1")
        .query("page-size", "1")
        .send()
        .await?;
    let newest = answer.body.as_array().and_then(|savesets| savesets.first());
    newest.cloned().ok_or_else(|| {
        CommandError::Failed(format!(
            "job {job} of site {site} has no saveset to restore; `backstay job run {site} {job} --wait` makes one"
        ))
    })
}

/// The one database that a saveset holds.
async fn database_in(client: &Client, site: &str, backup: &Backup) -> Result<String, CommandError> {
    let path = [
        "sites",
        site,
        "jobs",
        &backup.job,
        "executions",
        &backup.execution,
        "objects",
    ];
    let objects = client.all(&path, &[]).await?;
    let databases: Vec<String> = objects
        .iter()
        .filter(|object| object["object_type"] == "DATABASE")
        .map(|object| text(object, "object_name"))
        .collect();
    match databases.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(CommandError::Failed(format!(
            "execution {} saved no database; `backstay execution show {site} {}` says what it did",
            backup.execution, backup.execution
        ))),
        several => Err(CommandError::Usage(format!(
            "the saveset holds several databases: choose with --database, or --all-databases: {}",
            several.join(", ")
        ))),
    }
}

/// What a dry run found, for people.
fn plan(plan: &Value) -> String {
    let texts = |field: &str| -> Vec<String> {
        let items = plan[field].as_array().into_iter().flatten();
        items
            .map(|item| item.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let mut shown = String::new();
    for (number, step) in texts("steps").iter().enumerate() {
        shown += &format!("{:>3}. {step}\n", number + 1);
    }
    let bytes = output::bytes(plan, "bytes_needed");
    if !bytes.is_empty() {
        shown += &format!("\nRows of about {bytes} will be written; indexes come on top.\n");
    }
    for warning in texts("warnings") {
        shown += &format!("\nWarning: {warning}\n");
    }
    for obstacle in plan["obstacles"].as_array().into_iter().flatten() {
        shown += &format!(
            "\nIn the way: {} ({})\n",
            text(obstacle, "detail"),
            text(obstacle, "code")
        );
        let remedy = text(obstacle, "remedy");
        if !remedy.is_empty() {
            shown += &format!("  {remedy}\n");
        }
    }
    shown
}
