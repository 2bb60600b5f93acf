//! `backstay execution …`.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::job::JobTypeArg;
use crate::cli::{Context, job_id};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, remark, text};
use crate::wait;

#[derive(Debug, Subcommand)]
pub(crate) enum ExecutionCommand {
    /// The executions of a site, newest first
    List(ListArgs),
    /// One execution: its phases, bytes and warnings
    Show {
        /// The site's id
        site: String,
        /// The execution's id
        execution: String,
        /// Wait until it has ended, and show how it goes
        #[arg(long)]
        wait: bool,
    },
    /// Stop an execution that is queued or running
    Abort {
        /// The site's id
        site: String,
        /// The execution's id
        execution: String,
        /// Wait until it has ended
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The site's id
    site: String,
    /// Only those of this job: its id or name
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Only those of this status, as FAILED
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only those of jobs of this type
    #[arg(long = "type", value_name = "TYPE", ignore_case = true)]
    job_type: Option<JobTypeArg>,
    /// Only those that started then or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those that started before then (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many, the newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl ExecutionCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        match self {
            ExecutionCommand::List(args) => args.run(context).await,
            ExecutionCommand::Show {
                site,
                execution,
                wait,
            } => show(context, &site, &execution, wait).await,
            ExecutionCommand::Abort {
                site,
                execution,
                wait,
            } => abort(context, &site, &execution, wait).await,
        }
    }
}

impl ListArgs {
    async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let client = context.client()?;
        let job = match &self.job {
            Some(job) => Some(job_id(&client, &self.site, job).await?),
            None => None,
        };
        let path: Vec<&str> = match &job {
            Some(job) => vec!["sites", &self.site, "jobs", job, "executions"],
            None => vec!["sites", &self.site, "executions"],
        };
        let answer = client
            .get(&path)
            .query("page", "1")
            .query("page-size", &self.limit.to_string())
            .query_if("status", self.status.as_deref())
            .query_if("job-type", self.job_type.map(JobTypeArg::word))
            .query_if("since", self.since.as_deref())
            .query_if("until", self.until.as_deref())
            .send()
            .await?;
        context.output.show(&answer.body, table)?;
        let shown = answer.body.as_array().map_or(0, Vec::len);
        if let Some(total) = answer.total.filter(|total| *total > shown) {
            remark(&format!(
                "{shown} of {total} are shown; --limit shows more."
            ));
        }
        Ok(Exit::Done)
    }
}

fn table(executions: &Value) -> String {
    output::table(
        executions,
        "There is no such execution.",
        &[
            ("EXECUTION", &|e| text(e, "execution_id")),
            ("JOB", &|e| text(e, "job_name")),
            ("TYPE", &|e| text(e, "job_type")),
            ("RUN", &|e| text(e, "run_type")),
            ("STATUS", &|e| text(e, "status")),
            ("START", &|e| output::time(e, "start_time")),
            ("END", &|e| output::time(e, "end_time")),
            ("SIZE", &|e| output::bytes(e, "backup_set_size")),
            ("SAVESET", &|e| text(e, "saveset_id")),
        ],
    )
}

async fn show(
    context: &Context,
    site: &str,
    execution: &str,
    wait: bool,
) -> Result<Exit, CommandError> {
    let client = context.client()?;
    if wait {
        let ended = wait::until_ended(&client, site, execution).await?;
        context.output.show(&ended, one)?;
        return wait::exit_of(&ended);
    }
    let answer = client
        .get(&["sites", site, "executions", execution])
        .send()
        .await?;
    context.output.show(&answer.body, one)?;
    Ok(Exit::Done)
}

async fn abort(
    context: &Context,
    site: &str,
    execution: &str,
    wait: bool,
) -> Result<Exit, CommandError> {
    let client = context.client()?;
    client
        .post(&["sites", site, "executions", execution, "abort"])
        .send()
        .await?;
    if !wait {
        remark(&format!("Execution {execution} was asked to stop."));
        return Ok(Exit::Done);
    }
    let ended = wait::until_ended(&client, site, execution).await?;
    context.output.show(&ended, one)?;
    // To be aborted is what was asked for; anything else won the race.
    if wait::exit_of(&ended)? == Exit::Stopped {
        return Ok(Exit::Done);
    }
    remark(&format!(
        "Execution {execution} ended before the abort reached it."
    ));
    Ok(Exit::Failed)
}

/// By which way the changed blocks of a DELTA were found; of several databases each.
fn changed_blocks(execution: &Value) -> String {
    let phases = execution["phases"].as_array().into_iter().flatten();
    let databases: Vec<&Value> = phases
        .flat_map(|phase| phase["databases"].as_array().into_iter().flatten())
        .collect();
    let way = |database: &Value| {
        let way = match text(database, "changed_blocks_source").as_str() {
            "WAL_SUMMARY" => "told by WAL summaries".to_owned(),
            "HASH" => "found by comparing hashes".to_owned(),
            other => other.to_owned(),
        };
        match database["reason"].as_str() {
            Some(reason) => format!("{way}: {reason}"),
            None => way,
        }
    };
    match databases.as_slice() {
        [] => String::new(),
        [one] => way(one),
        several => {
            let lines = several
                .iter()
                .map(|database| format!("{} {}", text(database, "object_name"), way(database)));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

/// What to say of an execution that was only started.
pub(crate) fn started(site: &str, execution: &str) -> String {
    format!(
        "Execution {execution} is queued.\n`backstay execution show {site} {execution} --wait` follows it.\n"
    )
}

/// One execution for people.
pub(crate) fn one(execution: &Value) -> String {
    let mut shown = output::facts(&[
        ("Execution", text(execution, "execution_id")),
        (
            "Job",
            format!(
                "{} ({})",
                text(execution, "job_name"),
                text(execution, "job_id")
            ),
        ),
        (
            "Type",
            format!(
                "{} {}",
                text(execution, "job_type"),
                text(execution, "run_type")
            ),
        ),
        ("Status", text(execution, "status")),
        ("Detail", text(execution, "status_detail")),
        ("Parent execution", text(execution, "parent_execution_id")),
        ("Changed blocks", changed_blocks(execution)),
        ("Start", output::time(execution, "start_time")),
        ("End", output::time(execution, "end_time")),
        ("Saveset", text(execution, "saveset_id")),
        ("Size", output::bytes(execution, "backup_set_size")),
        ("Read", output::bytes(execution, "bytes_read")),
        ("Stored", output::bytes(execution, "bytes_stored")),
    ]);
    let phases = output::table(
        &execution["phases"],
        "",
        &[
            ("PHASE", &|p| text(p, "phase")),
            ("STATUS", &|p| text(p, "status")),
            ("OBJECTS", &|p| {
                format!("{}/{}", text(p, "objects_done"), text(p, "objects_total"))
            }),
            ("BYTES", &|p| output::bytes(p, "bytes")),
            ("A SECOND", &|p| output::bytes(p, "bytes_per_second")),
        ],
    );
    if !phases.is_empty() {
        shown += &format!("\n{phases}");
    }
    for warning in execution["warnings"].as_array().into_iter().flatten() {
        shown += &format!("\nWarning: {}\n", warning.as_str().unwrap_or_default());
    }
    for skipped in execution["skipped_objects"]
        .as_array()
        .into_iter()
        .flatten()
    {
        shown += &format!(
            "\nLeft out: {}: {}\n",
            text(skipped, "object"),
            text(skipped, "reason")
        );
    }
    shown
}
