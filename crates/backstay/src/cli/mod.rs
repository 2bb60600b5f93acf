//! The command line: its tree, and what all commands share.

mod adopt;
pub(crate) mod chosen;
mod completions;
mod demo;
mod execution;
mod export;
pub(crate) mod flags;
pub(crate) mod job;
mod restore;
mod saveset;
mod serve;
pub(crate) mod site;
mod status;
mod try_;
mod vault_option;
mod verify;
mod version;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use model::SecretString;
use serde_json::Value;

use crate::client::Client;
use crate::config::FileConfig;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::log;
use crate::output::{Format, Output, text};
use crate::secret_input;

/// Where `serve` and `demo` listen when nobody says otherwise, and where a client looks.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8610";
/// The token of the client, and of the first administrator when a server is started first.
pub const TOKEN_ENV: &str = "BACKSTAY_TOKEN";

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with warnings, 4 aborted or skipped,
5 server unreachable, 6 not permitted.

Settings come from flags, then from BACKSTAY_* variables, then from backstay.toml (--config,
./backstay.toml, $XDG_CONFIG_HOME/backstay/backstay.toml). Tokens and passwords come from files,
the environment or a prompt, never from a flag.";

/// Backup as a service: backs up PostgreSQL and SQLite into encrypted savesets and restores them.
#[derive(Debug, Parser)]
#[command(name = "backstay", version, about, after_help = EXIT_CODES, max_term_width = 100)]
#[command(
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Shared options")]
struct Shared {
    /// The configuration file
    #[arg(long, global = true, env = "BACKSTAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's URL; else BACKSTAY_SERVER [default: http://127.0.0.1:8610]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// A file that holds the token; else BACKSTAY_TOKEN or BACKSTAY_TOKEN_FILE
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How answers are shown [default: table]
    #[arg(
        long,
        short,
        global = true,
        env = "BACKSTAY_OUTPUT",
        value_name = "FORMAT"
    )]
    output: Option<Format>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    Serve(serve::ServeArgs),
    /// Show everything on a sample database, in a minute
    Demo(demo::DemoArgs),
    /// Back up a PostgreSQL database, restore it beside, compare: proof in one command
    Try(try_::TryArgs),
    /// Database systems and their vaults
    #[command(subcommand)]
    Site(site::SiteCommand),
    /// What is backed up, and how
    #[command(subcommand)]
    Job(job::JobCommand),
    /// The runs of jobs
    #[command(subcommand)]
    Execution(execution::ExecutionCommand),
    /// Restore a database out of a saveset
    Restore(restore::RestoreArgs),
    /// Write a saveset as SQL, COPY and CSV files, without a server
    Export(export::ExportArgs),
    /// The copies that are kept
    #[command(subcommand)]
    Saveset(saveset::SavesetCommand),
    /// The age of each job's last good saveset; fails past a limit
    Status(status::StatusArgs),
    /// The version of this program
    Version,
    /// A script that completes commands in your shell
    Completions(completions::CompletionsArgs),
}

/// What a command works with: the configuration, merged.
pub struct Context {
    /// Standard output.
    pub output: Output,
    /// The file's words.
    pub file: FileConfig,
    /// `--server` alone: `try` uses a running server only when it is told so in so many words.
    pub chosen_server: Option<String>,
    token_file: Option<PathBuf>,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Whatever keeps the command from its goal.
    pub async fn run(self) -> Result<Exit, CommandError> {
        let file = FileConfig::load(self.shared.config.as_deref())?;
        let context = Context {
            output: Output {
                format: self.shared.output.or(file.output).unwrap_or_default(),
            },
            chosen_server: self.shared.server,
            token_file: self.shared.token_file,
            file,
        };
        if !matches!(self.command, Command::Serve(_)) {
            log::start_for_commands()?;
        }
        match self.command {
            Command::Serve(args) => args.run(&context).await,
            Command::Demo(args) => args.run().await,
            Command::Try(args) => args.run(&context).await,
            Command::Site(command) => command.run(&context).await,
            Command::Job(command) => command.run(&context).await,
            Command::Execution(command) => command.run(&context).await,
            Command::Restore(args) => args.run(&context).await,
            Command::Export(args) => args.run(&context).await,
            Command::Saveset(command) => command.run(&context).await,
            Command::Status(args) => args.run(&context).await,
            Command::Version => version::run(&context),
            Command::Completions(args) => args.run(),
        }
    }
}

impl Context {
    /// The client for the configured server, with its token.
    ///
    /// # Errors
    /// When the URL is wrong or there is no token.
    pub fn client(&self) -> Result<Client, CommandError> {
        let given = self
            .chosen_server
            .clone()
            .or_else(|| env("BACKSTAY_SERVER"));
        let server = given.or_else(|| self.file.server.clone());
        let server = &server.unwrap_or_else(|| format!("http://{DEFAULT_LISTEN}"));
        Ok(Client::new(server, self.token(server)?)?)
    }

    fn token(&self, server: &str) -> Result<SecretString, CommandError> {
        const WHAT: &str = "the token";
        if let Some(path) = &self.token_file {
            return Ok(secret_input::from_file(path, WHAT)?);
        }
        if let Some(token) = secret_input::from_env(TOKEN_ENV) {
            return Ok(token);
        }
        let from_env = env("BACKSTAY_TOKEN_FILE").map(PathBuf::from);
        if let Some(path) = from_env.as_ref().or(self.file.token_file.as_ref()) {
            return Ok(secret_input::from_file(path, WHAT)?);
        }
        let place = server.rsplit('@').next().unwrap_or_default();
        let asked = secret_input::from_prompt(&format!("Token for {place}"), WHAT)?;
        Ok(asked.ok_or(secret_input::SecretError::Missing {
            what: WHAT,
            ways: "put it into BACKSTAY_TOKEN, or name its file with --token-file",
        })?)
    }
}

/// A variable of the environment; an empty one counts as none.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A job's id: the number itself, or the number of the one job of that name.
///
/// # Errors
/// When no job, or more than one, has that name.
pub async fn job_id(client: &Client, site: &str, job: &str) -> Result<String, CommandError> {
    if job.bytes().all(|b| b.is_ascii_digit()) && !job.is_empty() {
        return Ok(job.to_owned());
    }
    let jobs = client.all(&["sites", site, "jobs"], &[]).await?;
    let named: Vec<String> = jobs
        .iter()
        .filter(|j| j["name"] == job)
        .map(|j| text(j, "job_id"))
        .collect();
    match named.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(CommandError::Failed(format!(
            "site {site} has no job named {job:?}; `backstay job list {site}` shows them"
        ))),
        several => Err(CommandError::Failed(format!(
            "site {site} has {} jobs named {job:?}: use one of the ids {}",
            several.len(),
            several.join(", ")
        ))),
    }
}

/// A body without the fields that were not given: the server's defaults hold for them.
pub fn without_nulls(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.retain(|_, value| !value.is_null());
    }
    body
}
