//! `backstay job …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::cli::chosen::ChosenArgs;
use crate::cli::restore::CredentialArgs;
use crate::cli::{Context, execution, job_id, without_nulls};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, remark, text};
use crate::wait;

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Make a job that backs up databases, schemas or tables
    Create(Box<CreateArgs>),
    /// The jobs of a site
    List {
        /// The site's id
        site: String,
        /// Only jobs of this type
        #[arg(long = "type", value_name = "TYPE", ignore_case = true)]
        job_type: Option<JobTypeArg>,
    },
    /// One job
    Show {
        /// The site's id
        site: String,
        /// The job's id or name
        job: String,
    },
    /// Run a job now
    Run(RunArgs),
    /// Delete a job; its savesets stay
    Delete {
        /// The site's id
        site: String,
        /// The job's id or name
        job: String,
    },
}

/// FULL or DELTA, as a flag.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RunTypeArg {
    /// Everything is read
    Full,
    /// What changed since the newest saveset of the job
    Delta,
}

impl RunTypeArg {
    fn word(self) -> &'static str {
        match self {
            RunTypeArg::Full => "FULL",
            RunTypeArg::Delta => "DELTA",
        }
    }
}

/// BACKUP or RESTORE, as a flag.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum JobTypeArg {
    /// Jobs that make savesets
    Backup,
    /// Jobs that bring one back
    Restore,
}

impl JobTypeArg {
    pub(crate) fn word(self) -> &'static str {
        match self {
            JobTypeArg::Backup => "Backup",
            JobTypeArg::Restore => "Restore",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The site's id
    site: String,
    /// The job's name
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    name: Option<String>,
    #[command(flatten)]
    chosen: ChosenArgs,
    /// What its runs are: all that there is, or what changed since the one before [default: full]
    #[arg(long = "type", value_name = "TYPE", ignore_case = true)]
    backup_type: Option<RunTypeArg>,
    /// How many savesets are kept [default: 7]
    #[arg(long, value_name = "N")]
    copies: Option<u32>,
    /// From 1, the most urgent, to 5 [default: 5]
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// Abort a run that takes longer
    #[arg(long, value_name = "MINUTES")]
    auto_abort: Option<u32>,
    /// Give way to a schema change that has waited that long for us; 0: never [default: 300]
    #[arg(long, value_name = "SECONDS")]
    yield_to_ddl: Option<u32>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The whole job as JSON, as the API takes it
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["name", "backup_type", "ChosenArgs", "SelectArgs", "copies", "priority", "auto_abort", "yield_to_ddl", "description"])]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The site's id
    site: String,
    /// The job's id or name
    job: String,
    /// What it should be [default: the job's own type]
    #[arg(long, value_name = "TYPE", ignore_case = true)]
    run_type: Option<RunTypeArg>,
    /// The same as --run-type full
    #[arg(long, conflicts_with_all = ["run_type", "delta"])]
    full: bool,
    /// The same as --run-type delta
    #[arg(long, conflicts_with = "run_type")]
    delta: bool,
    /// Wait until it has ended, and show how it goes
    #[arg(long)]
    wait: bool,
    /// The same key within 24 hours starts nothing twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    credentials: CredentialArgs,
}

impl JobCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        match self {
            JobCommand::Create(args) => args.run(context).await,
            JobCommand::Run(args) => args.run(context).await,
            JobCommand::List { site, job_type } => list(context, &site, job_type).await,
            JobCommand::Show { site, job } => {
                let client = context.client()?;
                let job = job_id(&client, &site, &job).await?;
                let answer = client.get(&["sites", &site, "jobs", &job]).send().await?;
                context.output.show(&answer.body, one)?;
                Ok(Exit::Done)
            }
            JobCommand::Delete { site, job } => {
                let client = context.client()?;
                let job = job_id(&client, &site, &job).await?;
                client
                    .delete(&["sites", &site, "jobs", &job])
                    .send()
                    .await?;
                remark(&format!(
                    "Job {job} is deleted. Its savesets stay: `backstay saveset list {site}`."
                ));
                Ok(Exit::Done)
            }
        }
    }
}

impl CreateArgs {
    async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let body = match &self.file {
            Some(path) => body_of(path)?,
            None => self.body()?,
        };
        let client = context.client()?;
        let answer = client
            .post(&["sites", &self.site, "jobs"])
            .json(&body)
            .send()
            .await?;
        context.output.show(&answer.body, one)?;
        Ok(Exit::Done)
    }

    fn body(&self) -> Result<Value, CommandError> {
        Ok(without_nulls(json!({
            "name": self.name,
            "job_type": "BACKUP",
            "backup_type": self.backup_type.map(RunTypeArg::word),
            "description": self.description,
            "priority": self.priority,
            "no_of_retention_copies": self.copies,
            "is_auto_abort_active": self.auto_abort.map(|_| true),
            "auto_abort_in_minutes": self.auto_abort,
            "yield_to_ddl_seconds": self.yield_to_ddl,
            "job_settings": self.chosen.settings()?,
        })))
    }
}

fn body_of(path: &std::path::Path) -> Result<Value, CommandError> {
    let text = std::fs::read_to_string(path).map_err(|source| CommandError::File {
        doing: "cannot read the job from",
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text)
        .map_err(|e| CommandError::Usage(format!("{} is no JSON: {e}", path.display())))
}

impl RunArgs {
    fn asked_type(&self) -> Option<RunTypeArg> {
        match (self.full, self.delta) {
            (true, _) => Some(RunTypeArg::Full),
            (_, true) => Some(RunTypeArg::Delta),
            _ => self.run_type,
        }
    }

    async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let client = context.client()?;
        let job = job_id(&client, &self.site, &self.job).await?;
        let credentials = self.credentials.given()?;
        let answer = client
            .post(&["sites", &self.site, "jobs", &job, "execute"])
            .query_if("run_type", self.asked_type().map(RunTypeArg::word))
            .idempotency_key(self.idempotency_key.as_deref())?
            .credentials(credentials.as_ref())
            .send()
            .await?;
        let execution = answer.resource_id.unwrap_or_default();
        if !self.wait {
            let started = json!({ "execution_id": execution });
            context
                .output
                .show(&started, |_| execution::started(&self.site, &execution))?;
            return Ok(Exit::Done);
        }
        let ended = wait::until_ended(&client, &self.site, &execution).await?;
        context.output.show(&ended, execution::one)?;
        wait::exit_of(&ended)
    }
}

async fn list(
    context: &Context,
    site: &str,
    job_type: Option<JobTypeArg>,
) -> Result<Exit, CommandError> {
    let query: Vec<(&str, &str)> = job_type.iter().map(|t| ("job-type", t.word())).collect();
    let jobs = context
        .client()?
        .all(&["sites", site, "jobs"], &query)
        .await?;
    context.output.show(&Value::Array(jobs), |jobs| {
        output::table(
            jobs,
            "The site has no such job; `backstay job create` makes one.",
            &[
                ("JOB", &|j| text(j, "job_id")),
                ("NAME", &|j| text(j, "name")),
                ("TYPE", &|j| text(j, "job_type")),
                ("RUNS", &|j| text(j, "backup_type")),
                ("ACTIVE", &|j| text(j, "is_active")),
                ("COPIES", &|j| text(j, "no_of_retention_copies")),
                ("LAST STATUS", &|j| {
                    text(&j["last_execution_details"], "status")
                }),
                ("LAST START", &|j| {
                    output::time(&j["last_execution_details"], "start_time")
                }),
                ("SIZE", &|j| {
                    output::bytes(&j["last_execution_details"], "backup_set_size")
                }),
            ],
        )
    })?;
    Ok(Exit::Done)
}

fn one(job: &Value) -> String {
    let objects: Vec<String> = job["job_settings"]["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|o| format!("{} {}", text(o, "object_type"), text(o, "object_name")))
        .collect();
    let last = &job["last_execution_details"];
    let auto_abort = match job["is_auto_abort_active"].as_bool() {
        Some(true) => format!("after {} min", text(job, "auto_abort_in_minutes")),
        _ => String::new(),
    };
    output::facts(&[
        ("Job", text(job, "job_id")),
        ("Name", text(job, "name")),
        ("Description", text(job, "description")),
        ("Site", text(job, "site_id")),
        ("Type", text(job, "job_type")),
        ("Runs", text(job, "backup_type")),
        ("Objects", objects.join("\n")),
        ("Active", text(job, "is_active")),
        ("Priority", text(job, "priority")),
        ("Copies kept", text(job, "no_of_retention_copies")),
        ("Auto abort", auto_abort),
        ("Last status", text(last, "status")),
        ("Last start", output::time(last, "start_time")),
        ("Last size", output::bytes(last, "backup_set_size")),
        ("Next run", output::time(job, "next_run_time")),
    ])
}
